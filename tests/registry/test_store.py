"""The MLflow store: ready once, named without secrets, its failures told in a sentence."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tagsage.errors import TagsageError
from tagsage.registry.store import default_uri, initialise, told, without_secrets

INITIALISE = """
import sys
from pathlib import Path
from tagsage.registry.store import initialise
print(initialise("", experiment="shared", folder=Path(sys.argv[1])).experiment_id)
"""


def test_experiment_is_created_once_with_its_artifacts_in_the_folder(tracking):
    again = initialise("", experiment="tests", folder=tracking.folder)
    assert again.experiment_id == tracking.experiment_id
    found = tracking.client.get_experiment_by_name("tests")
    assert found.artifact_location == (tracking.folder / "mlartifacts").as_uri()
    assert (tracking.folder / "mlflow.db").is_file()


def test_empty_uri_means_sqlite_in_the_folder(tracking):
    assert tracking.uri == default_uri(tracking.folder)


def test_deleted_experiment_is_taken_back(tracking):
    first = initialise("", experiment="deleted", folder=tracking.folder)
    first.client.delete_experiment(first.experiment_id)
    second = initialise("", experiment="deleted", folder=tracking.folder)
    assert second.experiment_id == first.experiment_id
    assert second.client.get_experiment(first.experiment_id).lifecycle_stage == "active"


@pytest.mark.slow
def test_processes_that_start_together_do_not_break_the_schema(tmp_path):
    command = [sys.executable, "-c", INITIALISE, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert len({stdout for stdout, _ in results}) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ann:hush@host:5000/a", "http://***@host:5000/a"),
        ("postgresql+psycopg://ann:hu%40sh@host/db", "postgresql+psycopg://***@host/db"),
        ("http://ann:hu@sh@host/", "http://***@host/"),
        ("see http://a:b@c/ and https://d:e@f/", "see http://***@c/ and https://***@f/"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("mail ann@host", "mail ann@host"),
    ],
)
def test_user_and_password_of_every_url_are_left_out(text, shown):
    assert without_secrets(text) == shown


def test_tracking_is_shown_without_its_password(tracking):
    import dataclasses

    secret = dataclasses.replace(tracking, uri="http://ann:hush@host")
    assert repr(secret) == "Tracking('http://***@host', 'tests')"


def test_server_that_is_away_is_told_in_one_sentence_without_its_password(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://ann:hush@127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TagsageError, match=r"MLflow at http://\*\*\*@127\.0\.0\.1") as caught:
            initialise(uri, experiment="x", folder=tmp_path)
    assert "mlflow_tracking_uri" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "hush" not in caplog.text


def test_database_that_is_no_database_is_told_in_one_sentence(tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_text("this is not SQLite" * 100)
    with pytest.raises(TagsageError, match=r"MLflow at sqlite:///.*file is not a database"):
        initialise("", experiment="x", folder=tmp_path)


def test_an_error_that_is_not_mlflows_passes_unchanged():
    with pytest.raises(KeyError), told("http://host"):
        raise KeyError("mine")


def test_mlflow_reports_its_use_to_nobody():
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert is_telemetry_disabled()


def test_mlflow_is_quiet(tracking):
    assert not logging.getLogger("mlflow").isEnabledFor(logging.INFO)
    assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)


def test_lock_lies_in_the_folder(tracking):
    with tracking.alone():
        assert (Path(tracking.folder) / ".mlflow.lock").exists()


def test_database_that_a_killed_process_left_half_made_is_made_anew(tmp_path):
    (tmp_path / ".mlflow.db.new").write_bytes(b"half of a database")
    (tmp_path / ".mlflow.db.new-journal").write_bytes(b"")
    tracking = initialise("", experiment="run", folder=tmp_path)
    assert tracking.client.get_experiment(tracking.experiment_id).name == "run"
    assert not list(tmp_path.glob(".mlflow.db.new*"))
