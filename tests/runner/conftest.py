"""A real Spark: a master and two executors, processes of their own on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tagsage.runner import LocalRunner, Runner, SparkRunner
from tagsage.runner.spark import spark_session
from tagsage.workspace import Workspace
from tests.conftest import SHORT_LIVED

SPARK = pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.slow])


# Processes that live for minutes, and jobs of a few rows.
OPTIONS = {
    "spark.executor.memory": "768m",
    "spark.driver.extraJavaOptions": SHORT_LIVED[0],
    "spark.executor.extraJavaOptions": SHORT_LIVED[0],
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
}


@pytest.fixture(scope="session")
def spark_cluster() -> Iterator[None]:
    options = " ".join(f"--conf {name}={value}" for name, value in OPTIONS.items())
    variables = {
        "SPARK_MASTER": "local-cluster[2,1,768]",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
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
