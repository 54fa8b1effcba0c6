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
    """What one page says of an article.

    A field is None when the page does not have it, and empty when it is said to be empty.
    `published_ms` is in milliseconds since 1970, UTC. `missing` holds the reason for each field
    that is there but cannot be read.
    """

    key: str
    url: str
    source: Source
    title: str | None = None
    subtitle: str | None = None
    author: str | None = None
    published_ms: int | None = None
    tags: tuple[str, ...] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def lacks_fields(self) -> bool:
        """Whether the article's own page may say more."""
        return any(getattr(self, name) is None for name in FIELDS)


@dataclass(frozen=True)
class ListPart:
    """A part of a reading list: its page, or one GraphQL answer.

    `size` is the host's count of the whole list; `entries` is the number in this part, deleted
    posts and books included. `unread` has the reasons for entries that cannot be read.
    `next_cursor` is None in the last part.
    """

    key: str
    state: Literal["open", "private", "gone"]
    name: str | None = None
    owner: str | None = None
    size: int | None = None
    articles: tuple[Article, ...] = ()
    entries: int = 0
    unread: tuple[str, ...] = ()
    next_cursor: str | None = None


@dataclass(frozen=True)
class ReadingList:
    """A list as far as it was read; a complete one replaces its earlier memberships.

    `read` is the number of entries read, `reason` why it is not complete.
    """

    key: str
    url: str
    state: Literal["open", "private", "gone"]
    name: str | None = None
    owner: str | None = None
    size: int | None = None
    members: tuple[str, ...] = ()
    read: int = 0
    is_complete: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Problem:
    """Why an address gave nothing, or less than it should."""

    url: str
    kind: Literal["refused", "gone", "failed", "unreadable", "missing"]
    reason: str
