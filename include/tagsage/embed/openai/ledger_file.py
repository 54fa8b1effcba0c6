"""The ledger's file: its tables, its transactions, and which processes are alive.

A process is alive as long as it holds the lock on its file in ``owners/``, which the system frees
when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sqlite3
import uuid
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tagsage.errors import TagsageError

FILE = "ledger.db"
OWNERS = "owners"
BUSY_S = 60.0
# Owners of texts that no process has in hand, but a batch that OpenAI works on.
JOB = "job:"

_SCHEMA = (
    # Who may send a text: one owner each.
    "CREATE TABLE IF NOT EXISTS claims (model_id TEXT NOT NULL, hash TEXT NOT NULL, "
    "owner TEXT NOT NULL, PRIMARY KEY (model_id, hash)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS claims_of_owner ON claims (owner)",
    # What was sent. sent: under way, or its process is dead; done: `tokens` were charged; refused:
    # nothing was; lost: no answer came, so nobody knows, and the estimate is taken for charged.
    "CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, owner TEXT NOT NULL, "
    "run_id TEXT NOT NULL, model_id TEXT NOT NULL, kind TEXT NOT NULL, texts INTEGER NOT NULL, "
    "bound INTEGER NOT NULL, tokens INTEGER NOT NULL, price REAL NOT NULL, "
    "state TEXT NOT NULL, sent_at TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS requests_of_run ON requests (run_id)",
    "CREATE INDEX IF NOT EXISTS requests_under_way ON requests (owner) WHERE state = 'sent'",
    "CREATE TABLE IF NOT EXISTS rejected (model_id TEXT NOT NULL, hash TEXT NOT NULL, "
    "kind TEXT NOT NULL, reason TEXT NOT NULL, times INTEGER NOT NULL, rejected_at TEXT NOT NULL, "
    "PRIMARY KEY (model_id, hash)) WITHOUT ROWID",
    # Texts that were sent shorter than our own limit has them.
    "CREATE TABLE IF NOT EXISTS cut (model_id TEXT NOT NULL, hash TEXT NOT NULL, "
    "PRIMARY KEY (model_id, hash)) WITHOUT ROWID",
)


class LedgerFile:
    """An open ledger, as a file; a context manager.

    Parameters
    ----------
    folder : pathlib.Path
        Where ``ledger.db`` and ``owners/`` lie; made when it is not there.

    Attributes
    ----------
    owner : str
        This process's name in the books.

    Raises
    ------
    TagsageError
        When the file is damaged or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
        self.owner = f"{host}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        owners = folder / OWNERS
        with self._told(), ExitStack() as opened:
            owners.mkdir(parents=True, exist_ok=True)
            path = owners / f"{self.owner}.lock"
            self._lock = opened.enter_context(path.open("w", encoding="utf-8"))
            opened.callback(path.unlink, missing_ok=True)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Any thread may use it, one at a time.
            self.connection = sqlite3.connect(
                folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            opened.callback(self.connection.close)
            self._prepare()
            self._opened = opened.pop_all()

    def _prepare(self) -> None:
        # Two processes that both turn on WAL would not wait for each other.
        with _locked(self.folder / f"{FILE}.lock"):
            self.connection.execute("PRAGMA journal_mode = WAL")
            for statement in _SCHEMA:
                self.connection.execute(statement)
        self.connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Give back what is in hand, and close the books."""
        with self._opened, self._told():
            self.connection.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Do several things at once or none of them; within another, it is part of that one."""
        with self._told():
            if self._is_within():
                yield self.connection
                return
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                if self._is_within():
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def _is_within(self) -> bool:
        return self.connection.in_transaction

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            msg = (
                f"The ledger {self.folder / FILE} cannot be used ({error}); make room, permit it, "
                "or name another folder in openai_cache, then run again."
            )
            raise TagsageError(msg) from error

    @contextmanager
    def dead_owners(self, also: Iterable[str] = ()) -> Generator[list[str]]:
        """Find owners whose process is gone, and keep others from doing the same meanwhile.

        What they had in hand is free when the block ends well, so what they left is to be put in
        order within.

        Parameters
        ----------
        also : iterable of str
            Owners to look at who may have nothing in the books any more.

        Yields
        ------
        list of str
            Their names.
        """
        locks: dict[str, IO[str]] = {}
        try:
            for owner in self._others() | (set(also) - {self.owner}):
                path = self.folder / OWNERS / f"{owner}.lock"
                with self._told():
                    lock: IO[str] = path.open("a", encoding="utf-8")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.close()
                else:
                    locks[owner] = lock
            dead = sorted(locks)
            yield dead
            with self.transaction() as books:
                for owner in dead:
                    books.execute("DELETE FROM claims WHERE owner = ?", (owner,))
                    books.execute(
                        "UPDATE requests SET state = 'lost' WHERE owner = ? AND state = 'sent'",
                        (owner,),
                    )
            for owner in locks:
                (self.folder / OWNERS / f"{owner}.lock").unlink(missing_ok=True)
        finally:
            for lock in locks.values():
                lock.close()

    def _others(self) -> set[str]:
        with self._told():
            rows = self.connection.execute(
                "SELECT owner FROM claims UNION SELECT owner FROM requests WHERE state = 'sent'"
            ).fetchall()
        return {owner for (owner,) in rows if owner != self.owner and not owner.startswith(JOB)}


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def new_request_id(owner: str) -> str:
    """Return a new name for a request, which also tells whose it is."""
    return f"{owner}_{uuid.uuid4().hex}"
