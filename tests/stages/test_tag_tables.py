"""Tables of articles and their tags, written and read in parts."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.stages.tag_tables import lines_of_stories, publish_table, read_table, write_table

PUBLISHED = ["story", "tag", "score", "assigned", "model_version"]


class Snapshot:
    """As much of a snapshot as tables look at."""

    articles = pd.DataFrame({"key": ["a", "b", "ü"], "url": ["u/a", "u,b", 'u"ü']})


def some_lines(*rows) -> pd.DataFrame:
    lines = pd.DataFrame(rows, columns=["row", "tag", "score", "assigned", "threshold"])
    return lines.astype({"score": "float32", "assigned": "int8", "threshold": "float64"})


@pytest.mark.parametrize("cuts", [[], [0], [0, 2]])
def test_in_parts_a_table_is_the_same_file_and_comes_back_whole(cuts, tmp_path):
    lines = some_lines((0, "x", 0.25, 1, 0.2), (0, 'q"y', 0.1234567, 0, 0.3), (2, "x", 1, 1, 0.2))
    parts = [lines.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    write_table(tmp_path, "made", (lines_of_stories(part, Snapshot(), "7") for part in parts))
    back = pd.concat(read_table(tmp_path, "made"), ignore_index=True)
    assert back["key"].tolist() == ["a", "a", "ü"]
    assert back["story"].tolist() == ["u/a", "u/a", 'u"ü']
    assert back["score"].tolist() == [0.25, 0.123457, 1]
    whole = pa.Table.from_pandas(back[PUBLISHED], preserve_index=False)
    pa_csv.write_csv(whole, tmp_path / "whole.csv", pa_csv.WriteOptions(quoting_style="needed"))
    assert (tmp_path / "made.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_table_without_lines_has_columns_and_is_published_with_the_run(tmp_path):
    run = RunContext("one", Settings(workspace=str(tmp_path / "ws")))
    write_table(tmp_path, "made", [lines_of_stories(some_lines(), Snapshot(), "7")])
    publish_table(run, tmp_path, "made")
    published = pd.read_parquet(run.workspace.root / "made.parquet")
    assert published.columns.tolist() == [*PUBLISHED, "run_id"]
    assert published.empty
    assert (run.workspace.root / "made.csv").read_text().count("\n") == 1
