"""Stores by name."""

from __future__ import annotations

from pathlib import Path

from tagsage.errors import TagsageError
from tagsage.store.base import ArticleStore
from tagsage.store.sqlite import SqliteStore

KINDS = ("sqlite",)


def open_store(kind: str, *, sqlite_path: Path) -> ArticleStore:
    """Open a store.

    Parameters
    ----------
    kind : str
        One of ``KINDS``.
    sqlite_path : pathlib.Path
        The file of the store ``sqlite``; made when it does not exist.

    Returns
    -------
    ArticleStore
        To be closed, or used in ``with``.

    Raises
    ------
    TagsageError
        When there is no such kind, or the store cannot be opened.
    """
    if kind == "sqlite":
        return SqliteStore(sqlite_path)
    raise TagsageError(f"There is no store {kind!r}; allowed are: {', '.join(KINDS)}.")
