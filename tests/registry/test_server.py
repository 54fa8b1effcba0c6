"""The same run against a real MLflow server: runs, files and models go over HTTP."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from urllib.error import URLError

import pandas as pd
import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tagsage.evaluate.promotion import Decision
from tagsage.registry.champions import carry_out
from tagsage.registry.registry import load_champion, register_winner
from tagsage.registry.runs import DataSet, finish, log_candidate, log_results, log_run
from tagsage.registry.seal import DamagedModelError
from tagsage.registry.store import initialise

CANDIDATE = "text+lists:ovr_logistic"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db"),
        *("--artifacts-destination", str(folder / "files")),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            # As `make up` starts it: its job runners, for language models, are eight processes.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        # The server starts workers of its own: its whole session ends.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait(url: str, process: subprocess.Popen, log) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.mark.slow
@pytest.mark.integration
def test_run_logged_twice_to_a_server_is_one_run_with_one_champion(
    server, served, frozen, tmp_path, picture, monkeypatch
):
    for attempt in ("killed", "whole"):
        tracking = initialise(server, experiment="nightly", folder=tmp_path / attempt)
        parent = log_run(
            tracking, "n1", params={"seed": 1}, datasets=[DataSet("a.csv", "ab", "a.csv", {})]
        )
        child = log_candidate(
            tracking,
            "n1",
            CANDIDATE,
            params={},
            scores={"micro_f1": 0.6},
            per_tag=pd.DataFrame({"tag": ["a"], "f1": [0.5]}),
            figures={"loss": picture},
        )
        log_results(tracking, "n1", series={"loss": [2.0, 1.0]})
        version = register_winner(
            tracking, "n1", CANDIDATE, name="tagger", served=served, served_ref="s",
            frozen=frozen, micro_f1=0.6, data_digest="ab", description="The best.",
        )  # fmt: skip
        decided = Decision(True, "Promoted: it is the first.", version, "", 0.6, None, False)
        decision, champion_version = carry_out(
            tracking, "n1", name="tagger", version=version, decision=decided
        )
    finish(tracking, "n1", "FINISHED")
    client = tracking.client
    assert len(client.search_runs([tracking.experiment_id])) == 2
    assert client.get_run(parent).info.status == "FINISHED"
    assert len(client.get_metric_history(parent, "loss")) == 2
    assert [file.path for file in client.list_artifacts(child)] == [
        "figures",
        "frozen_test",
        "per_tag.csv",
    ]
    assert decision.promoted
    assert version == champion_version == "1"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    champion = load_champion(tracking, "tagger")
    # What was downloaded is gone, and the champion works.
    assert not [*temporary.iterdir(), *(tracking.folder / "scratch").iterdir()]
    assert champion.predict([{"title": "ripe pears"}])["tags"].tolist() == [["fruit"]]
    source = client.get_model_version_download_uri("tagger", version)
    get_artifact_repository(source, tracking_uri=server).delete_artifacts()
    with pytest.raises(DamagedModelError, match="roll back to another version or retrain"):
        load_champion(tracking, "tagger")
