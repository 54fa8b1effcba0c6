"""The catalogue, opened to read: never written, never waited for too long."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tagsage.app.catalogue.schema import APPLICATION_ID, VERSION
from tagsage.errors import TagsageError

QUERY_S = 5.0
# Steps of SQLite's machine between two looks at the clock.
STEPS = 20_000


class NoCatalogueError(TagsageError):
    """No run has left a catalogue yet."""


class CatalogueError(TagsageError):
    """The catalogue cannot be read."""


@contextmanager
def reading(file: Path, *, seconds: float = QUERY_S) -> Generator[sqlite3.Connection]:
    """Open a catalogue for one request.

    It is opened anew each time, which takes less than a millisecond: a run replaces the file
    while the pages are looked at.

    Parameters
    ----------
    file : pathlib.Path
        The catalogue.
    seconds : float
        How long all queries together may take.

    Yields
    ------
    sqlite3.Connection
        A connection that can only read.

    Raises
    ------
    NoCatalogueError
        When there is no such file.
    CatalogueError
        When it is no catalogue, another version's, damaged, or answers too slowly.
    """
    if not file.is_file():
        raise NoCatalogueError(
            "There is nothing to show yet: run the DAG retrain once, and look again."
        )
    try:
        with closing(_open(file)) as connection:
            deadline = time.monotonic() + seconds
            connection.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS)
            yield connection
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            msg = "That took too long to look up; ask for something narrower."
            raise CatalogueError(msg) from None
        raise _damaged(error) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(error) from error


def fact(connection: sqlite3.Connection, name: str) -> Any:
    """Return a fact of the run; None when there is none of this name."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(row["value"])


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)
    try:
        connection.row_factory = sqlite3.Row
        # What a tampered file defines must not run.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        if (application, version) != (APPLICATION_ID, VERSION):
            raise CatalogueError(
                "The catalogue in the workspace is of another version of tagsage; run the DAG "
                "retrain again."
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _damaged(error: sqlite3.Error) -> CatalogueError:
    return CatalogueError(
        f"The catalogue in the workspace cannot be read ({error}); run the DAG retrain again."
    )
