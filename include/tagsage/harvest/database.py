"""The file of a harvest: one process at a time, every transaction durable when it ends."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
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
        When the file is no harvest, or a newer version's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        # Transactions are begun and ended here, not by the driver.
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
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
        """Execute one statement."""
        return self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit what is done inside, undo it when something is raised; within another, join it."""
        if self._is_within():
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # SQLite itself has already rolled back after some errors, such as a full disk.
            if self._is_within():
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def _is_within(self) -> bool:
        return self._connection.in_transaction

    def _prepare(self, path: Path) -> None:
        # Pages that are no longer kept give their room back.
        self.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self.execute("PRAGMA journal_mode = WAL")
        # What was fetched slowly is not lost with the power either.
        self.execute("PRAGMA synchronous = FULL")
        with self.transaction():
            version = int(self.execute("PRAGMA user_version").fetchone()[0])
            owner = int(self.execute("PRAGMA application_id").fetchone()[0])
            if version == 0 and not self.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in TABLES.split(";\n"):
                    self.execute(statement)
                self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.execute(f"PRAGMA user_version = {VERSION}")
            elif owner != APPLICATION_ID:
                msg = f"{path} is not a harvest; move it away and harvest again."
                raise TagsageError(msg)
            elif version > VERSION:
                msg = f"{path} was made by a newer version of tagsage; use that one."
                raise TagsageError(msg)


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
