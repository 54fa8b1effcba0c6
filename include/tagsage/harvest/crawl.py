"""The process of a crawl: ``python -m tagsage.harvest.crawl``; see :mod:`tagsage.harvest.process`.

Scrapy's event loop can be run once in a process, and its memory is given back only with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scrapy import Spider, signals
from scrapy.crawler import AsyncCrawlerProcess, Crawler

from tagsage.errors import TagsageError
from tagsage.harvest import downloader, frontier, library, pages, problems, seeds, status
from tagsage.harvest.config import HarvestConfig, HarvestReport
from tagsage.harvest.database import HarvestDatabase, alone
from tagsage.harvest.loop import Loop

# When there is nobody to report to, the process ends after this long, whatever it is doing.
LAST_BREATH_S: Final = 5.0
TELL_EVERY_S: Final = 0.5
# Counting goes through whole tables while requests wait, so in a large harvest it is done rarely.
COUNTED_SHARE: Final = 0.02


class Watch:
    """Waits for the end of standard input: the parent asks us to stop, or is dead."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._has_ended = False
        threading.Thread(target=self._wait, daemon=True).start()

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have something called at the end, in another thread; at once when it has come."""
        with self._lock:
            if not self._has_ended:
                self._callbacks.append(callback)
                return
        callback()

    def _wait(self) -> None:
        # Not sys.stdin, which would still be locked by this thread when the process ends.
        while os.read(0, 4096):
            continue
        with self._lock:
            self._has_ended = True
        for callback in self._callbacks:
            callback()
        time.sleep(LAST_BREATH_S)
        # The database is safe to be left at any moment, and nobody waits for a report any more.
        os._exit(1)


def main() -> None:
    """Read what to do from standard input, do it, and write what happens to standard output."""
    # Scrapy opens the root logger for everything, and tells the addresses of all requests, which
    # may be secret: so the handler is the one that is strict.
    strict = logging.StreamHandler(sys.stderr)
    strict.setLevel(logging.ERROR)
    logging.basicConfig(handlers=[strict])
    told = json.loads(sys.stdin.readline())
    watch = Watch()
    folder = Path(told["folder"])
    config = HarvestConfig(**told["config"])
    try:
        with alone(folder, patience_s=told["patience_s"]), HarvestDatabase(folder) as db:
            report = _harvest(db, config, told["seeds"], told["asked_hosts"], watch)
    except TagsageError as error:
        _say("error", str(error))
        sys.exit(1)
    except OSError as error:
        why = error.strerror or str(error)
        _say("error", f"The harvest cannot be kept in {folder}: {why}; choose another workspace.")
        sys.exit(1)
    _say("report", asdict(report))


def _harvest(
    db: HarvestDatabase,
    config: HarvestConfig,
    wanted: list[str],
    asked_hosts: list[str],
    watch: Watch,
) -> HarvestReport:
    now = time.time()
    with db.transaction():
        frontier.recover(db)
        run = db.execute("INSERT INTO runs (started_at) VALUES (?)", (now,)).lastrowid
        run_id = int(run or 0)
        for seed, why in seeds.plant(db, wanted, asked_hosts, now).items():
            problems.record(db, run_id, now, seed, [f"The seed is set aside: {why}."])
        library.refresh_due(db, config, now)
    pages.prune(db, now - config.keep_pages_days * 24 * 3600)
    outcome, loop = _crawl(db, config, run_id, watch)
    now = time.time()
    with db.transaction():
        # What had to be left in the middle waits again.
        frontier.recover(db, is_counted=False)
        db.execute(
            "UPDATE runs SET ended_at = ?, outcome = ?, requests = ?, bytes = ? WHERE id = ?",
            (now, outcome, loop.requests, loop.received, run_id),
        )
    counts = status.counts(db, run_id)
    return HarvestReport(
        outcome=outcome,
        stopped=frontier.outlook(db, now, pages=config.consent).closed,
        requests=loop.requests,
        bytes=loop.received,
        lists=counts.lists,
        articles=counts.articles,
        memberships=counts.memberships,
        waiting=frontier.waiting(db, pages=config.consent),
        problems=counts.problems,
        revision=counts.revision,
        changed=counts.revision > counts.announced,
    )


def _crawl(
    db: HarvestDatabase, config: HarvestConfig, run_id: int, watch: Watch
) -> tuple[str, Loop]:
    process = AsyncCrawlerProcess(downloader.scrapy_settings(config))
    crawler = process.create_crawler(HarvestSpider)
    done: list[tuple[str, Loop]] = []
    failed: list[BaseException] = []

    async def work() -> None:
        try:
            done.append(await _work(crawler, db, config, run_id, watch))
        # It is raised where the caller is, below: Scrapy would only log it.
        except BaseException as error:  # ruff: ignore[blind-except]
            failed.append(error)

    process.crawl(crawler, work=work)
    process.start(install_signal_handlers=False)
    if failed:
        raise failed[0]
    return done[0]


async def _work(
    crawler: Crawler, db: HarvestDatabase, config: HarvestConfig, run_id: int, watch: Watch
) -> tuple[str, Loop]:
    gate = downloader.Gate(lambda name, port: downloader.is_let_in(name, port, loop.asked))
    gate.install()

    async def ask(url: str, headers: Any, body: bytes | None) -> Any:
        return await downloader.fetch(crawler, gate, config, url, headers, body)

    teller = Teller(db, config, run_id)
    loop = Loop(db, config, run_id, ask, lambda: teller.tell(loop))

    def count(data: bytes) -> None:
        loop.received += len(data)

    crawler.signals.connect(count, signals.bytes_received)
    here = asyncio.get_running_loop()
    here.add_signal_handler(signal.SIGTERM, loop.stop)
    watch.on_end(lambda: here.call_soon_threadsafe(loop.stop))
    return await loop.run(), loop


class HarvestSpider(Spider):
    """Runs the loop within Scrapy's engine; asks for nothing by itself."""

    name = "tagsage"

    def __init__(self, *, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    async def start(self) -> AsyncIterator[Any]:
        """Run the loop to its end; there are no requests for Scrapy to schedule."""
        await self._work()
        nothing: tuple[Any, ...] = ()
        for request in nothing:
            yield request


class Teller:
    """Writes how far the run is, now and then.

    Parameters
    ----------
    db, config, run_id
        Of the run.
    clock : callable
        Seconds, by which it measures how long counting takes.
    """

    def __init__(
        self,
        db: HarvestDatabase,
        config: HarvestConfig,
        run_id: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._db = db
        self._config = config
        self._run_id = run_id
        self._clock = clock
        self._started = time.time()
        self._last = 0.0
        self._count_at = 0.0
        self._counted: tuple[status.Counts, int] | None = None

    def tell(self, loop: Loop) -> None:
        """Write how far a loop is, unless that was done a moment ago."""
        now = time.time()
        if now - self._last < TELL_EVERY_S:
            return
        self._last = now
        counts, waiting = self.count(now)
        # Within the first second nothing can be said of a rate yet.
        rate = loop.requests / max(now - self._started, 1.0)
        ill = status.ailing(self._db)
        _say(
            "progress",
            {
                "requests": loop.requests,
                "bytes": loop.received,
                "lists": counts.lists,
                "articles": counts.articles,
                "memberships": counts.memberships,
                "waiting": waiting,
                "due_in_s": None if loop.next_at is None else max(loop.next_at - now, 0.0),
                "rate": rate * 60,
                "eta_s": waiting / rate if loop.requests else None,
                "trouble": f"{ill[0][0]}: {ill[0][2]}" if ill else "",
            },
        )

    def count(self, now: float) -> tuple[status.Counts, int]:
        """Return what there is and how many requests are left, as of `now` or a while before."""
        if self._counted is None or now >= self._count_at:
            begun = self._clock()
            counts = status.counts(self._db, self._run_id)
            waiting = frontier.waiting(self._db, pages=self._config.consent)
            self._counted = counts, waiting
            self._count_at = now + (self._clock() - begun) / COUNTED_SHARE
        return self._counted


def _say(kind: str, value: object) -> None:
    sys.stdout.write(json.dumps({kind: value}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
