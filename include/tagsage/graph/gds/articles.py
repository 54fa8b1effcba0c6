"""The articles in the database: their node ids by snapshot index, and their properties."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from neo4j import Record

from tagsage.errors import TagsageError
from tagsage.graph.csr import FloatArray, IntArray, LongArray
from tagsage.graph.gds.server import GdsServer

# Rows turned into one array at a time.
ROW_BLOCK = 2048
# Vectors compared with those at hand.
VECTORS_COMPARED = 32
# The driver carries numbers as doubles; a store may have rounded them to single precision.
VECTOR_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class ArticleNodes:
    """Node ids of the articles.

    Attributes
    ----------
    ids : int64 array, shape [n_articles]
        The id of each article's node, in the order of the snapshot.
    """

    ids: LongArray

    def index_of(self, ids: npt.NDArray[np.integer]) -> IntArray:
        """Return the snapshot indices of nodes, int32.

        Raises
        ------
        TagsageError
            When a node is no article of ours.
        """
        order, ordered = self._ordered
        ids = np.asarray(ids, dtype=np.int64)
        place = np.minimum(np.searchsorted(ordered, ids), len(order) - 1)
        if len(ids) and (not len(order) or (ordered[place] != ids).any()):
            raise TagsageError(CHANGED)
        found: IntArray = order[place].astype(np.int32)
        return found

    @cached_property
    def _ordered(self) -> tuple[LongArray, LongArray]:
        order = np.argsort(self.ids)
        return order, self.ids[order]


CHANGED = "The graph in Neo4j is not this run's corpus any more; run again."


def find_articles(server: GdsServer, keys: Sequence[str], memberships: int) -> ArticleNodes:
    """Find the articles' nodes by their keys.

    Parameters
    ----------
    server : GdsServer
        The server.
    keys : sequence of str
        Keys in the order of the snapshot.
    memberships : int
        How many the database must hold.

    Raises
    ------
    TagsageError
        When the database holds other articles, or another number of memberships.
    """
    found_keys: list[str] = []
    ids: list[int] = []
    # A key that is too long for an index stands whole in another property.
    with server.stream(
        "MATCH (a:Article) RETURN coalesce(a.full_key, a.key) AS key, id(a) AS id"
    ) as rows:
        for row in rows:
            found_keys.append(row["key"])
            ids.append(row["id"])
    index = pd.Index(found_keys, dtype=object)
    if index.is_unique:
        place = index.get_indexer(pd.Index(keys, dtype=object))
    else:
        place = np.full(len(keys), -1)
    held = server.rows("MATCH (:Article)-[m:IN_LIST]->(:List) RETURN count(m) AS count")[0]["count"]
    if len(found_keys) != len(keys) or (place < 0).any() or held != memberships:
        msg = (
            f"The graph in Neo4j ({len(found_keys):,} articles, {held:,} memberships) is not "
            f"this run's corpus any more ({len(keys):,} articles, {memberships:,} memberships); "
            "run again."
        )
        raise TagsageError(msg)
    return ArticleNodes(np.array(ids, dtype=np.int64)[place])


def vector_dimensions(server: GdsServer, name: str, expected: int | None = None) -> int:
    """Return how many numbers the articles' vectors have, after looking at every one.

    Parameters
    ----------
    server : GdsServer
        The server.
    name : str
        The articles' property.
    expected : int, optional
        How many they must have; by default what most have.

    Raises
    ------
    TagsageError
        When articles have no vector, one of another length, or one that is not all numbers.
    """
    # The distance of a vector to itself is 0, or no number when one of its numbers is none;
    # computed by GDS in one go where Cypher would look at them one by one.
    rows = server.rows(
        "MATCH (a:Article) WITH a[$name] AS vector "
        "RETURN size(vector) AS length, count(*) AS articles, sum(CASE WHEN vector IS NULL THEN 0 "
        "WHEN gds.similarity.euclideanDistance(vector, vector) = 0 THEN 0 ELSE 1 END) AS broken",
        name=name,
    )
    counts = {row["length"]: row["articles"] for row in rows}
    missing = counts.pop(None, 0)
    length = expected if expected is not None else max(counts, key=counts.__getitem__, default=0)
    complaints = {
        "without it": missing,
        f"where it has not {length:,} numbers": sum(counts.values()) - counts.get(length, 0),
        "where it holds what is no finite number": sum(row["broken"] for row in rows),
    }
    found = [f"{count:,} articles {what}" for what, count in complaints.items() if count]
    if found:
        msg = (
            f"The property {name} in Neo4j cannot be used: there are {' and '.join(found)}; run "
            "again from the stage that stores the vectors."
        )
        raise TagsageError(msg)
    return length


def refuse_other_vectors(
    server: GdsServer, nodes: ArticleNodes, name: str, vectors: npt.NDArray[np.floating]
) -> None:
    """Compare some vectors of the database with those at hand.

    Raises
    ------
    TagsageError
        When they differ: the database then holds those of another run.
    """
    some = np.unique(np.linspace(0, len(vectors) - 1, VECTORS_COMPARED).astype(np.int64))
    rows = server.rows(
        "MATCH (a:Article) WHERE id(a) IN $ids RETURN id(a) AS id, a[$name] AS vector",
        ids=nodes.ids[some].tolist(),
        name=name,
    )
    held = np.array([row["vector"] for row in rows], dtype=np.float64)
    ours = np.asarray(vectors[nodes.index_of(np.array([row["id"] for row in rows]))], np.float64)
    scale = np.abs(ours).max(axis=1, keepdims=True)
    if held.shape != ours.shape or (np.abs(held - ours) > VECTOR_TOLERANCE * scale + 1e-12).any():
        msg = (
            f"The vectors in Neo4j ({name}) are not this run's; run again from the stage that "
            "stores the vectors."
        )
        raise TagsageError(msg)


def fill_rows(out: FloatArray, nodes: ArticleNodes, rows: Iterable[Record], what: str) -> None:
    """Put embeddings that come node by node into the order of the snapshot.

    Parameters
    ----------
    out : float32 array, shape [n_articles, d]
        Takes them; it may be memory-mapped.
    nodes : ArticleNodes
        Which node is which article.
    rows : iterable of records
        ``id`` and ``vector``.
    what : str
        What the vectors are, for messages.

    Raises
    ------
    TagsageError
        When one is missing, too short or too long, or holds what is no number.
    """
    filled = np.zeros(len(out), dtype=bool)
    ids: list[int] = []
    vectors: list[bytes] = []
    # Much faster than numpy on lists of Python floats.
    pack = struct.Struct(f"{out.shape[1]}d").pack

    def put() -> None:
        index = nodes.index_of(np.array(ids, dtype=np.int64))
        block = np.frombuffer(b"".join(vectors)).reshape(len(ids), -1).astype(np.float32)
        if not np.isfinite(block).all():
            raise TagsageError(
                f"{what} came out as no numbers; look at the vectors they are made of."
            )
        out[index] = block
        filled[index] = True
        ids.clear()
        vectors.clear()

    for row in rows:
        vector = row["vector"]
        if vector is None or len(vector) != out.shape[1]:
            break
        ids.append(row["id"])
        vectors.append(pack(*vector))
        if len(ids) == ROW_BLOCK:
            put()
    if ids:
        put()
    if not filled.all():
        msg = f"{what} did not come from Neo4j for {int((~filled).sum()):,} articles; run again."
        raise TagsageError(msg)
