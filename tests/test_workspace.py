import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from upath import UPath

from tagsage import workspace as module
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.run_context import STARTED, latest_runs
from tagsage.workspace import MANIFEST, Workspace, code_digest


@pytest.fixture(params=["local", "remote"])
def workspace(request, tmp_path, monkeypatch):
    """Give a workspace in a folder, and one in object storage."""
    if request.param == "local":
        yield Workspace(str(tmp_path / "w"))
        return
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = UPath(f"memory://{tmp_path.name}")
    yield Workspace(str(root))
    if root.exists():
        root.fs.rm(root.path, recursive=True)


class Build:
    """Writes one file and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> dict:
        self.calls += 1
        assert list(folder.iterdir()) == []
        (folder / "sub").mkdir()
        (folder / "sub" / "numbers.txt").write_text("1 2 3")
        return {"rows": 3, "shape": (3, 1)}


def make(workspace: Workspace, build, inputs: dict | None = None):
    return workspace.artifact("split", inputs or {"seed": 1}, build, code=["embed"])


def test_an_artifact_is_built_once_and_found_again(workspace):
    build = Build()
    first, again = make(workspace, build), make(workspace, build)
    assert build.calls == 1
    assert first == again
    assert first.ref.startswith("split-")
    assert first.summary == {"rows": 3, "shape": [3, 1]}
    assert (first.path / "sub" / "numbers.txt").read_text() == "1 2 3"


def test_other_inputs_another_stage_or_other_code_make_another_artifact(workspace):
    build, inputs = Build(), {"seed": 1, "share": 0.2}
    refs = {
        workspace.artifact(stage, given, build, code=code).ref
        for stage, given, code in (
            ("split", inputs, ["embed", "corpus"]),
            # In another order they are the same.
            ("split", {"share": 0.2, "seed": 1}, ["corpus", "embed"]),
            ("split", inputs | {"seed": 2}, ["embed", "corpus"]),
            ("other", inputs, ["embed", "corpus"]),
            ("split", inputs, ["embed"]),
        )
    }
    assert (len(refs), build.calls) == (4, 4)


def test_a_build_that_fails_leaves_nothing(workspace):
    def fails(folder: Path) -> None:
        (folder / "half.npy").write_text("half")
        raise TagsageError("No.")

    with pytest.raises(TagsageError, match="No"):
        make(workspace, fails)
    assert list((workspace.local_folder() / "scratch").iterdir()) == []
    assert make(workspace, Build()).summary["rows"] == 3


def test_a_damaged_manifest_is_told_with_its_folder(tmp_path):
    workspace = Workspace(str(tmp_path))
    artifact = make(workspace, Build())
    (artifact.path / MANIFEST).write_text("{")
    with pytest.raises(TagsageError, match=rf"{artifact.ref} is damaged .*; remove the folder"):
        workspace.open(artifact.ref)


def test_a_remote_artifact_is_downloaded_where_it_is_not_and_half_of_one_does_not_exist(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    remote = Workspace(f"memory://{tmp_path.name}")
    ref = make(remote, Build()).ref
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    artifact = remote.open(ref)
    assert artifact.path.is_relative_to(tmp_path / "two")
    assert (artifact.path / "sub" / "numbers.txt").read_text() == "1 2 3"
    # As an upload leaves it that was cut off.
    (remote.root / "artifacts" / ref / MANIFEST).unlink()
    build = Build()
    make(remote, build)
    assert build.calls == 1


def test_files_of_an_artifact_can_be_read_by_whom_the_umask_allows(tmp_path):
    artifact = make(Workspace(str(tmp_path)), Build())
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(artifact.path.stat().st_mode) == 0o777 & ~umask


def test_publishing_replaces_the_older_file_and_unpublishing_removes_it(workspace, tmp_path):
    for text in ("old", "new"):
        (tmp_path / "file").write_text(text)
        where = workspace.publish(tmp_path / "file", "quarantine/q.csv")
    assert UPath(where).read_text() == "new"
    assert [p.name for p in (workspace.root / "quarantine").iterdir()] == ["q.csv"]
    workspace.unpublish("quarantine/q.csv", "never.csv")
    assert not UPath(where).exists()


def test_json_written_is_read_back_and_absent_json_is_none(workspace):
    assert workspace.read_json("runs/last.json") is None
    workspace.write_json("runs/last.json", {"b": [1, None], "a": "ä"})
    assert workspace.read_json("runs/last.json") == {"a": "ä", "b": [1, None]}


def test_prune_keeps_the_named_artifacts_only(workspace):
    kept, dropped = make(workspace, Build()), make(workspace, Build(), {"seed": 2})
    left, at_work = "0" * 32, "1" * 32
    scratch = workspace.local_folder() / "scratch"
    for name, age_s in ((left, 25 * 3600), (at_work, 60), ("mine", 25 * 3600)):
        (scratch / name).mkdir(parents=True)
        os.utime(scratch / name, (time.time() - age_s,) * 2)
    for name in ("model.pt", "run-12", "split-0123456789abcdef.bak"):
        (workspace.root / "artifacts" / name).write_text("somebody else's")
    assert workspace.prune([kept.ref]) >= 1
    assert workspace.open(kept.ref) == kept
    assert not dropped.path.exists()
    assert {folder.name for folder in scratch.iterdir()} == {at_work, "mine"}
    others = {each.name for each in (workspace.root / "artifacts").iterdir()}
    assert others == {"model.pt", "run-12", "split-0123456789abcdef.bak", kept.ref}
    with pytest.raises(TagsageError, match="holds no artifact"):
        workspace.open(dropped.ref)


def test_an_artifact_half_removed_by_a_killed_prune_is_built_again(tmp_path, monkeypatch):
    workspace = Workspace(str(tmp_path))
    artifact = make(workspace, Build())

    def killed(self, path, recursive):
        raise KeyboardInterrupt

    fs = type((workspace.root / "artifacts").fs)
    with monkeypatch.context() as patch:
        patch.setattr(fs, "rm", killed)
        with pytest.raises(KeyboardInterrupt):
            workspace.prune([])
    assert artifact.path.exists()
    build = Build()
    assert make(workspace, build).path == artifact.path
    assert build.calls == 1


KILLED = """
import sys, time
from tagsage.workspace import Workspace
def build(folder):
    (folder / "half.npy").write_text("half")
    print("building", flush=True)
    time.sleep(600)
Workspace(sys.argv[1]).artifact("split", {"seed": 1}, build, code=["embed"])
"""


def test_a_build_killed_half_way_is_built_again_from_an_empty_folder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "building\n"
        process.send_signal(signal.SIGKILL)
    artifact = make(Workspace(str(tmp_path)), Build())
    assert sorted(p.name for p in artifact.path.iterdir()) == [MANIFEST, "sub"]


def test_several_processes_may_build_the_same_artifact_at_once(tmp_path):
    code = KILLED.replace("time.sleep(600)", "time.sleep(float(sys.argv[2]))")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), wait], stdout=subprocess.DEVNULL
        )
        for wait in ("0.2", "0.2", "0.1")
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert len(list((tmp_path / "artifacts").iterdir())) == 1
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_workspace_that_cannot_be_made_or_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TagsageError, match=r"Cannot make the folder .*file: .*; choose another"):
        Workspace(str(tmp_path / "file")).local_folder()
    workspace = Workspace(str(tmp_path / "w"))
    (workspace.local_folder() / "scratch").write_text("")
    with pytest.raises(TagsageError, match=r"Cannot write to .*scratch: .*; choose another"):
        make(workspace, Build())


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(workspace):
    workspace.root.mkdir(parents=True)
    (workspace.root / "train.py").write_text("mine")
    with pytest.raises(
        NonRetryableError, match=r"holds other files .*; name an empty or a new folder"
    ):
        workspace.write_json("runs/last.json", 1)
    assert [file.name for file in workspace.root.iterdir()] == ["train.py"]


@pytest.mark.parametrize("held", [None, [], ["lost+found"]])
def test_a_new_or_empty_folder_becomes_a_workspace_and_stays_one(workspace, held):
    if held is not None:
        workspace.root.mkdir(parents=True)
        for name in held:
            (workspace.root / name).mkdir()
    workspace.claim()
    (workspace.root / "notes.txt").write_text("a user's")
    again = Workspace(workspace.url)
    again.claim()
    again.check()


def test_who_only_reads_makes_no_workspace(workspace):
    with pytest.raises(TagsageError, match=r"There is no workspace of tagsage in .*tagsage run"):
        workspace.check()
    assert not workspace.root.exists()


def test_only_runs_of_ours_are_forgotten(workspace):
    for name in ("one", "two", "three"):
        workspace.write_json(f"runs/{name}/{STARTED}.json", "now")
    workspace.write_json("runs/experiment/config.json", {})
    assert len(latest_runs(workspace, 2)) == 2
    left = {folder.name for folder in (workspace.root / "runs").iterdir()}
    assert len(left & {"one", "two", "three"}) == 2
    assert "experiment" in left


def test_the_home_folder_and_file_urls_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workspace("~/w").local_folder() == tmp_path / "w"
    assert Workspace(f"file://{tmp_path}/v").local_folder() == tmp_path / "v"


def test_code_digest_changes_with_the_room_and_a_librarys_version(monkeypatch):
    with pytest.raises(ValueError, match="no room named"):
        code_digest(("nowhere",))
    before = code_digest.__wrapped__(("embed",))
    monkeypatch.setattr(module, "version", lambda name: "0")
    assert code_digest.__wrapped__(("embed",)) != before
    assert code_digest.__wrapped__(("corpus",)) != code_digest.__wrapped__(("embed",))


def test_second_run_in_a_workspace_is_refused_while_the_first_is_under_way(tmp_path):
    with (
        Workspace(str(tmp_path)).locked(),
        pytest.raises(TagsageError, match=r"Another run is under way .*; wait for its end"),
        Workspace(str(tmp_path)).locked(),
    ):
        pytest.fail("two runs at once")
    with Workspace(str(tmp_path)).locked():
        assert (tmp_path / ".lock").exists()
