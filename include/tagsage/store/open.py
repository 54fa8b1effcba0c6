"""Stores by name; only the module of the opened one is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection, resolve_connection

if TYPE_CHECKING:
    from tagsage.store.base import ArticleStore

KINDS = ("sqlite", "postgres", "neo4j")


def open_store(
    kind: str, *, sqlite_path: Path, neo4j: Neo4jConnection | None = None
) -> ArticleStore:
    """Open a store, to be closed or used in ``with``.

    Postgres is found by its own variables: PGHOST, PGUSER and so on. By default `neo4j` is the
    server that Airflow or the environment names. Raises `TagsageError` when there is no such kind,
    or the store cannot be opened.
    """
    if kind in {"sqlite", "postgres"}:
        from tagsage.store.database import POSTGRES, sqlite_url
        from tagsage.store.sql import SqlStore

        return SqlStore(sqlite_url(sqlite_path) if kind == "sqlite" else POSTGRES)
    if kind == "neo4j":
        from tagsage.store.neo4j import Neo4jStore

        return Neo4jStore(neo4j or resolve_connection())
    raise TagsageError(f"There is no store {kind!r}; allowed are: {', '.join(KINDS)}.")
