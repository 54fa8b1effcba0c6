"""What the generated Medium holds: authors, publications, posts, lists and feeds."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal

# What becomes of the request for a post's own page.
PostPage = Literal[
    "open",  # it is served
    "members",  # 403 without any sign of a challenge
    "gone",  # 404
    "removed",  # 410
    "barred",  # robots.txt keeps crawlers away
    "loop",  # redirects that never end
    "elsewhere",  # a redirect to a host that nobody asked for
    "private",  # a redirect to an address inside somebody's network
    "gzip_bomb",
    "deflate_bomb",
    "brotli_bomb",
    "foreign",  # its only address is on a host that nobody asked for
    "broken",  # the state is cut off, and nothing else tells anything
]
ListStatus = Literal["open", "private", "404", "410", "not_found"]
ItemKind = Literal["post", "deleted", "other"]

MAIN = "medium"
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Config:
    """How large the site is, and how generous.

    Attributes
    ----------
    seed : int
        Of everything that is drawn.
    lists, posts : int
        How many there are.
    publications : int
        How many of them have a host of their own.
    graphql_tags : float
        Share of posts whose tags the GraphQL endpoint tells.
    special : int
        How many posts there are of each kind whose page is not to be had.
    feed_posts : int
        How many posts are in no list, only in feeds.
    page_kb : tuple of (int, int)
        Size of pages before compression, between these.
    """

    seed: int = 0
    lists: int = 20
    posts: int = 300
    publications: int = 3
    graphql_tags: float = 0.25
    special: int = 1
    feed_posts: int = 20
    page_kb: tuple[int, int] = (60, 300)


@dataclass(frozen=True)
class Place:
    """An address on the site: which of its hosts, and the path there."""

    host: str
    path: str


@dataclass(frozen=True)
class Author:
    """Who writes posts and keeps lists."""

    id: str
    name: str
    username: str


@dataclass(frozen=True)
class Post:
    """An article.

    Attributes
    ----------
    places : tuple of Place
        All its addresses; the first is the one it has today.
    tags : tuple of str
        As they are shown.
    page : str
        What becomes of a request for it.
    has_old_subtitle : bool
        Whether the state object has the subtitle in ``previewContent``, as years ago.
    tells_tags : bool
        Whether the GraphQL endpoint tells the tags.
    tells_url : bool
        Whether lists tell an address.
    topic : str
        What its words are about.
    """

    id: str
    title: str
    subtitle: str
    author: Author
    published_ms: int
    tags: tuple[str, ...]
    places: tuple[Place, ...]
    page: PostPage
    has_old_subtitle: bool
    tells_tags: bool
    tells_url: bool
    topic: str


@dataclass(frozen=True)
class Item:
    """An entry of a list."""

    id: str
    kind: ItemKind
    post: str = ""


@dataclass(frozen=True)
class ReadingList:
    """A list."""

    id: str
    name: str
    owner: Author
    place: Place
    status: ListStatus
    items: tuple[Item, ...]

    def posts(self) -> tuple[str, ...]:
        """Return the ids of its posts, once each, in order."""
        return tuple(dict.fromkeys(item.post for item in self.items if item.kind == "post"))


@dataclass(frozen=True)
class FeedOf:
    """An RSS feed: its title and the posts in it, the newest first."""

    place: Place
    title: str
    posts: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Everything that the site holds during one run.

    Attributes
    ----------
    posts, lists : dict
        By id.
    feeds : tuple of FeedOf
        Those whose address is in the seeds.
    run : int
        How often the site has changed.
    moved : dict of Place to Place
        Addresses that forward to another one of the same site.
    """

    config: Config
    posts: dict[str, Post]
    lists: dict[str, ReadingList]
    feeds: tuple[FeedOf, ...]
    run: int = 0
    moved: dict[Place, Place] = field(default_factory=dict)

    def hosts(self) -> tuple[str, ...]:
        """Return the names of the site's own hosts, the main one first."""
        return host_names(self.config)


def host_names(config: Config) -> tuple[str, ...]:
    """Return the names of the hosts of such a site."""
    return (MAIN, *(f"pub{number}" for number in range(config.publications)))


def share(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def tag_slug(tag: str) -> str:
    """Write a tag as feeds and addresses do: ``machine-learning``."""
    return re.sub(r"[^\w]+", "-", tag.lower()).strip("-") or "tag"
