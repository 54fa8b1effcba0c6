"""Opens what the last run published, to read it."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, select

from tagsage.errors import TagsageError
from tagsage.store.database import Database
from tagsage.store.tables import FACTS

QUERY_S = 5.0


class NothingPublishedError(TagsageError):
    """No run has published anything yet."""

    def __init__(self) -> None:
        super().__init__("There is nothing to show yet: run the DAG retrain once, and look again.")


@contextmanager
def published(url: URL, *, seconds: float = QUERY_S) -> Generator[Connection]:
    """Open the store for one request; all queries together may take so many seconds.

    Raises `NothingPublishedError`, or `TagsageError` when the database cannot be read or is too
    slow.
    """
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise NothingPublishedError
    database = _database(url)
    if not database.has_tables():
        raise NothingPublishedError
    with database.reading(seconds) as connection:
        if read_facts(connection) is None:
            raise NothingPublishedError
        yield connection


def read_facts(connection: Connection) -> Any:
    """Return the facts of the published run; None before the first."""
    value = connection.execute(select(FACTS.c.value)).scalar_one_or_none()
    return None if value is None else json.loads(value)


@cache
def _database(url: URL) -> Database:
    return Database(url, create=False)
