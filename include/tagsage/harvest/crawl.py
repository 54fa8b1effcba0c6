"""The crawl, in its own process: ``python -m tagsage.harvest.crawl`` with a job on its input.

Scrapy's reactor cannot be started twice in a process. The crawl ends when its input closes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess, Crawler
from scrapy.utils.asyncio import create_looping_call

from tagsage.errors import TagsageError
from tagsage.files import locked
from tagsage.harvest.addresses import is_mail
from tagsage.harvest.collection import Collection
from tagsage.harvest.politeness import Component
from tagsage.harvest.spider import MediumSpider
from tagsage.settings.harvest import HarvestSettings

PROGRESS_EVERY_S: Final = 1.0
_ROOM = "tagsage.harvest"


def scrapy_settings(job: Mapping[str, Any], settings: HarvestSettings) -> dict[str, Any]:
    """Return Scrapy's settings for a job: they define most of a harvest's behaviour."""
    contact = settings.harvest_contact
    return {
        "USER_AGENT": f"tagsage/{version('tagsage')} (+{contact})",
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "text/html,application/xml;q=0.9,*/*;q=0.8",
            # On a persistent connection, Twisted repeats a failed request at once.
            "Connection": "close",
            **({"From": contact} if is_mail(contact) else {}),
        },
        "COOKIES_ENABLED": False,
        "REFERRER_POLICY": "no-referrer",
        "METAREFRESH_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        # Politeness.
        "ROBOTSTXT_OBEY": not job["replay"],
        "ROBOTSTXT_USER_AGENT": "tagsage",
        "DOWNLOAD_DELAY": settings.harvest_delay_s,
        "DOWNLOAD_DELAY_JITTER": 0,
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "RETRY_TIMES": 5,
        "RETRY_GIVE_UP_LOG_LEVEL": "INFO",
        "REDIRECT_MAX_TIMES": 5,
        "HARVEST_PAUSE_S": 12 * 3600.0,
        # Limits.
        "HARVEST_MAX_REQUESTS": settings.harvest_max_requests,
        "CLOSESPIDER_TIMEOUT": settings.harvest_max_minutes * 60,
        "MEMUSAGE_LIMIT_MB": 2000,
        "MEMUSAGE_CHECK_INTERVAL_SECONDS": 5.0,
        "DOWNLOAD_TIMEOUT": 60,
        "DOWNLOAD_MAXSIZE": 10_000_000,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "TWISTED_DNS_RESOLVER": f"{_ROOM}.politeness.PublicResolver",
        # Memory.
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_STORAGE": f"{_ROOM}.cache.CollectionStorage",
        "HTTPCACHE_POLICY": f"{_ROOM}.cache.AgePolicy",
        "HTTPCACHE_IGNORE_MISSING": job["replay"],
        "HARVEST_FOLDER": job["folder"],
        "HARVEST_NAMED_PLACES": [
            *(urlsplit(url).netloc for url in job["seeds"]),
            *(
                host.rpartition("//")[2].strip("/").lower()
                for host in settings.harvest_hosts.split()
            ),
        ],
        # Parts.
        "SPIDER_MIDDLEWARES": {f"{_ROOM}.spider.UnreadablePages": 100},
        "ITEM_PIPELINES": {f"{_ROOM}.spider.CollectionPipeline": 100},
        "EXTENSIONS": {
            f"{_ROOM}.politeness.BackOff": 100,
            f"{_ROOM}.crawl.ProgressLines": 200,
        },
        "DOWNLOAD_HANDLERS": dict.fromkeys(("http", "https"), f"{_ROOM}.politeness.PoliteHandler")
        | dict.fromkeys(("file", "ftp", "s3", "data")),
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            f"{_ROOM}.politeness.FailClosedRobots": 100,
            f"{_ROOM}.politeness.AddressFilter": 90,
            # After decompression, before a retry.
            f"{_ROOM}.politeness.RefusalMiddleware": 570,
            # After the cache.
            f"{_ROOM}.politeness.GateMiddleware": 950,
        },
        "LOG_LEVEL": "INFO",
        **job["overrides"],
    }


class ProgressLines(Component):
    """Writes the crawl's progress as one line of JSON per second, and at the end its result."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._loop = create_looping_call(self.write)
        crawler.signals.connect(self.spider_opened, signals.spider_opened)
        crawler.signals.connect(self.spider_closed, signals.spider_closed)

    def spider_opened(self) -> None:
        self._loop.start(PROGRESS_EVERY_S, now=False)

    def spider_closed(self, reason: str) -> None:
        self._loop.stop()
        _say({**self._numbers(), "ended": reason, "stopped": self._spider.stops.met})

    def write(self) -> None:
        """Write a line."""
        _say(self._numbers())

    def _numbers(self) -> dict[str, int]:
        stats = self._crawler.stats.get_value
        waiting = stats("scheduler/enqueued", 0) - stats("scheduler/dequeued", 0)
        return {
            "requests": stats("harvest/requests", 0),
            "bytes": stats("harvest/bytes", 0),
            "waiting": waiting + stats("harvest/later", 0),
            "items": stats("item_scraped_count", 0),
        }


def main() -> int:
    """Run the job on the standard input; return the exit status."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    folder = Path(job["folder"])
    busy = f"Another harvest is under way in {folder}; wait until it has ended."
    try:
        with locked(folder / "harvest.lock", busy=busy):
            _crawl(folder, job)
    except (TagsageError, sqlite3.Error, OSError) as error:
        _say({"error": str(error)})
        return 1
    return 0


def _crawl(folder: Path, job: Mapping[str, Any]) -> None:
    with Collection(folder) as collection:
        collection.add_seeds(job["seeds"])
    settings = HarvestSettings(**job["settings"])
    process = AsyncCrawlerProcess(scrapy_settings(job, settings))
    # What is kept may be read without consent.
    consent = settings.harvest_consent or job["replay"]
    process.crawl(MediumSpider, job["seeds"], settings, consent=consent)
    process.start()


def _say(values: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _die_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
