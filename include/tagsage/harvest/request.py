"""One request of a harvest: what it asks for, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from tagsage.harvest.addresses import Kind, canonical, origin, split

State = Literal["waiting", "sent", "done", "gone", "refused", "failed", "unreadable"]

PRIORITY: Final[dict[Kind, int]] = {
    "robots": 0,
    "feed": 10,
    "list": 20,
    "graphql": 20,
    "article": 30,
}
# Of a list or a post (8 to 16 hexadecimal digits).
_ID_AT_END = re.compile(r"[-/][0-9a-f]{8,16}/?$")


@dataclass(frozen=True)
class Claimed:
    """A request of the frontier.

    Attributes
    ----------
    request_id : int
        Its row.
    kind : Kind
        What is asked for.
    host : str
        The origin that is asked: scheme, name, and port unless usual.
    url : str
        What is asked for; after a redirect, where that led.
    list_key : str or None
        list, graphql: the list's id.
    cursor : str or None
        graphql: which part of it.
    round : int
        list, graphql: which reading of the list.
    article_key : str or None
        article: whose page, where known.
    attempts : int
        Times it was sent since it began to wait for a fetch; :func:`begin` counts this one.
    redirects : int
        Hops that led here.
    etag, last_modified : str or None
        What the host said of the version that is here.
    """

    request_id: int
    kind: Kind
    host: str
    url: str
    list_key: str | None
    cursor: str | None
    round: int
    article_key: str | None
    attempts: int
    redirects: int
    etag: str | None
    last_modified: str | None


def fingerprint(
    kind: Kind,
    url: str,
    *,
    list_key: str | None,
    cursor: str | None,
    round: int,  # ruff: ignore[builtin-argument-shadowing]
) -> bytes:
    """Return what is the same for two requests that are one: the duplicate filter's key.

    All parts of a list have one address, so its id, the cursor and the reading tell them apart.
    Where the path of a page ends with an id, its query only tells who led there.
    """
    parts: tuple[str, ...] = (canonical(url),)
    if kind in {"list", "article"} and _ID_AT_END.search(split(url)[3]):
        parts = (canonical(url).partition("?")[0],)
    if kind == "graphql":
        parts = (kind, origin(url), list_key or "", cursor or "", str(round))
    elif kind == "robots":
        parts = (kind, origin(url))
    return hashlib.sha256("\n".join(parts).encode()).digest()[:16]
