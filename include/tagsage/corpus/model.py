"""What every source of articles and lists returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pandas as pd
import pyarrow as pa

from tagsage.corpus.quarantine import Repairs

ARTICLE_SCHEMA = pa.schema([
    ("key", pa.large_string()),
    ("url", pa.large_string()),
    ("title", pa.large_string()),
    ("subtitle", pa.large_string()),
    ("author", pa.large_string()),
    ("date", pa.timestamp("s")),
    ("tags", pa.large_list(pa.large_string())),
    ("is_stub", pa.bool_()),
])


@dataclass(frozen=True)
class Corpus:
    """Articles and lists, checked.

    Attributes
    ----------
    articles : pandas.DataFrame
        ``key``, ``url``, ``title``, ``subtitle``, ``author`` (str), ``date`` (datetime64[s], UTC),
        ``tags`` (a list of str, distinct), ``is_stub`` (known only as a member of lists).
    memberships : pandas.DataFrame
        ``list`` (its name) and ``article`` (the article's key); unique.
    quarantine : pandas.DataFrame
        ``file``, ``line`` (from 1), ``kind`` (``rejected``; ``repaired``: taken, changed;
        ``superseded``: a newer row of the article was taken), ``reason``, ``content``.
    """

    articles: pd.DataFrame
    memberships: pd.DataFrame
    quarantine: pd.DataFrame
    digests: dict[str, str]  # file -> ``sha256:…``
    counts: dict[str, int] = field(default_factory=dict)
    repairs: Sequence[Repairs] = ()


def articles_to_frame(table: pa.Table) -> pd.DataFrame:
    """Turn an Arrow table of :data:`ARTICLE_SCHEMA` into a frame as in :class:`Corpus`."""
    frame: pd.DataFrame = table.drop_columns(["tags"]).to_pandas()
    frame["date"] = frame["date"].astype("datetime64[s]")
    tags = pd.Series(_python_lists(table.column("tags")), dtype=object, index=frame.index)
    frame.insert(ARTICLE_SCHEMA.get_field_index("tags"), "tags", tags)
    return frame


def articles_to_table(articles: pd.DataFrame) -> pa.Table:
    """Turn a frame as in :class:`Corpus` into an Arrow table of :data:`ARTICLE_SCHEMA`."""
    columns = [pa.array(articles[column.name], type=column.type) for column in ARTICLE_SCHEMA]
    return pa.Table.from_arrays(columns, schema=ARTICLE_SCHEMA)


def text_frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Build a frame whose columns are text, even without rows."""
    return pd.DataFrame({name: pd.array(values, dtype="str") for name, values in columns.items()})


def _python_lists(column: pa.ChunkedArray) -> list[list[str]]:
    """Return a column of lists as Python lists; much faster than `to_pylist`."""
    lists: list[list[str]] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy()
        # A slice's offsets do not begin at 0, its flattened values do.
        bounds = offsets - offsets[:1]
        values = chunk.flatten().to_numpy(zero_copy_only=False).tolist()
        lists.extend(values[start:end] for start, end in pairwise(bounds.tolist()))
    return lists
