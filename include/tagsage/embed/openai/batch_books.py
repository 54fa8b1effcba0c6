"""Which batches are under way: a table in the ledger's file."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from tagsage.embed.openai.ledger import JOB, Ledger
from tagsage.errors import TagsageError

JOBS = "jobs"

# Written down, its texts taken in hand and its price reserved; perhaps sent, perhaps not.
PREPARED: Final = "prepared"
# The server has the batch.
SUBMITTED: Final = "submitted"
# The server has too much of ours waiting already, so it is submitted again later.
DEFERRED: Final = "deferred"
# The server is done with it; its results are to be taken.
ENDED: Final = "ended"
# What it brought is in the cache, and the rest is free for others.
TAKEN: Final = "taken"

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS jobs (key TEXT PRIMARY KEY, model_id TEXT NOT NULL, "
    "dimensions INTEGER NOT NULL, server TEXT NOT NULL, run_id TEXT NOT NULL, "
    "price REAL NOT NULL, texts INTEGER NOT NULL, attempt INTEGER NOT NULL, "
    "request_id TEXT NOT NULL, state TEXT NOT NULL, batch_id TEXT NOT NULL DEFAULT '', "
    "input_file TEXT NOT NULL DEFAULT '', output_file TEXT NOT NULL DEFAULT '', "
    "error_file TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT '', "
    "note TEXT NOT NULL DEFAULT '', report TEXT NOT NULL DEFAULT '', "
    "created_at REAL NOT NULL, updated_at REAL NOT NULL)"
)


@dataclass(frozen=True)
class Entry:
    """What the books say of a job.

    Attributes
    ----------
    key : str
        Its name.
    model_id, dimensions : str, int
        Its vectors' name and length.
    server : str
        Base URL of the server it was made for.
    run_id, price : str, float
        Who pays, and US dollars a million tokens.
    texts : int
        Texts in it.
    attempt : int
        How often its batch was made anew.
    request_id : str
        Its name among the ledger's requests.
    state : str
        prepared, submitted, deferred, ended or taken.
    batch_id, input_file, output_file, error_file : str
        Ids at the server; empty as long as there is none.
    status : str
        What the server calls its state.
    note : str
        What else is to be said of it.
    report : str
        When it is taken: what it brought, as JSON.
    created_at, updated_at : float
        Seconds since 1970.
    """

    key: str
    model_id: str
    dimensions: int
    server: str
    run_id: str
    price: float
    texts: int
    attempt: int
    request_id: str
    state: str
    batch_id: str
    input_file: str
    output_file: str
    error_file: str
    status: str
    note: str
    report: str
    created_at: float
    updated_at: float

    @property
    def owner(self) -> str:
        """Its name among the owners of texts."""
        return f"{JOB}{self.key}"

    @property
    def name(self) -> str:
        """The name of its batch at the server."""
        return f"{self.key}-{self.attempt}"


_COLUMNS = ", ".join(field.name for field in fields(Entry))


def find_entry(ledger: Ledger, key: str) -> Entry | None:
    """Return what the books say of a job; None when they do not know it."""
    found = _entries(ledger, "WHERE key = ?", key)
    return found[0] if found else None


def get_entry(ledger: Ledger, key: str) -> Entry:
    """Return what the books say of a job.

    Raises
    ------
    TagsageError
        When they do not know it.
    """
    entry = find_entry(ledger, key)
    if entry is None:
        msg = f"The ledger in {ledger.folder} knows no batch job {key!r}; list the jobs for theirs."
        raise TagsageError(msg)
    return entry


def all_entries(ledger: Ledger) -> list[Entry]:
    """Return all jobs in the books, the latest first."""
    return _entries(ledger, "ORDER BY created_at DESC, key")


def entries_under_way(ledger: Ledger, model_id: str) -> list[Entry]:
    """Return the jobs of a model whose results were not taken yet, the earliest first."""
    return _entries(
        ledger, "WHERE model_id = ? AND state != ? ORDER BY created_at, key", model_id, TAKEN
    )


def add_entry(ledger: Ledger, entry: Entry) -> None:
    """Write down a job, in the place of an earlier one of the same texts."""
    marks = ", ".join("?" for _ in fields(Entry))
    values = [getattr(entry, field.name) for field in fields(Entry)]
    with _books(ledger) as books:
        books.execute(f"INSERT OR REPLACE INTO jobs ({_COLUMNS}) VALUES ({marks})", values)  # ruff: ignore[hardcoded-sql-expression]


def change_entry(ledger: Ledger, entry: Entry, **columns: Any) -> Entry:
    """Change what the books say of a job, unless somebody has changed it since it was read.

    Returns
    -------
    Entry
        What they say now.
    """
    columns["updated_at"] = time.time()
    names = ", ".join(f"{name} = ?" for name in columns)
    with _books(ledger) as books:
        books.execute(
            f"UPDATE jobs SET {names} WHERE key = ? AND state = ? AND attempt = ?",  # ruff: ignore[hardcoded-sql-expression]
            (*columns.values(), entry.key, entry.state, entry.attempt),
        )
    return get_entry(ledger, entry.key)


@contextmanager
def job_lock(ledger: Ledger, key: str, *, wait: bool = True) -> Generator[bool]:
    """Keep other processes from a job.

    Yields
    ------
    bool
        Whether the lock is ours; always so when it is waited for.
    """
    folder = ledger.folder / JOBS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{key}.lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def job_folder(folder: Path, key: str) -> Path:
    """Return where the files of a job lie."""
    return folder / JOBS / key


def _entries(ledger: Ledger, clause: str, *values: Any) -> list[Entry]:
    with _books(ledger) as books:
        rows = books.execute(f"SELECT {_COLUMNS} FROM jobs {clause}", values).fetchall()  # ruff: ignore[hardcoded-sql-expression]
    return [Entry(*row) for row in rows]


@contextmanager
def _books(ledger: Ledger) -> Generator[Any]:
    with ledger.transaction() as books:
        books.execute(_SCHEMA)
        yield books
