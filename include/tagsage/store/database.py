"""A database of the SQL store: opened, read, written, and its errors translated.

Nothing slow is imported here, because Airflow's API server reads with it for the pages.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from tagsage.errors import TagsageError
from tagsage.files import locked
from tagsage.redact import redact
from tagsage.settings import Settings
from tagsage.store import full_text
from tagsage.store.tables import METADATA
from tagsage.workspace import Workspace

# libpq reads PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE by itself.
POSTGRES = URL.create("postgresql+psycopg2")
WAIT_S = 600.0  # for another process that writes
CONNECT_S = 10
# Steps of SQLite's virtual machine between two checks of the time.
STEPS = 20_000
# Any number that other programs are unlikely to lock.
WRITER = 0x74616773


def sqlite_url(file: Path) -> URL:
    """Return the address of a SQLite file."""
    return URL.create("sqlite", database=str(file))


def sqlite_file(settings: Settings) -> Path:
    """Return the file of the store sqlite; with store=neo4j it holds what the pages show."""
    if settings.sqlite_path:
        return Path(settings.sqlite_path)
    return Workspace(settings.workspace).local_path / "tagsage.db"


def pages_url(settings: Settings) -> URL:
    """Return the address of the SQL database that the pages read."""
    return POSTGRES if settings.store == "postgres" else sqlite_url(sqlite_file(settings))


class Database:
    """A SQLite file or a Postgres database; with `create`, what is missing is made.

    Raises `TagsageError` when the database cannot be opened.
    """

    def __init__(self, url: URL, *, create: bool = True) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if self.is_sqlite else "the Postgres database"
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            # Errors must not show what is in the database.
            hide_parameters=True,
            **({} if self.is_sqlite else {"executemany_mode": "values_plus_batch"}),
            connect_args={"timeout": WAIT_S} if self.is_sqlite else {"connect_timeout": CONNECT_S},
        )
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        if create:
            with self._translated():
                self._create()

    @contextmanager
    def reading(self, seconds: float | None = None) -> Generator[Connection]:
        """Read one state of the database; all queries together may take so many seconds."""
        with self._translated(), self._engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                if seconds is not None:
                    self._limit(connection, seconds)
                yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Write in one transaction; other writers wait, readers see the state before."""
        with self._translated(), self._engine.connect() as connection:
            connection = connection.execution_options(writing=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:it)"), {"it": WRITER})
                yield connection

    def _create(self) -> None:
        if self.is_sqlite:
            file = Path(str(self.url.database))
            file.parent.mkdir(parents=True, exist_ok=True)
            if not self.has_tables():
                # Two processes that both switch to WAL do not wait for each other.
                with locked(file.with_name(f"{file.name}.lock")), self._engine.connect() as one:
                    one.connection.execute("PRAGMA journal_mode = WAL")
        if not self.has_tables():
            with self.writing() as connection:
                # Another process may have made them meanwhile.
                if not inspect(connection).has_table(full_text.TABLE):
                    METADATA.create_all(connection, checkfirst=False)
                    full_text.create(connection)

    def has_tables(self) -> bool:
        """Return whether the tables exist; all are made in one transaction."""
        with self._translated(), self._engine.connect() as connection:
            return inspect(connection).has_table(full_text.TABLE)

    def _limit(self, connection: Connection, seconds: float) -> None:
        if not self.is_sqlite:
            limit = f"{1000 * seconds:.0f}"
            connection.execute(
                text("SELECT set_config('statement_timeout', :limit, true)"), {"limit": limit}
            )
            return
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        deadline = time.monotonic() + seconds
        driver.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS)

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except IntegrityError:
            raise  # a bug, not a user's mistake
        except DBAPIError as error:
            raise TagsageError(f"{self.name} {_complaint(error.orig)}") from error
        except OSError as error:
            why = error.strerror or str(error)
            raise TagsageError(f"{self.name} cannot be opened: {why}; check the path.") from error


def _prepare_sqlite(driver: sqlite3.Connection, _: object) -> None:
    # Transactions are begun below, not by the driver.
    driver.isolation_level = None
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "cache_size = -65536"):
        driver.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


_SQLITE = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database; name another file.",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it, or remove it and run again.",
    sqlite3.SQLITE_BUSY: "is being written by another process; try again when that has ended.",
    sqlite3.SQLITE_FULL: "cannot grow because the disk is full; make room.",
    sqlite3.SQLITE_READONLY: "is read-only; check its permissions.",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; it must be a file that may be written.",
    sqlite3.SQLITE_INTERRUPT: "took too long to answer; ask for something narrower.",
    sqlite3.SQLITE_ERROR: "does not have the tables of this version of tagsage; remove it, or name "
    "another file, and run again.",
}


def _complaint(error: BaseException | None) -> str:
    if isinstance(error, sqlite3.Error):
        # The low byte is the kind of error, the other bytes its subkind.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return _SQLITE.get(code, f"cannot be used: {error}.")
    if getattr(error, "pgcode", None) == "57014":
        return _SQLITE[sqlite3.SQLITE_INTERRUPT]
    said = redact((str(error).strip().splitlines() or [type(error).__name__])[0])
    return (
        f"cannot be used: {said.rstrip('.')}; check PGHOST, PGPORT, PGUSER, PGPASSWORD and "
        "PGDATABASE."
    )
