"""Predicted tags in Neo4j, as relationships: the newest complete set is what readers see."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from neo4j import ManagedTransaction

from tagsage.errors import TagsageError
from tagsage.progress import track
from tagsage.store.base import check_predictions, predictions_frame, unknown_stories
from tagsage.store.neo4j_corpus import remove_orphans, write_full_names
from tagsage.store.neo4j_database import (
    Neo4jDatabase,
    Rows,
    columns,
    indexable,
    lock_state,
    query,
    read_state,
)

BATCH = 20_000  # predictions a transaction
ARTICLES = 1_000  # articles whose older predictions go in one transaction

_KNOWN = """
    UNWIND range(0, size($urls) - 1) AS number MATCH (a:Article {url: $urls[number]})
    RETURN DISTINCT number
"""
_BEGIN_SET = """
    MATCH (s:TagsageStore {name: 'tagsage'}) SET s.sets = s.sets + 1
    CREATE (p:PredictionSet {
        number: s.sets, run_id: $run_id, model_version: $model_version, complete: false, written: 0
    })
    RETURN p.number
"""
_WRITTEN = "MATCH (p:PredictionSet {number: $number}) RETURN p.written"
_SET_WRITTEN = "MATCH (p:PredictionSet {number: $number}) SET p.written = $written"
_TAG_IDS = "UNWIND $names AS name MERGE (t:Tag {name: name}) RETURN name, id(t)"
_WRITE = """
    UNWIND $rows AS row
    MATCH (a:Article {url: row[0]}) MATCH (t:Tag) WHERE id(t) = row[1]
    CREATE (a)-[:PREDICTED_TAG {
        score: row[2], assigned: row[3] = 1, model_version: $model_version, run_id: $run_id,
        set_number: $number, position: row[4]
    }]->(t)
"""
_COMPLETE = "MATCH (p:PredictionSet {number: $number}) SET p.complete = true RETURN p.number"
_WITH_OLDER = """
    MATCH (a:Article)
    WHERE EXISTS { (a)-[p:PREDICTED_TAG]->() WHERE p.set_number < $number }
    RETURN a.key
"""
_REMOVE_OLDER = """
    UNWIND $keys AS key
    MATCH (:Article {key: key})-[p:PREDICTED_TAG]->() WHERE p.set_number < $number DELETE p
"""
_REMOVE_SETS = "MATCH (p:PredictionSet) WHERE p.number < $number DETACH DELETE p"
_NEWEST = """
    MATCH (p:PredictionSet) WHERE p.complete
    RETURN p.number, p.run_id, p.model_version ORDER BY p.number DESC LIMIT 1
"""
_READ = """
    MATCH (a:Article)-[p:PREDICTED_TAG]->(t:Tag) WHERE p.set_number = $number
    RETURN coalesce(a.full_url, a.url), collect(id(t)), collect(p.score),
        collect(p.assigned), collect(p.position)
"""
_READ_TAGS = "MATCH (t:Tag) RETURN id(t), coalesce(t.full_name, t.name)"
_COUNT = "MATCH ()-[p:PREDICTED_TAG]->() WHERE p.set_number = $number RETURN count(p)"
_COUNTS = """
    RETURN COUNT { (:Article) }, COUNT { MATCH (a:Article) WHERE a.is_stub },
        COUNT { (:List) }, COUNT { ()-[:IN_LIST]->(:List) }
"""

T = TypeVar("T")


def write_predictions(
    database: Neo4jDatabase, predictions: pd.DataFrame, *, run_id: str, model_version: str
) -> None:
    """Replace all predictions; see :class:`ArticleStore`."""
    check_predictions(predictions)
    story_of, stories = pd.factorize(predictions["story"])
    urls = [indexable(story) for story in stories]
    _check_stories(database, list(stories), urls)
    told = {"run_id": run_id, "model_version": model_version}
    transact = _locked(database)
    ((number,),) = transact(query(_BEGIN_SET, **told))
    columns_ = (
        [urls[place] for place in story_of],
        predictions["tag"].tolist(),
        predictions["score"].astype("float64").tolist(),
        predictions["assigned"].astype("int64").tolist(),
    )
    rows = list(zip(*columns_, range(len(predictions)), strict=True))
    for start in track(range(0, len(rows), BATCH), "storing predictions"):
        part = rows[start : start + BATCH]

        def write(tx: ManagedTransaction, start: int = start, part: Sequence[Any] = part) -> None:
            # After a commit that was not heard of, there is nothing left to do.
            if _written(database, tx, number) == start:
                _write_rows(tx, part, {**told, "number": number})
                end = start + len(part)
                tx.run(_SET_WRITTEN, number=number, written=end).consume()

        transact(write)

    def complete(tx: ManagedTransaction) -> None:
        _written(database, tx, number)
        tx.run(_COMPLETE, number=number).consume()

    transact(complete)
    _remove_older(database, number)


def _check_stories(database: Neo4jDatabase, stories: Sequence[str], urls: Sequence[str]) -> None:
    unknown: list[str] = []
    for start in range(0, len(urls), BATCH):
        part = Rows(urls[start : start + BATCH])
        known = {row[0] for row in database.transact(query(_KNOWN, urls=part))}
        unknown += [stories[start + i] for i in range(len(part)) if i not in known]
    unknown_stories(unknown)


def _written(database: Neo4jDatabase, tx: ManagedTransaction, number: int) -> int:
    record = tx.run(_WRITTEN, number=number).single()
    if record is None:
        msg = (
            "A run that began later has written its predictions meanwhile to "
            f"{database.name}; these were not kept."
        )
        raise TagsageError(msg)
    return int(record[0])


def _write_rows(tx: ManagedTransaction, rows: Sequence[Any], told: dict[str, Any]) -> None:
    names = list(dict.fromkeys(row[1] for row in rows))
    short = {name: indexable(name) for name in names}
    id_of = dict(tx.run(_TAG_IDS, names=Rows(short.values())).values())
    write_full_names(tx, "Tag", names)
    sent = Rows(
        [url, id_of[short[tag]], score, assigned, position]
        for url, tag, score, assigned, position in rows
    )
    tx.run(_WRITE, {**told, "rows": sent}).consume()


def _remove_older(database: Neo4jDatabase, number: int) -> None:
    """Remove what is older than a complete set, complete or not."""
    transact = _locked(database)
    # First of all, lest a slower writer go on filling an older one.
    transact(query(_REMOVE_SETS, number=number))
    keys = [row[0] for row in transact(query(_WITH_OLDER, number=number))]
    for start in range(0, len(keys), ARTICLES):
        part = Rows(keys[start : start + ARTICLES])
        transact(query(_REMOVE_OLDER, keys=part, number=number))
    remove_orphans(transact, "Tag")


def _locked(database: Neo4jDatabase) -> Callable[[Callable[[ManagedTransaction], T]], T]:
    """Return what does work in a transaction that holds the store's write lock."""
    token = uuid.uuid4().hex

    def transact(work: Callable[[ManagedTransaction], T]) -> T:
        def locked(tx: ManagedTransaction) -> T:
            lock_state(tx, token)
            return work(tx)

        return database.transact(locked)

    return transact


def read_predictions(database: Neo4jDatabase) -> pd.DataFrame:
    """Read the predictions; see :class:`ArticleStore`."""
    while (frame := database.transact(_read)) is None:
        # New ones became whole meanwhile, and the older ones go; or a load removed articles.
        continue
    return frame


def _read(tx: ManagedTransaction) -> pd.DataFrame | None:
    newest, state = _newest(tx), read_state(tx)
    number, run_id, model_version = newest
    stories: list[str] = []
    of_story: list[int] = []
    tags: list[int] = []
    scores: list[float] = []
    assigned: list[bool] = []
    positions: list[int] = []
    for urls, *parts in columns(tx, _READ, number=number):
        lengths = [len(one) for one in parts[0]]
        of_story += np.repeat(np.arange(len(urls)) + len(stories), lengths).tolist()
        stories += urls
        for gathered, part in zip((tags, scores, assigned, positions), parts, strict=True):
            gathered.extend(value for one in part for value in one)  # type: ignore[attr-defined]
    names: dict[int, str] = {}
    for ids, texts in columns(tx, _READ_TAGS):
        names.update(zip(ids, texts, strict=True))
    if _newest(tx) != newest or read_state(tx) != state or not names.keys() >= set(tags):
        return None
    order = np.argsort(np.array(positions, dtype=np.int64), kind="stable")
    story = pd.array(stories, dtype="str").take(np.array(of_story, dtype=np.int64)[order])
    tag_ids, tag_of = np.unique(np.array(tags, dtype=np.int64)[order], return_inverse=True)
    tag = pd.array([names[int(one)] for one in tag_ids], dtype="str").take(tag_of)
    return predictions_frame(
        story,
        tag,
        np.array(scores, dtype=np.float64)[order],
        np.array(assigned, dtype=np.int64)[order],
        run_id=run_id,
        model_version=model_version,
    )


def _newest(tx: ManagedTransaction) -> tuple[int, str, str]:
    record = tx.run(_NEWEST).single()
    return (0, "", "") if record is None else (record[0], record[1], record[2])


def read_counts(database: Neo4jDatabase) -> dict[str, int]:
    """Return how much there is of everything; see :class:`ArticleStore`."""

    def count(tx: ManagedTransaction) -> dict[str, int] | None:
        newest = _newest(tx)
        names = ("articles", "stubs", "lists", "memberships")
        counts = dict(zip(names, tx.run(_COUNTS).single(strict=True), strict=True))
        counts["predictions"] = tx.run(_COUNT, number=newest[0]).single(strict=True)[0]
        return counts if _newest(tx) == newest else None

    while (counts := database.transact(count)) is None:
        continue
    return counts
