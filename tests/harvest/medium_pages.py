"""Small pages in Medium's shape, for tests of what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HOST = "https://medium.com"
MS = 1_612_096_200_000  # 2021-01-31 12:30 UTC


@dataclass(frozen=True)
class Post:
    """A post; what is None its page does not tell."""

    id: str
    title: str | None = "A title"
    subtitle: str | None = "A subtitle"
    author: str | None = "Ann Lee"
    published_ms: int | None = MS
    tags: tuple[str, ...] | None = ("Graphs",)
    url: str | None = ""

    @property
    def address(self) -> str | None:
        return f"{HOST}/@ann/a-title-{self.id}" if self.url == "" else self.url


@dataclass(frozen=True)
class Entry:
    """An entry of a list; without post it is one that was deleted."""

    id: str
    post: Post | None


def post_id(number: int) -> str:
    return f"a{number:011x}"


def posts(count: int, start: int = 0) -> list[Post]:
    return [
        Post(post_id(number), title=f"Title {number}") for number in range(start, start + count)
    ]


def entries(of: Sequence[Post]) -> list[Entry]:
    return [Entry(f"item-{post.id}", post) for post in of]


def list_url(list_id: str) -> str:
    return f"{HOST}/@ann/list/reading-{list_id}"


def list_page(
    list_id: str,
    shown: Sequence[Entry],
    *,
    size: int | None = None,
    next_cursor: str | None = None,
    name: str = "Reading",
    tags: bool = True,
) -> bytes:
    """Build a list's page; without `tags` it leaves them to GraphQL, as Medium's do."""
    state: dict[str, Any] = {"ROOT_QUERY": {}}
    items = []
    for entry in shown:
        state[f"Item:{entry.id}"] = {
            "catalogItemId": entry.id,
            "entityType": "POST",
            "entity": None if entry.post is None else {"__ref": f"Post:{entry.post.id}"},
        }
        items.append({"__ref": f"Item:{entry.id}"})
        if entry.post is not None:
            state |= _objects(entry.post, tags=tags)
    state[f"Catalog:{list_id}"] = {
        "__typename": "Catalog",
        "id": list_id,
        "name": name,
        "creator": {"__ref": "User:u"},
        "itemsConnection:(limit:20)": {"items": items, "paging": _paging(size, next_cursor)},
    }
    state["User:u"] = {"name": "Ann Lee"}
    query = f'catalogById({{"catalogId":"{list_id}"}})'
    state["ROOT_QUERY"][query] = {"__ref": f"Catalog:{list_id}"}
    return _page(state)


def private_page(list_id: str) -> bytes:
    query = f'catalogById({{"catalogId":"{list_id}"}})'
    return _page({"ROOT_QUERY": {query: {"__typename": "Forbidden"}}})


def list_answer(
    list_id: str,
    shown: Sequence[Entry],
    *,
    size: int | None = None,
    next_cursor: str | None = None,
) -> bytes:
    """Build an answer of the GraphQL endpoint."""
    items = []
    for entry in shown:
        post = entry.post
        entity = None
        if post is not None:
            entity = {
                "__typename": "Post",
                "id": post.id,
                "title": post.title,
                "mediumUrl": post.address,
                "firstPublishedAt": post.published_ms,
                "extendedPreviewContent": {"subtitle": post.subtitle},
                "creator": {"name": post.author},
                "tags": None
                if post.tags is None
                else [{"id": tag.lower(), "displayTitle": tag} for tag in post.tags],
            }
        items.append({"catalogItemId": entry.id, "entity": entity})
    catalog = {
        "__typename": "Catalog",
        "id": list_id,
        "name": "Reading",
        "itemsConnection": {"items": items, "paging": _paging(size, next_cursor)},
    }
    return json.dumps({"data": {"catalogById": catalog}}).encode()


def article_page(post: Post) -> bytes:
    """Build a post's own page."""
    state = _objects(post, tags=True)
    query = f'postResult({{"id":"{post.id}"}})'
    return _page({"ROOT_QUERY": {query: {"__ref": f"Post:{post.id}"}}, **state})


def feed(shown: Sequence[Post]) -> bytes:
    """Build a feed."""
    items = "".join(
        f"<item><title>{post.title}</title><link>{post.address}?source=rss</link>"
        f"<dc:creator>{post.author}</dc:creator>"
        f"<pubDate>Sun, 31 Jan 2021 12:30:00 GMT</pubDate>"
        + "".join(f"<category>{tag}</category>" for tag in post.tags or ())
        + "</item>"
        for post in shown
    )
    return (
        '<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>'
        f"<title>Ann</title>{items}</channel></rss>"
    ).encode()


def _objects(post: Post, *, tags: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "__typename": "Post",
        "id": post.id,
        "title": post.title,
        "mediumUrl": post.address,
        "firstPublishedAt": post.published_ms,
        "creator": {"__ref": f"User:{post.id}"},
    }
    if post.subtitle is not None:
        told["extendedPreviewContent"] = {"subtitle": post.subtitle}
    objects: dict[str, Any] = {f"User:{post.id}": {"name": post.author}, f"Post:{post.id}": told}
    if tags and post.tags is not None:
        told["tags"] = [{"__ref": f"Tag:{tag}"} for tag in post.tags]
        objects |= {f"Tag:{tag}": {"id": tag.lower(), "displayTitle": tag} for tag in post.tags}
    return objects


def _paging(size: int | None, next_cursor: str | None) -> dict[str, Any]:
    return {"count": size, "nextPageCursor": {"id": next_cursor} if next_cursor else None}


def _page(state: dict[str, Any]) -> bytes:
    text = json.dumps(state, ensure_ascii=False).replace("<", "\\u003c")
    return f"<html><script>window.__APOLLO_STATE__ = {text}</script></html>".encode()
