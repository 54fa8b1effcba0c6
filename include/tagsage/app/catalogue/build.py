"""Writing the catalogue: rows go in by blocks, what can be counted in SQL is counted there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from tagsage.app.catalogue.schema import (
    APPLICATION_ID,
    INDEXES,
    LIST_COUNTS,
    SEARCH_ROWS,
    TABLES,
    TAG_COUNTS,
    VERSION,
)
from tagsage.corpus.fields import UNKNOWN_AUTHOR
from tagsage.store.snapshot import Snapshot

BLOCK = 65_536
# Tags of an article that are kept although they were not assigned.
BEST_TAGS = 10
# Characters of a title or a subtitle; a page shows fewer.
TEXT_LIMIT = 4000
SCORES = ("f1", "precision", "recall", "average_precision", "support", "predicted")
EVIDENCE = ("lists", "articles", "texts", "words", "terms")

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CatalogueData:
    """What goes into a catalogue.

    Attributes
    ----------
    snapshot : Snapshot
        The corpus.
    target_tags : sequence of str
        The tags that are learned.
    per_tag : pandas.DataFrame
        The winner's scores: ``tag`` and any of :data:`SCORES`.
    predictions : pathlib.Path
        Parquet: ``story`` (URL), ``tag``, ``score``, ``assigned``, ``threshold``; an article's rows
        together, the best first.
    facts : mapping
        What is told of the run, JSON-able.
    explanations : pathlib.Path or None
        Parquet: ``story``, ``tag``, ``score``, ``score_without_graph`` and, as JSON,
        :data:`EVIDENCE`.
    """

    snapshot: Snapshot
    target_tags: Sequence[str]
    per_tag: pd.DataFrame
    predictions: Path
    facts: Mapping[str, Any]
    explanations: Path | None = None


def build_catalogue(data: CatalogueData, path: Path) -> dict[str, int]:
    """Write a catalogue.

    Memory beyond the snapshot is a few numbers an article: rows are written by blocks, and SQLite
    sorts on disk. The file is not safe against a kill while it is written: write it under another
    name and rename it.

    Parameters
    ----------
    data : CatalogueData
        What goes in.
    path : pathlib.Path
        A file that does not exist yet.

    Returns
    -------
    dict of str to int
        How many ``articles``, ``lists``, ``tags``, ``predictions`` and ``explanations`` it holds,
        and how many rows of the last two were of unknown articles and left out: ``unknown``.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # Nobody reads it yet, and a file that was not finished is thrown away.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA cache_size = -65536")
        connection.executescript(TABLES)
        connection.execute("BEGIN")
        counts = _write_rows(connection, data)
        connection.execute("COMMIT")
        connection.executescript(f"{INDEXES}{TAG_COUNTS}{LIST_COUNTS}{SEARCH_ROWS}")
        connection.execute("ANALYZE")
        # Last: a file without it is no catalogue.
        connection.execute(f"PRAGMA user_version = {VERSION}")
    finally:
        connection.close()
    return counts


def _write_rows(connection: sqlite3.Connection, data: CatalogueData) -> dict[str, int]:
    snapshot = data.snapshot
    n_articles = len(snapshot.articles)
    n_lists = np.bincount(snapshot.article_index, minlength=n_articles)
    best_known_first = np.argsort(-n_lists, kind="stable")
    ids = np.empty(n_articles, dtype=np.int64)
    ids[best_known_first] = np.arange(1, n_articles + 1)

    connection.executemany(
        "INSERT INTO facts VALUES (?, ?)",
        [(name, json.dumps(value)) for name, value in data.facts.items()],
    )
    for start in range(0, n_articles, BLOCK):
        rows = best_known_first[start : start + BLOCK]
        connection.executemany(
            "INSERT INTO articles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _article_rows(snapshot, rows, ids, n_lists),
        )
    tags = _write_tags(connection, data, ids)
    _write_lists(connection, snapshot, ids)

    by_url = pd.Index(snapshot.articles["url"])
    # Two articles of one address are possible, and then the first is meant.
    first = pd.Index(by_url.drop_duplicates())
    ids_by_url = ids[~by_url.duplicated()]
    predictions = _write_predictions(connection, data.predictions, first, ids_by_url, tags)
    explanations = (
        _write_explanations(connection, data.explanations, first, ids_by_url, tags)
        if data.explanations
        else (0, 0)
    )
    return {
        "articles": n_articles,
        "lists": len(snapshot.lists),
        "tags": len(tags),
        "predictions": predictions[0],
        "explanations": explanations[0],
        "unknown": predictions[1] + explanations[1],
    }


def _article_rows(
    snapshot: Snapshot, rows: Int64s, ids: Int64s, n_lists: Int64s
) -> Iterator[tuple[Any, ...]]:
    block = snapshot.articles.iloc[rows]
    dates = block["date"].dt.strftime("%Y-%m-%d").fillna("")
    return zip(
        ids[rows].tolist(),
        block["key"].tolist(),
        block["url"].tolist(),
        block["title"].str.slice(0, TEXT_LIMIT).tolist(),
        block["subtitle"].str.slice(0, TEXT_LIMIT).tolist(),
        block["author"].where(block["author"] != UNKNOWN_AUTHOR, "").tolist(),
        dates.tolist(),
        block["is_stub"].astype("int64").tolist(),
        block["tags"].map(len).tolist(),
        n_lists[rows].tolist(),
        strict=True,
    )


def _write_tags(connection: sqlite3.Connection, data: CatalogueData, ids: Int64s) -> pd.Index:
    """Write the tags and who has them; return their names in the order of their ids, from 1."""
    column = data.snapshot.articles["tags"]
    lengths = column.map(len).to_numpy(dtype=np.int64)
    flat = pd.Series([tag for tags in column for tag in tags], dtype="str")
    codes, names = pd.factorize(flat, sort=True)
    never_seen = set(data.target_tags).difference(names)
    tags = pd.Index([*map(str, names), *sorted(never_seen)], dtype="str")
    scores = data.per_tag.set_index("tag").reindex(tags)
    for name in SCORES:
        if name not in scores:
            scores[name] = np.nan
    is_target = tags.isin(data.target_tags)
    connection.executemany(
        "INSERT INTO tags (id, tag, is_target, f1, precision, recall, average_precision, "
        "support, predicted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        zip(
            range(1, len(tags) + 1),
            tags.tolist(),
            is_target.astype(int).tolist(),
            # SQLite keeps NaN as NULL.
            *(scores[name].astype("float64").tolist() for name in SCORES),
            strict=True,
        ),
    )
    articles = np.repeat(ids, lengths)
    position = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    _insert(connection, "INSERT INTO article_tags VALUES (?, ?, ?)", articles, position, codes + 1)
    return tags


def _write_lists(connection: sqlite3.Connection, snapshot: Snapshot, ids: Int64s) -> None:
    sizes = np.bincount(snapshot.list_index, minlength=len(snapshot.lists))
    connection.executemany(
        "INSERT INTO lists (id, name, size) VALUES (?, ?, ?)",
        zip(
            range(1, len(snapshot.lists) + 1),
            (str(name)[:TEXT_LIMIT] for name in snapshot.lists),
            sizes.tolist(),
            strict=True,
        ),
    )
    _insert(
        connection,
        "INSERT INTO memberships VALUES (?, ?)",
        ids[snapshot.article_index],
        snapshot.list_index.astype(np.int64) + 1,
    )


def _write_predictions(
    connection: sqlite3.Connection, file: Path, urls: pd.Index, ids: Int64s, tags: pd.Index
) -> tuple[int, int]:
    """Write the assigned and the best tags of each story; return how many, and how many unknown."""
    written = unknown = 0
    last, behind = -1, 0
    for block in _blocks(file, ["story", "tag", "score", "assigned", "threshold"]):
        story, tag = _codes(block, urls, tags)
        known = (story >= 0) & (tag >= 0)
        unknown += int((~known).sum())
        story, tag, block = story[known], tag[known], block[known]
        if not len(story):
            continue
        # A story's rows may go on from the block before: its positions do, too.
        begins = np.flatnonzero(np.r_[True, story[1:] != story[:-1]])
        carried = behind if story[0] == last else 0
        lengths = np.diff(np.r_[begins, len(story)])
        position = np.arange(len(story)) - np.repeat(begins, lengths)
        position[: lengths[0]] += carried
        last, behind = int(story[-1]), int(position[-1]) + 1
        assigned = block["assigned"].to_numpy(dtype=np.int64)
        kept = (assigned == 1) | (position < BEST_TAGS)
        _insert(
            connection,
            # A story that comes twice keeps what came first.
            "INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?)",
            ids[story[kept]],
            position[kept],
            tag[kept] + 1,
            block["score"].to_numpy(dtype=np.float64)[kept],
            assigned[kept],
            block["threshold"].to_numpy(dtype=np.float64)[kept],
        )
        written += int(kept.sum())
    return written, unknown


def _write_explanations(
    connection: sqlite3.Connection, file: Path, urls: pd.Index, ids: Int64s, tags: pd.Index
) -> tuple[int, int]:
    """Write the explanations; return how many, and how many of unknown stories."""
    written = unknown = 0
    for block in _blocks(file, ["story", "tag", "score", "score_without_graph", *EVIDENCE]):
        story, tag = _codes(block, urls, tags)
        known = (story >= 0) & (tag >= 0)
        unknown += int((~known).sum())
        connection.executemany(
            "INSERT OR REPLACE INTO explanations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            zip(
                ids[story[known]].tolist(),
                (tag[known] + 1).tolist(),
                *(
                    block[known][name].astype("float64").tolist()
                    for name in ("score", "score_without_graph")
                ),
                *(block[known][name].astype("str").tolist() for name in EVIDENCE),
                strict=True,
            ),
        )
        written += int(known.sum())
    return written, unknown


def _codes(block: pd.DataFrame, urls: pd.Index, tags: pd.Index) -> tuple[Int64s, Int64s]:
    """Return the places of each row's story and tag; -1 where there is none."""
    story, tag = (
        np.asarray(index.get_indexer(pd.Index(block[name])), dtype=np.int64)
        for index, name in ((urls, "story"), (tags, "tag"))
    )
    return story, tag


def _blocks(file: Path, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=BLOCK, columns=list(columns)):
            yield batch.to_pandas()


def _insert(connection: sqlite3.Connection, statement: str, *columns: npt.NDArray[Any]) -> None:
    """Insert rows given as columns, a block at a time: Python objects of one block only."""
    for start, stop in pairwise([*range(0, len(columns[0]), BLOCK), len(columns[0])]):
        block = (column[start:stop].tolist() for column in columns)
        connection.executemany(statement, zip(*block, strict=True))
