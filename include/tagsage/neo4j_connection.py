"""The connection to Neo4j: which server, its drivers, and their errors translated.

The driver imports pandas, so it is imported where it is used: every task imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tagsage.errors import TagsageError
from tagsage.redact import redact

if TYPE_CHECKING:
    from neo4j import Driver, Session

CONNECT_WITHIN_S = 10.0
# A server that restarts is back within this time; a transaction is tried again until then.
RETRY_FOR_S = 90.0

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")

_HOW = (
    "set NEO4J_URI, NEO4J_USERNAME and NEO4J_PASSWORD, or the Airflow connection neo4j_default; "
    "`make neo4j` starts a server"
)

Provider = Callable[[], "Neo4jConnection | None"]
# What is asked before the environment: in Airflow, its connections.
_provider: Provider | None = None


@dataclass(frozen=True)
class Neo4jConnection:
    """The server's address and our account; the password is in no text form of it.

    Without a username there is no authentication. `encrypted` requires TLS in any scheme.
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
        """User and password for the driver, or None."""
        return (self.username, self.password) if self.username else None


def provide_connection(provider: Provider) -> None:
    """Use the connection that `provider` returns, if any, rather than the environment's."""
    global _provider
    _provider = provider


def resolve_connection() -> Neo4jConnection:
    """Return the provider's connection, else the environment's; a `TagsageError` without one."""
    if _provider and (connection := _provider()) is not None:
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
    """Open a driver, and close it in the end; raises `TagsageError` without a server."""
    with translated(connection):
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
    """Query without a managed transaction, which would wait for an unreachable server."""
    session.run("RETURN 1").consume()


@contextmanager
def translated(connection: Neo4jConnection) -> Generator[None]:
    """Translate the driver's errors into `TagsageError`, without credentials; bugs pass."""
    from neo4j.exceptions import DriverError, Neo4jError

    try:
        yield
    except (Neo4jError, DriverError) as error:
        sentence = _sentence(connection, error)
        if sentence is None:
            raise
        raise TagsageError(redact(sentence, [connection.password])) from error


def error_kind(error: Exception) -> str:
    """Return the last part of the server's error code; empty when the server sent none."""
    from neo4j.exceptions import Neo4jError

    code = (error.code or "") if isinstance(error, Neo4jError) else ""
    return code.rpartition(".")[2]


def _sentence(connection: Neo4jConnection, error: Exception) -> str | None:
    from neo4j.exceptions import DatabaseError, Neo4jError, TransientError

    message = (error.message or "") if isinstance(error, Neo4jError) else str(error)
    first = (message.strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
    kind = error_kind(error) or type(error).__name__
    sentence = next((text for kinds, text in _SENTENCES.items() if kind in kinds), None)
    if sentence is None and isinstance(error, TransientError):
        sentence = "Neo4j at {uri} could not do this now: {first}; run again."
    elif sentence is None and isinstance(error, DatabaseError) and kind != "ProcedureCallFailed":
        sentence = "Neo4j at {uri} failed: {first}; look into its log, and run again."
    if sentence is None:
        return None
    names = {"uri": connection.uri, "user": connection.username, "database": connection.database}
    return sentence.format(**names, first=first, kind=kind, how=_HOW)


# By the last part of the server's code, or the class of the driver's own error.
_SENTENCES = {
    ("Unauthorized", "AuthenticationRateLimit", "AuthError"): "Neo4j at {uri} refused the user "
    "{user!r} or the password ({kind}); correct NEO4J_USERNAME and NEO4J_PASSWORD or the Airflow "
    "connection neo4j_default.",
    ("CredentialsExpired",): "The password of {user!r} at {uri} has expired; change it with "
    "ALTER CURRENT USER SET PASSWORD.",
    ("DatabaseNotFound",): "Neo4j at {uri} has no database {database!r}; name another in "
    "NEO4J_DATABASE or as the schema of the Airflow connection, or create it.",
    ("ForbiddenOnReadOnlyDatabase", "WriteOnReadOnlyAccessDatabase", "AccessMode"): "The database "
    "{database!r} at {uri} is read-only; open it for writing, or name another in NEO4J_DATABASE.",
    ("Forbidden",): "The user {user!r} at {uri} may not do this: {first}; grant the right, or name "
    "another user.",
    (
        "MemoryPoolOutOfMemoryError",
        "TransactionOutOfMemoryError",
        "OutOfMemoryError",
    ): "Neo4j at {uri} ran out of memory: {first}; give it more (server.memory.heap.max_size) and "
    "run again.",
    ("ConfigurationError",): "The connection to Neo4j at {uri} is set up wrongly: {first}.",
    (
        "ServiceUnavailable",
        "SessionExpired",
        "ConnectionPoolError",
        "ConnectionAcquisitionTimeoutError",
    ): "Neo4j at {uri} does not answer ({kind}); start it, or {how}.",
    ("TransactionTimedOut", "LockClientStopped"): "Neo4j at {uri} ended a transaction that took "
    "too long; run again.",
}
