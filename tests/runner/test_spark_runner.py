"""What Spark adds: executors that die, failures in one sentence, and the blocks' own functions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.features import BLOCKS, Articles
from tagsage.features.fitting import fit_block
from tagsage.runner import LocalRunner, SparkRunner
from tagsage.workspace import Workspace
from tests.features.corpora import SETTINGS, Corpus, corpus
from tests.runner.conftest import SPARK

# Executors can't import the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

on_spark = pytest.mark.parametrize("runner", [SPARK], indirect=True)


def executor() -> int:
    """Return the process of the executor that runs this: its Python has a daemon between."""
    status = Path(f"/proc/{os.getppid()}/status").read_text(encoding="ascii")
    return int(status.partition("PPid:")[2].split()[0])


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@on_spark
def test_two_executors_share_the_partitions(runner):
    def work(number: int) -> int:
        time.sleep(0.3)
        return executor()

    assert len(set(runner.map(work, range(8)))) == 2


@on_spark
def test_an_executor_that_is_killed_changes_nothing(runner, tmp_path):
    killed = tmp_path / "killed"

    def work(number: int) -> np.ndarray:
        if number == 3 and not killed.exists():
            killed.touch()
            os.kill(executor(), signal.SIGKILL)
            time.sleep(60)
        return np.arange(20_000) * number

    found = list(runner.map(work, range(6)))
    assert killed.exists()
    assert all(np.array_equal(rows, np.arange(20_000) * n) for n, rows in enumerate(found))
    assert not list((tmp_path / "workspace" / "scratch").iterdir())


@on_spark
@pytest.mark.parametrize("name", BLOCKS)
def test_states_and_features_are_those_of_the_local_runner_to_the_last_bit(
    name, runner, tmp_path, monkeypatch
):
    partitions = Articles.partitions
    monkeypatch.setattr(Articles, "partitions", lambda self: partitions(self, 15))
    whole = corpus()
    part = Corpus(whole.articles, whole.rows[:15], whole.Y[:15])
    made = []
    for number, one in enumerate((LocalRunner(), runner)):
        folder = tmp_path / str(number)
        folder.mkdir()
        fit_block(folder, name, whole.articles, whole.known(), SETTINGS, one, tuning=part.known())
        made.append(files_of(folder))
    assert made[0] == made[1]


@on_spark
def test_a_function_that_fails_ends_the_run_without_what_it_said(runner):
    def fail(title: str) -> None:
        raise ValueError(title)

    with pytest.raises(TagsageError, match="ValueError") as caught:
        list(runner.map(fail, ["a secret title"]))
    assert "secret" not in str(caught.value)


@pytest.mark.spark
@pytest.mark.slow
def test_a_spark_connect_server_is_enough(tmp_path):
    # No process has both kinds of session. The server is one that pyspark starts for this one.
    code = """
import sys
import pandas as pd
from pyspark.sql import SparkSession
SparkSession.builder.remote("local[2]").getOrCreate()
from tagsage.runner import SparkRunner
from tagsage.workspace import Workspace
runner = SparkRunner(Workspace(sys.argv[1]))
count = lambda keys: pd.Series(1, index=keys, dtype="int64")
print(list(runner.map(len, ["a", "bc"])), runner.sum_by_key(count, [["a"], ["a", "b"]]).to_dict())
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "workspace")],
        env={**kept, "SPARK_REMOTE": "sc://localhost"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["[1, 2] {'a': 2, 'b': 1}"], done.stderr


def test_without_pyspark_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    runner = SparkRunner(Workspace(str(tmp_path / "workspace")))
    with pytest.raises(NonRetryableError, match="make setup-spark"):
        list(runner.map(len, ["a"]))


@pytest.mark.spark
@pytest.mark.slow
def test_without_java_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    runner = SparkRunner(Workspace(str(tmp_path / "workspace")))
    with pytest.raises(NonRetryableError, match="openjdk-17"):
        list(runner.map(len, ["a"]))
