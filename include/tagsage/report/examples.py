"""A few articles with their tags, kept by a run for its report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tagsage.explain.explanation import Explanation
from tagsage.files import read_json, write_json
from tagsage.report.report_data import Example, PredictedTag

EXAMPLES = 12


def write_examples(file: Path, articles: pd.DataFrame, table: Path, *, seed: int) -> None:
    """Write some articles of a table, drawn at random, as JSON.

    `table` is Parquet, with a line per ``story`` and ``tag``, with ``score`` and, of predictions,
    ``assigned`` and ``threshold``; `articles` are those of the snapshot.
    """
    with pq.ParquetFile(table) as lines:
        groups = range(lines.num_row_groups)
        parts = [lines.read_row_group(n, ["story"])["story"].unique() for n in groups]
    stories = pa.chunked_array(parts, pa.large_string())
    random = np.random.default_rng(seed)
    drawn = stories.take(pa.array(random.permutation(len(stories))[:EXAMPLES])).to_pylist()
    shown = pd.read_parquet(table, filters=pc.field("story").isin(pa.array(drawn, stories.type)))
    if "assigned" not in shown:
        shown = shown.assign(assigned=True, threshold=None)
    shown = shown.astype({"assigned": "bool"})
    texts = {
        row.url: (row.title, row.subtitle)
        for row in articles[articles["url"].isin(drawn)].itertuples()
    }
    examples = []
    for story, lines in shown.groupby("story"):
        title, subtitle = texts[story]
        tags = lines[["tag", "score", "assigned", "threshold"]].to_dict("records")
        examples.append({"title": title, "subtitle": subtitle, "url": story, "tags": tags})
    write_json(file, examples)


def read_examples(file: Path, explanations: Path | None = None) -> list[Example]:
    """Read the articles with their tags, and with why where it was explained."""
    items = read_json(file) or []
    rows = []
    if items and explanations is not None:
        shown = ("story", "in", [item["url"] for item in items])
        rows = pq.read_table(explanations, filters=[shown]).to_pylist()
    because = {(row["story"], row["tag"]): Explanation.of(row).sentence() for row in rows}
    return [
        Example(
            title=item["title"],
            subtitle=item["subtitle"],
            url=item["url"],
            tags=[
                PredictedTag(**tag, because=because.get((item["url"], tag["tag"]), ""))
                for tag in item["tags"]
            ],
        )
        for item in items
    ]
