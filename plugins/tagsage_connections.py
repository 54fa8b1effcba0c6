"""Hands Airflow's connections to the library, which knows no Airflow."""

from __future__ import annotations

import os
from functools import wraps
from urllib.parse import urlsplit

from airflow.exceptions import AirflowNotFoundException
from airflow.sdk.exceptions import AirflowFailException

NEO4J_CONNECTION = "neo4j_default"
OPENAI_CONNECTION = "openai_default"


def with_connections(stage):
    """Wrap a stage so that it finds Airflow's connections before those of the environment.

    What no further attempt mends fails the task at once, whatever retries it has.
    """

    @wraps(stage)
    def run(*arguments, **named):
        from tagsage.errors import FinalError
        from tagsage.neo4j_connection import provide_connection
        from tagsage.openai_connection import provide_openai_connection

        # Each is asked only when a stage needs the server.
        provide_connection(neo4j_of_airflow)
        provide_openai_connection(openai_of_airflow)
        try:
            return stage(*arguments, **named)
        except FinalError as error:
            raise AirflowFailException(str(error)) from None

    return run


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
