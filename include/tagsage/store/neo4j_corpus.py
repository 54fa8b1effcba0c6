"""Articles, lists and memberships in Neo4j: only what differs is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from neo4j import ManagedTransaction

from tagsage.corpus.model import ARTICLE_SCHEMA, Corpus
from tagsage.progress import track
from tagsage.store import neo4j_database
from tagsage.store.base import LoadReport, numbered_memberships
from tagsage.store.neo4j_database import (
    Int64s,
    LoadLock,
    Neo4jDatabase,
    Rows,
    batches,
    columns,
    full,
    indexable,
    query,
    read_state,
    too_long,
)
from tagsage.store.snapshot import Snapshot, assemble

BATCH = 2_000  # articles a transaction, unless their texts weigh more than
BATCH_CHARACTERS = 2_000_000
NODES = 10_000  # names, pairs or nodes to remove a transaction

# How an article is read: in this order its fields stand in rows, too.
_FIELDS = """
    coalesce(a.full_key, a.key), coalesce(a.full_url, a.url), a.title, a.subtitle,
    [(w:Author)-[:WROTE]->(a) | coalesce(w.full_name, w.name)], a.date.epochSeconds,
    [(a)-[h:HAS_TAG]->(t:Tag) | [h.position, coalesce(t.full_name, t.name)]], a.is_stub
"""
_READ_SOME = f"UNWIND $keys AS key MATCH (a:Article {{key: key}}) RETURN {_FIELDS}"
_READ_ALL = f"MATCH (a:Article) RETURN id(a), {_FIELDS}"
_SET_FIELDS = """
    a.url = row[1], a.title = row[2], a.subtitle = row[3],
    a.date = datetime({epochSeconds: row[4]}), a.is_stub = row[5],
    a.full_key = row[6], a.full_url = row[7]
"""
_CREATE = f"UNWIND $rows AS row CREATE (a:Article {{key: row[0]}}) SET {_SET_FIELDS}"
_UPDATE = f"UNWIND $rows AS row MATCH (a:Article {{key: row[0]}}) SET {_SET_FIELDS}"
_FORGET = """
    UNWIND $keys AS key MATCH (a:Article {key: key})
    OPTIONAL MATCH (a)-[r:WROTE|HAS_TAG]-() DELETE r
"""
_WRITE_AUTHORS = """
    UNWIND $rows AS row MATCH (a:Article {key: row[0]})
    MERGE (w:Author {name: row[1]}) CREATE (w)-[:WROTE]->(a)
"""
_WRITE_TAGS = """
    UNWIND $rows AS row MATCH (a:Article {key: row[0]})
    MERGE (t:Tag {name: row[2]}) CREATE (a)-[:HAS_TAG {position: row[1]}]->(t)
"""
_FULL_NAMES = {
    label: f"UNWIND $rows AS row MATCH (n:{label} {{name: row[0]}}) SET n.full_name = row[1]"
    for label in ("Author", "List", "Tag")
}
# A new article has no vector yet: no vector set is whole any more.
_BREAK_VECTOR_SETS = "MATCH (v:VectorSet) SET v.complete = false, v.writer = null"
_ARTICLE_IDS = "UNWIND $keys AS key MATCH (a:Article {key: key}) RETURN key, id(a)"
_MERGE_LISTS = "UNWIND $names AS name MERGE (l:List {name: name}) RETURN name, id(l)"
_READ_LISTS = "MATCH (l:List) RETURN id(l), coalesce(l.full_name, l.name)"
_READ_PAIRS = "MATCH (l:List) RETURN id(l), [(l)<-[:IN_LIST]-(a:Article) | id(a)]"
# Not CREATE: a batch whose commit was done but not heard of is done again.
_WRITE_PAIRS = """
    UNWIND $pairs AS pair
    MATCH (l:List) WHERE id(l) = pair[0] MATCH (a:Article) WHERE id(a) = pair[1]
    MERGE (a)-[:IN_LIST]->(l)
"""
_REMOVE_PAIRS = """
    UNWIND $pairs AS pair
    MATCH (l:List) WHERE id(l) = pair[0] MATCH (a:Article) WHERE id(a) = pair[1]
    MATCH (a)-[m:IN_LIST]->(l) DELETE m
"""
_ALL_KEYS = "MATCH (a:Article) RETURN a.key"
_REMOVE_ARTICLES = "UNWIND $keys AS key MATCH (a:Article {key: key}) DETACH DELETE a"
# Those that nothing of ours joins to an article.
_REMOVE_ORPHANS = {
    label: f"MATCH (n:{label}) WHERE NOT EXISTS {{ (n)-[:{kinds}]-() }} "
    "WITH n LIMIT $limit DETACH DELETE n RETURN count(*)"
    for label, kinds in (
        ("List", "IN_LIST"),
        ("Author", "WROTE"),
        ("Tag", "HAS_TAG|PREDICTED_TAG|SUGGESTED_TAG"),
    )
}
_COUNTS = """
    RETURN COUNT { (:Article) }, COUNT { MATCH (a:Article) WHERE a.is_stub },
        COUNT { (:List) }, COUNT { ()-[:IN_LIST]->(:List) }
"""

Row = list[Any]


def load_corpus(database: Neo4jDatabase, corpus: Corpus) -> LoadReport:
    """Make the database hold this corpus and nothing else; see :class:`ArticleStore`."""
    list_of, names, article_of = numbered_memberships(corpus)
    with database.loading() as lock:
        added, updated = _write_articles(lock, corpus.articles)
        keys = [indexable(key) for key in corpus.articles["key"]]
        article_ids = _ids(lock, _ARTICLE_IDS, "keys", keys)
        list_ids = _write_lists(lock, names)
        wanted = np.column_stack((list_ids[list_of], article_ids[article_of]))
        stored = lock.batch(_read_pairs)
        new, gone = _differences(wanted, stored)
        _write_pairs(lock, _WRITE_PAIRS, new, "storing memberships")
        _write_pairs(lock, _REMOVE_PAIRS, gone, "removing memberships")
        removed = _remove_articles(lock, keys)
        for label in _REMOVE_ORPHANS:
            remove_orphans(lock.batch, label)
        lock.end()
    return LoadReport(len(keys), len(wanted), added, updated, removed, len(new), len(gone))


def _write_articles(lock: LoadLock, articles: pd.DataFrame) -> tuple[int, int]:
    """Write the articles that are new or differ; return how many of each."""
    added = updated = 0
    weights = articles["title"].str.len() + articles["subtitle"].str.len()
    cuts = batches(weights.to_numpy(dtype=np.int64), rows=BATCH, total=BATCH_CHARACTERS)
    for cut in track(cuts, "storing articles"):
        batch = _ArticleBatch(list(_rows(articles.iloc[cut])))
        lock.batch(batch.write)
        added += batch.added
        updated += batch.updated
    return added, updated


class _ArticleBatch:
    """Some articles, and what became of them."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.added = self.updated = 0

    def write(self, tx: ManagedTransaction) -> None:
        keys = Rows(indexable(row[0]) for row in self.rows)
        stored = {row[0]: row for row in map(_plain, tx.run(_READ_SOME, keys=keys))}
        new = [row for row in self.rows if row[0] not in stored]
        changed = [row for row in self.rows if row[0] in stored and stored[row[0]] != row]
        # Done again after a commit that was not heard of, nothing differs any more.
        self.added = max(self.added, len(new))
        self.updated = max(self.updated, len(changed))
        if new:
            tx.run(_CREATE, rows=_properties(new)).consume()
            tx.run(_BREAK_VECTOR_SETS).consume()
        if changed:
            tx.run(_FORGET, keys=Rows(indexable(row[0]) for row in changed)).consume()
            tx.run(_UPDATE, rows=_properties(changed)).consume()
        if new or changed:
            _join(tx, new + changed)


def _properties(rows: Sequence[Row]) -> Rows:
    return Rows(
        [indexable(key), indexable(url), title, subtitle, date, is_stub, full(key), full(url)]
        for key, url, title, subtitle, _, date, _, is_stub in rows
    )


def _join(tx: ManagedTransaction, rows: Sequence[Row]) -> None:
    """Join articles to their authors and tags."""
    authors = [(row[0], row[4]) for row in rows if row[4]]
    tags = [(row[0], place, tag) for row in rows for place, tag in enumerate(row[6])]
    tx.run(
        _WRITE_AUTHORS, rows=Rows([indexable(key), indexable(name)] for key, name in authors)
    ).consume()
    tx.run(
        _WRITE_TAGS, rows=Rows([indexable(key), place, indexable(tag)] for key, place, tag in tags)
    ).consume()
    write_full_names(tx, "Author", [name for _, name in authors])
    write_full_names(tx, "Tag", [tag for _, _, tag in tags])


def write_full_names(tx: ManagedTransaction, label: str, names: Sequence[str]) -> None:
    """Write whole the names that an index does not take."""
    if rows := too_long(names):
        tx.run(_FULL_NAMES[label], rows=rows).consume()


def _rows(articles: pd.DataFrame) -> Iterator[Row]:
    dates = articles["date"].to_numpy().astype("datetime64[s]").astype(np.int64)
    columns_ = (
        *(articles[name].tolist() for name in ("key", "url", "title", "subtitle", "author")),
        dates.tolist(),
        articles["tags"].tolist(),
        articles["is_stub"].tolist(),
    )
    return map(list, zip(*columns_, strict=True))


def _plain(record: Sequence[Any]) -> Row:
    """Return an article as read in the form of :func:`_rows`."""
    key, url, title, subtitle, authors, date, tags, is_stub = record
    author = authors[0] if len(authors) == 1 else "" if not authors else None
    return [key, url, title, subtitle, author, date, [tag for _, tag in sorted(tags)], is_stub]


def _ids(lock: LoadLock, text: str, name: str, values: Sequence[str]) -> Int64s:
    """Return the ids that a query gives by name, in the order of `values`."""
    id_of: dict[str, int] = {}
    for start in range(0, len(values), NODES):
        part = Rows(values[start : start + NODES])
        id_of.update((one, number) for one, number in lock.batch(query(text, **{name: part})))
    return np.array([id_of[value] for value in values], dtype=np.int64)


def _write_lists(lock: LoadLock, names: Sequence[str]) -> Int64s:
    """Store the names; return their ids in the same order."""
    ids = _ids(lock, _MERGE_LISTS, "names", [indexable(name) for name in names])
    lock.batch(lambda tx: write_full_names(tx, "List", names))
    return ids


def _read_pairs(tx: ManagedTransaction) -> Int64s:
    """Return the ids of list and article of each membership, shape [n, 2]."""
    parts = [np.empty((0, 2), dtype=np.int64)]
    for lists, members in columns(tx, _READ_PAIRS):
        ids = np.repeat(np.array(lists, dtype=np.int64), [len(one) for one in members])
        together = [member for one in members for member in one]
        parts.append(np.column_stack((ids, np.array(together, dtype=np.int64))))
    return np.concatenate(parts)


def _differences(wanted: Int64s, stored: Int64s) -> tuple[Int64s, Int64s]:
    """Return the pairs to be written and those to be removed, each of shape [n, 2]."""
    both = np.concatenate((wanted, stored))
    lists, list_codes = np.unique(both[:, 0], return_inverse=True)
    articles, article_codes = np.unique(both[:, 1], return_inverse=True)
    width = max(len(articles), 1)
    codes = list_codes.astype(np.int64) * width + article_codes
    wanted_codes, stored_codes = codes[: len(wanted)], codes[len(wanted) :]

    def pairs(some: npt.NDArray[np.int64]) -> Int64s:
        return np.column_stack((lists[some // width], articles[some % width]))

    new = np.setdiff1d(wanted_codes, stored_codes)
    gone = np.setdiff1d(stored_codes, wanted_codes)
    return pairs(new), pairs(gone)


def _write_pairs(lock: LoadLock, text: str, pairs: Int64s, what: str) -> None:
    for start in track(range(0, len(pairs), NODES), what):
        part = Rows(pairs[start : start + NODES].tolist())
        lock.batch(query(text, pairs=part))


def _remove_articles(lock: LoadLock, keys: Sequence[str]) -> int:
    """Remove the articles that are not among `keys`; return how many."""

    def stored_keys(tx: ManagedTransaction) -> list[str]:
        return [key for (part,) in columns(tx, _ALL_KEYS) for key in part]

    gone = sorted(set(lock.batch(stored_keys)).difference(keys))
    for start in track(range(0, len(gone), BATCH), "removing articles"):
        part = Rows(gone[start : start + BATCH])

        def remove(tx: ManagedTransaction, part: Rows = part) -> None:
            tx.run(_REMOVE_ARTICLES, keys=part).consume()
            tx.run(_BREAK_VECTOR_SETS).consume()

        lock.batch(remove)
    return len(gone)


def remove_orphans(
    transact: Callable[[Callable[[ManagedTransaction], int]], int], label: str
) -> None:
    """Remove the lists, authors or tags that nothing joins to an article any more.

    Parameters
    ----------
    transact : callable
        Does work in a transaction that holds the store's write lock: else an orphan could find an
        article again while it is removed.
    label : str
        ``List``, ``Author`` or ``Tag``.
    """

    def remove(tx: ManagedTransaction) -> int:
        return int(tx.run(_REMOVE_ORPHANS[label], limit=NODES).single(strict=True)[0])

    while transact(remove) == NODES:
        continue


def read_snapshot(database: Neo4jDatabase) -> Snapshot:
    """Read the whole corpus; see :class:`ArticleStore`.

    Readers lock nothing: what was read counts when no load began meanwhile, else it is read again.
    """
    deadline = time.monotonic() + neo4j_database.LOAD_S
    while True:
        loads = database.wait_for_load(deadline)
        found = database.transact(partial(_read, loads=loads))
        if found is not None:
            return assemble(*found)
        database.pause(deadline)


def _read(tx: ManagedTransaction, loads: int) -> tuple[Any, ...] | None:
    """Read everything; None when a load began."""
    ids: list[int] = []
    parts = []
    for number, key, url, title, subtitle, authors, date, tags, is_stub in columns(tx, _READ_ALL):
        ids.extend(number)
        fields = [
            key,
            url,
            title,
            subtitle,
            [names[0] if names else "" for names in authors],
            date,
            [[tag for _, tag in sorted(of_one)] for of_one in tags],
            is_stub,
        ]
        arrays = [
            pa.array(field, type=kind)
            for field, kind in zip(fields, ARTICLE_SCHEMA.types, strict=True)
        ]
        parts.append(pa.RecordBatch.from_arrays(arrays, schema=ARTICLE_SCHEMA))
    list_ids: list[int] = []
    names: list[str] = []
    for number, name in columns(tx, _READ_LISTS):
        list_ids.extend(number)
        names.extend(name)
    pairs = _read_pairs(tx)
    if read_state(tx) != (loads, None):
        return None
    return (
        pa.Table.from_batches(parts, schema=ARTICLE_SCHEMA),
        np.array(ids, dtype=np.int64),
        names,
        np.array(list_ids, dtype=np.int64),
        (pairs[:, 0], pairs[:, 1]),
    )


def read_counts(tx: ManagedTransaction) -> dict[str, int]:
    """Return how many articles, stubs, lists and memberships there are."""
    names = ("articles", "stubs", "lists", "memberships")
    return dict(zip(names, tx.run(_COUNTS).single(strict=True), strict=True))
