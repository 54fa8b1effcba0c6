"""One SQLite file as the store uses it: transactions, arrays out, locks, plain errors."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.store.schema import is_current, migrate

BATCH = 50_000
BUSY_S = 60.0  # for another process's transaction
LOAD_S = 600.0  # for another process's load, many transactions

Int64s = npt.NDArray[np.int64]


class Database:
    """An open SQLite file in WAL mode, its tables up to date.

    Parameters
    ----------
    path : pathlib.Path
        The file; made, with its folder, when it does not exist.

    Raises
    ------
    TagsageError
        When the file is no database, another program's, or a newer version's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        with self.told():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are begun and ended here, not by the driver.
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            try:
                if not is_current(connection, path):
                    # Two processes that both turn on WAL would not wait for each other.
                    with self.locked(fcntl.LOCK_EX):
                        migrate(connection, path)
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA cache_size = -65536")
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute one statement."""
        return self._open().execute(statement, values)

    def execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute one statement for every row."""
        self._open().executemany(statement, rows)

    def columns(
        self, query: str, kinds: Sequence[Any], values: Sequence[object] = ()
    ) -> list[npt.NDArray[Any]]:
        """Return the columns of a query as arrays.

        Parameters
        ----------
        query : str
            A SELECT.
        kinds : sequence
            The dtype of each column.
        values : sequence
            The query's parameters.

        Returns
        -------
        list of numpy.ndarray, each of shape [rows]
            One a column.
        """
        parts: list[list[npt.NDArray[Any]]] = [[np.empty(0, dtype=kind)] for kind in kinds]
        cursor = self.execute(query, values)
        while rows := cursor.fetchmany(BATCH):
            for part, column, kind in zip(parts, zip(*rows, strict=True), kinds, strict=True):
                part.append(np.array(column, dtype=kind))
        return [np.concatenate(part) for part in parts]

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Generator[None]:
        """Commit what is done inside; undo it when something is raised.

        Parameters
        ----------
        kind : str
            ``IMMEDIATE`` to write, ``DEFERRED`` to read one state of the file.
        """
        self.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            # SQLite itself has already rolled back after some errors, such as a full disk.
            if self._connection is not None and self._connection.in_transaction:
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    @contextmanager
    def locked(self, how: int) -> Generator[None]:
        """Hold ``<name>.lock``, ``LOCK_EX`` or ``LOCK_SH``; the system frees it at a kill.

        Raises
        ------
        TagsageError
            When another process holds it for too long.
        """
        with Path(f"{self.path}.lock").open("w", encoding="utf-8") as lock:
            deadline = time.monotonic() + LOAD_S
            while True:
                try:
                    fcntl.flock(lock, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        msg = (
                            f"Another process has been loading into {self.path} for more than "
                            f"{LOAD_S:g} s; try again when it has ended."
                        )
                        raise TagsageError(msg) from None
                    time.sleep(0.05)
            yield

    @contextmanager
    def told(self) -> Generator[None]:
        """Turn what SQLite and the file system complain of into one sentence."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a mistake of this program, not of its user
        except sqlite3.DatabaseError as error:
            raise TagsageError(f"{self.path} {_complaint(error)}") from error
        except OSError as error:
            why = error.strerror or str(error)
            raise TagsageError(f"{self.path} cannot be opened: {why}; check the path.") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise ValueError("the store is closed")
        return self._connection


def _complaint(error: sqlite3.Error) -> str:
    known = {
        sqlite3.SQLITE_NOTADB: "is not an SQLite database; name another file.",
        sqlite3.SQLITE_CORRUPT: "is damaged; restore it, or remove it and load the corpus again.",
        sqlite3.SQLITE_BUSY: "is held by another process; try again when it has ended.",
        sqlite3.SQLITE_FULL: "cannot grow, for the disk is full; make room.",
        sqlite3.SQLITE_READONLY: "may not be written; check its permissions.",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened; it must be a file that may be written.",
    }
    # The low byte is the kind of error, the rest its finer distinctions.
    return known.get(error.sqlite_errorcode & 0xFF, f"cannot be used: {error}.")
