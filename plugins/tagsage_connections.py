"""Hands Airflow's connections to the library, which knows no Airflow."""

from __future__ import annotations

from functools import wraps
from urllib.parse import urlsplit

from airflow.exceptions import AirflowNotFoundException

NEO4J_CONNECTION = "neo4j_default"


def with_connections(stage):
    """Wrap a stage so that it finds Airflow's connections before those of the environment."""

    @wraps(stage)
    def run(*arguments, **named):
        from tagsage.neo4j_connection import provide_connection

        provide_connection(neo4j_of_airflow)
        return stage(*arguments, **named)

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
