"""A small Medium on the loopback interface: lists, articles, feeds, GraphQL, robots.txt, faults.

In a test::

    with MediumServer(posts=60, lists=4) as site:
        site.faults["/feed/tag/nlp"] = [status(429, {"Retry-After": "1"})]
        ...  # a harvest of site.seeds()
    assert site.requests("/feed/tag/nlp") == 2

As a program it prints the addresses of its lists and feeds, a file of seeds::

    python scripts/medium_server.py --posts 200 --lists 10 --port 8099
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

TOPICS = {
    "Machine Learning": "model training data gradient loss features neural network",
    "Python": "function class package import script pandas decorator typing",
    "Databases": "query index graph cypher sql transaction table storage",
    "Design": "colour layout font interface user sketch prototype contrast",
    "Cooking": "bread oven salt recipe flour kitchen taste knife",
    "Travel": "train island ticket mountain hotel city border map",
}
PLAIN = (
    "how",
    "why",
    "the",
    "best",
    "guide",
    "to",
    "first",
    "lessons",
    "from",
    "my",
    "week",
    "one",
)
PAGE_ITEMS = 20
CHALLENGE = b"<html><title>Just a moment...</title><script>window._cf_chl_opt={}</script></html>"
ROBOTS = "User-agent: *\nDisallow: /m/\nDisallow: /*/*source=\nDisallow: /media/\n"

Fault = Callable[["Handler"], bool]


@dataclass(frozen=True)
class Post:
    """An article of the site."""

    id: str
    title: str
    subtitle: str
    author: str
    user: str
    published_ms: int
    tags: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where it is."""
        slug = "-".join(self.title.lower().split())
        return f"/@{self.user}/{slug}-{self.id}"


@dataclass(frozen=True)
class ReadingList:
    """A list of the site; `id` of a default list is not in its path."""

    id: str
    name: str
    user: str
    path: str
    posts: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A request that the site received."""

    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class World:
    """What the site holds; the same for the same numbers."""

    posts: dict[str, Post] = field(default_factory=dict)
    lists: dict[str, ReadingList] = field(default_factory=dict)


def make_world(posts: int, lists: int, *, longest: int = 45, seed: int = 0) -> World:
    """Make articles, of which every second has tags, and lists of a topic each."""
    draw = random.Random(seed)  # ruff: ignore[suspicious-non-cryptographic-random-usage]
    world = World()
    topics = list(TOPICS)
    by_topic: dict[str, list[str]] = {topic: [] for topic in topics}
    for number in range(posts):
        topic = topics[number % len(topics)]
        words = [*draw.sample(TOPICS[topic].split(), 3), *draw.sample(PLAIN, 3)]
        draw.shuffle(words)
        identity = f"{draw.getrandbits(44) | 10 << 44:012x}"
        tags = (topic, draw.choice(topics)) if number % 2 else ()
        world.posts[identity] = Post(
            id=identity,
            title=" ".join(words).capitalize(),
            subtitle=f"About {draw.choice(TOPICS[topic].split())}",
            author=f"Author {number % 7}",
            user=f"user{number % 7}",
            published_ms=1_500_000_000_000 + number * 86_400_000,
            tags=tuple(dict.fromkeys(tags)),
        )
        by_topic[topic].append(identity)
    for number in range(lists):
        topic = topics[number % len(topics)]
        held = draw.sample(by_topic[topic], min(len(by_topic[topic]), 2 + draw.randrange(longest)))
        user = f"user{number % 7}"
        identity = f"{draw.getrandbits(44) | 11 << 44:012x}"
        path = f"/@{user}/list/{topic.lower().replace(' ', '-')}-{identity}"
        if number == 0:
            identity, path = f"predefined:{identity}:READING_LIST", f"/@{user}/list/reading-list"
        world.lists[identity] = ReadingList(identity, topic, user, path, tuple(held))
    return world


class MediumServer:
    """The site, serving in threads while it is in a `with`.

    Attributes
    ----------
    world : World
        What it holds.
    log : list of Entry
        What it was asked for.
    faults : dict of str to list of callable
        By path, query included: what happens instead of an answer, once each and in order.
    on_request : callable or None
        Called with the number of requests so far, before each is answered.
    robots : str
        Its rules.
    """

    def __init__(
        self, *, posts: int = 60, lists: int = 4, longest: int = 45, seed: int = 0, port: int = 0
    ) -> None:
        self.world = make_world(posts, lists, longest=longest, seed=seed)
        self.log: list[Entry] = []
        self.faults: dict[str, list[Fault]] = {}
        self.on_request: Callable[[int], None] | None = None
        self.robots = ROBOTS
        self.page_tags = True  # whether lists' own pages say the tags
        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.site = self
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def seeds(self) -> list[str]:
        """Return the addresses of all lists, and of a feed per topic."""
        feeds = [f"{self.url}/feed/tag/{slug(topic)}" for topic in TOPICS]
        return [*(self.url + each.path for each in self.world.lists.values()), *feeds]

    def requests(self, path: str = "") -> int:
        """Return how many requests came for a path, or at all."""
        return sum(not path or entry.path == path for entry in self.log)

    def expected_articles(self, origin: str = "") -> dict[str, tuple[object, ...]]:
        """Return the fields of the articles that lists and feeds lead to, by address."""
        held = {post for each in self.world.lists.values() for post in each.posts}
        in_feeds = {post.id for topic in TOPICS for post in self.feed_posts(topic)}
        posts = [self.world.posts[identity] for identity in held | in_feeds]
        return {
            (origin or self.url) + post.path: (
                post.title,
                post.subtitle if post.id in held else "",
                post.author,
                post.published_ms // 1000,
                post.tags,
            )
            for post in posts
        }

    def expected_memberships(self) -> set[tuple[str, str]]:
        """Return address of list and address of article of every membership."""
        return {
            (self.url + each.path, self.url + self.world.posts[post].path)
            for each in self.world.lists.values()
            for post in each.posts
        }

    def feed_posts(self, topic: str) -> list[Post]:
        """Return the ten latest posts with a tag."""
        return [post for post in self.world.posts.values() if topic in post.tags][-10:]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: MediumServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: _Server
    body = b""

    def do_GET(self) -> None:
        """Answer a request."""
        site = self.server.site
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        # A proxy is asked with whole addresses: so tests reach the site under any name.
        host = parts.netloc or self.headers.get("Host", "")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = dict(self.headers)
        site.log.append(Entry(self.command, host, path, headers, self.body, time.monotonic()))
        if site.on_request:
            site.on_request(len(site.log))
        self.origin = f"http://{host}"
        waiting = site.faults.get(path)
        with suppress(OSError):  # the client is gone
            if waiting and waiting.pop(0)(self):
                return
            self._route(site, parts.path)

    do_POST = do_GET  # ruff: ignore[mixed-case-variable-in-class-scope]

    def answer(
        self, body: bytes, kind: str = "text/html; charset=utf-8", status: int = 200, **headers: str
    ) -> None:
        """Send an answer, compressed when the client takes that."""
        if "gzip" in self.headers.get("Accept-Encoding", "") and "Content-Encoding" not in headers:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def _route(self, site: MediumServer, path: str) -> None:
        world = site.world
        by_path = {each.path: each for each in world.lists.values()}
        post = world.posts.get(path.rpartition("-")[2].rpartition("/p/")[2])
        if path == "/robots.txt":
            self.answer(site.robots.encode(), "text/plain")
        elif path == "/_/graphql":
            self.answer(self._graphql(world), "application/json")
        elif path in by_path:
            self.answer(list_page(world, by_path[path], self.origin, site.page_tags))
        elif path.startswith("/feed/"):
            topic = next((name for name in TOPICS if path.endswith(f"/{slug(name)}")), "")
            self.answer(feed(site.feed_posts(topic), self.origin), "text/xml; charset=utf-8")
        elif post is not None:
            self.answer(article_page(post, self.origin))
        else:
            self.answer(b"<html><title>Not found</title>PAGE NOT FOUND</html>", status=404)

    def _graphql(self, world: World) -> bytes:
        asked = json.loads(self.body)["variables"]
        held = world.lists.get(asked["catalogId"])
        if held is None:
            return json.dumps({"data": {"catalogById": {"__typename": "NotFound"}}}).encode()
        start = int(asked["pagingOptions"]["cursor"]["id"].partition(":")[2])
        items = [
            {"catalogItemId": f"{held.id}-{post}", "entity": graphql_post(world, post, self.origin)}
            for post in held.posts[start : start + PAGE_ITEMS]
        ]
        catalog = {
            "__typename": "Catalog",
            "id": held.id,
            "name": held.name,
            "creator": {"name": held.user},
            "itemsConnection": {"items": items, "paging": paging(held, start)},
        }
        return json.dumps({"data": {"catalogById": catalog}}).encode()


def paging(held: ReadingList, start: int) -> dict[str, object]:
    """Return a list's size, and what names its next part."""
    end = start + PAGE_ITEMS
    cursor = {"id": f"offset:{end}"} if end < len(held.posts) else None
    return {"count": len(held.posts), "nextPageCursor": cursor}


def graphql_post(world: World, identity: str, origin: str) -> dict[str, object]:
    """Return a post as GraphQL has it."""
    post = world.posts[identity]
    return {
        "__typename": "Post",
        "id": post.id,
        "title": post.title,
        "mediumUrl": origin + post.path,
        "firstPublishedAt": post.published_ms,
        "extendedPreviewContent": {"subtitle": post.subtitle},
        "creator": {"name": post.author},
        "tags": [{"id": slug(tag), "displayTitle": tag} for tag in post.tags],
    }


def apollo_post(post: Post, origin: str, *, tags: bool = True) -> dict[str, object]:
    """Return the objects of a state that a post consists of."""
    preview = 'extendedPreviewContent({"truncationConfig":{"minimumLengthForTruncation":200}})'
    entity: dict[str, object] = {
        "__typename": "Post",
        "id": post.id,
        "title": post.title,
        "mediumUrl": origin + post.path,
        "firstPublishedAt": post.published_ms,
        "creator": {"__ref": f"User:{post.user}"},
        preview: {"__typename": "PreviewContent", "subtitle": post.subtitle},
    }
    if tags:
        entity["tags"] = [{"__ref": f"Tag:{slug(tag)}"} for tag in post.tags]
    named = {f"Tag:{slug(tag)}": {"id": slug(tag), "displayTitle": tag} for tag in post.tags}
    return {f"Post:{post.id}": entity, f"User:{post.user}": {"name": post.author}, **named}


def list_page(world: World, held: ReadingList, origin: str, tags: bool) -> bytes:
    """Return a list's page, with its first entries."""
    shown = [world.posts[post] for post in held.posts[:PAGE_ITEMS]]
    items = {
        f"CatalogItemV2:{post.id}": {
            "catalogItemId": post.id,
            "entityType": "POST",
            "entity": {"__ref": f"Post:{post.id}"},
        }
        for post in shown
    }
    objects = {
        name: value for p in shown for name, value in apollo_post(p, origin, tags=tags).items()
    }
    connection = {"items": [{"__ref": name} for name in items], "paging": paging(held, 0)}
    catalog = {"__typename": "Catalog", "id": held.id, "name": held.name}
    query = f'catalogById({{"catalogId":"{held.id}"}})'
    if held.id.startswith("predefined"):
        query = 'getPredefinedCatalog({"type":"READING_LIST"})'
    state = {
        "ROOT_QUERY": {query: {"__ref": f"Catalog:{held.id}"}},
        f"Catalog:{held.id}": {**catalog, "itemsConnection:(limit:20)": connection},
        **items,
        **objects,
    }
    return page(f"List: {held.name} | Medium", state)


def article_page(post: Post, origin: str) -> bytes:
    """Return an article's page."""
    key = f'postResult({{"id":"{post.id}"}})'
    state = {"ROOT_QUERY": {key: {"__ref": f"Post:{post.id}"}}, **apollo_post(post, origin)}
    metas = {"og:type": "article", "og:title": post.title, "og:description": post.subtitle}
    return page(f"{post.title} | by {post.author} | Medium", state, metas)


def page(title: str, state: dict[str, Any], metas: dict[str, str] | None = None) -> bytes:
    """Return a page with a state object."""
    tags = "".join(
        f'<meta data-rh="true" property="{name}" content="{html.escape(value)}"/>'
        for name, value in (metas or {}).items()
    )
    return (
        f"<!doctype html><html><head><title>{html.escape(title)}</title>{tags}</head><body>"
        f"<script>window.__APOLLO_STATE__ = {json.dumps(state)}</script></body></html>"
    ).encode()


def feed(posts: list[Post], origin: str) -> bytes:
    """Return an RSS feed: no subtitles, tags as slugs."""
    items = "".join(
        f"<item><title><![CDATA[{post.title}]]></title><link>{origin}{post.path}?source=rss</link>"
        f'<guid isPermaLink="false">https://medium.com/p/{post.id}</guid>'
        + "".join(f"<category><![CDATA[{slug(tag)}]]></category>" for tag in post.tags)
        + f"<dc:creator><![CDATA[{post.author}]]></dc:creator>"
        f"<pubDate>{formatdate(post.published_ms / 1000, usegmt=True)}</pubDate></item>"
        for post in posts
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'version="2.0"><channel><title>A feed</title>{items}</channel></rss>'
    ).encode()


def slug(tag: str) -> str:
    """Return a tag as addresses and feeds have it."""
    return tag.lower().replace(" ", "-")


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"no") -> Fault:
    """Answer with a status."""

    def fault(handler: Handler) -> bool:
        handler.answer(body, status=code, **(headers or {}))
        return True

    return fault


def challenge(handler: Handler) -> bool:
    """Answer with a page that asks whether the client is human."""
    handler.answer(CHALLENGE, status=403, cf_mitigated="challenge")
    return True


def reset(handler: Handler) -> bool:
    """Reset the connection instead of answering."""
    linger = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True
    return True


def redirect(to: str) -> Fault:
    """Answer with a redirect."""
    return status(302, {"Location": to}, b"")


def bomb(handler: Handler) -> bool:
    """Answer with a small body that unpacks to 50 MB."""
    handler.answer(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")
    return True


def huge(handler: Handler) -> bool:
    """Answer with a body that has no end, or a late one."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(bytes(1_000_000))
    handler.close_connection = True
    return True


def slow(handler: Handler) -> bool:
    """Answer with one byte every now and then, for a minute."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b"x")
        time.sleep(0.1)
    return True


def in_charset(name: str) -> Fault:
    """Answer with a body that is said to be in a charset."""

    def fault(handler: Handler) -> bool:
        handler.answer(b"<html></html>", f"text/html; charset={name}")
        return True

    return fault


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--posts", type=int, default=200)
    parser.add_argument("--lists", type=int, default=10)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with MediumServer(posts=options.posts, lists=options.lists, port=options.port) as site:
        print("\n".join(site.seeds()), flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
