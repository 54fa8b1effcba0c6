"""The file of a harvest: one process at a time, every transaction durable when it ends."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tagsage.errors import TagsageError
from tagsage.harvest.schema import TABLES, VERSION

FILE = "harvest.db"
LOCK = "harvest.lock"
BUSY_S = 60.0
APPLICATION_ID = 0x54534856  # "TSHV": tells our files from another program's


class HarvestDatabase:
    """An open harvest.

    Parameters
    ----------
    folder : pathlib.Path
        Where the file is; made when it does not exist.

    Raises
    ------
    TagsageError
        When the file cannot be opened, is no harvest, or a newer version's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Transactions are begun and ended here, not by the driver.
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            msg = f"{path} cannot be opened ({error}); choose another folder, or permit this one."
            raise TagsageError(msg) from error
        try:
            self._prepare(path)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            msg = f"{path} cannot be used ({error}); move it away and harvest again."
            raise TagsageError(msg) from error
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._connection.close()

    def execute(
        self, statement: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> sqlite3.Cursor:
        """Execute one statement.

        Raises
        ------
        TagsageError
            When the file cannot be used: the disk is full, another process holds it for too long.
        """
        try:
            return self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute one statement for each row of values; raises as :meth:`execute`."""
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit what is done inside, undo it when something is raised; within another, join it."""
        if self._is_within():
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException as error:
            # SQLite itself has already rolled back after some errors, such as a full disk.
            if self._is_within():
                self.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError):
                raise self._told(error) from error
            raise
        try:
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if self._is_within():
                self.execute("ROLLBACK")
            raise self._told(error) from error

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Read one and the same state in all statements inside, whatever others write meanwhile."""
        if self._is_within():
            yield
            return
        self.execute("BEGIN")
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error
        finally:
            if self._is_within():
                self.execute("ROLLBACK")  # there is nothing to commit

    def give_room_back(self) -> None:
        """Let the file shrink by what was deleted; not within a transaction."""
        if self._is_within():
            raise RuntimeError("room is given back only outside of transactions")
        try:
            # A plain execute would move a single page: this pragma has steps, but no rows.
            self._connection.executescript("PRAGMA incremental_vacuum;")
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def _is_within(self) -> bool:
        return self._connection.in_transaction

    def _told(self, error: sqlite3.DatabaseError) -> Exception:
        """Return what to raise: a mistake of ours stays what it is."""
        if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
            return error
        file = self.folder / FILE
        return TagsageError(
            f"{file} cannot be used ({error}); make room, permit it, or let the other program end, "
            "then run the same command again."
        )

    def _prepare(self, path: Path) -> None:
        # What was fetched slowly is not lost with the power either.
        self._connection.execute("PRAGMA synchronous = FULL")
        # An old file is opened without a lock, so that it can be looked at during a harvest.
        if self._is_ours(path):
            return
        # Pages that are no longer kept give their room back.
        self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            if self._is_ours(path):  # another process was first
                return
            for statement in TABLES.split(";\n"):
                self.execute(statement)
            self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.execute(f"PRAGMA user_version = {VERSION}")

    def _is_ours(self, path: Path) -> bool:
        """Tell whether the tables are there; False for an empty file."""
        version, owner, tables = self._connection.execute(
            "SELECT (SELECT user_version FROM pragma_user_version), "
            "(SELECT application_id FROM pragma_application_id), "
            "(SELECT COUNT(*) FROM sqlite_master)"
        ).fetchone()
        if version == 0 and tables == 0:
            return False
        if owner != APPLICATION_ID:
            msg = f"{path} is not a harvest; move it away and harvest again."
            raise TagsageError(msg)
        if version > VERSION:
            msg = f"{path} was made by a newer version of tagsage; use that one."
            raise TagsageError(msg)
        return True


@contextmanager
def alone(folder: Path, *, patience_s: float = 0.0) -> Generator[None]:
    """Keep every other harvest out of a folder, on this machine.

    Parameters
    ----------
    folder : pathlib.Path
        The harvest's.
    patience_s : float
        How long another one may still take to end, in seconds.

    Raises
    ------
    TagsageError
        When another one is under way for longer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience_s
    with (folder / LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    msg = f"Another harvest is under way in {folder}; wait for its end."
                    raise TagsageError(msg) from None
            time.sleep(0.05)
        yield
