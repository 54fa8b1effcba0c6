"""Vectors in Neo4j: a property of every article, float32, which GDS projects as it is."""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from neo4j import ManagedTransaction

from tagsage.errors import TagsageError
from tagsage.progress import track
from tagsage.store.neo4j_database import Neo4jDatabase, Rows, columns, indexable, lock_state, query

# Of these a transaction takes as many as weigh BATCH_BYTES on the wire, nine bytes a number.
BATCH_BYTES = 8_000_000
NUMBER_BYTES = 9
NAMES = 10_000  # articles that lose a property in one transaction

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TAKEN = frozenset({
    *("key", "url", "title", "subtitle", "date", "is_stub", "full_key", "full_url")
})

_BEGIN = """
    MERGE (v:VectorSet {name: $name}) SET v.locked_by = $token
    WITH v WHERE NOT coalesce(v.complete AND v.digest = $digest, false)
        // or someone else has removed or changed some
        OR COUNT { MATCH (a:Article) WHERE size(a[$name]) = $dimensions } <> $articles
    SET v.complete = false, v.digest = $digest, v.dimensions = $dimensions, v.writer = $token
    RETURN v.name
"""
_LOCK = "MATCH (v:VectorSet {name: $name}) SET v.locked_by = $token RETURN v.writer = $token"
# float32: half of what a list of floats takes in the store, and to write there.
_WRITE = """
    UNWIND $rows AS row MATCH (a:Article {key: row[0]})
    CALL db.create.setNodeVectorProperty(a, $name, row[1])
    RETURN count(*)
"""
_MISSING = """
    UNWIND $keys AS key OPTIONAL MATCH (a:Article {key: key})
    WITH key WHERE a IS NULL RETURN key
"""
_COUNT = "MATCH (a:Article) RETURN count(a)"
_WITH_PROPERTY = "MATCH (a:Article) WHERE a[$name] IS NOT NULL RETURN a.key"
_REMOVE = "UNWIND $keys AS key MATCH (a:Article {key: key}) REMOVE a[$name]"
_COMPLETE = "MATCH (v:VectorSet {name: $name}) SET v.complete = true, v.writer = null"
_SET = """
    OPTIONAL MATCH (v:VectorSet {name: $name}) RETURN v.complete, v.digest, v.dimensions
"""
_READ = """
    UNWIND range(0, size($keys) - 1) AS number
    OPTIONAL MATCH (a:Article {key: $keys[number]})
    RETURN number, a[$name]
"""


def write_vectors(
    database: Neo4jDatabase,
    name: str,
    keys: Sequence[str],
    vectors: npt.NDArray[Any],
    *,
    digest: str,
) -> bool:
    """Write one vector an article; see :class:`tagsage.store.base.ArticleStore`.

    A node ``(:VectorSet {name, digest, dimensions, complete})`` says which vectors there are, and
    whether all are; a load that adds or removes articles makes it incomplete.
    """
    _check_name(name)
    _check_vectors(keys, vectors)
    token = uuid.uuid4().hex
    begun = {
        "name": name,
        "token": token,
        "digest": digest,
        "articles": len(keys),
        "dimensions": vectors.shape[1],
    }

    def begin(tx: ManagedTransaction) -> bool:
        lock_state(tx, token)  # two processes must not make the node twice
        return tx.run(_BEGIN, begun).single() is not None

    if not database.transact(begin):
        return False
    writer = _Writer(database, name, token)
    step = max(1, BATCH_BYTES // (NUMBER_BYTES * vectors.shape[1]))
    for start in track(range(0, len(keys), step), f"storing vectors {name}"):
        block = np.asarray(vectors[start : start + step], dtype=np.float32).tolist()
        part = [indexable(key) for key in keys[start : start + step]]
        writer.write(Rows(map(list, zip(part, block, strict=True))))
    writer.remove_others(keys)
    writer.batch(lambda tx: tx.run(_COMPLETE, name=name).consume())
    return True


class _Writer:
    """The process that began to write a vector set, as long as no other has begun."""

    def __init__(self, database: Neo4jDatabase, name: str, token: str) -> None:
        self._database = database
        self._name = name
        self._token = token

    def batch(self, work: Any) -> Any:
        def locked(tx: ManagedTransaction) -> Any:
            record = tx.run(_LOCK, name=self._name, token=self._token).single()
            if record is None or not record[0]:
                msg = (
                    f"Another process has written the vectors {self._name} or loaded a corpus "
                    f"meanwhile into {self._database.name}; run again."
                )
                raise TagsageError(msg)
            return work(tx)

        return self._database.transact(locked)

    def write(self, rows: Rows) -> None:
        def write(tx: ManagedTransaction) -> None:
            written = tx.run(_WRITE, rows=rows, name=self._name).single(strict=True)[0]
            if written < len(rows):
                keys = Rows(row[0] for row in rows)
                missing = tx.run(_MISSING, keys=keys).value()
                msg = (
                    f"The article {missing[0]} and {len(missing) - 1} more that have vectors "
                    f"{self._name} are not in {self._database.name}; load the corpus again."
                )
                raise TagsageError(msg)

        self.batch(write)

    def remove_others(self, keys: Sequence[str]) -> None:
        """Remove the property from the articles that are not among `keys`."""

        def others(tx: ManagedTransaction) -> list[str]:
            # All of ours are there: when there are no more, none need be looked at.
            if tx.run(_COUNT).single(strict=True)[0] == len(keys):
                return []
            found = columns(tx, _WITH_PROPERTY, name=self._name)
            ours = {indexable(key) for key in keys}
            return [key for (part,) in found for key in part if key not in ours]

        left: list[str] = self.batch(others)
        for start in range(0, len(left), NAMES):
            part = Rows(left[start : start + NAMES])
            self.batch(query(_REMOVE, keys=part, name=self._name))


def read_vectors(
    database: Neo4jDatabase,
    name: str,
    keys: Sequence[str],
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Read one vector an article; see :class:`tagsage.store.base.ArticleStore`."""
    _check_name(name)
    complete, _, dimensions = before = database.transact(lambda tx: _vector_set(tx, name))
    if complete is False:
        msg = f"The vectors {name} in {database.name} are not whole; write them again."
        raise TagsageError(msg)
    if dimensions is None:
        # Written by another program, such as GDS.
        dimensions = out.shape[1] if out is not None else _first_length(database, name, keys)
    if out is None:
        out = np.empty((len(keys), dimensions), dtype=np.float32)
    elif out.shape != (len(keys), dimensions) or out.dtype != np.float32:
        msg = f"out is {out.dtype} {out.shape}, not float32 {(len(keys), dimensions)}"
        raise ValueError(msg)
    reader = _Reader(database, name, dimensions)
    step = max(1, BATCH_BYTES // (NUMBER_BYTES * max(dimensions, 1)))
    for start in track(range(0, len(keys), step), f"reading vectors {name}"):
        reader.read(keys[start : start + step], out[start : start + step])
    reader.tell()
    if database.transact(lambda tx: _vector_set(tx, name)) != before:
        msg = f"The vectors {name} in {database.name} were written anew meanwhile; run again."
        raise TagsageError(msg)
    return out


class _Reader:
    """Reads blocks of vectors and remembers which are no good."""

    def __init__(self, database: Neo4jDatabase, name: str, dimensions: int) -> None:
        self._database = database
        self._name = name
        self._dimensions = dimensions
        # Much faster than numpy on a list of Python floats.
        self._pack = struct.Struct(f"{dimensions}d").pack
        self._bad = 0
        self._first = ""

    def read(self, keys: Sequence[str], out: npt.NDArray[np.float32]) -> None:
        """Read the vectors of some keys into the rows of `out`."""
        rows = Rows(indexable(key) for key in keys)
        bad = self._database.transact(lambda tx: self._fill(tx, rows, out))
        bad |= ~np.isfinite(out).all(axis=1)
        if bad.any() and not self._bad:
            self._first = keys[int(bad.argmax())]
        self._bad += int(bad.sum())

    def _fill(
        self, tx: ManagedTransaction, keys: Rows, out: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.bool_]:
        bad = np.ones(len(keys), dtype=np.bool_)
        for number, vector in tx.run(_READ, keys=keys, name=self._name):
            if isinstance(vector, list) and len(vector) == self._dimensions:
                try:
                    out[number] = np.frombuffer(self._pack(*vector))
                except struct.error:  # not numbers
                    continue
                bad[number] = False
        out[bad] = 0
        return bad

    def tell(self) -> None:
        """Say what was no good.

        Raises
        ------
        TagsageError
            When something was not.
        """
        if self._bad:
            msg = (
                f"{self._bad} articles in {self._database.name}, the first is {self._first}, have "
                f"no vector {self._name} of {self._dimensions} finite numbers; write the vectors "
                "again."
            )
            raise TagsageError(msg)


def _vector_set(tx: ManagedTransaction, name: str) -> tuple[bool | None, str | None, int | None]:
    complete, digest, dimensions = tx.run(_SET, name=name).single(strict=True)
    return complete, digest, dimensions


def _first_length(database: Neo4jDatabase, name: str, keys: Sequence[str]) -> int:
    """Return how many numbers the first article's vector has."""
    if not keys:
        return 0
    first = Rows([indexable(keys[0])])
    rows = database.transact(lambda tx: tx.run(_READ, keys=first, name=name).values())
    vector = rows[0][1]
    if not isinstance(vector, list) or not vector:
        msg = (
            f"The article {keys[0]} in {database.name} has no vector {name}; write the vectors "
            "again."
        )
        raise TagsageError(msg)
    return len(vector)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ValueError(f"{name!r} cannot be the name of a vector property")


def _check_vectors(keys: Sequence[str], vectors: npt.NDArray[Any]) -> None:
    if vectors.ndim != 2 or len(vectors) != len(keys) or vectors.shape[1] == 0:
        msg = f"vectors are of shape {vectors.shape}, not [{len(keys)}, d] with d at least 1"
        raise ValueError(msg)
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ValueError(f"vectors are {vectors.dtype}, not float")
    if len(set(keys)) < len(keys):
        raise ValueError("an article's key is not unique among the vectors'")
    step = max(1, BATCH_BYTES // (4 * vectors.shape[1]))
    for start in range(0, len(keys), step):
        # A number too large for float32 becomes infinite, without a warning.
        with np.errstate(over="ignore"):
            block = np.asarray(vectors[start : start + step]).astype(np.float32)
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            key = keys[start + int(bad.argmax())]
            raise ValueError(f"the vector of {key} holds a number that is not finite as float32")
