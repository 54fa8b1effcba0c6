"""The embedded store: one SQLite file (WAL), the standard library's driver."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tagsage.corpus.model import ARTICLE_SCHEMA, Corpus
from tagsage.progress import track
from tagsage.store.base import (
    ArticleStore,
    InterruptedLoadError,
    LoadReport,
    numbered_memberships,
)
from tagsage.store.database import BATCH, Database, Int64s
from tagsage.store.predictions import Maker, WriteReport
from tagsage.store.snapshot import Snapshot, assemble
from tagsage.store.sqlite_predictions import TagTable

_SELECT_ARTICLES = """
    SELECT id, key, url, title, subtitle, author, date, tags, is_stub FROM articles
"""
_BATCH_TABLE = """
    CREATE TEMP TABLE batch (
        number INTEGER PRIMARY KEY, key, url, title, subtitle, author, date, tags, is_stub
    )
"""
_COUNT_NEW = """
    SELECT count(*) FROM temp.batch b
    WHERE NOT EXISTS (SELECT 1 FROM articles a WHERE a.key = b.key)
"""
_UPSERT = """
    INSERT INTO articles (key, url, title, subtitle, author, date, tags, is_stub)
    SELECT key, url, title, subtitle, author, date, tags, is_stub FROM temp.batch WHERE true
    ON CONFLICT (key) DO UPDATE SET
        url = excluded.url, title = excluded.title, subtitle = excluded.subtitle,
        author = excluded.author, date = excluded.date, tags = excluded.tags,
        is_stub = excluded.is_stub
    WHERE (articles.url, articles.title, articles.subtitle, articles.author,
           articles.date, articles.tags, articles.is_stub)
    IS NOT (excluded.url, excluded.title, excluded.subtitle, excluded.author,
            excluded.date, excluded.tags, excluded.is_stub)
"""
_NOTE_SEEN = """
    INSERT INTO temp.seen SELECT b.number, a.id FROM temp.batch b JOIN articles a ON a.key = b.key
"""
_DELETE_UNSEEN = "DELETE FROM articles WHERE id NOT IN (SELECT id FROM temp.seen)"
_DELETE_EMPTY_LISTS = """
    DELETE FROM lists
    WHERE NOT EXISTS (SELECT 1 FROM memberships m WHERE m.list_id = lists.id)
"""
_SELECT_PAIRS = "SELECT list_id, article_id FROM memberships"
_COUNTS = """
    SELECT
        (SELECT count(*) FROM articles) AS articles,
        (SELECT count(*) FROM articles WHERE is_stub) AS stubs,
        (SELECT count(*) FROM lists) AS lists,
        (SELECT count(*) FROM memberships) AS memberships
"""
_TWO_INTEGERS = (np.int64, np.int64)
_PAIR = np.int64(1) << np.int64(32)  # a pair of ids as one number: list * _PAIR + article


class SqliteStore(ArticleStore):
    """Articles, lists and predictions in one SQLite file.

    Parameters
    ----------
    path : pathlib.Path
        The file; made, with its folder, when it does not exist. ``<name>.lock`` beside it lets one
        process load at a time.

    Raises
    ------
    TagsageError
        When the file is no database, another program's, or a newer version's.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._predictions = TagTable(self._database, "predictions", "prediction_sets")
        self._suggestions = TagTable(self._database, "suggestions", "suggestion_sets")

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._database.close()

    # -- the corpus --------------------------------------------------------------------------

    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else; see the base class."""
        list_of, names, article_of = numbered_memberships(corpus)
        database = self._database
        with database.told(), database.locked(fcntl.LOCK_EX):
            with database.transaction():
                database.execute("UPDATE state SET loading = 1")
                database.execute("DROP TABLE IF EXISTS temp.batch")
                database.execute("DROP TABLE IF EXISTS temp.seen")
                database.execute(_BATCH_TABLE)
                database.execute("CREATE TEMP TABLE seen (number INTEGER PRIMARY KEY, id INTEGER)")
            added, updated = self._upsert_articles(corpus.articles)
            (article_ids,) = database.columns(
                "SELECT id FROM temp.seen ORDER BY number", [np.int64]
            )
            list_ids = self._insert_lists(names)
            wanted = list_ids[list_of] * _PAIR + article_ids[article_of]
            stored_lists, stored_articles = database.columns(_SELECT_PAIRS, _TWO_INTEGERS)
            stored = stored_lists * _PAIR + stored_articles
            new = np.setdiff1d(wanted, stored, assume_unique=True)
            gone = np.setdiff1d(stored, wanted, assume_unique=True)
            self._insert_pairs(np.sort(new))
            with database.transaction():
                database.execute_many(
                    "DELETE FROM memberships WHERE list_id = ? AND article_id = ?", _unpaired(gone)
                )
                # Their predictions and suggestions go with them.
                removed = database.execute(_DELETE_UNSEEN).rowcount
                database.execute(_DELETE_EMPTY_LISTS)
                database.execute("UPDATE state SET loading = 0")
        total = len(corpus.articles)
        return LoadReport(total, len(wanted), added, updated, removed, len(new), len(gone))

    def _upsert_articles(self, articles: pd.DataFrame) -> tuple[int, int]:
        added = updated = 0
        for start in track(range(0, len(articles), BATCH), "storing articles"):
            rows = _article_rows(articles.iloc[start : start + BATCH], start)
            with self._database.transaction():
                self._database.execute("DELETE FROM temp.batch")
                self._database.execute_many(
                    "INSERT INTO temp.batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
                )
                (missing,) = self._database.execute(_COUNT_NEW).fetchone()
                changed = self._database.execute(_UPSERT).rowcount
                self._database.execute(_NOTE_SEEN)
            added += missing
            updated += changed - missing
        return added, updated

    def _insert_lists(self, names: Sequence[str]) -> Int64s:
        """Store the names; return their ids in the same order."""
        for start in range(0, len(names), BATCH):
            with self._database.transaction():
                self._database.execute_many(
                    "INSERT INTO lists (name) VALUES (?) ON CONFLICT DO NOTHING",
                    ((name,) for name in names[start : start + BATCH]),
                )
        id_of = dict(self._database.execute("SELECT name, id FROM lists"))
        return np.array([id_of[name] for name in names], dtype=np.int64)

    def _insert_pairs(self, pairs: Int64s) -> None:
        for start in track(range(0, len(pairs), BATCH), "storing memberships"):
            with self._database.transaction():
                self._database.execute_many(
                    "INSERT INTO memberships VALUES (?, ?)", _unpaired(pairs[start : start + BATCH])
                )

    def snapshot(self) -> Snapshot:
        """Read the whole corpus; see the base class."""
        with (
            self._database.told(),
            self._database.locked(fcntl.LOCK_SH),
            self._database.transaction("DEFERRED"),
        ):
            if self._database.execute("SELECT loading FROM state").fetchone()[0]:
                raise InterruptedLoadError(str(self._database.path))
            ids, table = self._read_articles()
            names = list(self._database.execute("SELECT id, name FROM lists"))
            lists, articles = self._database.columns(_SELECT_PAIRS, _TWO_INTEGERS)
        return assemble(
            table,
            ids,
            [row[1] for row in names],
            np.array([row[0] for row in names], dtype=np.int64),
            (lists, articles),
        )

    def _read_articles(self) -> tuple[Int64s, pa.Table]:
        ids: list[int] = []
        batches = []
        cursor = self._database.execute(_SELECT_ARTICLES)
        while rows := cursor.fetchmany(BATCH):
            number, *texts_and_date, tags, is_stub = zip(*rows, strict=True)
            ids.extend(number)
            columns = [
                *texts_and_date,
                # One call for the whole batch, not one an article.
                json.loads(f"[{','.join(tags)}]"),
                list(map(bool, is_stub)),
            ]
            arrays = [
                pa.array(column, type=kind)
                for column, kind in zip(columns, ARTICLE_SCHEMA.types, strict=True)
            ]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=ARTICLE_SCHEMA))
        return np.array(ids, dtype=np.int64), pa.Table.from_batches(batches, schema=ARTICLE_SCHEMA)

    # -- the predictions ---------------------------------------------------------------------

    def write_predictions(
        self, predictions: pd.DataFrame, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Store the predictions that differ; see the base class."""
        return self._predictions.write(predictions, Maker(run_id, model_version))

    def restore_predictions(self, predictions: pd.DataFrame) -> WriteReport:
        """Store what another store gave; see the base class."""
        return self._predictions.write(predictions, None)

    def read_predictions(self) -> pd.DataFrame:
        """Read the predictions; see the base class."""
        return self._predictions.read()

    def write_suggestions(
        self, suggestions: pd.DataFrame, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Store the suggestions that differ; see the base class."""
        return self._suggestions.write(suggestions.assign(assigned=1), Maker(run_id, model_version))

    def restore_suggestions(self, suggestions: pd.DataFrame) -> WriteReport:
        """Store what another store gave; see the base class."""
        return self._suggestions.write(suggestions.assign(assigned=1), None)

    def read_suggestions(self) -> pd.DataFrame:
        """Read the suggestions; see the base class."""
        return self._suggestions.read().drop(columns="assigned")

    def counts(self) -> dict[str, int]:
        """Return how much there is of everything; see the base class."""
        with self._database.told(), self._database.transaction("DEFERRED"):
            cursor = self._database.execute(_COUNTS)
            names = [column[0] for column in cursor.description]
            counts = dict(zip(names, cursor.fetchone(), strict=True))
            counts["predictions"] = self._predictions.count()
            counts["suggestions"] = self._suggestions.count()
            return counts


def _article_rows(articles: pd.DataFrame, start: int) -> Iterator[tuple[object, ...]]:
    dates = articles["date"].to_numpy().astype("datetime64[s]").astype(np.int64)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return zip(
        range(start, start + len(articles)),
        *(articles[name].tolist() for name in ("key", "url", "title", "subtitle", "author")),
        dates.tolist(),
        map(encode, articles["tags"].tolist()),
        articles["is_stub"].astype(int).tolist(),
        strict=True,
    )


def _unpaired(pairs: Int64s) -> Iterator[tuple[int, int]]:
    return zip((pairs // _PAIR).tolist(), (pairs % _PAIR).tolist(), strict=True)
