"""What one part of a page tells of an article, and how the parts become a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from tagsage.harvest.records import FIELDS, ArticleRecord, Source


@dataclass(frozen=True)
class ArticleFields:
    """An article's fields, clean, as :class:`tagsage.harvest.records.ArticleRecord` has them."""

    title: str | None = None
    subtitle: str | None = None
    author: str | None = None
    published_ms: int | None = None
    tags: tuple[str, ...] | None = None

    def told(self) -> frozenset[str]:
        """Return the names of the fields that are not None."""
        return frozenset(name for name in FIELDS if getattr(self, name) is not None)


def article_record(
    key: str, url: str, parts: Iterable[tuple[Source, ArticleFields]]
) -> ArticleRecord:
    """Take each field from the first part that tells it.

    Parameters
    ----------
    key, url : str
        The article's.
    parts : iterable of (str, ArticleFields)
        Where each was read and what it tells, the most trusted one first.

    Returns
    -------
    ArticleRecord
        With the source of every field.
    """
    values: dict[str, object] = {}
    sources: dict[str, Source] = {}
    for source, fields in parts:
        for name in FIELDS:
            value = getattr(fields, name)
            if value is not None and name not in values:
                values[name] = value
                sources[name] = source
    best = ArticleFields(**values)  # type: ignore[arg-type]
    return ArticleRecord(
        key, url, best.title, best.subtitle, best.author, best.published_ms, best.tags,
        MappingProxyType(sources),
    )  # fmt: skip
