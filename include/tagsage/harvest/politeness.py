"""The politeness of a harvest: robots.txt, delays, refusals, budgets, private addresses.

Nothing here works around a refusal: a site that does not want us is not requested again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Self, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

from scrapy import signals
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import CannotResolveHostError, IgnoreRequest
from scrapy.resolver import CachingThreadedResolver

from tagsage.harvest.addresses import AddressError, asked_url, is_private, site
from tagsage.retry import retry_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy import Request
    from scrapy.core.downloader import Downloader
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.robotstxt import RobotParser
    from twisted.internet.base import ReactorBase
    from twisted.internet.defer import Deferred

    from tagsage.harvest.collection import Collection
    from tagsage.harvest.spider import MediumSpider

logger = logging.getLogger(__name__)

# After so many in a row, a site is not requested any more.
REFUSALS: Final = 3
FAILURES: Final = 10
LONGEST_WAIT_S: Final = 600.0  # a host that wants a longer wait is left for a later run
CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1252"})
# A challenge on pages says nothing about feeds; one on feeds, made for programs, stops all.
_STOPPED_BY: Final = {
    "feed": ("feed", "page", "graphql"),
    "page": ("page", "graphql"),
    "graphql": ("graphql",),
}
_CHALLENGE_HEADERS: Final = ("cf-mitigated", "x-vercel-mitigated", "x-amzn-waf-action")
_CHALLENGE_MARKS: Final = (
    *(b"_cf_chl_opt", b"/cdn-cgi/challenge-platform/", b"challenges.cloudflare.com"),
    *(b"just a moment...", b"attention required! | cloudflare", b"g-recaptcha", b"h-captcha"),
)


class RefusedError(IgnoreRequest):
    """A request that is not sent, or whose answer is not read; the message is the reason."""


class LaterError(IgnoreRequest):
    """A request that is left for a later run: the budget is spent, or the site refused us."""


class Stops:
    """The sites that we stopped requesting, and since when; they outlive the run."""

    def __init__(self, collection: Collection, pause_s: float) -> None:
        self._collection = collection
        self._pause_s = pause_s
        self.met: dict[str, str] = {}
        rows = collection.query("SELECT * FROM stops WHERE until > ?", time.time())
        self._stops = {(host, scope): (until, why) for host, scope, until, why in rows}

    def stop(self, request: Request, why: str, wait_s: float | None = None) -> None:
        """Stop requesting a request's site in its scope, and in those that `_STOPPED_BY` names."""
        host = site(request.url)
        until = time.time() + (self._pause_s if wait_s is None else wait_s)
        for scope in _STOPPED_BY[_scope(request)]:
            self._stops[host, scope] = (until, why)
            self._collection.query(
                "INSERT OR REPLACE INTO stops VALUES (?, ?, ?, ?)", host, scope, until, why
            )
        self.met[host] = why
        logger.warning("%s is left alone: %s", host, why)

    def check(self, request: Request) -> None:
        """Raise `LaterError` when the request's site is stopped."""
        until, why = self._stops.get((site(request.url), _scope(request)), (0.0, ""))
        if until > time.time():
            self.met.setdefault(site(request.url), why)
            raise LaterError(why)


class Component:
    """A component of Scrapy that knows the crawler and its spider."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @property
    def _spider(self) -> MediumSpider:
        return cast("MediumSpider", self._crawler.spider)


class AddressFilter(Component):
    """Refuses addresses that are not of the web, and private networks that no user named."""

    def process_request(self, request: Request) -> None:
        """Refuse a request, also one that a redirect led to."""
        try:
            asked_url(request.url)
        except AddressError as error:
            raise RefusedError(f"the address is never asked: {error}") from error
        parts = urlsplit(request.url)
        if is_private(parts.hostname or "") and parts.netloc not in self._spider.named_places:
            raise RefusedError("the address is on a private network, and you did not name it")


class GateMiddleware(Component):
    """The last check of a request that is about to be sent, and not in the cache."""

    def process_request(self, request: Request) -> None:
        """Leave stopped sites, and what exceeds the budget, for a later run."""
        self._spider.stops.check(request)
        stats = self._crawler.stats
        budget = self._crawler.settings.getint("HARVEST_MAX_REQUESTS")
        if stats.get_value("harvest/requests", 0) >= budget:
            raise LaterError("the budget of requests is spent")
        stats.inc_value("harvest/requests")
        # One queue and one delay per site, also after a redirect to another.
        request.meta["download_slot"] = site(request.url)


class PoliteHandler(HTTP11DownloadHandler):
    """Sends requests, except those whose site refused us while they were queued."""

    async def download_request(self, request: Request) -> Response:
        cast("MediumSpider", self._crawler.spider).stops.check(request)
        return await super().download_request(request)


class RefusalMiddleware(Component):
    """Recognises challenges and repeated refusals, and bodies in an unknown charset."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._in_a_row: Counter[tuple[str, str, str]] = Counter()

    def process_response(self, request: Request, response: Response) -> Response:
        """Stop requesting a site that shows a challenge, or that keeps refusing."""
        if "cached" in response.flags:
            return response
        if is_challenge(response):
            self._spider.stops.stop(request, "it shows a challenge instead of the page")
            raise RefusedError("the host shows a challenge instead of the page")
        if self._count(request, "refusals", response.status in {401, 403}) >= REFUSALS:
            self._spider.stops.stop(request, f"it refused {REFUSALS} requests in a row")
        self._count_failure(request, response.status in {429, 500, 502, 503, 504})
        if response.status == 200 and (charset := charset_of(response)) not in CHARSETS:
            raise RefusedError(f"the page is in the charset {charset[:40]!r}")
        return response

    def process_exception(self, request: Request, exception: Exception) -> None:
        """Count requests without an answer."""
        if not isinstance(exception, IgnoreRequest):
            self._count_failure(request, True)

    def _count_failure(self, request: Request, has_failed: bool) -> None:
        if self._count(request, "failures", has_failed) >= FAILURES:
            why = f"{FAILURES} requests in a row had no usable answer"
            self._spider.stops.stop(request, why)

    def _count(self, request: Request, kind: str, has_happened: bool) -> int:
        """Return how often something has happened in a row to the requests of a scope."""
        key = (site(request.url), _scope(request), kind)
        self._in_a_row[key] = self._in_a_row[key] + 1 if has_happened else 0
        return self._in_a_row[key]


class FailClosedRobots(RobotsTxtMiddleware):
    """Obeys robots.txt; where it cannot be fetched, nothing else is (Scrapy: everything)."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._waiting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def robot_parser(self, request: Request) -> RobotParser | None:
        """Return the rules for a request; one set for medium.com and the names below it."""
        if site(request.url) == "medium.com":
            scheme = urlsplit(request.url).scheme
            request = request.replace(url=f"{scheme}://medium.com/")
        # Scrapy gives the rules to the first request that waits, and None to the others.
        async with self._waiting[urlsplit(request.url).netloc]:
            return await super().robot_parser(request)

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        """Refuse what robots.txt forbids, and everything when there are no rules."""
        if rp is None:
            raise RefusedError("robots.txt of the host cannot be read")
        super().process_request_2(rp, request)

    def process_response(self, request: Request, response: Response) -> Response:
        """Treat a missing robots.txt as an empty one, and errors as no rules."""
        if not request.meta.get("dont_obey_robotstxt") or response.status == 200:
            return response
        if response.status in {401, 403, 429} or not 400 <= response.status < 500:
            raise RefusedError(f"robots.txt is answered with status {response.status}")
        return response.replace(body=b"")


class BackOff(Component):
    """Waits as long as ``Retry-After`` and ``Crawl-delay`` say, per site."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        crawler.signals.connect(self.response_downloaded, signals.response_downloaded)
        crawler.signals.connect(self.robots_parsed, signals.robots_parsed)

    def response_downloaded(self, response: Response, request: Request) -> None:
        """Hold the site's queue before it releases the next request."""
        self._crawler.stats.inc_value("harvest/bytes", len(response.body))
        slot = self._downloader.slots[site(request.url)]
        # The delay begins with the response, so that a challenge is seen in time.
        slot.lastseen = time.monotonic()
        if response.status not in {429, 503}:
            return
        header = (response.headers.get("Retry-After") or b"").decode("latin-1")
        wait_s = retry_after(header, time.time())
        if wait_s is None:
            tries = request.meta.get("retry_times", 0)
            wait_s = min(slot.delay * 2 ** (tries + 1), LONGEST_WAIT_S)
        if wait_s > LONGEST_WAIT_S:
            why = f"it asks to wait for {wait_s / 60:,.0f} minutes"
            self._spider.stops.stop(request, why, wait_s)
            return
        slot.delay = slot.delay or 0.001  # without a delay, a queue is not held
        slot.lastseen += max(wait_s - slot.delay, 0.0)

    def robots_parsed(self, robotparser: RobotParser, request: Request) -> None:
        """Request from a site no more often than its robots.txt allows."""
        delay = robotparser.crawl_delay(self._crawler.settings["ROBOTSTXT_USER_AGENT"])
        if delay and delay > self._crawler.settings.getfloat("DOWNLOAD_DELAY"):
            self._downloader.per_slot_settings[site(request.url)] = {"delay": delay}
            self._downloader.slots[site(request.url)].delay = delay

    @property
    def _downloader(self) -> Downloader:
        return self._crawler.engine.downloader


class PublicResolver(CachingThreadedResolver):
    """Resolves no name to an address on a private network, unless a user named the host."""

    def __init__(self, reactor: ReactorBase, cache_size: int, timeout: float) -> None:
        super().__init__(reactor, cache_size, timeout)
        self._allowed: set[str | None] = set()

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: ReactorBase) -> Self:
        """Allow the hosts that were named, and the proxies of the environment."""
        resolver = super().from_crawler(crawler, reactor)
        named = crawler.settings.getlist("HARVEST_NAMED_PLACES")
        resolver._allowed = {urlsplit(f"//{place}").hostname for place in named}
        resolver._allowed |= {urlsplit(proxy).hostname for proxy in getproxies().values()}
        return resolver

    def getHostByName(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:  # ruff: ignore[invalid-function-name]
        def check(address: str) -> str:
            if is_private(address) and name not in self._allowed:
                raise CannotResolveHostError(f"{name} leads to a private network")
            return address

        return super().getHostByName(name, timeout).addCallback(check)


def is_challenge(response: Response) -> bool:
    """Return whether a response is no page but a test for humans."""
    if any(response.headers.get(name) for name in _CHALLENGE_HEADERS):
        return True
    if response.status not in {401, 403, 405, 429, 503}:
        return False
    start = response.body[:65_536].lower()
    return any(mark in start for mark in _CHALLENGE_MARKS)


def charset_of(response: Response) -> str:
    """Return the charset of the Content-Type header, in lower case; empty when it has none."""
    content_type = (response.headers.get("Content-Type") or b"").decode("latin-1").lower()
    return content_type.partition("charset=")[2].partition(";")[0].strip(" \"'")


def _scope(request: Request) -> str:
    return str(request.meta.get("scope", "feed"))
