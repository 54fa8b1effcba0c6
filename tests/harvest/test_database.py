from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from tagsage.errors import TagsageError
from tagsage.harvest.database import FILE, HarvestDatabase, alone


def test_a_new_harvest_is_durable_and_gives_room_back(tmp_path):
    with HarvestDatabase(tmp_path / "a" / "b") as db:
        found = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}


def test_a_harvest_is_opened_again_as_it_was(tmp_path):
    with HarvestDatabase(tmp_path) as db:
        db.execute("UPDATE revision SET current = 7")
    with HarvestDatabase(tmp_path) as db:
        assert db.execute("SELECT current FROM revision").fetchone() == (7,)
        db.close()


def test_another_programs_file_is_left_alone(tmp_path):
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(TagsageError, match=r"harvest\.db is not a harvest; move it away"):
        HarvestDatabase(tmp_path)


def test_a_newer_versions_file_is_left_alone(tmp_path):
    with HarvestDatabase(tmp_path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(TagsageError, match="made by a newer version of tagsage; use that one"):
        HarvestDatabase(tmp_path)


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough" * 100)
    with pytest.raises(TagsageError, match=r"cannot be used \(file is not a database\)"):
        HarvestDatabase(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TagsageError, match=r"cannot be opened .*; choose another folder"):
        HarvestDatabase(tmp_path / "file" / "harvest")


def test_a_file_that_is_a_folder_is_told(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(TagsageError, match=r"cannot be opened .*unable to open"):
        HarvestDatabase(tmp_path)


def change(db, *, within):
    with db.transaction():
        if within:
            with db.transaction(), db.snapshot():
                db.execute("UPDATE revision SET current = 7")
        else:
            db.execute("UPDATE revision SET current = 7")
        raise KeyError


@pytest.mark.parametrize("within", [False, True])
def test_a_transaction_is_undone_when_something_is_raised(world, within):
    with pytest.raises(KeyError):
        change(world.db, within=within)
    assert world.revision() == 0


def test_a_snapshot_sees_one_state_and_holds_nobody_up(world):
    with HarvestDatabase(world.db.folder) as reader:
        with reader.snapshot():
            reader.execute("SELECT current FROM revision").fetchone()
            world.db.execute("UPDATE revision SET current = 7")
            assert reader.execute("SELECT current FROM revision").fetchone() == (0,)
        assert reader.execute("SELECT current FROM revision").fetchone() == (7,)


def test_a_harvest_can_be_opened_and_read_while_another_writes(world):
    with world.db.transaction():
        world.db.execute("UPDATE revision SET current = 7")
        with HarvestDatabase(world.db.folder) as reader:
            assert reader.execute("SELECT current FROM revision").fetchone() == (0,)


def test_a_mistake_of_ours_is_not_told_as_the_files(world):
    with pytest.raises(sqlite3.IntegrityError):
        world.db.execute("INSERT INTO revision VALUES (2, 0, 0)")


def test_one_harvest_at_a_time(tmp_path):
    with (
        alone(tmp_path),
        pytest.raises(TagsageError, match="Another harvest is under way in"),
        alone(tmp_path, patience_s=0.1),
    ):
        pass
    with alone(tmp_path):
        pass


KILLED = """
import os, signal, sys
from pathlib import Path
from tagsage.harvest.database import HarvestDatabase
at, seen = int(sys.argv[2]), 0
class Dying(HarvestDatabase):
    def execute(self, *arguments):
        global seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)
Dying(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("at", [1, 2, 10, 30])
def test_a_harvest_killed_while_its_tables_are_made_is_made_by_the_next(tmp_path, at):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(at)], check=False)
    with HarvestDatabase(tmp_path) as db:
        assert db.execute("SELECT current FROM revision").fetchone() == (0,)
        assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
