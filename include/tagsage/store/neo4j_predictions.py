"""Predictions and suggestions in Neo4j, as relationships: readers see the newest complete set."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from neo4j import ManagedTransaction

from tagsage.errors import TagsageError
from tagsage.progress import track
from tagsage.store.neo4j_corpus import remove_orphans, write_full_names
from tagsage.store.neo4j_database import (
    Int64s,
    Neo4jDatabase,
    Rows,
    columns,
    indexable,
    lock_state,
    query,
    read_state,
)
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

ARTICLES = 1_000  # a transaction
STORIES = 20_000  # looked for in one

# The statements are those of predictions; for suggestions other labels take their place.
_KNOWN = """
    UNWIND range(0, size($urls) - 1) AS number MATCH (a:Article {url: $urls[number]})
    RETURN DISTINCT number
"""
# A killed writer cannot end its set, and a slower one must not.
_GIVE_UP = "MATCH (p:PredictionSet) WHERE NOT p.complete SET p.given_up = true RETURN p.number"
_CREATE_SET = """
    MATCH (s:TagsageStore {name: 'tagsage'}) SET s.sets = s.sets + 1
    CREATE (p:PredictionSet {
        number: s.sets, run_id: $run_id, model_version: $model_version, complete: false
    })
    RETURN p.number
"""
_IS_THERE = """
    MATCH (p:PredictionSet {number: $number}) WHERE p.given_up IS NULL RETURN p.number
"""
_NEWEST = """
    OPTIONAL MATCH (p:PredictionSet) WHERE p.complete RETURN coalesce(max(p.number), 0)
"""
_WITH_TRACES = """
    MATCH (a:Article) WHERE EXISTS {
        (a)-[p:PREDICTED_TAG]->() WHERE p.set_number > $newest OR p.end_number > $newest
    }
    RETURN a.key
"""
_REMOVE_TRACES = """
    UNWIND $keys AS key
    MATCH (:Article {key: key})-[p:PREDICTED_TAG]->() WHERE p.set_number > $newest DELETE p
"""
_REVIVE = """
    UNWIND $keys AS key
    MATCH (:Article {key: key})-[p:PREDICTED_TAG]->() WHERE p.end_number > $newest
    SET p.end_number = null
"""
_REMOVE_GIVEN_UP = "MATCH (p:PredictionSet) WHERE p.number IN $numbers DELETE p"
_TAG_IDS = "UNWIND $names AS name MERGE (t:Tag {name: name}) RETURN name, id(t)"
_READ_SOME = """
    UNWIND range(0, size($urls) - 1) AS number MATCH (a:Article {url: $urls[number]})
    WITH number, a ORDER BY id(a)
    WITH number, head(collect(a)) AS a
    RETURN number, id(a), a.key, [
        (a)-[p:PREDICTED_TAG]->(t:Tag) WHERE p.end_number IS NULL |
        [id(t), p.score, coalesce(p.assigned, true), p.set_number, id(p)]
    ]
"""
_END = """
    UNWIND $ids AS one MATCH ()-[p:PREDICTED_TAG]->() WHERE id(p) = one SET p.end_number = $number
"""
_WRITE = """
    UNWIND $rows AS row
    WITH row, $sets[row[4]] AS made
    MATCH (a:Article) WHERE id(a) = row[0] MATCH (t:Tag) WHERE id(t) = row[1]
    CREATE (a)-[:PREDICTED_TAG {
        score: row[2], assigned: row[3] = 1, model_version: made.model_version,
        run_id: made.run_id, set_number: made.number
    }]->(t)
"""
_WITH_ANY = """
    MATCH (a:Article) WHERE EXISTS { (a)-[p:PREDICTED_TAG]->() WHERE p.end_number IS NULL }
    RETURN a.key
"""
_END_ALL = """
    UNWIND $keys AS key
    MATCH (:Article {key: key})-[p:PREDICTED_TAG]->() WHERE p.end_number IS NULL
    SET p.end_number = $number RETURN count(p)
"""
_COMPLETE = "MATCH (p:PredictionSet) WHERE p.number IN $numbers SET p.complete = true"
_WITH_ENDED = """
    MATCH (a:Article) WHERE EXISTS { (a)-[p:PREDICTED_TAG]->() WHERE p.end_number <= $number }
    RETURN a.key
"""
_REMOVE_ENDED = """
    UNWIND $keys AS key
    MATCH (:Article {key: key})-[p:PREDICTED_TAG]->() WHERE p.end_number <= $number DELETE p
"""
_IN_USE = "MATCH (:Article)-[p:PREDICTED_TAG]->(:Tag) RETURN collect(DISTINCT p.set_number)"
_REMOVE_SETS = """
    MATCH (p:PredictionSet) WHERE p.number < $number AND NOT p.number IN $kept DELETE p
"""
_READ = """
    MATCH (a:Article)-[p:PREDICTED_TAG]->(t:Tag)
    WHERE p.set_number <= $number AND (p.end_number IS NULL OR p.end_number > $number)
    RETURN coalesce(a.full_key, a.key), coalesce(a.full_url, a.url), collect(id(t)),
        collect(p.score), collect(coalesce(p.assigned, true)), collect(p.set_number)
"""
_READ_TAGS = "MATCH (t:Tag) RETURN id(t), coalesce(t.full_name, t.name)"
_READ_SETS = "MATCH (p:PredictionSet) RETURN p.number, p.model_version, p.run_id"
_COUNT = """
    MATCH (:Article)-[p:PREDICTED_TAG]->(:Tag)
    WHERE p.set_number <= $number AND (p.end_number IS NULL OR p.end_number > $number)
    RETURN count(p)
"""

T = TypeVar("T")


class TagRelationships:
    """Relationships from articles to tags as a model gives them, and the sets they came in.

    A relationship holds from the set that wrote it, ``set_number``, up to the set in which it is no
    more, ``end_number``; so what is the same in the newest complete set and in one that is being
    written is there once.

    Parameters
    ----------
    database : Neo4jDatabase
        The database.
    what : str
        ``predictions`` or ``suggestions``.
    """

    def __init__(self, database: Neo4jDatabase, what: str) -> None:
        self._database = database
        self.what = what

    def write(self, predictions: pd.DataFrame, maker: Maker | None) -> WriteReport:
        """Make the database hold these and no others; see :class:`ArticleStore`.

        Parameters
        ----------
        predictions : pandas.DataFrame
            The rows.
        maker : Maker or None
            What made all of them; None: their columns say it, and one that is there already but
            made by something else is another.
        """
        check_predictions(predictions, with_makers=maker is None)
        wanted = Grouped.of(predictions, maker)
        urls = [indexable(story) for story in wanted.stories]
        self._check_stories(wanted.stories, urls)
        numbers = self._begin(wanted.makers)
        number = numbers[-1]
        fenced = self._fenced(number)
        report = WriteReport()
        seen: set[str] = set()
        for start in track(range(0, len(urls), ARTICLES), f"storing {self.what}"):
            part = urls[start : start + ARTICLES]
            rows = wanted.part(start, start + len(part))
            batch = _Batch(self, part, rows, wanted, by_maker=maker is None)
            fenced(partial(batch.write, numbers=numbers))
            report += batch.report
            seen.update(batch.keys)
        report += self._end_others(fenced, number, seen)
        fenced(self.query(_COMPLETE, numbers=numbers))
        self._remove_ended(number)
        return report

    def read(self) -> pd.DataFrame:
        """Return the newest complete set; see :class:`ArticleStore`."""
        while (frame := self._database.transact(self._read)) is None:
            # New ones became whole meanwhile, and the older ones go; or a load removed articles.
            continue
        return frame

    def count(self, tx: ManagedTransaction) -> int:
        """Return how many readers see."""
        count = tx.run(self.named(_COUNT), number=self.newest(tx)).single(strict=True)[0]
        return int(count)

    def newest(self, tx: ManagedTransaction) -> int:
        """Return the number of the newest complete set; 0 when there is none."""
        return int(tx.run(self.named(_NEWEST)).single(strict=True)[0])

    def named(self, statement: str) -> str:
        """Return a statement on predictions as one on what this is."""
        if self.what == "predictions":
            return statement
        return (
            statement
            .replace("PredictionSet", "SuggestionSet")
            .replace("PREDICTED_TAG", "SUGGESTED_TAG")
            # All of them are; a property that says so would say nothing.
            .replace("assigned: row[3] = 1, ", "")
        )

    def query(self, statement: str, **parameters: Any) -> Callable[[ManagedTransaction], Any]:
        """Return the work that runs a statement and returns its rows."""
        return query(self.named(statement), **parameters)

    def _check_stories(self, stories: Sequence[str], urls: Sequence[str]) -> None:
        unknown: list[str] = []
        for start in range(0, len(urls), STORIES):
            part = Rows(urls[start : start + STORIES])
            known = {row[0] for row in self._database.transact(query(_KNOWN, urls=part))}
            unknown += [stories[start + i] for i in range(len(part)) if i not in known]
        unknown_stories(unknown)

    def _begin(self, makers: Sequence[Maker]) -> list[int]:
        """Begin a set for each maker; others that are not complete are given up without a trace."""

        def begin(tx: ManagedTransaction) -> tuple[list[int], list[int], int]:
            given_up = [row[0] for row in tx.run(self.named(_GIVE_UP)).values()]
            create = self.named(_CREATE_SET)
            numbers = [tx.run(create, one._asdict()).single(strict=True)[0] for one in makers]
            return numbers, given_up, self.newest(tx)

        numbers, given_up, newest = _locked(self._database)(begin)
        if given_up:
            fenced = self._fenced(numbers[-1])
            with_traces = fenced(self.query(_WITH_TRACES, newest=newest))
            for part in _parts([row[0] for row in with_traces]):
                fenced(self.query(_REMOVE_TRACES, keys=part, newest=newest))
                fenced(self.query(_REVIVE, keys=part, newest=newest))
            fenced(self.query(_REMOVE_GIVEN_UP, numbers=given_up))
        return numbers

    def _fenced(self, number: int) -> Callable[[Callable[[ManagedTransaction], T]], T]:
        """Return what does work under the store's write lock as long as the set is not given up."""
        locked = _locked(self._database)

        def transact(work: Callable[[ManagedTransaction], T]) -> T:
            def checked(tx: ManagedTransaction) -> T:
                if tx.run(self.named(_IS_THERE), number=number).single() is None:
                    msg = (
                        f"A run that began later writes its {self.what} to {self._database.name}; "
                        "these were not kept."
                    )
                    raise TagsageError(msg)
                return work(tx)

            return locked(checked)

        return transact

    def _end_others(
        self,
        fenced: Callable[[Callable[[ManagedTransaction], Any]], Any],
        number: int,
        seen: set[str],
    ) -> WriteReport:
        """End those of all articles but those seen."""
        held = [row[0] for row in fenced(self.query(_WITH_ANY))]
        removed = 0
        for part in _parts([key for key in held if key not in seen]):
            removed += fenced(self.query(_END_ALL, keys=part, number=number))[0][0]
        return WriteReport(removed=removed)

    def _remove_ended(self, number: int) -> None:
        """Remove what readers of a complete set do not see."""
        locked = _locked(self._database)
        keys = [row[0] for row in locked(self.query(_WITH_ENDED, number=number))]
        for part in _parts(keys):
            locked(self.query(_REMOVE_ENDED, keys=part, number=number))

        def remove_sets(tx: ManagedTransaction) -> None:
            kept = tx.run(self.named(_IN_USE)).single(strict=True)[0]
            tx.run(self.named(_REMOVE_SETS), number=number, kept=kept).consume()

        locked(remove_sets)
        remove_orphans(locked, "Tag")

    def _read(self, tx: ManagedTransaction) -> pd.DataFrame | None:
        newest, state = self.newest(tx), read_state(tx)
        keys: list[str] = []
        urls: list[str] = []
        article_of = [np.empty(0, dtype=np.int64)]
        gathered: list[list[Any]] = [[], [], [], []]
        for some_keys, some_urls, *parts in columns(tx, self.named(_READ), number=newest):
            lengths = [len(one) for one in parts[0]]
            article_of.append(np.repeat(np.arange(len(some_keys)) + len(keys), lengths))
            keys += some_keys
            urls += some_urls
            for all_values, part in zip(gathered, parts, strict=True):
                all_values.extend(value for one in part for value in one)
        tag_of, scores, assigned, set_of = gathered
        tags = _by_number(tx, _READ_TAGS)
        sets = _by_number(tx, self.named(_READ_SETS))
        whole = set(tags) >= set(tag_of) and set(sets) >= set(set_of)
        if self.newest(tx) != newest or read_state(tx) != state or not whole:
            return None
        return predictions_frame(
            (keys, urls),
            [name for (name,) in tags.values()],
            [Maker(run, version) for version, run in sets.values()],
            TagRows(
                np.concatenate(article_of),
                _places(tags, tag_of),
                np.array(scores, dtype=np.float64),
                np.array(assigned, dtype=np.int64),
                _places(sets, set_of),
            ),
        )


class _Batch:
    """What is wanted of some articles, and what became of it."""

    def __init__(
        self,
        kind: TagRelationships,
        urls: Sequence[str],
        rows: TagRows,
        wanted: Grouped,
        *,
        by_maker: bool,
    ) -> None:
        self._kind = kind
        self._urls = urls
        self._rows = rows
        self._tags = wanted.tags
        self._makers = wanted.makers
        self._by_maker = by_maker
        self.keys: list[str] = []
        self._report: WriteReport | None = None

    @property
    def report(self) -> WriteReport:
        return self._report or WriteReport()

    def write(self, tx: ManagedTransaction, numbers: Sequence[int]) -> None:
        """Write what differs; done again after a commit that was not heard of, nothing does."""
        found = tx.run(self._kind.named(_READ_SOME), urls=Rows(self._urls)).values()
        self.keys = [key for _, _, key, _ in found]
        # What a load has removed since it was looked for is left out.
        ids = np.full(len(self._urls), -1, dtype=np.int64)
        ids[[place for place, *_ in found]] = [article for _, article, _, _ in found]
        wanted = self._rows._replace(article=ids[self._rows.article])
        wanted = wanted.take(wanted.article >= 0)
        wanted = wanted._replace(tag=self._tag_ids(tx, wanted.tag))
        stored, relationships = _stored(found)
        if self._by_maker:
            stored = stored._replace(maker=self._maker_places(tx, stored.maker))
        new, ended, report = differences(wanted, stored, by_maker=self._by_maker)
        if len(ended):
            ids_ended = Rows(relationships[ended].tolist())
            tx.run(self._kind.named(_END), ids=ids_ended, number=numbers[-1]).consume()
        if len(new):
            rows = zip(*(column.tolist() for column in wanted.take(new)), strict=True)
            sets = [
                {**maker._asdict(), "number": number}
                for maker, number in zip(self._makers, numbers, strict=True)
            ]
            tx.run(self._kind.named(_WRITE), sets=sets, rows=Rows(map(list, rows))).consume()
        if self._report is None:
            self._report = report

    def _maker_places(self, tx: ManagedTransaction, set_of: Int64s) -> Int64s:
        """Return the places of what made some sets among the makers; -1 for none of them."""
        place_of = {maker: place for place, maker in enumerate(self._makers)}
        sets = _by_number(tx, self._kind.named(_READ_SETS))
        places = {
            number: place_of.get(Maker(run, version), -1) for number, (version, run) in sets.items()
        }
        return np.array([places.get(number, -1) for number in set_of.tolist()], dtype=np.int64)

    def _tag_ids(self, tx: ManagedTransaction, tag_of: Int64s) -> Int64s:
        """Return the tags' ids in the database, which gets those that are new."""
        used, place = np.unique(tag_of, return_inverse=True)
        names = [self._tags[one] for one in used]
        short = [indexable(name) for name in names]
        id_of = dict(tx.run(_TAG_IDS, names=Rows(short)).values())
        write_full_names(tx, "Tag", names)
        return np.array([id_of[name] for name in short], dtype=np.int64)[place]


def _stored(found: Sequence[Sequence[Any]]) -> tuple[TagRows, Int64s]:
    """Return what :data:`_READ_SOME` found, sets as makers, and the ids of the relationships."""
    articles = np.array([article for _, article, _, _ in found], dtype=np.int64)
    lengths = [len(pairs) for *_, pairs in found]
    flat = [pair for *_, pairs in found for pair in pairs]
    tag, score, assigned, sets, relationship = zip(*flat, strict=True) if flat else ((),) * 5
    return (
        TagRows(
            np.repeat(articles, np.array(lengths, dtype=np.int64)),
            np.array(tag, dtype=np.int64),
            np.array(score, dtype=np.float64),
            np.array(assigned, dtype=np.int64),
            np.array(sets, dtype=np.int64),
        ),
        np.array(relationship, dtype=np.int64),
    )


def _by_number(tx: ManagedTransaction, statement: str) -> dict[int, list[Any]]:
    return {row[0]: row[1:] for row in sorted(tx.run(statement).values())}


def _places(by_number: dict[int, Any], numbers: Sequence[int]) -> Int64s:
    """Return where numbers are among the sorted keys of a dict, which has them all."""
    keys = np.array(list(by_number), dtype=np.int64)
    return np.searchsorted(keys, np.array(numbers, dtype=np.int64)).astype(np.int64)


def _parts(keys: Sequence[str]) -> list[Rows]:
    return [Rows(keys[start : start + ARTICLES]) for start in range(0, len(keys), ARTICLES)]


def _locked(database: Neo4jDatabase) -> Callable[[Callable[[ManagedTransaction], T]], T]:
    """Return what does work in a transaction that holds the store's write lock."""
    token = uuid.uuid4().hex

    def transact(work: Callable[[ManagedTransaction], T]) -> T:
        def locked(tx: ManagedTransaction) -> T:
            lock_state(tx, token)
            return work(tx)

        return database.transact(locked)

    return transact
