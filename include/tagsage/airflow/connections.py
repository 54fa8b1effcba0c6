"""Give the stages, which do not know Airflow, its connections; end failed tasks with a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

from tagsage import stages

if TYPE_CHECKING:
    from tagsage.neo4j_connection import Neo4jConnection
    from tagsage.openai_connection import OpenAiConnection

P = ParamSpec("P")
T = TypeVar("T")

NEO4J_CONNECTION = "neo4j_default"
OPENAI_CONNECTION = "openai_default"
SPARK_CONNECTION = "spark_default"


class TaskFailed(SystemExit):
    """Ends a task with a sentence; of any other exception Airflow logs the traceback."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class TaskFailedForGood(TaskFailed):
    """Ends a task that Airflow does not retry, because no further attempt would help."""


def with_connections(stage: Callable[P, T]) -> Callable[P, T]:
    """Wrap a stage: Airflow's connections come first, and our errors end it without a traceback."""

    @wraps(stage)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        from tagsage.errors import NonRetryableError, TagsageError
        from tagsage.neo4j_connection import provide_connection
        from tagsage.openai_connection import provide_openai_connection
        from tagsage.spark_connection import provide_spark_address

        # Each connection is read only when a stage needs the server.
        provide_connection(read_neo4j_connection)
        provide_openai_connection(read_openai_connection)
        provide_spark_address(read_spark_address)
        try:
            return stage(*map(_as_list, args), **kwargs)
        except TagsageError as error:
            kind = TaskFailedForGood if isinstance(error, NonRetryableError) else TaskFailed
            raise kind(str(error)) from None

    return run


def stages_with_connections() -> SimpleNamespace:
    """Return the functions of :mod:`tagsage.stages`, each wrapped by :func:`with_connections`."""
    return SimpleNamespace(**{
        name: with_connections(getattr(stages, name)) for name in stages.__all__
    })


def _as_list(value: Any) -> Any:
    """Read the results of mapped tasks in one request; to iterate would take one per task."""
    return value[:] if isinstance(value, LazyXComSequence) else value


def read_neo4j_connection() -> Neo4jConnection | None:
    """Return the connection ``neo4j_default`` as the Neo4j hook reads it; None without one.

    The hook only reads the connection: it never closes the drivers that it opens.
    """
    from airflow.providers.neo4j.hooks.neo4j import Neo4jHook

    from tagsage.neo4j_connection import Neo4jConnection

    hook = Neo4jHook(NEO4J_CONNECTION)
    try:
        found = hook.get_connection(NEO4J_CONNECTION)
    except AirflowNotFoundException:
        return None
    uri = hook.get_uri(found)  # type: ignore[arg-type]  # it says the class of Airflow 2
    return Neo4jConnection(
        uri,
        found.login or "",
        found.password or "",
        found.schema or "neo4j",
        # As in the hook: any value that is not empty counts, even the text "false".
        encrypted=urlsplit(uri).scheme in {"bolt", "neo4j"}
        and bool(found.extra_dejson.get("encrypted", False)),
    )


def read_openai_connection() -> OpenAiConnection | None:
    """Return the connection ``openai_default`` as the OpenAI hook reads it; None without one.

    The hook only reads the connection: its clients retry without regard to the cost. What the
    connection leaves out comes from the environment; but the key of the environment is never sent
    to a server that the connection names.
    """
    from airflow.providers.openai.hooks.openai import OpenAIHook

    from tagsage.errors import TagsageError
    from tagsage.openai_connection import OFFICIAL, OpenAiConnection

    hook = OpenAIHook(OPENAI_CONNECTION)
    try:
        found = hook.get_connection(OPENAI_CONNECTION)
    except AirflowNotFoundException:
        return None
    try:
        options = hook._client_kwargs(found, found.extra_dejson)
    except (ValueError, ImportError) as error:
        msg = f"The Airflow connection {OPENAI_CONNECTION} is set up wrongly: {error}"
        raise TagsageError(msg) from None
    base_url = options.pop("base_url", None)
    api_key = options.pop("api_key", None)
    if not (api_key or base_url or "workload_identity" in options):
        api_key = os.environ.get("OPENAI_API_KEY")
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL
    return OpenAiConnection((api_key or "").strip(), base_url.strip(), options)


def read_spark_address() -> str | None:
    """Return the address in the connection ``spark_default``; None without one.

    It is read as the hook of Airflow's Spark provider reads it: host, or host and port. The
    provider itself is not installed: its pyspark-client and pyspark exclude each other. Besides,
    the host may be a Spark Connect server, ``sc://…``.
    """
    from airflow.sdk import BaseHook

    try:
        found = BaseHook.get_connection(SPARK_CONNECTION)
    except AirflowNotFoundException:
        return None
    host = found.host or ""
    if not found.port:
        return host
    # A connection that is given as a URI has no scheme in its host.
    return f"{host if '://' in host else f'spark://{host}'}:{found.port}"
