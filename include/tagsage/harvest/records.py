"""What parsers read from a page: plain values, without a trace of how they were fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

# Where the value of an article's field was read.
Source = Literal["state", "json-ld", "meta", "list", "graphql", "feed"]
FIELDS = ("title", "subtitle", "author", "published_ms", "tags")


class PageError(ValueError):
    """A page that cannot be read at all; the message is the reason for the quarantine."""


@dataclass(frozen=True)
class ArticleRecord:
    """What one page tells of an article.

    Attributes
    ----------
    key : str
        The same for every address of the article (:func:`tagsage.corpus.keys.article_key`, or the
        post id where the page tells it).
    url : str
        The address to show, without query and fragment.
    title, subtitle, author : str or None
        On one line. None: the page does not tell; empty: it tells that there is none.
    published_ms : int or None
        Milliseconds since 1970, UTC.
    tags : tuple of str or None
        Without repetitions, in the page's order. None: the page does not tell.
    sources : mapping of str to str
        Where each field that is not None was read.
    """

    key: str
    url: str
    title: str | None = None
    subtitle: str | None = None
    author: str | None = None
    published_ms: int | None = None
    tags: tuple[str, ...] | None = None
    sources: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class ListItem:
    """One entry of a list.

    Attributes
    ----------
    item_id : str
        The entry's own id; unique within its list.
    kind : {"post", "deleted", "other"}
        deleted: the post is gone; other: the entry is no post (a book, another list).
    article : ArticleRecord or None
        None unless `kind` is post.
    """

    item_id: str
    kind: Literal["post", "deleted", "other"]
    article: ArticleRecord | None = None


@dataclass(frozen=True)
class ListPage:
    """A part of a list: what its page holds, or one answer of the GraphQL endpoint.

    Attributes
    ----------
    list_id : str
        The list's id on its host: the hexadecimal digits that end its address.
    status : {"open", "private", "gone"}
        private and gone lists have no items.
    name, owner : str or None
        On one line; None: this part does not tell.
    size : int or None
        How many entries the whole list has, by the host's count.
    items : tuple of ListItem
        In the list's order.
    next_cursor : str or None
        Names the next part; None: this was the last.
    damage : tuple of str
        What could not be read: single entries, or fields of their posts.
    lost : int
        How many entries are not in `items` because they could not be read.
    """

    list_id: str
    status: Literal["open", "private", "gone"]
    name: str | None = None
    owner: str | None = None
    size: int | None = None
    items: tuple[ListItem, ...] = ()
    next_cursor: str | None = None
    damage: tuple[str, ...] = ()
    lost: int = 0


@dataclass(frozen=True)
class ArticlePage:
    """An article's own page.

    Attributes
    ----------
    status : {"open", "gone"}
        gone: the page says that there is no such post.
    article : ArticleRecord or None
        None when it is gone.
    damage : tuple of str
        What the page has but cannot be read, such as a state object cut off.
    """

    status: Literal["open", "gone"]
    article: ArticleRecord | None = None
    damage: tuple[str, ...] = ()


@dataclass(frozen=True)
class Feed:
    """An RSS feed: the latest articles of an author, a publication, a tag or a domain.

    Attributes
    ----------
    title : str
        The feed's own.
    articles : tuple of ArticleRecord
        The newest first, as the feed has them; ten at most at Medium.
    damage : tuple of str
        Reasons why single items could not be read.
    is_cut : bool
        Whether its end is missing: there were more items than these.
    """

    title: str
    articles: tuple[ArticleRecord, ...] = ()
    damage: tuple[str, ...] = ()
    is_cut: bool = False
