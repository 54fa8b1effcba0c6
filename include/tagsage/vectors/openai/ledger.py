"""The books: who has which text in hand, what was sent and spent, what no server takes.

One SQLite file beside the cache, for any number of processes. A process is alive as long as it
holds the lock on its file in ``owners/``, which the system frees when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sqlite3
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from tagsage.errors import TagsageError
from tagsage.vectors.openai.config import Ceiling

FILE = "ledger.db"
OWNERS = "owners"
BUSY_S = 60.0
# A text that the server failed at is left alone for the rest of the night.
FAILED_FOR = timedelta(hours=12)
# Owners of texts that no process has in hand, but a batch that OpenAI works on.
JOB = "job:"

State = Literal["done", "refused", "lost"]

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
    "kind TEXT NOT NULL, reason TEXT NOT NULL, rejected_at TEXT NOT NULL, "
    "PRIMARY KEY (model_id, hash)) WITHOUT ROWID",
)

# What the requests of a run can have cost at most.
_MOST_OF_RUN = """
    SELECT COALESCE(SUM(most), 0), COALESCE(SUM(most * price), 0) FROM (
        SELECT CASE state WHEN 'done' THEN tokens WHEN 'refused' THEN 0 ELSE bound END AS most,
            price
        FROM requests WHERE run_id = ?
    )
"""
# What they are taken to have cost.
_SPENT = """
    SELECT COALESCE(SUM(state = 'done'), 0), COALESCE(SUM((state = 'done') * texts), 0),
        COALESCE(SUM(tokens), 0), COALESCE(SUM(tokens * price), 0) / 1e6,
        COALESCE(SUM(state = 'lost'), 0), COALESCE(SUM((state = 'lost') * tokens), 0)
    FROM requests WHERE state != 'refused' AND (run_id = :run_id OR :run_id IS NULL)
"""


class CeilingReachedError(TagsageError):
    """What is to be sent could cost more than the run may spend."""


@dataclass(frozen=True)
class Spending:
    """What was sent, and what it cost.

    Attributes
    ----------
    requests, texts : int
        Requests with an answer, and the texts in them.
    tokens : int
        Tokens charged; for lost requests estimated.
    dollars : float
        Their price.
    lost_requests, lost_tokens : int
        Those of them whose answer never came, so that nobody knows whether they were charged.
    """

    requests: int = 0
    texts: int = 0
    tokens: int = 0
    dollars: float = 0.0
    lost_requests: int = 0
    lost_tokens: int = 0


class Ledger:
    """The open books; a context manager.

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
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        owners = folder / OWNERS
        with self._told():
            owners.mkdir(parents=True, exist_ok=True)
            self._lock = (owners / f"{self.owner}.lock").open("w", encoding="utf-8")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Any thread may use it, one at a time.
            self.connection = sqlite3.connect(
                folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self.connection.close()
                raise

    def _prepare(self) -> None:
        # Two processes that both turn on WAL would not wait for each other.
        with _locked(self.folder / f"{FILE}.lock"):
            self.connection.execute("PRAGMA journal_mode = WAL")
            for statement in _SCHEMA:
                self.connection.execute(statement)
        self.connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Give back what is in hand, and close the books."""
        with self._told():
            self.connection.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
            self.connection.close()
        (self.folder / OWNERS / f"{self.owner}.lock").unlink(missing_ok=True)
        self._lock.close()

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

    # -- who has a text in hand ----------------------------------------------------------------
    def claim(self, model_id: str, hashes: Sequence[bytes], owner: str = "") -> set[bytes]:
        """Take texts in hand; nobody else sends them until they are released.

        Parameters
        ----------
        model_id : str
            The vectors' name.
        hashes : sequence of bytes
            The texts' hashes.
        owner : str
            For whom: this process by default, or a batch (``job:…``).

        Returns
        -------
        set of bytes
            Those that are the owner's now; the others are another's.
        """
        owner = owner or self.owner
        with self.transaction() as books:
            books.executemany(
                "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)",
                ((model_id, each.decode(), owner) for each in hashes),
            )
            return {each for each in hashes if _owner_of(books, model_id, each) == owner}

    def release(self, model_id: str, hashes: Iterable[bytes], owner: str = "") -> None:
        """Let texts go."""
        owner = owner or self.owner
        with self.transaction() as books:
            books.executemany(
                "DELETE FROM claims WHERE model_id = ? AND hash = ? AND owner = ?",
                ((model_id, each.decode(), owner) for each in hashes),
            )

    def hand_over(self, model_id: str, hashes: Iterable[bytes], owner: str) -> None:
        """Give texts that this process has in hand to another owner, a batch (``job:…``)."""
        with self.transaction() as books:
            books.executemany(
                "UPDATE claims SET owner = ? WHERE model_id = ? AND hash = ? AND owner = ?",
                ((owner, model_id, each.decode(), self.owner) for each in hashes),
            )

    def owners_of(self, model_id: str, hashes: Iterable[bytes]) -> dict[bytes, str]:
        """Return who has which of these texts in hand."""
        with self._told():
            found = ((each, _owner_of(self.connection, model_id, each)) for each in hashes)
            return {each: owner for each, owner in found if owner is not None}

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

    # -- what is sent and spent ----------------------------------------------------------------
    def reserve(
        self,
        request_id: str,
        *,
        run_id: str,
        model_id: str,
        texts: int,
        bound: int,
        estimate: int,
        price: float,
        ceiling: Ceiling,
        kind: Literal["online", "batch"] = "online",
        owner: str = "",
    ) -> None:
        """Write down a request before it is sent.

        Parameters
        ----------
        request_id : str
            Its name in the books; a request that is in them already is left as it is.
        run_id : str
            Who pays.
        model_id : str
            The vectors' name.
        texts : int
            Texts in it.
        bound, estimate : int
            Tokens it can have at most, and about.
        price : float
            US dollars a million tokens.
        ceiling : Ceiling
            What the run may spend.
        kind : str
            How it is sent.
        owner : str
            This process by default, or a batch.

        Raises
        ------
        CeilingReachedError
            When, with all that the run sent before, it could cross the ceiling.
        """
        with self.transaction() as books:
            known = books.execute("SELECT 1 FROM requests WHERE id = ?", (request_id,)).fetchone()
            if known:
                return
            tokens, cost = books.execute(
                _MOST_OF_RUN,
                (run_id,),
            ).fetchone()
            _refuse_above(ceiling, tokens, bound, (cost + bound * price) / 1e6)
            books.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'sent', ?)",
                (
                    *(request_id, owner or self.owner, run_id, model_id, kind),
                    *(texts, bound, min(estimate, bound), price, _now()),
                ),
            )

    def settle(self, request_id: str, state: State, tokens: int | None = None) -> None:
        """Write down how a request ended; what was written down first counts.

        Parameters
        ----------
        request_id : str
            Its name in the books.
        state : str
            ``done``: it was answered; ``refused``: the server did nothing for it; ``lost``: the
            answer did not come, or not whole.
        tokens : int, optional
            What was charged; the estimate stays when the server does not say.
        """
        with self.transaction() as books:
            books.execute(
                "UPDATE requests SET state = ?, tokens = COALESCE(?, tokens) "
                "WHERE id = ? AND state = 'sent'",
                (state, tokens, request_id),
            )

    def spent(self, run_id: str | None = None) -> Spending:
        """Return what a run has spent so far, or all of them."""
        with self._told():
            row = self.connection.execute(
                _SPENT,
                {"run_id": run_id},
            ).fetchone()
        return Spending(*row)

    def runs(self) -> list[str]:
        """Return the runs in the books, the latest first."""
        with self._told():
            rows = self.connection.execute(
                "SELECT run_id FROM requests GROUP BY run_id ORDER BY MAX(sent_at) DESC"
            ).fetchall()
        return [run_id for (run_id,) in rows]

    # -- what no server takes ------------------------------------------------------------------
    def reject(
        self, model_id: str, reasons: Mapping[bytes, str], kind: Literal["refused", "failed"]
    ) -> None:
        """Remember texts without a vector, so as not to ask again.

        Parameters
        ----------
        model_id : str
            The vectors' name.
        reasons : mapping of bytes to str
            The texts' hashes, and why.
        kind : str
            ``refused``: the server does not take them, ever; ``failed``: it never managed, and
            may some other night.
        """
        with self.transaction() as books:
            books.executemany(
                "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?)",
                ((model_id, each.decode(), kind, why, _now()) for each, why in reasons.items()),
            )

    def rejected(self, model_id: str) -> dict[bytes, str]:
        """Return the texts not to be asked for now, by hash, and why."""
        lately = (datetime.now(tz=UTC) - FAILED_FOR).isoformat(timespec="milliseconds")
        with self._told():
            rows = self.connection.execute(
                "SELECT hash, reason FROM rejected "
                "WHERE model_id = ? AND (kind = 'refused' OR rejected_at > ?)",
                (model_id, lately),
            ).fetchall()
        return {each.encode(): why for each, why in rows}

    def forget_rejected(self, model_id: str) -> int:
        """Let rejected texts be tried again; return how many there were."""
        with self.transaction() as books:
            return books.execute("DELETE FROM rejected WHERE model_id = ?", (model_id,)).rowcount


def _owner_of(books: sqlite3.Connection, model_id: str, each: bytes) -> str | None:
    row: tuple[str] | None = books.execute(
        "SELECT owner FROM claims WHERE model_id = ? AND hash = ?", (model_id, each.decode())
    ).fetchone()
    return row[0] if row else None


def _refuse_above(ceiling: Ceiling, before: int, bound: int, cost: float) -> None:
    """Raise when tokens or dollars could go above the ceiling."""
    if before + bound > ceiling.tokens:
        msg = (
            f"The run has sent up to {before:,} tokens, and {bound:,} more could cross its ceiling "
            f"of openai_max_tokens={ceiling.tokens}; raise it and run again: what was paid for is "
            "kept."
        )
        raise CeilingReachedError(msg)
    if cost > ceiling.dollars:
        msg = (
            f"The run could come to cost ${cost:.4f} and cross its ceiling of "
            f"openai_max_dollars={ceiling.dollars:g}; raise it and run again: what was paid for is "
            "kept."
        )
        raise CeilingReachedError(msg)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds")


def new_request_id(owner: str) -> str:
    """Return a new name for a request, which also tells whose it is."""
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', owner)}_{uuid.uuid4().hex}"
