"""Predictions and suggestions in SQLite: only differences are written, readers see whole sets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.progress import track
from tagsage.store.database import BATCH, Database, Int64s
from tagsage.store.predictions import (
    Grouped,
    Maker,
    TagRows,
    WriteReport,
    check_predictions,
    differences,
    predictions_frame,
    unknown_stories,
)

ARTICLES = 2_500  # a transaction

_UNKNOWN = """
    SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM articles WHERE url = value)
"""
_ARTICLE_IDS = """
    SELECT coalesce((SELECT min(id) FROM articles WHERE url = value), -1)
    FROM json_each(?) ORDER BY key
"""


class TagTable:
    """A table of articles' tags as a model gives them, and the sets it was written in.

    A row holds from the set that wrote it up to the set in which it is no more. So the rows of the
    newest complete set, which are what readers see, and those of one that is being written are in
    the table together, and what is the same in both is there once.

    Parameters
    ----------
    database : Database
        The file.
    rows, sets : str
        Names of the two tables; the statements below call them ``tag_rows`` and ``tag_sets``.
    """

    def __init__(self, database: Database, rows: str, sets: str) -> None:
        self._database = database
        self.rows = rows
        self.sets = sets

    rows: str
    sets: str

    def write(self, predictions: pd.DataFrame, maker: Maker | None) -> WriteReport:
        """Make the table hold these rows and no others; see :class:`ArticleStore`.

        Parameters
        ----------
        predictions : pandas.DataFrame
            The rows.
        maker : Maker or None
            What made all of them; None: their columns say it, and a row that is there already but
            made by something else is another.
        """
        check_predictions(predictions, with_makers=maker is None)
        wanted = Grouped.of(predictions, maker)
        with self._database.told():
            _check_stories(self._database, wanted.stories)
            sets = self._begin(wanted.makers)
            number = int(sets[-1])
            maker_of = self._makers(wanted.makers) if maker is None else None
            tag_ids = _tag_ids(self._database, wanted.tags)
            report = WriteReport()
            seen = [np.empty(0, dtype=np.int64)]
            for start in track(range(0, len(wanted.stories), ARTICLES), f"storing {self.rows}"):
                stories = wanted.stories[start : start + ARTICLES]
                rows = wanted.part(start, start + len(stories))
                with self._database.transaction():
                    self._check_set(number)
                    (ids,) = self._columns(_ARTICLE_IDS, [np.int64], [json.dumps(stories)])
                    rows = rows._replace(article=ids[rows.article], tag=tag_ids[rows.tag])
                    # What a load has removed since it was looked for is left out.
                    rows = rows.take(rows.article >= 0)
                    report += self._write_rows(sets, ids, rows, maker_of)
                seen.append(ids)
            report += self._end_others(number, np.concatenate(seen))
            with self._database.transaction():
                self._check_set(number)
                self._execute("UPDATE tag_sets SET complete = 1 WHERE id <= ?", (number,))
            # From here on readers see the new ones. What nobody sees any more goes.
            self._remove_ended(number)
        return report

    def read(self) -> pd.DataFrame:
        """Return the rows of the newest complete set, as ``read_predictions`` does."""
        with self._database.told(), self._database.transaction("DEFERRED"):
            number = self._newest()
            run_ids, runs, versions = self._columns(
                "SELECT id, run_id, model_version FROM tag_sets ORDER BY id",
                [np.int64, object, object],
            )
            article_ids, keys, urls = self._columns(
                "SELECT id, key, url FROM articles ORDER BY id", [np.int64, object, object]
            )
            tag_ids, tags = self._columns(
                "SELECT id, name FROM tag_names ORDER BY id", [np.int64, object]
            )
            article, tag, score, assigned, first_set = self._columns(
                "SELECT article_id, tag_id, score, assigned, first_set FROM tag_rows "
                "WHERE first_set <= ?1 AND (end_set IS NULL OR end_set > ?1)",
                [np.int64, np.int64, np.float64, np.int64, np.int64],
                (number,),
            )
        return predictions_frame(
            (keys.tolist(), urls.tolist()),
            tags.tolist(),
            [Maker(*one) for one in zip(runs, versions, strict=True)],
            TagRows(
                np.searchsorted(article_ids, article),
                np.searchsorted(tag_ids, tag),
                score,
                assigned,
                np.searchsorted(run_ids, first_set),
            ),
        )

    def count(self) -> int:
        """Return how many rows readers see; within a transaction."""
        (count,) = self._execute(
            "SELECT count(*) FROM tag_rows "
            "WHERE first_set <= ?1 AND (end_set IS NULL OR end_set > ?1)",
            (self._newest(),),
        ).fetchone()
        return int(count)

    def _newest(self) -> int:
        (newest,) = self._execute(
            "SELECT coalesce(max(id), 0) FROM tag_sets WHERE complete"
        ).fetchone()
        return int(newest)

    def _begin(self, makers: Sequence[Maker]) -> Int64s:
        """Begin a set for each maker, all of which the last one completes.

        Those that are not complete are given up, and their traces are removed.
        """
        with self._database.transaction():
            newest = self._newest()
            given_up = self._execute("DELETE FROM tag_sets WHERE NOT complete").rowcount
            if given_up:
                self._execute("DELETE FROM tag_rows WHERE first_set > ?", (newest,))
                self._execute("UPDATE tag_rows SET end_set = NULL WHERE end_set > ?", (newest,))
            numbers = [
                self._execute(
                    "INSERT INTO tag_sets (run_id, model_version, complete) VALUES (?, ?, 0)", maker
                ).lastrowid
                for maker in makers
            ]
        return np.array(numbers, dtype=np.int64)

    def _makers(self, makers: Sequence[Maker]) -> dict[int, int]:
        """Return of each set the place of what made it among some makers; -1 for none of them."""
        place_of = {maker: place for place, maker in enumerate(makers)}
        sets = self._execute("SELECT id, run_id, model_version FROM tag_sets")
        return {number: place_of.get(Maker(*made_by), -1) for number, *made_by in sets}

    def _write_rows(
        self, sets: Int64s, articles: Int64s, wanted: TagRows, maker_of: dict[int, int] | None
    ) -> WriteReport:
        """Write what differs of some articles; within a transaction."""
        number = int(sets[-1])
        article, tag, score, assigned, first_set = self._columns(
            "SELECT article_id, tag_id, score, assigned, first_set "
            "FROM json_each(?) CROSS JOIN tag_rows ON article_id = value "
            "WHERE end_set IS NULL",
            [np.int64, np.int64, np.float64, np.int64, np.int64],
            [json.dumps(articles.tolist())],
        )
        made_by = (
            [maker_of[one] for one in first_set.tolist()] if maker_of is not None else first_set
        )
        stored = TagRows(article, tag, score, assigned, np.array(made_by, dtype=np.int64))
        new, ended, report = differences(wanted, stored, by_maker=maker_of is not None)
        self._execute_many(
            "UPDATE tag_rows SET end_set = ? WHERE article_id = ? AND tag_id = ? AND first_set = ?",
            zip(
                repeat(number),
                *(column[ended].tolist() for column in (stored.article, stored.tag, first_set)),
                strict=False,
            ),
        )
        self._execute_many(
            "INSERT INTO tag_rows VALUES (?, ?, ?, ?, ?, NULL)",
            zip(
                *(
                    column.tolist()
                    for column in wanted._replace(maker=sets[wanted.maker]).take(new)
                ),
                strict=True,
            ),
        )
        return report

    def _end_others(self, number: int, seen: Int64s) -> WriteReport:
        """End the rows of all articles but those seen."""
        (held,) = self._columns(
            "SELECT DISTINCT article_id FROM tag_rows WHERE end_set IS NULL", [np.int64]
        )
        gone = np.setdiff1d(held, seen)
        removed = 0
        for start in range(0, len(gone), ARTICLES):
            part = json.dumps(gone[start : start + ARTICLES].tolist())
            with self._database.transaction():
                self._check_set(number)
                removed += self._execute(
                    "UPDATE tag_rows SET end_set = ? WHERE end_set IS NULL "
                    "AND article_id IN (SELECT value FROM json_each(?))",
                    (number, part),
                ).rowcount
        return WriteReport(removed=removed)

    def _remove_ended(self, number: int) -> None:
        """Remove what readers of a complete set do not see."""
        (articles,) = self._columns(
            "SELECT DISTINCT article_id FROM tag_rows WHERE end_set <= ?", [np.int64], (number,)
        )
        # A model that is new ends nearly all rows: others that write do not wait for all of them.
        for start in range(0, len(articles), ARTICLES):
            part = json.dumps(articles[start : start + ARTICLES].tolist())
            with self._database.transaction():
                self._execute(
                    "DELETE FROM tag_rows WHERE end_set <= ? "
                    "AND article_id IN (SELECT value FROM json_each(?))",
                    (number, part),
                )
        with self._database.transaction():
            self._execute(
                "DELETE FROM tag_sets WHERE id < ? AND id NOT IN (SELECT first_set FROM tag_rows)",
                (number,),
            )

    def _check_set(self, number: int) -> None:
        if not self._execute("SELECT 1 FROM tag_sets WHERE id = ?", (number,)).fetchone():
            msg = (
                f"A run that began later writes its {self.rows} to {self._database.path}; "
                "these were not kept."
            )
            raise TagsageError(msg)

    def _named(self, statement: str) -> str:
        return statement.replace("tag_rows", self.rows).replace("tag_sets", self.sets)

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._database.execute(self._named(statement), values)

    def _execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        self._database.execute_many(self._named(statement), rows)

    def _columns(
        self, query: str, kinds: Sequence[Any], values: Sequence[object] = ()
    ) -> list[npt.NDArray[Any]]:
        return self._database.columns(self._named(query), kinds, values)


def _check_stories(database: Database, stories: Sequence[str]) -> None:
    unknown: list[str] = []
    with database.transaction("DEFERRED"):
        for start in range(0, len(stories), BATCH):
            part = json.dumps(stories[start : start + BATCH])
            unknown += [url for (url,) in database.execute(_UNKNOWN, (part,))]
    unknown_stories(unknown)


def _tag_ids(database: Database, tags: Sequence[str]) -> Int64s:
    """Store the names that are new; return the ids in the order of `tags`."""
    with database.transaction():
        database.execute_many(
            "INSERT INTO tag_names (name) VALUES (?) ON CONFLICT DO NOTHING",
            ((tag,) for tag in tags),
        )
        id_of = dict(database.execute("SELECT name, id FROM tag_names"))
    return np.array([id_of[tag] for tag in tags], dtype=np.int64)
