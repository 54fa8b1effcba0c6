"""A real Spark: a master and two executors, processes of their own on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tagsage.runner import LocalRunner, Runner, SparkRunner
from tagsage.runner.spark import spark_session
from tagsage.workspace import Workspace

SPARK = pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.slow])


@pytest.fixture(scope="session")
def spark_cluster() -> Iterator[None]:
    variables = {
        "SPARK_MASTER": "local-cluster[2,1,768]",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": "--conf spark.ui.enabled=false --conf spark.executor.memory=768m "
        "pyspark-shell",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPARK_REMOTE", raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        session = spark_session()
        yield
        session.stop()


@pytest.fixture(params=["local", SPARK])
def runner(request, tmp_path) -> Runner:
    if request.param == "local":
        return LocalRunner()
    request.getfixturevalue("spark_cluster")
    return SparkRunner(Workspace(str(tmp_path / "workspace")))
