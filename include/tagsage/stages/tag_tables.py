"""Tables of articles and their tags, predicted or suggested, as files; in memory only in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tagsage.store.snapshot import Snapshot

PREDICTIONS, SUGGESTIONS = "predictions", "suggestions"
EXAMPLES_FILE = "examples.json"
# Kept in artifacts and not published: the article's key, by which runs are compared, and what the
# report and the pages show beside the scores.
KEY, THRESHOLD = "key", "threshold"


def lines_of_stories(lines: pd.DataFrame, snapshot: Snapshot, version: str) -> pd.DataFrame:
    """Return lines of ``row``, ``tag``, ``score`` and more, with ``key`` and ``story`` for row."""
    named = snapshot.articles[[KEY, "url"]].iloc[lines["row"].to_numpy(dtype="int64")]
    frame = lines.drop(columns="row").reset_index(drop=True)
    frame.insert(0, KEY, named[KEY].array)
    frame.insert(1, "story", named["url"].array)
    # Six digits: enough for any use, and the same file from the same run.
    frame["score"] = frame["score"].astype("float64").round(6)
    return frame.assign(model_version=version).astype(
        dict.fromkeys((KEY, "story", "tag", "model_version"), "str")
    )


def write_table(folder: Path, name: str, parts: Iterable[pd.DataFrame]) -> None:
    """Write a table of an artifact as ``<name>.parquet``, and as ``<name>.csv`` to be published.

    `parts` are at least one, each with all lines of its articles, which ascend by key.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    as_needed = pa_csv.WriteOptions(quoting_style="needed")
    parquet: Any = None
    csv: Any = None
    with ExitStack() as stack:
        for part in parts:
            table = pa.Table.from_pandas(part, preserve_index=False)
            published = _published(table)
            if parquet is None:
                parquet = pq.ParquetWriter(folder / f"{name}.parquet", table.schema)
                csv = pa_csv.CSVWriter(
                    folder / f"{name}.csv", published.schema, write_options=as_needed
                )
                stack.enter_context(parquet)
                stack.enter_context(csv)
            # A row group is a part, however long.
            parquet.write_table(table, row_group_size=max(len(table), 1))
            csv.write_table(published)


def read_table(folder: Path, name: str) -> Iterator[pd.DataFrame]:
    """Yield the parts that :func:`write_table` wrote."""
    for part in _read(folder, name):
        yield part.to_pandas()


def _read(folder: Path, name: str) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / f"{name}.parquet") as file:
        if not file.num_row_groups:
            yield file.read()
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def _published(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in (KEY, THRESHOLD) if name in table.column_names])


def publish_table(run: RunContext, folder: Path, name: str) -> None:
    """Publish the table that :func:`write_table` wrote; the Parquet file names the run besides.

    An artifact does not: on another run it may be found again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    run.workspace.publish(folder / f"{name}.csv", f"{name}.csv")
    with run.workspace.scratch() as scratch, ExitStack() as stack:
        file, writer = scratch / f"{name}.parquet", None
        for part in map(_published, _read(folder, name)):
            run_ids = pa.repeat(pa.scalar(run.run_id, pa.large_string()), len(part))
            named = part.append_column("run_id", run_ids)
            writer = writer or stack.enter_context(pq.ParquetWriter(file, named.schema))
            writer.write_table(named)
        stack.close()
        run.workspace.publish(file, file.name)
