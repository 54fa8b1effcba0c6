"""What parsers read from a page, and what the spider passes on to the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# Where an article's fields were read; the most trusted source first.
Source = Literal["page", "graphql", "list", "feed", "export"]
SOURCES: tuple[Source, ...] = ("page", "graphql", "list", "feed", "export")
FIELDS = ("title", "subtitle", "author", "published_ms", "tags")


class PageError(ValueError):
    """A page that cannot be read at all; the message is the reason."""


@dataclass(frozen=True)
class Article:
    """What one page says of an article; None where it does not say, empty where it says so."""

    key: str
    url: str
    source: Source
    title: str | None = None
    subtitle: str | None = None
    author: str | None = None
    published_ms: int | None = None  # in ms since 1970, UTC
    tags: tuple[str, ...] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)  # field -> why it cannot be read

    @property
    def lacks_fields(self) -> bool:
        """Whether the article's own page may say more."""
        return any(getattr(self, name) is None for name in FIELDS)


@dataclass(frozen=True)
class ListPart:
    """A part of a reading list: its page, or one GraphQL answer."""

    key: str
    state: Literal["open", "private", "gone"]
    name: str | None = None
    owner: str | None = None
    size: int | None = None  # the host's count of the whole list
    articles: tuple[Article, ...] = ()
    entries: int = 0  # in this part, deleted posts included
    unread: tuple[str, ...] = ()  # why entries cannot be read
    next_cursor: str | None = None  # None in the last part


@dataclass(frozen=True)
class ReadingList:
    """A list as far as it was read; a complete one replaces its earlier memberships."""

    key: str
    url: str
    state: Literal["open", "private", "gone"]
    name: str | None = None
    owner: str | None = None
    size: int | None = None
    members: tuple[str, ...] = ()
    read: int = 0  # entries
    is_complete: bool = False
    reason: str = ""  # why it is not complete


@dataclass(frozen=True)
class Problem:
    """Why an address gave nothing, or less than it should."""

    url: str
    kind: Literal["refused", "gone", "failed", "unreadable", "missing"]
    reason: str
