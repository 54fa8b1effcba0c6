"""Tables of articles and their tags, predicted or suggested, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tagsage.run_context import RunContext

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.store.snapshot import Snapshot

PREDICTIONS, SUGGESTIONS = "predictions", "suggestions"
EXAMPLES_FILE = "examples.json"
# Kept in artifacts: the report and the pages show it beside the scores. It is not published.
THRESHOLD = "threshold"


def join_lines(lines: Sequence[pd.DataFrame], snapshot: Snapshot) -> pd.DataFrame:
    """Join lines of ``row``, ``tag``, ``score`` and more; ``story`` comes in place of the row."""
    import pandas as pd

    frame = pd.concat(lines, ignore_index=True)
    rows = frame.pop("row").to_numpy(dtype="int64")
    frame.insert(0, "story", snapshot.articles["url"].to_numpy()[rows])
    # Six digits: enough for any use, and the same file from the same run.
    frame["score"] = frame["score"].astype("float64").round(6)
    return frame.astype({"story": "str", "tag": "str"})


def write_table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Write a table of an artifact as ``<name>.parquet``, and as ``<name>.csv`` to be published."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    frame.to_parquet(folder / f"{name}.parquet", index=False)
    published = frame.drop(columns=THRESHOLD, errors="ignore")
    pa_csv.write_csv(
        pa.Table.from_pandas(published, preserve_index=False),
        folder / f"{name}.csv",
        pa_csv.WriteOptions(quoting_style="needed"),
    )


def publish_table(run: RunContext, folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Publish the table that :func:`write_table` wrote; the Parquet file names the run besides.

    An artifact does not: on another run it may be found again.
    """
    run.workspace.publish(folder / f"{name}.csv", f"{name}.csv")
    published = frame.drop(columns=THRESHOLD, errors="ignore").assign(run_id=run.run_id)
    with run.workspace.scratch() as scratch:
        file = scratch / f"{name}.parquet"
        published.astype({"run_id": "str"}).to_parquet(file, index=False)
        run.workspace.publish(file, file.name)
