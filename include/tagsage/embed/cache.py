"""Vectors kept for later runs, in one SQLite file; what OpenAI's cost, and its batches."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.embed.text import unique_texts
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.files import locked
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from tagsage.settings import Settings

Hashes = npt.NDArray[np.bytes_]

# Texts per query.
CHUNK = 1000
# How long another process may hold the file while it writes.
BUSY_S = 120.0

_TABLES = """
CREATE TABLE IF NOT EXISTS vectors (
    model TEXT NOT NULL, dimensions INTEGER NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL,
    UNIQUE (model, text)
);
CREATE TABLE IF NOT EXISTS usage (
    id TEXT PRIMARY KEY, run_id TEXT NOT NULL, model TEXT NOT NULL, texts INTEGER NOT NULL,
    tokens INTEGER NOT NULL, dollars REAL NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, run_id TEXT NOT NULL, price REAL NOT NULL,
    submitted_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS job_texts (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, text TEXT NOT NULL,
    PRIMARY KEY (job, text)
) WITHOUT ROWID;
"""
_OF_TEXTS = "FROM vectors WHERE model = ? AND text IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class Usage:
    """What a run sent to a model, and what it cost; `model` is the embedder's `model_id`."""

    run_id: str
    model: str
    texts: int
    tokens: int
    dollars: float


@dataclass(frozen=True)
class Job:
    """A batch of the Batch API that is under way; `price` is in US dollars per million tokens."""

    id: str
    model: str
    run_id: str
    price: float
    submitted_at: float
    texts: int


def cache_file(settings: Settings) -> Path:
    """Return the file of the cache that the settings name."""
    if settings.vector_cache:
        return Path(settings.vector_cache).expanduser()
    return Workspace(settings.workspace).local_path / "vectors.db"


class VectorCache:
    """The cache, a context manager; every writing method is one transaction.

    Raises `TagsageError` when the file is damaged, not a database, or stays locked.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> Self:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._db = sqlite3.connect(self.file, timeout=BUSY_S)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(_TABLES)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            msg = f"The vector cache {self.file} cannot be used ({error}); run again later."
            raise TagsageError(msg) from error
        except sqlite3.DatabaseError as error:
            msg = (
                f"The vector cache {self.file} is damaged ({error}); put a backup in its place, or "
                "remove it: its texts are then embedded again, and OpenAI's paid for again."
            )
            raise NonRetryableError(msg) from error

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        with self._explained(), self._db:
            yield self._db

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._transaction() as db:
            return db.execute(query, parameters).fetchall()

    @contextmanager
    def filling(self) -> Generator[None, None, None]:
        """Let one process make vectors at a time; the others wait, then find them."""
        with locked(self.file.with_name(f"{self.file.name}.lock")):
            yield

    # -- vectors ---------------------------------------------------------------------------
    def dimensions_of(self, model: str) -> int | None:
        """Return the length of a model's vectors; None when there are none."""
        rows = self._rows("SELECT dimensions FROM vectors WHERE model = ? LIMIT 1", (model,))
        return int(rows[0][0]) if rows else None

    def missing(self, model: str, hashes: Hashes) -> npt.NDArray[np.int64]:
        """Return the first row of each non-empty text that has no vector; ascending."""
        rows = unique_texts(hashes)
        found = [text for (text,) in self._found(f"SELECT text {_OF_TEXTS}", model, hashes[rows])]
        absent: npt.NDArray[np.int64] = rows[~np.isin(hashes[rows], np.array(found, dtype="S32"))]
        return absent

    def put(
        self,
        model: str,
        hashes: Hashes,
        vectors: npt.NDArray[np.float32],
        usage: Usage | None = None,
    ) -> None:
        """Add vectors, and what they cost if they did; vectors that exist stay."""
        names = hashes.astype("U32").tolist()
        with self._transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)",
                (
                    (model, len(vector), name, vector.astype("<f4").tobytes())
                    for name, vector in zip(names, vectors, strict=True)
                ),
            )
            if usage:
                _add_usage(db, uuid.uuid4().hex, usage)

    def gather(self, model: str, hashes: Hashes, out: npt.NDArray[np.float32]) -> None:
        """Copy vectors into the rows of `out`; rows of texts without a vector stay as they are.

        Raises `TagsageError` when a vector's length isn't that of the rows of `out`.
        """
        for start in range(0, len(hashes), CHUNK):
            part = hashes[start : start + CHUNK]
            known = dict(self._found(f"SELECT text, vector {_OF_TEXTS}", model, np.unique(part)))
            for row, name in enumerate(part.astype("U32").tolist(), start):
                if name in known:
                    vector = np.frombuffer(known[name], dtype="<f4")
                    if len(vector) != out.shape[1]:
                        msg = f"{self.file} holds vectors of {model} of another length; prune it."
                        raise NonRetryableError(msg)
                    out[row] = vector

    def _found(self, query: str, model: str, hashes: Hashes) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(hashes), CHUNK):
            names = json.dumps(hashes[start : start + CHUNK].astype("U32").tolist())
            yield from self._rows(query, (model, names))

    def models(self) -> list[tuple[str, int, int]]:
        """Return model, vector length and number of texts of everything in the cache."""
        query = "SELECT model, dimensions, count(*) FROM vectors GROUP BY 1, 2 ORDER BY 1, 2"
        return self._rows(query)

    def remove(self, model: str) -> int:
        """Remove the vectors of a model; return how many there were."""
        with self._transaction() as db:
            return db.execute("DELETE FROM vectors WHERE model = ?", (model,)).rowcount

    # -- usage -----------------------------------------------------------------------------
    def spent(self, run_id: str) -> Usage:
        """Return what a run has spent; batches under way count with their estimated cost."""
        query = (
            "SELECT coalesce(sum(texts), 0), coalesce(sum(tokens), 0), coalesce(sum(dollars), 0.0) "
            "FROM usage WHERE run_id = ?"
        )
        (row,) = self._rows(query, (run_id,))
        return Usage(run_id, "", *row)

    def usage(self) -> list[Usage]:
        """Return what every run has spent with every model, the latest first."""
        query = (
            "SELECT run_id, model, sum(texts), sum(tokens), sum(dollars) FROM usage "
            "GROUP BY run_id, model ORDER BY max(at) DESC"
        )
        return [Usage(*row) for row in self._rows(query)]

    # -- jobs ------------------------------------------------------------------------------
    def add_job(self, job: Job, hashes: Hashes, estimate: Usage) -> None:
        """Record a submitted batch, its texts and its estimated cost."""
        texts = hashes.astype("U32").tolist()
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?)",
                (job.id, job.model, job.run_id, job.price, job.submitted_at),
            )
            db.executemany(
                "INSERT OR IGNORE INTO job_texts VALUES (?, ?)", ((job.id, text) for text in texts)
            )
            _add_usage(db, job.id, estimate)

    def jobs(self, model: str | None = None) -> list[Job]:
        """Return the batches under way, of one model or of all, the oldest first."""
        query = (
            "SELECT id, model, run_id, price, submitted_at, count(text) "
            "FROM jobs LEFT JOIN job_texts ON job = id "
            "WHERE model = coalesce(?, model) GROUP BY id ORDER BY submitted_at, id"
        )
        return [Job(*row) for row in self._rows(query, (model,))]

    def texts_of_job(self, job: str) -> set[str]:
        """Return the hashes of the texts in a batch."""
        return {text for (text,) in self._rows("SELECT text FROM job_texts WHERE job = ?", (job,))}

    def finish_job(self, job: str, usage: Usage) -> None:
        """Forget a batch; its real cost replaces the estimate."""
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job,))
            _add_usage(db, job, usage)

    def forget_job(self, job: str) -> None:
        """Stop waiting for a batch; its estimated cost stays spent."""
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job,))


def _add_usage(db: sqlite3.Connection, identity: str, usage: Usage) -> None:
    values = (identity, *astuple(usage), time.time())
    db.execute("INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)", values)
