"""The MLflow store: ready once, its errors in one sentence without secrets."""

import logging
import os
import socket
import subprocess
import sys

import mlflow
import pytest

from tagsage.errors import TagsageError
from tagsage.registry.tracking import Tracking, open_tracking

OPEN = """
import sys
from pathlib import Path
from tagsage.registry.tracking import open_tracking
print(open_tracking("", experiment="shared", folder=Path(sys.argv[1])).experiment_id)
"""


def test_deleted_experiment_is_restored(tracking):
    first = open_tracking("", experiment="deleted", folder=tracking.folder)
    first.client.delete_experiment(first.experiment_id)
    second = open_tracking("", experiment="deleted", folder=tracking.folder)
    assert second.experiment_id == first.experiment_id
    assert second.client.get_experiment(first.experiment_id).lifecycle_stage == "active"


@pytest.mark.slow
def test_processes_that_start_together_do_not_break_the_schema(tmp_path):
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert len({stdout for stdout, _ in results}) == 1


def test_database_that_a_killed_process_left_half_made_is_made_anew(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr("tagsage.registry.tracking.user_cache_path", lambda *_, **__: cache)
    cache.mkdir()
    for left in (f"mlflow-{mlflow.__version__}.new", f"mlflow-{mlflow.__version__}.new-journal"):
        (cache / left).write_bytes(b"half of a database")
    for name in ("first", "second"):
        tracking = open_tracking("", experiment="run", folder=tmp_path / name)
        assert tracking.client.get_experiment(tracking.experiment_id).name == "run"
    # One is made, and copied.
    assert [file.suffix for file in sorted(cache.iterdir())] == [".db", ".lock"]


def test_server_that_is_away_is_an_error_of_one_sentence_without_its_password(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://ann:hush@127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TagsageError, match=r"MLflow at http://\*\*\*@127\.0\.0\.1") as caught:
            open_tracking(uri, experiment="x", folder=tmp_path)
    assert "mlflow_tracking_uri" in str(caught.value)
    assert "hush" not in f"{caught.value}{caplog.text}"
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "hush" not in repr(Tracking(uri, "1", tmp_path))


def test_mlflow_is_quiet_and_reports_its_use_to_nobody(tracking):
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert is_telemetry_disabled()
    assert not logging.getLogger("mlflow").isEnabledFor(logging.INFO)
    assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)
