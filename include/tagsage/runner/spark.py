"""The runner of a cluster: partitions go to the executors of Spark, and their results come back.

Spark only says who works on which partition, and sums by key; partitions and results are files (see
:mod:`tagsage.runner.exchange`), so no JVM holds them. Only calls are used that a Spark Connect
server has, too. When an executor dies, Spark has another one work on its partitions: a function
changes nothing, and each try writes files of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.runner.exchange import Exchange, load_value, open_array
from tagsage.spark_connection import resolve_spark_address

if TYPE_CHECKING:
    from tagsage.workspace import Workspace

    Counts = pd.Series[int]

P = TypeVar("P")
R = TypeVar("R")

RESULT_SCHEMA = "partition bigint, address string"
# Spark has no unsigned numbers: a key is a text, or the bits of one.
COUNT_SCHEMA = "text string, bits bigint, count bigint"


class SparkRunner:
    """See :class:`tagsage.runner.base.Runner`. Executors see the workspace as this process does."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def map(self, function: Callable[[P], R], partitions: Iterable[P]) -> Iterator[R]:
        """Yield the function's result for each partition, in order, once all are there."""
        with self._job(function, partitions) as job:
            found = self._collect(job, _result_row, RESULT_SCHEMA)
            if len(found):
                yield from map(load_value, found.sort_by("partition")["address"].to_pylist())

    def sum_by_key(self, function: Callable[[P], Counts], partitions: Iterable[P]) -> Counts:
        """Return the sums of what the function counts in each partition, sorted by key."""
        with self._job(function, partitions) as job:
            found = self._collect(job, _count_rows, COUNT_SCHEMA, sum_by=("text", "bits"))
        if not len(found):
            return pd.Series(dtype="int64")
        text, bits, counts = (column.to_numpy() for column in found.columns)
        keys = bits.view(np.uint64) if found["text"].null_count else text
        return pd.Series(counts, index=keys, dtype="int64").sort_index()

    @contextmanager
    def _job(self, function: Callable[[P], Any], partitions: Iterable[P]) -> Generator[_Job]:
        """Write the function and the partitions for the executors; remove all files at the end."""
        # Before anything is written: without Spark there is nothing to write for.
        spark_session()
        seen = str(self.workspace.root) if self.workspace.is_local else ""
        with self.workspace.shared_scratch() as folder:
            exchange = Exchange(str(folder), seen)
            addresses = [exchange.save(partition) for partition in partitions]
            try:
                yield _Job(exchange.folder, seen, exchange.save(function), addresses)
            finally:
                open_array.cache_clear()

    def _collect(
        self, job: _Job, rows: _Rows, schema: str, *, sum_by: tuple[str, ...] = ()
    ) -> pa.Table:
        """Return the rows that are made of each partition's result, or their sums."""

        def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    yield rows(job, number)

        n = len(job.partitions)
        if not n:
            return pa.table({})
        with self._errors_translated(), warnings.catch_warnings():
            # It warns of pandas 3 where it uses no pandas.
            warnings.filterwarnings("ignore", "PySpark does not yet fully support", FutureWarning)
            frame = spark_session().range(0, n, 1, n).mapInArrow(work, schema)
            if sum_by:
                frame = frame.groupBy(*sum_by).sum("count")
            return frame.toArrow()

    @contextmanager
    def _errors_translated(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            if not _of_spark(error):
                raise
            # Only the kind: the message may hold what is in articles.
            kinds = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception))\b", str(error), re.MULTILINE)
            msg = (
                f"A job on Spark failed ({kinds[-1] if kinds else type(error).__name__}); see that "
                "each executor has Python 3.11 and this tagsage, and sees the workspace "
                f"{self.workspace.url}; `tagsage run --debug` shows the trace."
            )
            raise TagsageError(msg) from error


@dataclass(frozen=True)
class _Job:
    """The addresses of a function and of the partitions to apply it to; sent to executors."""

    folder: str
    seen: str
    function: str
    partitions: list[str]

    def result(self, number: int) -> Any:
        return _load_function(self.function)(load_value(self.partitions[number]))


_Rows = Callable[[_Job, int], pa.RecordBatch]


@lru_cache(maxsize=1)
def _load_function(address: str) -> Callable[[Any], Any]:
    # Kept for the next partition: it may hold what is dear to make, such as an index.
    function: Callable[[Any], Any] = load_value(address)
    return function


def _result_row(job: _Job, number: int) -> pa.RecordBatch:
    address = Exchange(job.folder, job.seen).save(job.result(number))
    return pa.RecordBatch.from_pydict({"partition": [number], "address": [address]})


def _count_rows(job: _Job, number: int) -> pa.RecordBatch:
    counts = job.result(number)
    keys, n = counts.index.to_numpy(), len(counts)
    if keys.dtype == np.uint64:
        text, bits = pa.nulls(n, pa.string()), pa.array(keys.view(np.int64))
    else:
        text, bits = pa.array(keys, pa.string()), pa.nulls(n, pa.int64())
    return pa.RecordBatch.from_arrays(
        [text, bits, pa.array(counts.to_numpy())], names=["text", "bits", "count"]
    )


def spark_session() -> Any:
    """Return the session of this process; raises `TagsageError` when Spark cannot be used."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        msg = (
            "The runner spark needs pyspark, which is not installed here; install it with "
            "`make setup-spark` and use .venv-spark/bin/tagsage, or set runner=local."
        )
        raise NonRetryableError(msg) from None
    address = resolve_spark_address()
    builder = SparkSession.builder.appName("tagsage")
    if address.startswith("sc://"):
        builder = builder.remote(address)
    else:
        _check_java()
        # Warnings of Spark are about Spark itself, and its bars would stand in ours.
        quiet = {"spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false"}
        builder = builder.master(address).config(map=quiet)
        if address.startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return builder.getOrCreate()
    except Exception as error:
        if not _of_spark(error):
            raise
        # Not its text: a Connect server's address may hold a token.
        msg = (
            f"Spark did not start ({type(error).__name__}); see that SPARK_REMOTE, SPARK_MASTER or "
            "the Airflow connection spark_default is right, and that Java is 17 or newer."
        )
        raise TagsageError(msg) from error


def _of_spark(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in {"pyspark", "py4j", "grpc"}


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=f"{home}/bin" if home else None) is None:
        msg = (
            "The runner spark needs Java 17 or newer, and there is none on this machine; install "
            "openjdk-17-jre-headless or set JAVA_HOME, or set runner=local."
        )
        raise NonRetryableError(msg)
