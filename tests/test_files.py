import subprocess
import sys

import pytest

from tagsage.errors import TagsageError
from tagsage.files import LockedError, atomic_file, locked, read_json, write_json


def test_file_that_was_not_finished_leaves_the_old_one(tmp_path):
    target = tmp_path / "deep" / "value.json"
    write_json(target, {"b": 1, "a": "ü"})

    def write_half():
        with atomic_file(target) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert read_json(target) == {"a": "ü", "b": 1}
    assert [path.name for path in target.parent.iterdir()] == ["value.json"]


def test_killed_process_leaves_the_old_file(tmp_path):
    target = tmp_path / "value.json"
    write_json(target, 1)
    code = (
        "import os, signal, sys; from pathlib import Path; from tagsage.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'2'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, target]).returncode == -9
    assert read_json(target) == 1


def test_missing_json_is_none_and_damaged_json_says_what_to_do(tmp_path):
    assert read_json(tmp_path / "none.json") is None
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(TagsageError, match=r"bad\.json is not JSON .*; remove it and run again\.$"):
        read_json(tmp_path / "bad.json")


def test_lock_keeps_another_process_out_until_that_process_dies(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from tagsage.files import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match="in use"), locked(lock, busy="in use"):
            pass
        other.kill()
    with locked(lock, busy="in use"):
        pass
