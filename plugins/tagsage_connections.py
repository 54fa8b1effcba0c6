"""Joins Airflow and the library, which knows no Airflow: connections, results, failures."""

from __future__ import annotations

import os
from functools import wraps
from urllib.parse import urlsplit

from airflow.exceptions import AirflowNotFoundException
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

NEO4J_CONNECTION = "neo4j_default"
OPENAI_CONNECTION = "openai_default"


class Failed(SystemExit):
    """Ends a task for a reason that a person can mend.

    Of any other exception Airflow logs the traceback, which would bury the sentence.
    """

    def __init__(self, sentence):
        super().__init__(sentence)
        self.code = 1


class FailedForGood(Failed):
    """Ends a task that no further attempt helps, whatever retries it has."""


def with_connections(stage):
    """Wrap a stage so that it finds Airflow's connections before those of the environment.

    A failure that a person can mend ends the task with its sentence and without a traceback.
    """

    @wraps(stage)
    def run(*arguments, **named):
        from tagsage.errors import FinalError, TagsageError
        from tagsage.neo4j_connection import provide_connection
        from tagsage.openai_connection import provide_openai_connection

        # Each is asked only when a stage needs the server.
        provide_connection(neo4j_of_airflow)
        provide_openai_connection(openai_of_airflow)
        try:
            return stage(*map(_whole, arguments), **named)
        except TagsageError as error:
            kind = FailedForGood if isinstance(error, FinalError) else Failed
            raise kind(str(error)) from None

    return run


def _whole(value):
    """Return what mapped tasks returned as a list, in one request.

    To iterate over it would be a request an item, and an error in the log for its end.
    """
    return value[:] if isinstance(value, LazyXComSequence) else value


def neo4j_of_airflow():
    """Return the connection ``neo4j_default`` as the Neo4j hook reads it; None without one.

    Only the hook's reading is used: it never closes the drivers that it opens.
    """
    from airflow.providers.neo4j.hooks.neo4j import Neo4jHook

    from tagsage.neo4j_connection import Neo4jConnection

    hook = Neo4jHook(NEO4J_CONNECTION)
    try:
        found = hook.get_connection(NEO4J_CONNECTION)
    except AirflowNotFoundException:
        return None
    uri = hook.get_uri(found)
    return Neo4jConnection(
        uri,
        found.login or "",
        found.password or "",
        found.schema or "neo4j",
        # As the hook has it: any value but an empty one counts, even the text "false".
        encrypted=urlsplit(uri).scheme in {"bolt", "neo4j"}
        and bool(found.extra_dejson.get("encrypted", False)),
    )


def openai_of_airflow():
    """Return the connection ``openai_default`` as the OpenAI hook reads it; None without one.

    Only the hook's reading is used: its clients try again by themselves, without a look at what
    that costs. What a connection leaves out comes from the environment, as with the hook's clients;
    but the key of the environment never goes to a server that the connection names.

    Raises
    ------
    TagsageError
        When the connection is of a kind that the hook does not know.
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
