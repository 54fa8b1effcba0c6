"""Which Neo4j server to talk to, drivers to it, and its complaints in plain sentences.

The driver, which brings pandas, is imported where it is used: every task asks for this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tagsage.errors import TagsageError
from tagsage.providers import Providers

if TYPE_CHECKING:
    from neo4j import Driver, Session

CONNECT_WITHIN_S = 10.0
# A server that restarts is back within this time; a transaction is tried again until then.
RETRY_FOR_S = 90.0

MEMORY_ERRORS = ("MemoryPoolOutOfMemoryError", "TransactionOutOfMemoryError", "OutOfMemoryError")

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")

_HOW = (
    "set NEO4J_URI, NEO4J_USERNAME and NEO4J_PASSWORD, or the Airflow connection neo4j_default; "
    "`make neo4j` starts a server"
)

Provider = Callable[[], "Neo4jConnection | None"]
_providers: Providers[Neo4jConnection] = Providers()


@dataclass(frozen=True)
class Neo4jConnection:
    """Where a server is and who we are there; the password is in no text form of it.

    Attributes
    ----------
    uri : str
        ``bolt://host:port`` or another scheme of the driver; holds no credentials.
    username, password : str
        Both empty where the server asks for none.
    database : str
        The database's name.
    encrypted : bool
        Whether a plain ``bolt`` or ``neo4j`` scheme is to use TLS.
    """

    uri: str
    username: str = ""
    password: str = field(default="", repr=False)
    database: str = "neo4j"
    encrypted: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.uri)
        if parts.scheme not in SCHEMES or not parts.hostname:
            # Not the text itself: it may hold a password.
            msg = (
                f"The Neo4j URI must be one of {', '.join(SCHEMES)} followed by ://host:port; "
                "correct NEO4J_URI or the Airflow connection neo4j_default."
            )
            raise TagsageError(msg)
        if parts.username is not None or parts.password is not None:
            msg = (
                "The Neo4j URI holds credentials, and URIs are shown to people; put them into "
                "NEO4J_USERNAME and NEO4J_PASSWORD instead."
            )
            raise TagsageError(msg)

    @property
    def auth(self) -> tuple[str, str] | None:
        """What the driver wants: user and password, or None."""
        return (self.username, self.password) if self.username else None


def provide_connection(provider: Provider) -> None:
    """Ask `provider` before the environment; in Airflow it reads ``neo4j_default``.

    Parameters
    ----------
    provider : callable
        Returns the connection, or None when it knows none. The latest given is asked first.
    """
    _providers.add(provider)


def resolve_connection() -> Neo4jConnection:
    """Return the connection from a provider, else from the environment.

    ``NEO4J_URI``, ``NEO4J_USERNAME``, ``NEO4J_PASSWORD`` and ``NEO4J_DATABASE`` are read.

    Raises
    ------
    TagsageError
        When there is none, or one that cannot be right.
    """
    if (connection := _providers.find()) is not None:
        return connection
    uri = os.environ.get("NEO4J_URI", "")
    if not uri:
        raise TagsageError(f"No Neo4j server is named; {_HOW}.")
    return Neo4jConnection(
        uri,
        os.environ.get("NEO4J_USERNAME", ""),
        os.environ.get("NEO4J_PASSWORD", ""),
        os.environ.get("NEO4J_DATABASE", "") or "neo4j",
    )


@contextmanager
def open_driver(connection: Neo4jConnection) -> Generator[Driver]:
    """Open a driver, make sure that the server answers, and close it in the end.

    Raises
    ------
    TagsageError
        When the server is away or refuses us.
    """
    with told(connection):
        driver = create_driver(connection)
        try:
            with driver.session(database=connection.database) as session:
                check_answers(session)
            yield driver
        finally:
            driver.close()


def create_driver(connection: Neo4jConnection) -> Driver:
    """Return a driver, to be closed by the caller; nothing is sent yet."""
    from neo4j import GraphDatabase

    options: dict[str, Any] = {}
    if connection.encrypted and urlsplit(connection.uri).scheme in {"bolt", "neo4j"}:
        options["encrypted"] = True
    return GraphDatabase.driver(
        connection.uri,
        auth=connection.auth,
        connection_timeout=CONNECT_WITHIN_S,
        max_transaction_retry_time=RETRY_FOR_S,
        user_agent="tagsage",
        # Hints on queries go to the server's own log; ours is for what users can act on.
        notifications_min_severity="OFF",
        **options,
    )


def check_answers(session: Session) -> None:
    """Ask something, outside a managed transaction: a server that is away is not waited for."""
    session.run("RETURN 1").consume()


@contextmanager
def told(connection: Neo4jConnection) -> Generator[None]:
    """Turn what the server or the driver complains of into one sentence, without credentials.

    Raises
    ------
    TagsageError
        For everything a user can act on; mistakes of this program go through as they are.
    """
    from neo4j.exceptions import DriverError, Neo4jError

    try:
        yield
    except (Neo4jError, DriverError) as error:
        sentence = complaint(connection, error)
        if sentence is None:
            raise
        raise TagsageError(sentence) from error


def complaint(connection: Neo4jConnection, error: Exception) -> str | None:
    """Word an error of the driver for a user; None when it is a mistake of this program."""
    from neo4j.exceptions import (
        AuthError,
        ClientError,
        ConfigurationError,
        ConnectionPoolError,
        DatabaseError,
        ServiceUnavailable,
        SessionExpired,
        TransientError,
    )

    where = connection.uri
    kind = error_kind(error)
    if isinstance(error, AuthError) or kind in {"Unauthorized", "AuthenticationRateLimit"}:
        return (
            f"Neo4j at {where} refused the user {connection.username!r} or the password ({kind}); "
            "correct NEO4J_USERNAME and NEO4J_PASSWORD or the Airflow connection neo4j_default."
        )
    if kind == "CredentialsExpired":
        return (
            f"The password of {connection.username!r} at {where} has expired; change it with "
            "ALTER CURRENT USER SET PASSWORD."
        )
    if kind == "DatabaseNotFound":
        return (
            f"Neo4j at {where} has no database {connection.database!r}; name another in "
            "NEO4J_DATABASE or as the schema of the Airflow connection, or create it."
        )
    if kind in {"ForbiddenOnReadOnlyDatabase", "WriteOnReadOnlyAccessDatabase", "AccessMode"}:
        return (
            f"The database {connection.database!r} at {where} is read-only; open it for writing, "
            "or name another in NEO4J_DATABASE."
        )
    if kind == "Forbidden":
        return (
            f"The user {connection.username!r} at {where} may not do this: {_first(error)}; grant "
            "the right, or name another user."
        )
    if kind in MEMORY_ERRORS:
        return (
            f"Neo4j at {where} ran out of memory: {_first(error)}; give it more "
            "(server.memory.heap.max_size) and run again."
        )
    if isinstance(error, ConfigurationError):
        return f"The connection to Neo4j at {where} is set up wrongly: {_first(error)}."
    if isinstance(error, TransientError):
        return f"Neo4j at {where} could not do this now: {_first(error)}; run again."
    if isinstance(error, ServiceUnavailable | SessionExpired | ConnectionPoolError):
        return f"Neo4j at {where} does not answer ({type(error).__name__}); start it, or {_HOW}."
    if isinstance(error, DatabaseError) and kind != "ProcedureCallFailed":
        return f"Neo4j at {where} failed: {_first(error)}; look into its log, and run again."
    if isinstance(error, ClientError) and kind in {"TransactionTimedOut", "LockClientStopped"}:
        return f"Neo4j at {where} ended a transaction that took too long; run again."
    return None


def error_kind(error: Exception) -> str:
    """Return the last part of the server's code of an error; empty when it is not the server's."""
    from neo4j.exceptions import Neo4jError

    code = (error.code or "") if isinstance(error, Neo4jError) else ""
    return code.rpartition(".")[2]


def _first(error: Exception) -> str:
    """Return the first line of an error's message, without a full stop."""
    from neo4j.exceptions import Neo4jError

    text = (error.message or "") if isinstance(error, Neo4jError) else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
