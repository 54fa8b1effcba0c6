"""The spider: feeds, reading lists by page and GraphQL cursor, and articles' own pages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

from scrapy import Request, Spider, signals
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadTimeoutError,
    IgnoreRequest,
)
from scrapy.spidermiddlewares.httperror import HttpError

from tagsage.harvest.addresses import AddressError, asked_url, kind_of, list_id, origin
from tagsage.harvest.article_page import GoneError, parse_article_page
from tagsage.harvest.cache import KEEP_PAGES_S, fetched_at
from tagsage.harvest.collection import Collection
from tagsage.harvest.feed import parse_feed
from tagsage.harvest.items import Article, ListPart, PageError, Problem, ReadingList
from tagsage.harvest.list_page import FIRST_CURSOR, list_query, parse_list_answer, parse_list_page
from tagsage.harvest.politeness import Component, LaterError, Stops, charset_of

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from twisted.python.failure import Failure

    from tagsage.settings.harvest import HarvestSettings

# Feeds first; a list is read to its end before the next one begins, and before articles.
_PRIORITY: Final = {"feed": 30, "graphql": 25, "list": 20, "article": 10}

Output = Request | Article | ReadingList | Problem


class MediumSpider(Spider):
    """Harvests the seeds, and the articles in them."""

    name = "medium"
    collection: Collection
    stops: Stops
    named_places: set[str]

    def __init__(self, seeds: Sequence[str], settings: HarvestSettings, *, consent: bool) -> None:
        super().__init__()
        self.seeds = seeds
        self._wanted = settings.harvest_articles if consent else "never"
        self._ages_s = {
            "list": settings.harvest_list_days * 86_400,
            "feed": settings.harvest_feed_hours * 3600,
            "article": KEEP_PAGES_S,
        }

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Open the collection."""
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.collection = Collection(Path(crawler.settings["HARVEST_FOLDER"]))
        spider.stops = Stops(spider.collection, crawler.settings.getfloat("HARVEST_PAUSE_S"))
        spider.named_places = set(crawler.settings.getlist("HARVEST_NAMED_PLACES"))
        crawler.signals.connect(spider.dropped, signals.request_dropped)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        """Request the seeds."""
        for url in self.seeds:
            kind = kind_of(url)
            parse = {
                "feed": self.parse_feed,
                "list": self.parse_list,
                "article": self.parse_article,
            }
            yield self._request(kind, asked_url(url), parse[kind])

    def parse_feed(self, response: Response) -> Iterator[Output]:
        """Read a feed; a missing subtitle is no reason to fetch every article's page."""
        for article in parse_feed(self._text(response)):
            yield article
            if self._wanted == "always":
                yield from self._article_request(article)

    def parse_list(self, response: Response) -> Iterator[Output]:
        """Read a list's page, then request the rest from GraphQL.

        Most pages do not have the tags of their articles. GraphQL does, so the first entries are
        requested too: one request instead of twenty pages.
        """
        part = parse_list_page(self._text(response), response.url)
        reading = ReadingList(part.key, response.url.partition("?")[0], part.state)
        lacks_tags = any(article.tags is None for article in part.articles)
        restart = FIRST_CURSOR if lacks_tags and self._wanted != "never" else None
        yield from self._list_part(response, part, reading, restart=restart)

    def parse_graphql(
        self, response: Response, reading: ReadingList, seen: Sequence[str], **_: object
    ) -> Iterator[Output]:
        """Read the entries of a list after a cursor."""
        part = parse_list_answer(self._text(response), reading.key, response.url)
        yield from self._list_part(response, part, reading, seen)

    def parse_article(self, response: Response) -> Iterator[Output]:
        """Read an article's own page."""
        yield parse_article_page(self._text(response), response.url)

    def unreadable(self, request: Request, error: PageError) -> Iterator[Output]:
        """Record a page that a parser refused."""
        kind: Literal["gone", "unreadable"] = "unreadable"
        if isinstance(error, GoneError):
            kind = "gone"
        problem = Problem(_requested(request), kind, str(error))
        yield problem
        if "reading" in request.cb_kwargs:
            yield from self._list_part_lost(request, problem)

    def failed(self, failure: Failure) -> Iterator[Output]:
        """Record why a request gave nothing; one that is left for later is no problem."""
        request: Request = failure.request  # type: ignore[attr-defined]
        problem = _problem(failure.value, _requested(request))
        if isinstance(failure.value, LaterError):
            self.crawler.stats.inc_value("harvest/later")
        else:
            yield problem
        if "reading" in request.cb_kwargs:
            yield from self._list_part_lost(request, problem)
        elif problem.kind == "gone" and kind_of(problem.url) == "list" and list_id(problem.url):
            key = list_id(problem.url) or ""
            yield ReadingList(key, problem.url, "gone", reason=problem.reason)

    def dropped(self, request: Request) -> None:
        """Record a page that redirects to itself: Scrapy drops what it has requested before."""
        if request.url in request.meta.get("redirect_urls", ()):
            problem = Problem(_requested(request), "refused", "the page redirects to itself")
            self.collection.add_problem(problem)

    def closed(self, reason: str) -> None:
        self.collection.close()

    def _list_part(
        self,
        response: Response,
        part: ListPart,
        before: ReadingList,
        seen: Sequence[str] = (),
        *,
        restart: str | None = None,
    ) -> Iterator[Output]:
        cursor = restart or part.next_cursor
        trouble = [] if restart else [*filter(None, [before.reason]), *part.unread[:3]]
        if cursor in seen:
            cursor = None
            trouble.append("its parts do not end")
        read = 0 if restart else before.read + part.entries
        size = before.size if part.size is None else part.size
        if not cursor and size is not None and read < size:
            trouble.append(f"the host counts {size:,} entries, and {read:,} were served")
        reading = replace(
            before,
            state=part.state,
            name=part.name or before.name,
            owner=part.owner or before.owner,
            size=size,
            members=tuple(dict.fromkeys([*before.members, *(one.key for one in part.articles)])),
            read=read,
            is_complete=part.state == "open" and not (cursor or trouble),
            reason="; ".join(trouble),
        )
        yield from part.articles
        yield (
            replace(reading, reason=reading.reason or "it was not read to its end")
            if cursor
            else reading
        )
        if cursor:
            yield self._request(
                "graphql",
                f"{origin(response.url)}/_/graphql",
                self.parse_graphql,
                body=list_query(part.key, cursor),
                since=fetched_at(response),
                reading=reading,
                seen=(*seen, cursor),
                lacking=part.articles if restart else (),
            )
        if not restart:
            for article in part.articles:
                yield from self._article_request(article)

    def _list_part_lost(self, request: Request, problem: Problem) -> Iterator[Output]:
        reading: ReadingList = request.cb_kwargs["reading"]
        yield replace(reading, reason=f"the next part could not be read: {problem.reason}")
        # Without GraphQL, only the articles' own pages say more than the list's page did.
        for article in request.cb_kwargs["lacking"]:
            yield from self._article_request(article)

    def _article_request(self, article: Article) -> Iterator[Output]:
        lacks = article.lacks_fields and self._wanted == "missing"
        if not (lacks or self._wanted == "always") or self.collection.has_own_page(article.key):
            return
        try:
            yield self._request("article", asked_url(article.url), self.parse_article)
        except (AddressError, ValueError) as error:
            yield Problem(article.url, "refused", f"the address cannot be asked: {error}")

    def _request(
        self,
        kind: str,
        url: str,
        callback: Callable[..., Iterator[Output]],
        *,
        body: bytes | None = None,
        since: float | None = None,
        **kwargs: Any,
    ) -> Request:
        headers = {"Content-Type": "application/json"} if body else {}
        return Request(
            url,
            callback,
            method="POST" if body else "GET",
            body=body,
            headers=headers,
            errback=self.failed,
            priority=_PRIORITY[kind],
            cb_kwargs=kwargs,
            meta={
                "scope": kind if kind in {"feed", "graphql"} else "page",
                "fetched_after": time.time() - self._ages_s[kind] if since is None else since,
                # A redirect would turn the query into a page.
                **({"dont_redirect": True} if body else {}),
            },
        )

    def _text(self, response: Response) -> str:
        """Return a page's text; earlier problems of its address are over."""
        self.collection.forget_problems(_requested(cast("Request", response.request)))
        return response.body.decode(charset_of(response) or "utf-8", "replace")


def _requested(request: Request) -> str:
    """Return the address requested before redirects; for a part of a list, the list's."""
    if "reading" in request.cb_kwargs:
        return str(request.cb_kwargs["reading"].url)
    redirects = request.meta.get("redirect_urls")
    return str(redirects[0]) if redirects else request.url


def _problem(error: BaseException | None, url: str) -> Problem:
    if isinstance(error, HttpError):
        status = error.response.status
        reason = f"the host answered with status {status}"
        if status in {404, 410}:
            return Problem(url, "gone", reason)
        return Problem(url, "refused" if 300 <= status < 500 else "failed", reason)
    if isinstance(error, IgnoreRequest):
        return Problem(url, "refused", str(error) or "the request was refused")
    reasons = {
        DownloadTimeoutError: "the host took too long",
        CannotResolveHostError: f"the host's name cannot be resolved: {error}",
        DownloadCancelledError: "the page is too large",
    }
    reason = next((why for kind, why in reasons.items() if isinstance(error, kind)), "")
    return Problem(url, "failed", reason or f"no answer: {type(error).__name__}")


class UnreadablePages(Component):
    """Makes a problem of a page that a parser refuses."""

    def process_spider_exception(
        self, response: Response, exception: Exception
    ) -> Iterator[Output] | None:
        if not isinstance(exception, PageError):
            return None
        return self._spider.unreadable(cast("Request", response.request), exception)


class CollectionPipeline(Component):
    """Adds what the spider read to its collection."""

    def process_item(self, item: Article | ReadingList | Problem) -> object:
        self._spider.collection.add(item)
        return item
