"""Scrapy's HTTP cache in the collection, without pickles: a killed harvest resumes from it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, cast

from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.settings import BaseSettings
    from scrapy.utils.request import RequestFingerprinter

    from tagsage.harvest.spider import MediumSpider

KEEP_PAGES_S: Final = 30 * 86_400.0
FETCHED_AT: Final = "X-Tagsage-Fetched-At"
# Refusals and errors are requested again in the next run; these are answers.
_KEPT = frozenset({200, 301, 302, 303, 307, 308, 404, 410})
_DAY_S = 86_400.0


class CollectionStorage:
    """Keeps each response in one transaction."""

    def __init__(self, settings: BaseSettings) -> None:
        pass

    def open_spider(self, spider: MediumSpider) -> None:
        """Remove the pages that are too old."""
        self._collection = spider.collection
        self._fingerprinter = cast("RequestFingerprinter", spider.crawler.request_fingerprinter)
        oldest = time.time() - KEEP_PAGES_S
        self._collection.query("DELETE FROM pages WHERE fetched_at < ?", oldest)

    def close_spider(self, spider: MediumSpider) -> None:
        """Do nothing: the spider closes the collection."""

    def retrieve_response(self, spider: MediumSpider, request: Request) -> Response | None:
        """Return the cached response to a request, or None."""
        rows = self._collection.query(
            "SELECT url, status, headers, body, fetched_at FROM pages WHERE fingerprint = ?",
            self._fingerprinter.fingerprint(request),
        )
        for url, status, text, body, fetched_at in rows:
            headers = Headers(json.loads(text))
            headers[FETCHED_AT] = repr(fetched_at)
            kind = responsetypes.from_args(headers=headers, url=url, body=body)
            return kind(url=url, status=status, headers=headers, body=body)
        return None

    def store_response(self, spider: MediumSpider, request: Request, response: Response) -> None:
        headers = {
            name.decode("latin-1"): [value.decode("latin-1") for value in values]
            for name, values in response.headers.items()
            if name.decode("latin-1") != FETCHED_AT
        }
        self._collection.query(
            "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?)",
            self._fingerprinter.fingerprint(request),
            response.url,
            response.status,
            json.dumps(headers),
            response.body,
            time.time(),
        )


class AgePolicy:
    """Fresh is what was fetched since the moment that a request names; by default for a day."""

    def __init__(self, settings: BaseSettings) -> None:
        # A replay reads everything, however old.
        self._any_age = settings.getbool("HTTPCACHE_IGNORE_MISSING")

    def should_cache_request(self, request: Request) -> bool:
        return True

    def should_cache_response(self, response: Response, request: Request) -> bool:
        """Keep pages, redirects and deleted pages."""
        return response.status in _KEPT

    def is_cached_response_fresh(self, cachedresponse: Response, request: Request) -> bool:
        """Return whether a response is fresh; if not, ask the host whether it has changed."""
        since = request.meta.get("fetched_after", time.time() - _DAY_S)
        if self._any_age or fetched_at(cachedresponse) >= since:
            return True
        for header, validator in (
            ("If-None-Match", "ETag"),
            ("If-Modified-Since", "Last-Modified"),
        ):
            if validator in cachedresponse.headers:
                request.headers[header] = cachedresponse.headers[validator]
        return False

    def is_cached_response_valid(
        self, cachedresponse: Response, response: Response, request: Request
    ) -> bool:
        """Return whether the host says that the page has not changed."""
        return response.status == 304


def fetched_at(response: Response) -> float:
    """Return when a response was fetched, in seconds since 1970: now, unless it was cached."""
    kept = response.headers.get(FETCHED_AT)
    return float(kept) if kept else time.time()
