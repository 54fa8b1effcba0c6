"""One MLflow store for all tests of the stages: to make one takes longer than they do."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def _own_experiment_and_model(mlflow_uri, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TAGSAGE_MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("TAGSAGE_MLFLOW_EXPERIMENT", tmp_path.name)
    monkeypatch.setenv("TAGSAGE_REGISTERED_MODEL", tmp_path.name)
