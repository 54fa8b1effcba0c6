"""One Neo4j database as the store uses it: managed transactions, the load lock, plain errors."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from neo4j import Driver, ManagedTransaction, Record, Session, Transaction
from neo4j.exceptions import DriverError, Neo4jError

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import (
    MEMORY_ERRORS,
    Neo4jConnection,
    check_answers,
    complaint,
    create_driver,
    error_kind,
    told,
)
from tagsage.store.base import InterruptedLoadError
from tagsage.store.neo4j_schema import prepare

LOAD_S = 600.0  # for another process's load, many transactions
POLL_S = 0.1
# A transaction that is too large for the server's memory stays so; one of many that together are
# too large does not.
MEMORY_ATTEMPTS = 3
# A range index takes up to 8,167 bytes a value.
INDEXABLE_BYTES = 8000

T = TypeVar("T")
Work = Callable[[ManagedTransaction], T]
Int64s = npt.NDArray[np.int64]

_ALIVE = """
    SHOW TRANSACTIONS YIELD metaData, status
    WHERE metaData.tagsage_load = $token AND NOT status STARTS WITH 'Terminated'
    RETURN count(*) > 0
"""
# Setting a property first takes the node's write lock: what is read next stays so until the commit,
# and the batches of all processes come one after the other.
_LOCK_STATE = """
    MATCH (s:TagsageStore {name: 'tagsage'}) SET s.locked_by = $token RETURN s.loading
"""
_BEGIN_LOAD = """
    MATCH (s:TagsageStore {name: 'tagsage'}) SET s.loading = $token, s.loads = s.loads + 1
"""
_END_LOAD = "MATCH (s:TagsageStore {name: 'tagsage'}) SET s.loading = null"
_STATE = "MATCH (s:TagsageStore {name: 'tagsage'}) RETURN s.loads, s.loading"


class Rows(list[Any]):
    """A list as a parameter.

    The driver spells out every parameter for its log, whether it logs or not: of vectors that takes
    longer than sending them. It asks for this text instead.
    """

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


class Neo4jDatabase:
    """A driver to one database that the store has prepared.

    Transactions are managed by the driver: what ends by a lost connection, a restart or a deadlock
    is tried again for a while (:data:`tagsage.neo4j_connection.RETRY_FOR_S`), so the work of each
    must do no harm when it is done twice. All go to the leader of a cluster, for a follower may not
    know yet what another process has written.

    Parameters
    ----------
    connection : Neo4jConnection
        Where the server is.

    Raises
    ------
    TagsageError
        When the server is away or refuses us, or the database is not ours or a newer version's.
    """

    def __init__(self, connection: Neo4jConnection) -> None:
        self.connection = connection
        self.name = f"the database {connection.database!r} at {connection.uri}"
        self._driver: Driver | None = None
        with told(connection):
            driver = create_driver(connection)
            try:
                with driver.session(database=connection.database) as session:
                    check_answers(session)
                    prepare(session, self.name)
            except BaseException:
                driver.close()
                raise
        self._driver = driver

    def close(self) -> None:
        """Close the driver; may be called twice."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    @contextmanager
    def session(self) -> Generator[Session]:
        """Give a session; what it complains of is told in one sentence."""
        if self._driver is None:
            raise ValueError("the store is closed")
        with (
            told(self.connection),
            self._driver.session(
                database=self.connection.database,
                # Each session sees what the sessions before it wrote.
                bookmark_manager=self._driver.execute_query_bookmark_manager,
            ) as session,
        ):
            yield session

    def transact(self, work: Work[T]) -> T:
        """Do some work in a managed transaction and return what it returns."""
        attempts = 0

        def attempt(tx: ManagedTransaction) -> T:
            nonlocal attempts
            attempts += 1
            try:
                return work(tx)
            except Neo4jError as error:
                if error_kind(error) in MEMORY_ERRORS and attempts >= MEMORY_ATTEMPTS:
                    raise TagsageError(str(complaint(self.connection, error))) from error
                raise

        with self.session() as session:
            return session.execute_write(attempt)

    def state(self) -> tuple[int, str | None]:
        """Return how many loads have begun, and the token of the one that has not ended."""
        return self.transact(read_state)

    # -- one load at a time --------------------------------------------------------------------

    @contextmanager
    def loading(self) -> Generator[LoadLock]:
        """Be the one process that loads.

        A load that ends by an exception or a kill leaves its token behind, which says so.

        Raises
        ------
        TagsageError
            When another process loads for too long.
        """
        lock = LoadLock(self)
        try:
            lock.acquire()
            yield lock
        finally:
            lock.release()

    def wait_for_load(self, deadline: float) -> int:
        """Wait until no load goes on; return how many have begun.

        Raises
        ------
        InterruptedLoadError
            When one was interrupted.
        TagsageError
            When one goes on beyond the deadline.
        """
        while True:
            loads, token = self.state()
            if token is None:
                return loads
            if self.transact(partial(is_alive, token=token)):
                self.pause(deadline)
            elif self.state() == (loads, token):
                raise InterruptedLoadError(self.name)

    def pause(self, deadline: float) -> None:
        """Wait a moment for another process's load.

        Raises
        ------
        TagsageError
            When the deadline is over.
        """
        if time.monotonic() >= deadline:
            msg = (
                f"Another process has been loading into {self.name} for more than {LOAD_S:g} s; "
                "try again when it has ended."
            )
            raise TagsageError(msg)
        time.sleep(POLL_S)


class LoadLock:
    """The right to load, as long as this process lives.

    Neo4j has no locks that outlive a transaction. So the state node holds the token of the load
    that has begun, and the process holds open a transaction that does nothing but carry the token
    in its metadata: the server ends it when the process dies, and all others can see whether it is
    there. Every batch of the load looks for its token in the state node, under that node's write
    lock, before it writes: a load that was taken for dead (after a restart of the server, say, that
    ended the open transaction) cannot mix with the one that took its place.
    """

    def __init__(self, database: Neo4jDatabase) -> None:
        self._database = database
        self.token = uuid.uuid4().hex
        self._session: Session | None = None
        self._sign: Transaction | None = None

    def acquire(self) -> None:
        """Wait for another process's load, then begin."""
        deadline = time.monotonic() + LOAD_S
        self._give_sign()
        while not self._database.transact(self._begin):
            self._database.pause(deadline)

    def batch(self, work: Work[T]) -> T:
        """Do some work in a transaction of the load.

        Raises
        ------
        TagsageError
            When another load has begun meanwhile.
        """
        self._renew_sign()

        def fenced(tx: ManagedTransaction) -> T:
            if lock_state(tx, self.token) != self.token:
                msg = (
                    f"Another process has begun to load into {self._database.name} meanwhile; "
                    "load the corpus again."
                )
                raise TagsageError(msg)
            return work(tx)

        return self._database.transact(fenced)

    def end(self) -> None:
        """Say that the load has ended well."""
        self._renew_sign()

        def end(tx: ManagedTransaction) -> None:
            if lock_state(tx, self.token) == self.token:
                tx.run(_END_LOAD).consume()

        self._database.transact(end)

    def release(self) -> None:
        """Let others load."""
        if self._sign is not None and not self._sign.closed():
            # Nothing was done in it: whether the server still knows it does not matter.
            self._quietly(self._sign.close)
        if self._session is not None:
            self._quietly(self._session.close)
        self._sign = self._session = None

    def _begin(self, tx: ManagedTransaction) -> bool:
        holder = lock_state(tx, self.token)
        if holder not in {None, self.token} and is_alive(tx, str(holder)):
            return False
        tx.run(_BEGIN_LOAD, token=self.token).consume()
        return True

    def _give_sign(self) -> None:
        driver = self._database._driver
        if driver is None:
            raise ValueError("the store is closed")
        with told(self._database.connection):
            self._session = driver.session(database=self._database.connection.database)
            # No time limit, whatever the server's default is: the load may take long.
            self._sign = self._session.begin_transaction(
                metadata={"tagsage_load": self.token}, timeout=0
            )
            self._sign.run("RETURN 1").consume()

    def _renew_sign(self) -> None:
        if not self._has_sign():
            self.release()
            # The server was restarted; it must be back before the next batch can be written.
            self._database.state()
            self._give_sign()

    def _has_sign(self) -> bool:
        if self._sign is None or self._sign.closed():
            return False
        try:
            self._sign.run("RETURN 1").consume()
        except (Neo4jError, DriverError):
            return False
        return True

    @staticmethod
    def _quietly(close: Callable[[], None]) -> None:
        try:
            close()
        except (Neo4jError, DriverError):
            return


def lock_state(tx: ManagedTransaction, token: str) -> str | None:
    """Take the write lock of the store until the transaction ends; return the load under way."""
    holder: str | None = _of_state(tx.run(_LOCK_STATE, token=token).single())[0]
    return holder


def read_state(tx: ManagedTransaction) -> tuple[int, str | None]:
    """Return how many loads have begun, and the token of the one that has not ended."""
    loads, token = _of_state(tx.run(_STATE).single())
    return loads, token


def _of_state(record: Record | None) -> Record:
    if record is None:
        msg = "The Neo4j database was emptied while it was in use; run again."
        raise TagsageError(msg)
    return record


def is_alive(tx: ManagedTransaction, token: str) -> bool:
    """Tell whether the process that loads under a token lives."""
    return bool(tx.run(_ALIVE, token=token).single(strict=True)[0])


# -- rows --------------------------------------------------------------------------------------


def query(text: str, **parameters: Any) -> Work[list[list[Any]]]:
    """Return the work that runs a query and returns all its rows."""

    def run(tx: ManagedTransaction) -> list[list[Any]]:
        return tx.run(text, parameters).values()

    return run


def columns(
    tx: ManagedTransaction, text: str, rows_at_once: int = 10_000, **parameters: Any
) -> Iterator[tuple[tuple[Any, ...], ...]]:
    """Run a query and yield its columns, some thousand rows at once."""
    result = tx.run(text, parameters)
    while records := result.fetch(rows_at_once):
        yield tuple(zip(*records, strict=True))


def batches(
    sizes: npt.NDArray[np.integer[Any]] | Sequence[int], *, rows: int, total: int
) -> list[slice]:
    """Cut rows into runs of not too many rows and not too much in all.

    Parameters
    ----------
    sizes : array of int, shape [n]
        What each row weighs.
    rows : int
        Most rows in a run.
    total : int
        Most weight in a run; a row that is heavier alone is a run of its own.

    Returns
    -------
    list of slice
        The runs, in order; together all rows.

    Examples
    --------
    >>> batches([1, 1, 1, 9, 1], rows=2, total=5)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    ends = np.cumsum(np.asarray(sizes, dtype=np.int64))
    cuts, start = [], 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        heavy = int(np.searchsorted(ends, before + total, side="right"))
        stop = max(start + 1, min(start + rows, heavy))
        cuts.append(slice(start, stop))
        start = stop
    return cuts


def indexable(text: str) -> str:
    """Return a text as an index takes it: a very long one is cut, and a digest makes it unique."""
    # A character is at most four bytes.
    if len(text) * 4 <= INDEXABLE_BYTES or len(text.encode()) <= INDEXABLE_BYTES:
        return text
    return f"{text[:500]}… sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def full(text: str) -> str | None:
    """Return a text that :func:`indexable` cuts, None for others."""
    return None if indexable(text) is text else text


def too_long(texts: Iterable[str]) -> Rows:
    """Return pairs of indexable and full text of those that are too long for an index."""
    return Rows([indexable(text), text] for text in texts if full(text) is not None)
