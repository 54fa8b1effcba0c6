"""The site: what it answers at each of its addresses, and what a harvest of it must find."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

from scripts.medium_site import pages
from scripts.medium_site.faults import Faults
from scripts.medium_site.feeds import feed_xml, robots_text
from scripts.medium_site.filler import Encoding, Piece, join, piece
from scripts.medium_site.generation import next_run
from scripts.medium_site.graphql import answer, read_body
from scripts.medium_site.graphql_query import GraphqlError
from scripts.medium_site.world import (
    ELSEWHERE,
    FeedOf,
    Place,
    Post,
    ReadingList,
    World,
    share,
)

GRAPHQL = "/_/graphql"
HTML, JSON, XML = "text/html; charset=utf-8", "application/json", "text/xml; charset=UTF-8"
GARBAGE = b"\xff\xfe\x00\x81" * 5000
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
# What cannot happen to an answer that has no body.
NEEDS_BODY = frozenset({"reset_body", "chunk_cut"})
NOT_OURS = ("http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[fd00::1]/")


@dataclass(frozen=True)
class Request:
    """A request, read whole; `host` is the name of one of the site's hosts."""

    host: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """An answer, and how it is to be maltreated on its way.

    Attributes
    ----------
    kind : str
        What was asked for; see :class:`scripts.medium_site.log.Entry`.
    fault : str
        Empty: none.
    list_id, cursor : str
        What GraphQL was asked for.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "other"
    fault: str = ""
    list_id: str = ""
    cursor: str = ""


@dataclass(frozen=True)
class _Found:
    """What is at an address."""

    kind: str
    post: Post | None = None
    reading_list: ReadingList | None = None
    feed: FeedOf | None = None
    moved_to: Place | None = None


class Site:
    """Everything of the server but its sockets.

    Parameters
    ----------
    world : World
        What it holds.
    faults : Faults
        How it misbehaves.
    origins : mapping of str to str
        The address of each of its hosts, such as ``http://127.0.0.1:40001``.
    crawl_delays : mapping of str to float
        Seconds between two requests that a host's robots.txt asks for.
    """

    def __init__(
        self,
        world: World,
        faults: Faults,
        origins: Mapping[str, str],
        crawl_delays: Mapping[str, float],
    ) -> None:
        self.faults = faults
        self.origins = origins
        self.crawl_delays = crawl_delays
        self._lock = threading.Lock()
        self._set(world)

    @property
    def world(self) -> World:
        """What the site holds this run."""
        return self._world

    def next_run(self) -> None:
        """Let the site change."""
        with self._lock:
            self._set(next_run(self._world))

    def url_of(self, place: Place) -> str:
        """Return the address of a place."""
        return self.origins[place.host] + place.path

    def list_urls(self) -> list[str]:
        """Return the addresses of all lists; some are old ones, which forward."""
        olds = {new: old for old, new in self._world.moved.items()}
        places = (
            olds[one.place] if share("old", one.id) < 0.1 else one.place
            for one in self._world.lists.values()
        )
        return [self.url_of(place) for place in places]

    def feed_urls(self) -> list[str]:
        """Return the addresses of all feeds."""
        return [self.url_of(feed.place) for feed in self._world.feeds]

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        path = urlsplit(request.target).path
        found = self._find(request.host, path)
        asked, refusal = None, ""
        if found.kind == "graphql":
            try:
                if request.method != "POST" or "json" not in request.headers.get(
                    "content-type", ""
                ):
                    raise GraphqlError("POST a JSON body, with its content type.")
                asked = read_body(request.body)
            except GraphqlError as error:
                refusal = str(error)
        list_id, cursor = (asked.list_id, asked.cursor) if asked else ("", "")
        fault = self.faults.draw(found.kind, request.host, path, f"{list_id} {cursor}".strip())
        reply = self._spoiled(fault or "", found, request) if fault else None
        if reply is None:
            if refusal:
                body = pages.script_json({"errors": [{"message": refusal}]}).encode()
                reply = self._plain(request, 400, body, JSON)
            elif asked:
                value: object = answer(self._world, asked, self.url_of)
                value = [value] if asked.is_array else value
                reply = self._plain(request, 200, pages.script_json(value).encode(), JSON)
            else:
                reply = self._right(found, request)
        reply.kind, reply.list_id, reply.cursor = found.kind, list_id, cursor
        if not reply.body and fault in NEEDS_BODY:
            fault = None
        reply.fault = reply.fault or fault or ""
        if found.kind != "robots":
            # As Medium does; a client that keeps cookies would send it back.
            reply.headers.setdefault("Set-Cookie", "uid=lo_1234567890ab; Path=/; HttpOnly")
        return reply

    # -- what is where ---------------------------------------------------------------------

    def _set(self, world: World) -> None:
        self._world = world
        found: dict[Place, _Found] = {}
        for post in world.posts.values():
            for place in post.places:
                found[place] = _Found("article", post=post)
        for one in world.lists.values():
            found[one.place] = _Found("list", reading_list=one)
        for old, new in world.moved.items():
            found[old] = _Found("list", moved_to=new)
        for feed in world.feeds:
            found[feed.place] = _Found("feed", feed=feed)
        self._found = found

    def _find(self, host: str, path: str) -> _Found:
        if path == "/robots.txt":
            return _Found("robots")
        if path == GRAPHQL:
            return _Found("graphql")
        if path.startswith("/p/") and (post := self._world.posts.get(path.removeprefix("/p/"))):
            return _Found("article", post=post, moved_to=post.places[0])
        return self._found.get(Place(host, path), _Found("other"))

    # -- right answers ---------------------------------------------------------------------

    def _right(self, found: _Found, request: Request) -> Reply:
        if request.host == ELSEWHERE:
            return self._plain(request, 200, b"<html><title>Elsewhere</title></html>", HTML)
        if found.kind == "robots":
            text = robots_text(self.origins[request.host], self.crawl_delays.get(request.host, 0))
            return self._plain(request, 200, text, "text/plain; charset=utf-8")
        if found.moved_to and not (found.post and found.post.page == "foreign"):
            return self._redirect(self.url_of(found.moved_to), 301)
        if found.reading_list:
            return self._list(found.reading_list, request)
        if found.post:
            return self._post(found.post, request)
        if found.feed:
            body = [piece(feed_xml(self._world, found.feed, self.url_of))]
            return self._page(request, body, XML, ("feed", found.feed, self._titles(found.feed)))
        return self._plain(request, 404, pages.gone_page()[0].data, HTML)

    def _titles(self, feed: FeedOf) -> tuple[str, ...]:
        return tuple(self._world.posts[post].title for post in feed.posts)

    def _list(self, one: ReadingList, request: Request) -> Reply:
        if one.status in {"404", "410"}:
            return self._plain(request, int(one.status), pages.gone_page()[0].data, HTML)
        titles = tuple(
            self._world.posts[item.post].title for item in one.items if item.kind == "post"
        )
        body = pages.list_page(self._world, one, self.url_of)
        return self._page(request, body, HTML, ("list", one, titles))

    def _post(self, post: Post, request: Request) -> Reply:
        here = Place(request.host, urlsplit(request.target).path)
        match post.page:
            case "members":
                return self._plain(request, 403, pages.members_page()[0].data, HTML)
            case "gone" | "removed":
                status = 404 if post.page == "gone" else 410
                return self._plain(request, status, pages.gone_page()[0].data, HTML)
            case "loop":
                has_query = "?gi=" in request.target
                back = self.url_of(here) + ("" if has_query else "?gi=loop")
                return self._redirect(back, 302, "loop")
            case "elsewhere":
                return self._redirect(self.origins[ELSEWHERE] + here.path, 302, "elsewhere")
            case "private":
                port = urlsplit(self.origins[ELSEWHERE]).port
                targets = (*NOT_OURS, f"http://[::1]:{port}/", f"http://localhost:{port}/")
                return self._redirect(targets[int(share(post.id) * len(targets))], 302, "private")
            case "gzip_bomb" | "deflate_bomb" | "brotli_bomb":
                return self._bomb(post.page)
        is_forwarded = here != post.places[0] and share("forward", post.id) < 0.5
        if is_forwarded:
            return self._redirect(self.url_of(post.places[0]), 302)
        damage: pages.Damage = "bare" if post.page == "broken" else ""
        body = pages.article_page(self._world, post, self.url_of, damage)
        reply = self._page(request, body, HTML, ("post", post))
        reply.fault = "broken" if damage else ""
        return reply

    def _page(
        self, request: Request, body: list[Piece], content_type: str, version: object
    ) -> Reply:
        """Answer with a page, or that it has not changed (RFC 9110, 13)."""
        etag, changed_at = self._validators(version)
        headers = {"ETag": etag} if etag else {}
        if changed_at:
            headers["Last-Modified"] = formatdate(changed_at, usegmt=True)
        known = request.headers.get("if-none-match", "")
        since = request.headers.get("if-modified-since", "")
        is_known = bool(etag) and etag in {part.strip() for part in known.split(",")}
        if not known and since and changed_at:
            is_known = parsedate_to_datetime(since).timestamp() >= changed_at
        if is_known:
            return Reply(304, b"", headers)
        encoding = _encoding(request)
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        headers["Content-Type"] = content_type
        headers["Vary"] = "Accept-Encoding"
        return Reply(200, join(body, encoding), headers)

    def _validators(self, version: object) -> tuple[str, int]:
        """Return the ETag and the time of the last change; some pages lack one or both."""
        digest = hashlib.sha256(repr(version).encode("utf-8", "replace")).hexdigest()
        which = int(digest[:4], 16) / 0x10000
        etag = f'W/"{digest[:20]}"' if which < 0.75 else ""
        # Content of another run has another digest, and is newer.
        changed_at = 1_700_000_000 + 86_400 * self._world.run + int(digest[4:8], 16)
        return etag, changed_at if which < 0.55 or 0.75 <= which < 0.9 else 0

    def _plain(self, request: Request, status: int, body: bytes, content_type: str) -> Reply:
        headers = {"Content-Type": content_type}
        encoding = _encoding(request)
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return Reply(status, join([piece(body)], encoding), headers)

    @staticmethod
    def _redirect(url: str, status: int, fault: str = "") -> Reply:
        return Reply(status, b"", {"Location": url, "Content-Type": HTML}, fault=fault)

    # -- wrong ones ------------------------------------------------------------------------

    def _spoiled(self, fault: str, found: _Found, request: Request) -> Reply | None:
        """Return the wrong answer; None: it is the right one that is maltreated on its way."""
        wait_s = self.faults.retry_after_s
        text = {"Content-Type": HTML}
        match fault:
            case "429_seconds" | "503_seconds":
                return Reply(int(fault[:3]), b"Wait.", {**text, "Retry-After": str(wait_s)})
            case "429_date":
                # Whole seconds: the wait is up to a second longer than asked for, never shorter.
                at = formatdate(int(time.time()) + 1 + wait_s, usegmt=True)
                return Reply(429, b"Wait.", {**text, "Retry-After": at})
            case "429_bare" | "503":
                return Reply(int(fault[:3]), b"Wait.", text)
            case "gzip_bomb" | "deflate_bomb" | "brotli_bomb":
                return self._bomb(fault)
            case "wrong_type":
                return Reply(200, PICTURE, {"Content-Type": "image/png"})
            case "garbage":
                return Reply(200, GARBAGE, {**text, "Content-Encoding": "gzip"})
            case "challenge_403":
                body = pages.challenge_page()[0].data
                return Reply(403, body, {**text, "cf-mitigated": "challenge"})
            case "challenge_503" | "challenge_200":
                return Reply(int(fault[-3:]), pages.challenge_page()[0].data, text)
            case "errors":
                told = {"errors": [{"message": "Internal error"}], "data": None}
                return self._plain(request, 200, pages.script_json(told).encode(), JSON)
            case "null_data":
                return self._plain(request, 200, b'{"data":{"catalogById":null}}', JSON)
            case "html":
                return self._plain(request, 200, pages.members_page()[0].data, HTML)
            case "cut" | "bare":
                return self._cut(fault, found, request)
            case "cut_xml" if found.feed:
                xml = feed_xml(self._world, found.feed, self.url_of)
                return self._plain(request, 200, xml[: len(xml) // 2], XML)
        return None

    def _cut(self, damage: pages.Damage, found: _Found, request: Request) -> Reply | None:
        parts = None
        if found.reading_list and found.reading_list.status in {"open", "private"}:
            parts = pages.list_page(self._world, found.reading_list, self.url_of, damage)
        elif found.post and found.post.page == "open" and not found.moved_to:
            parts = pages.article_page(self._world, found.post, self.url_of, damage)
        if parts is None:
            return None
        encoding = _encoding(request)
        headers = {"Content-Type": HTML}
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return Reply(200, join(parts, encoding), headers)

    def _bomb(self, fault: str) -> Reply:
        encoding = {"gzip_bomb": "gzip", "deflate_bomb": "deflate", "brotli_bomb": "br"}[fault]
        headers = {"Content-Type": HTML, "Content-Encoding": encoding}
        return Reply(200, _bomb(encoding, self.faults.bomb_mb), headers, fault=fault)


@lru_cache
def _bomb(encoding: str, mb: int) -> bytes:
    if encoding == "br":
        import brotli

        return bytes(brotli.compress(bytes(mb << 20), quality=5))
    return join([piece(bytes(1 << 20))] * mb, "gzip" if encoding == "gzip" else "deflate")


def _encoding(request: Request) -> Encoding:
    """Choose among the encodings that the client takes; each is taken for some addresses."""
    accepted = {
        part.partition(";")[0].strip()
        for part in request.headers.get("accept-encoding", "").split(",")
    }
    point = share("encoding", request.host, request.target)
    if point < 0.7 and "gzip" in accepted:
        return "gzip"
    return "deflate" if point < 0.85 and "deflate" in accepted else "identity"
