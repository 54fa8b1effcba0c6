"""The same run against a real MLflow server: runs, files and models go over HTTP."""

import tempfile

import pandas as pd
import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tagsage.evaluate.promotion import Decision
from tagsage.registry.champion import carry_out
from tagsage.registry.checksums import DamagedModelError
from tagsage.registry.runs import DataSet, finish, log_candidate, log_datasets, log_results, log_run
from tagsage.registry.tracking import open_tracking
from tagsage.registry.versions import load_version
from tests.registry.conftest import CANDIDATE


@pytest.mark.slow
@pytest.mark.integration
def test_run_logged_twice_to_a_server_is_one_run_with_one_champion(
    running, register, tmp_path, picture, monkeypatch
):
    store = f"sqlite:///{tmp_path}/server.db"
    places = ("--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "files"))
    command = ("server", "--workers", "1", *places)
    # As `make up` starts it: its job runners, for language models, are eight processes.
    with running(command, "/health", tmp_path, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") as uri:
        for attempt in ("killed", "whole"):
            tracking = open_tracking(uri, experiment="nightly", folder=tmp_path / attempt)
            parent = log_run(tracking, "n1", params={})
            log_datasets(tracking, "n1", [DataSet("a.csv", "ab", "a.csv", {})])
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
            version = register(tracking, "tagger")
            decided = Decision(True, "Promoted: it is the first.", version, "", 0.6, None, False)
            decision, champion_version = carry_out(
                tracking, "n1", name="tagger", version=version, decision=decided
            )
        finish(tracking, "n1", "FINISHED")
        client = tracking.client
        assert len(client.search_runs([tracking.experiment_id])) == 2
        assert client.get_run(parent).info.status == "FINISHED"
        assert len(client.get_metric_history(parent, "loss")) == 2
        paths = [file.path for file in client.list_artifacts(child)]
        assert paths == ["figures", "frozen_test", "per_tag.csv"]
        assert decision.promoted
        assert version == champion_version == "1"
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        champion = load_version(tracking, "tagger")
        # What was downloaded is gone, and the champion works.
        assert not [*temporary.iterdir(), *(tracking.folder / "scratch").iterdir()]
        assert champion.predict([{"title": "ripe pears"}])["tags"].tolist() == [["fruit"]]
        source = client.get_model_version_download_uri("tagger", version)
        get_artifact_repository(source, tracking_uri=uri).delete_artifacts()
        with pytest.raises(DamagedModelError, match="roll back to another version or retrain"):
            load_version(tracking, "tagger")
