"""The store on a Neo4j server; its graph model is in :mod:`tagsage.store.neo4j_database`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tagsage.corpus.model import ARTICLE_SCHEMA, Corpus, articles_to_table
from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection
from tagsage.progress import track
from tagsage.store.base import ArticleStore, Kind, LoadReport, numbered_memberships
from tagsage.store.neo4j_database import Neo4jDatabase, Rows, refuse_too_long
from tagsage.store.predictions import (
    MAKER,
    VALUES,
    WriteReport,
    checked_predictions,
    differences,
    in_order,
    refuse_unknown,
)
from tagsage.store.snapshot import Snapshot, assemble, compare_articles

ARTICLES = 1_000  # written in one transaction
PAIRS = 10_000  # of list and article, or article and tag
# Size of the vectors in one transaction, at nine bytes per number.
VECTOR_BYTES, NUMBER_BYTES = 8_000_000, 9

_READ_ARTICLES = """
    MATCH (a:Article)
    RETURN a.key, a.url, a.title, a.subtitle, [(w:Author)-[:WROTE]->(a) | w.name],
        a.date.epochSeconds, [(a)-[h:HAS_TAG]->(t:Tag) | [h.position, t.name]], a.is_stub
"""
_WRITE_ARTICLES = """
    UNWIND $rows AS row MERGE (a:Article {key: row[0]})
    SET a.url = row[1], a.title = row[2], a.subtitle = row[3],
        a.date = datetime({epochSeconds: row[5]}), a.is_stub = row[7]
    WITH a OPTIONAL MATCH (a)-[r:WROTE|HAS_TAG]-() DELETE r
"""
_WRITE_AUTHORS = """
    UNWIND $rows AS row WITH row WHERE row[4] <> ''
    MATCH (a:Article {key: row[0]})
    MERGE (w:Author {name: row[4]}) MERGE (w)-[:WROTE]->(a)
"""
_WRITE_TAGS = """
    UNWIND $rows AS row MATCH (a:Article {key: row[0]})
    UNWIND range(0, size(row[6]) - 1) AS position
    MERGE (t:Tag {name: row[6][position]}) MERGE (a)-[:HAS_TAG {position: position}]->(t)
"""
_READ_LISTS = "MATCH (l:List) RETURN l.name, [(l)<-[:IN_LIST]-(a:Article) | a.key]"
_WRITE_PAIRS = """
    UNWIND $pairs AS pair MATCH (a:Article {key: pair[1]})
    MERGE (l:List {name: pair[0]}) MERGE (a)-[:IN_LIST]->(l)
"""
_REMOVE_PAIRS = """
    UNWIND $pairs AS pair
    MATCH (:Article {key: pair[1]})-[m:IN_LIST]->(:List {name: pair[0]}) DELETE m
"""
_REMOVE_ARTICLES = "UNWIND $keys AS key MATCH (a:Article {key: key}) DETACH DELETE a"
# Authors, lists and tags without any article.
_REMOVE_ORPHANS = tuple(
    f"MATCH (n:{label}) WHERE NOT EXISTS {{ (n)-[:{kinds}]-() }} "
    "CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS"
    for label, kinds in (
        ("List", "IN_LIST"),
        ("Author", "WROTE"),
        ("Tag", "HAS_TAG|PREDICTED_TAG|SUGGESTED_TAG"),
    )
)
_STATE = "MATCH (s:TagsageStore {name: 'tagsage'}) RETURN properties(s) AS state"
_SET_STATE = (
    "MATCH (s:TagsageStore {name: 'tagsage'}) SET s += $state RETURN properties(s) AS state"
)
_COUNTS = """
    MATCH (s:TagsageStore {name: 'tagsage'})
    RETURN COUNT { (:Article) } AS articles,
        COUNT { MATCH (a:Article) WHERE a.is_stub } AS stubs,
        COUNT { (:List) } AS lists,
        COUNT { ()-[:IN_LIST]->(:List) } AS memberships,
        COUNT { ()-[p:PREDICTED_TAG]->() WHERE p.set = s.predictions } AS predictions,
        COUNT { ()-[p:SUGGESTED_TAG]->() WHERE p.set = s.suggestions } AS suggestions
"""

# The statements for predictions; suggestions have another relationship type.
_TYPES: dict[Kind, str] = {"predictions": "PREDICTED_TAG", "suggestions": "SUGGESTED_TAG"}
_READ = """
    MATCH (a:Article)-[p:PREDICTED_TAG {set: $set}]->(t:Tag)
    RETURN a.key, a.url, t.name, p.score, coalesce(p.assigned, true), p.threshold,
        p.run_id, p.model_version
"""
_WRITE = """
    UNWIND $rows AS row MATCH (a:Article {key: row[0]})
    MERGE (t:Tag {name: row[1]}) MERGE (a)-[p:PREDICTED_TAG {set: $set}]->(t)
    SET p.score = row[2], p.assigned = row[3], p.threshold = row[4], p.run_id = row[5],
        p.model_version = row[6]
"""
_SWITCH = """
    MATCH (s:TagsageStore {name: 'tagsage'}) WHERE coalesce(s[$kind], '') IN [$before, $set]
    SET s[$kind] = $set RETURN s.name
"""
_REMOVE_OTHERS = """
    MATCH ()-[p:PREDICTED_TAG]->() WHERE p.set <> $set
    CALL (p) { DELETE p } IN TRANSACTIONS OF 10000 ROWS
"""

_MARK_TARGETS = (
    "MATCH (t:Tag) WHERE t.name IN $names SET t:Target",
    "MATCH (t:Tag:Target) WHERE NOT t.name IN $names REMOVE t:Target",
)

_VECTORS = "MATCH (a:Article) WHERE size(a[$name]) = $dimensions RETURN count(a) AS n"
# float32: half of what a list of floats takes in the store, and to write there.
_WRITE_VECTORS = """
    UNWIND $rows AS row MATCH (a:Article {key: row[0]})
    CALL db.create.setNodeVectorProperty(a, $name, row[1])
    RETURN count(*) AS n
"""
_REMOVE_VECTORS = """
    MATCH (a:Article) WHERE a[$name] IS NOT NULL AND NOT a.key IN $keys
    CALL (a) { REMOVE a[$name] } IN TRANSACTIONS OF 10000 ROWS
"""

Int64s = npt.NDArray[np.int64]


class Neo4jStore(ArticleStore):
    """All of the store in one Neo4j database (5.26 or newer); one process loads at a time."""

    keeps_vectors = True

    def __init__(self, connection: Neo4jConnection) -> None:
        self._database = Neo4jDatabase(connection)

    def close(self) -> None:
        """Close the driver; may be called twice."""
        self._database.driver.close()

    # -- the corpus ------------------------------------------------------------------------------

    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else."""
        _, names, _ = numbered_memberships(corpus)
        table = articles_to_table(corpus.articles)
        keys = table["key"].to_pylist()
        refuse_too_long(keys, "a key")
        refuse_too_long(names, "a list")
        refuse_too_long(table["url"].to_pylist(), "an address")
        refuse_too_long(table["author"].to_pylist(), "an author")
        refuse_too_long(table["tags"].combine_chunks().flatten().to_pylist(), "a tag")
        self._state(loading=True)
        held = self._read_articles()
        place, differs = compare_articles(table, held)
        new, changed = np.flatnonzero(place < 0), np.flatnonzero(differs)
        self._write_articles(table.take(pa.array(np.concatenate((new, changed)))))
        members = corpus.memberships
        wanted = set(zip(members["list"], members["article"], strict=True))
        added, removed = self._write_memberships(wanted)
        gone = sorted(set(held["key"].to_pylist()).difference(keys))
        for start in range(0, len(gone), ARTICLES):
            self._database.rows(_REMOVE_ARTICLES, keys=Rows(gone[start : start + ARTICLES]))
        for query in _REMOVE_ORPHANS:
            self._database.run_in_batches(query)
        self._state(loading=None)
        return LoadReport(
            len(table), len(wanted), len(new), len(changed), len(gone), added, removed
        )

    def snapshot(self) -> Snapshot:
        """Read the whole corpus."""
        self._refuse_half_loaded()
        articles = self._read_articles()
        lists = self._database.rows(_READ_LISTS)
        self._refuse_half_loaded()
        members = [len(keys) for _, keys in lists]
        key_of = pd.Index(list(chain.from_iterable(keys for _, keys in lists)), dtype=object)
        article_of = pd.Index(articles["key"].to_pylist(), dtype=object).get_indexer(key_of)
        return assemble(
            articles,
            np.arange(len(articles), dtype=np.int64),
            [name for name, _ in lists],
            np.arange(len(lists), dtype=np.int64),
            (np.repeat(np.arange(len(lists), dtype=np.int64), members), article_of),
        )

    def counts(self) -> dict[str, int]:
        """Count everything that the store holds."""
        return dict(self._database.row(_COUNTS))

    def _state(self, **changes: Any) -> dict[str, Any]:
        """Change some properties of the store's own node, and return all."""
        rows = self._database.rows(_SET_STATE if changes else _STATE, state=changes)
        if not rows:
            raise TagsageError(f"{self._database.name} was emptied while it was in use; run again.")
        state: dict[str, Any] = rows[0]["state"]
        return state

    def _refuse_half_loaded(self) -> None:
        if self._state().get("loading"):
            msg = (
                f"The last load into {self._database.name} did not end; when no other run is "
                "loading, load the corpus again."
            )
            raise TagsageError(msg)

    def _read_articles(self) -> pa.Table:
        rows = self._database.rows(_READ_ARTICLES)
        fields = [list(field) for field in zip(*rows, strict=True)] if rows else [[]] * 8
        # Several authors were not written by us; joined, they differ from any that we have.
        fields[4] = [" / ".join(sorted(names)) for names in fields[4]]
        fields[6] = [[tag for _, tag in sorted(tags)] for tags in fields[6]]
        columns = [pa.array(*one) for one in zip(fields, ARTICLE_SCHEMA.types, strict=True)]
        return pa.Table.from_arrays(columns, schema=ARTICLE_SCHEMA)

    def _write_articles(self, table: pa.Table) -> None:
        table = table.set_column(5, "date", table["date"].cast(pa.int64()))
        for start in track(range(0, len(table), ARTICLES), "storing articles"):
            columns = table.slice(start, ARTICLES).to_pydict().values()
            rows = Rows(map(list, zip(*columns, strict=True)))
            for query in (_WRITE_ARTICLES, _WRITE_AUTHORS, _WRITE_TAGS):
                self._database.rows(query, rows=rows)

    def _write_memberships(self, wanted: set[tuple[str, str]]) -> tuple[int, int]:
        """Add and remove memberships; return how many of each."""
        held = {(name, key) for name, keys in self._database.rows(_READ_LISTS) for key in keys}
        new, gone = sorted(wanted - held), sorted(held - wanted)
        for query, pairs in ((_WRITE_PAIRS, new), (_REMOVE_PAIRS, gone)):
            for start in track(range(0, len(pairs), PAIRS), "storing memberships"):
                self._database.rows(query, pairs=Rows(map(list, pairs[start : start + PAIRS])))
        return len(new), len(gone)

    # -- predictions -----------------------------------------------------------------------------

    def _write(
        self, kind: Kind, parts: Iterable[pd.DataFrame], *, keep_makers: bool
    ) -> WriteReport:
        """Write a new set in batches, make it the current one, and remove the others.

        A set that a killed writer left is not current; the next writer removes it.
        """
        rows = checked_predictions(pd.concat(parts, ignore_index=True))
        refuse_too_long(rows["tag"].unique().tolist(), "a tag")
        known = self._database.rows("MATCH (a:Article) RETURN a.url, a.key ORDER BY a.key DESC")
        # Of two articles at one address, the first counts.
        key_of = {row[0]: row[1] for row in known}
        keys = rows["story"].map(key_of)
        refuse_unknown(rows["story"][keys.isna()].unique().tolist())
        before = self._state().get(kind, "")
        held = self._read(kind)
        compared = VALUES if keep_makers else [*VALUES, *MAKER]
        report, kept, _ = differences(rows, held, pair=["story", "tag"], compared=compared)
        if report.unchanged == len(rows) == len(held):
            return report
        made = rows[MAKER].to_numpy(dtype=object)
        made[kept >= 0] = held[MAKER].to_numpy(dtype=object)[kept[kept >= 0]]
        is_prediction = kind == "predictions"
        columns = (
            keys.tolist(),
            rows["tag"].tolist(),
            rows["score"].tolist(),
            # All suggestions are assigned, so they need no such property.
            [bool(one) if is_prediction else None for one in rows["assigned"]],
            [None if np.isnan(one) else one for one in rows["threshold"]],
            *made.T.tolist(),
        )
        values = list(map(list, zip(*columns, strict=True)))
        new = uuid.uuid4().hex
        for start in track(range(0, len(values), PAIRS), f"storing {kind}"):
            part = Rows(values[start : start + PAIRS])
            self._database.rows(_of(kind, _WRITE), rows=part, set=new)
        if not self._database.rows(_SWITCH, kind=kind, before=before, set=new):
            msg = f"Another run wrote its {kind} to {self._database.name} meanwhile; run again."
            raise TagsageError(msg)
        self._database.run_in_batches(_of(kind, _REMOVE_OTHERS), set=new)
        self._database.run_in_batches(_REMOVE_ORPHANS[-1])
        return report

    def _read(self, kind: Kind) -> pd.DataFrame:
        while True:
            current = self._state().get(kind, "")
            rows = self._database.rows(_of(kind, _READ), set=current)
            # The rows of an older set may have been removed while they were read.
            if self._state().get(kind, "") == current:
                break
        names = ["key", "story", "tag", *VALUES, *MAKER]
        return in_order(pd.DataFrame([tuple(row) for row in rows], columns=names))

    def mark_targets(self, tags: Sequence[str]) -> None:
        """Give the target tags, and no others, the label ``Target``."""
        for query in _MARK_TARGETS:
            self._database.rows(query, names=Rows(tags))

    # -- vectors ---------------------------------------------------------------------------------

    def write_vectors(
        self, name: str, keys: Sequence[str], vectors: npt.NDArray[np.floating], *, digest: str
    ) -> bool:
        """Write one vector per article."""
        there = self._database.row(_VECTORS, name=name, dimensions=vectors.shape[1])["n"]
        if there == len(keys) and self._state().get(name) == digest:
            return False
        self._state(**{name: None})
        step = max(1, VECTOR_BYTES // (NUMBER_BYTES * vectors.shape[1]))
        for start in track(range(0, len(keys), step), f"storing vectors {name}"):
            block = np.asarray(vectors[start : start + step], dtype=np.float32).tolist()
            rows = Rows(map(list, zip(keys[start : start + step], block, strict=True)))
            if self._database.row(_WRITE_VECTORS, rows=rows, name=name)["n"] < len(rows):
                msg = (
                    f"Some articles that have vectors {name} are not in {self._database.name}; "
                    "load the corpus again."
                )
                raise TagsageError(msg)
        self._database.run_in_batches(_REMOVE_VECTORS, name=name, keys=Rows(keys))
        self._state(**{name: digest})
        return True


def _of(kind: Kind, query: str) -> str:
    return query.replace("PREDICTED_TAG", _TYPES[kind])
