"""The loop of a harvest: take what is ready, ask for it, do as the manners say, and write it down.

Every step is a transaction, so a kill between two of them loses nothing: what was taken but not
settled waits again.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tagsage.errors import TagsageError
from tagsage.harvest import frontier, hosts, intake, manners, robots
from tagsage.harvest.addresses import canonical, charset_of, origin, siblings
from tagsage.harvest.answers import Answer, Verdict
from tagsage.harvest.config import (
    MEGABYTE,
    OUTCOME_BUDGET,
    OUTCOME_DONE,
    OUTCOME_INTERRUPTED,
    OUTCOME_STOPPED,
    HarvestConfig,
)
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.frontier import Claimed
from tagsage.harvest.list_page import FIRST_CURSOR, list_query

# Hosts asked at the same time, each for one thing.
SIDE_BY_SIDE: Final = 8
# How long requests under way may still take when the run is to stop.
LAST_WORDS_S: Final = 4.0
LONGEST_SLEEP_S: Final = 1.0

# Sends a request (address, headers, body of a POST) and returns what came, whatever that is.
Ask = Callable[[str, Mapping[str, str], bytes | None], Awaitable[Answer]]


class Loop:
    """A run of the harvest.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; nobody else is at it.
    config : HarvestConfig
        Manners and budget.
    run_id : int
        The run's row.
    ask : callable
        Sends a request.
    tell : callable
        Called now and then, between requests.

    Attributes
    ----------
    requests, received : int
        Requests sent in this run; bytes received, counted by whoever receives them.
    next_at : float or None
        When the next request may leave, by what is known now.
    """

    def __init__(
        self,
        db: HarvestDatabase,
        config: HarvestConfig,
        run_id: int,
        ask: Ask,
        tell: Callable[[], None],
    ) -> None:
        self._db = db
        self._config = config
        self._run_id = run_id
        self._ask = ask
        self._tell = tell
        self._asked = asked_origins(db)
        self._rules: dict[str, tuple[float | None, robots.Rules]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._until = time.time() + config.max_minutes * 60
        self.requests = 0
        self.received = 0
        self.next_at: float | None = None

    def stop(self) -> None:
        """End the run after the requests under way."""
        self._stop.set()

    async def run(self) -> str:
        """Work until there is nothing to do, the budget is used up, or the run is stopped.

        Returns
        -------
        str
            The outcome, one of ``config.OUTCOME_*``.
        """
        try:
            outcome = await self._run()
            await self._finish()
        finally:
            for task in self._tasks:
                task.cancel()
        return OUTCOME_INTERRUPTED if self._stop.is_set() else outcome

    async def _run(self) -> str:
        while not self._stop.is_set():
            now = time.time()
            if self._is_spent(now):
                return OUTCOME_BUDGET
            claimed = None
            if len(self._tasks) < SIDE_BY_SIDE:
                claimed = frontier.ready(self._db, now, pages=self._config.consent)
            if claimed is not None:
                with self._confined(claimed):
                    self._begin(claimed, now)
                # Many may be refused in a row: the others are to go on meanwhile.
                await asyncio.sleep(0)
                continue
            outcome = await self._wait(now)
            if outcome is not None:
                return outcome
        return OUTCOME_INTERRUPTED

    def _is_spent(self, now: float) -> bool:
        return (
            self.requests >= self._config.max_requests
            or self.received >= self._config.max_mb * MEGABYTE
            or now >= self._until
        )

    def _begin(self, claimed: Claimed, now: float) -> None:
        why = manners.forbidden(claimed, self.asked)
        if not why and claimed.kind != "robots":
            rules = self._rules_of(claimed.host)
            # In the form in which it is sent.
            if not rules.allow(canonical(claimed.url)):
                why = "robots.txt does not allow it."
        if why:
            with self._db.transaction():
                self._give_up(claimed, "refused", now, why, None)
            return
        if claimed.attempts >= self._config.attempts:
            # Only a kill leaves a request waiting whose attempts are used up.
            with self._db.transaction():
                why = "The harvest was killed each time that it was asked for."
                self._give_up(claimed, "failed", now, why, None)
            return
        sent = frontier.begin(self._db, claimed, now, self._gap(claimed.host))
        self.requests += 1
        self._tasks.add(asyncio.create_task(self._work(sent)))

    async def _wait(self, now: float) -> str | None:
        """Wait until something may be ready; return an outcome when nothing will be in this run."""
        outlook = frontier.outlook(self._db, now, pages=self._config.consent)
        self.next_at = outlook.next_at
        self._tell()
        if not self._tasks:
            if outlook.next_at is None:
                return OUTCOME_STOPPED if outlook.closed else OUTCOME_DONE
            if outlook.next_at >= self._until:
                return OUTCOME_BUDGET
        sleep = LONGEST_SLEEP_S
        if outlook.next_at is not None and len(self._tasks) < SIDE_BY_SIDE:
            sleep = min(sleep, max(outlook.next_at - now, 0.001))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                {stop, *self._tasks}, timeout=sleep, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stop.cancel()
        self._collect()
        return None

    async def _finish(self) -> None:
        """Let the requests under way end; when the run is to stop, only for a while."""
        while self._tasks:
            stop = asyncio.create_task(self._stop.wait())
            if not self._stop.is_set():
                await asyncio.wait({stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
                stop.cancel()
                self._collect()
                continue
            stop.cancel()
            await asyncio.wait(self._tasks, timeout=LAST_WORDS_S)
            self._collect()
            return

    def _collect(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    async def _work(self, sent: Claimed) -> None:
        body = None
        if sent.kind == "graphql":
            body = list_query(sent.list_key or "", sent.cursor or FIRST_CURSOR)
        with self._confined(sent):
            answer = await self._ask(sent.url, manners.headers(self._config.contact, sent), body)
            self._settle(sent, answer, time.time())

    @contextmanager
    def _confined(self, request: Claimed) -> Generator[None]:
        """Refuse a request when an exception is raised that nobody foresaw."""
        try:
            yield
        except TagsageError:
            # Our own file cannot be used, and all requests need it.
            raise
        # What one site makes us stumble over must not stop the harvest, now or in later runs.
        except Exception as error:  # ruff: ignore[blind-except]
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}, line {frame.lineno}"
            why = f"tagsage failed on it ({type(error).__name__} in {where})."
            self._settle(request, Answer(None, {}, failure=why, is_final=True), time.time())

    def _settle(self, sent: Claimed, answer: Answer, now: float) -> None:
        with self._db.transaction():
            verdict = manners.judge(
                self._config,
                hosts.get(self._db, sent.host),
                sent,
                answer,
                now,
                gap_s=self._gap(sent.host),
                asked=self.asked,
            )
            hosts.store(self._db, verdict.host)
            hosts.not_before(self._db, sent.host, verdict.next_at)
            self._carry_out(sent, verdict, answer, now)
            if verdict.is_forgiving:
                frontier.forgive(self._db, sent.host, manners.REFUSALS)

    def _carry_out(self, sent: Claimed, verdict: Verdict, answer: Answer, now: float) -> None:
        match verdict.action:
            case "take":
                self._take(sent, answer, now)
            case "unchanged":
                intake.unchanged(self._db, sent, now)
            case "gone":
                intake.gone(self._db, sent, now, self._run_id, verdict.reason, self._config)
            case "rules":
                frontier.end(self._db, sent.request_id, "done", now, status=answer.status)
                # The first request after the rules keeps the delay that they ask for.
                hosts.not_before(self._db, sent.host, now + self._gap(sent.host))
            case "redirect":
                other = frontier.redirect(self._db, sent, verdict.target, now)
                if other is not None:
                    intake.same_as(self._db, sent, other, now, self._run_id, self._config)
            case "again":
                frontier.again(
                    self._db,
                    sent.request_id,
                    verdict.due,
                    status=answer.status,
                    reason=verdict.reason,
                    is_counted=verdict.is_counted,
                )
            case "refused" | "failed":
                self._give_up(sent, verdict.action, now, verdict.reason, answer.status)

    def _take(self, sent: Claimed, answer: Answer, now: float) -> None:
        fetched = intake.Fetched(
            status=200,
            url=sent.url,
            body=answer.body,
            charset=charset_of(answer.headers.get("content-type", "")),
            etag=answer.headers.get("etag"),
            last_modified=answer.headers.get("last-modified"),
            at=now,
        )
        taken = intake.take(self._db, sent, fetched, self._config, self._run_id)
        if taken.ok:
            return
        due = manners.unreadable_due(self._config, sent, now)
        if due is None:
            self._give_up(sent, "unreadable", now, taken.reason, 200)
        else:
            frontier.again(self._db, sent.request_id, due, status=200, reason=taken.reason)

    def _give_up(
        self, request: Claimed, state: frontier.State, now: float, reason: str, status: int | None
    ) -> None:
        frontier.end(self._db, request.request_id, state, now, status=status, reason=reason)
        if request.kind != "robots":
            intake.given_up(self._db, request, now, self._run_id, reason, self._config)
        elif state == "refused":
            # A host that may not be asked for its rules may not be asked for anything; what waits
            # for them would have them asked for again, and so for ever.
            for each in frontier.waiting_at(self._db, request.host):
                self._give_up(each, state, now, reason, None)

    def _gap(self, host: str) -> float:
        return manners.gap(self._config, host, self._rules_of(host).crawl_delay_s)

    def _rules_of(self, host: str) -> robots.Rules:
        known = hosts.get(self._db, host)
        cached = self._rules.get(host)
        if cached is None or cached[0] != known.robots_at:
            if len(self._rules) >= 1000:
                self._rules.clear()
            cached = (known.robots_at, robots.read(known.robots_text or ""))
            self._rules[host] = cached
        return cached[1]

    def asked(self, place: str) -> bool:
        """Tell whether the user asked for an origin."""
        return place in self._asked


def asked_origins(db: HarvestDatabase) -> frozenset[str]:
    """Return the origins that the user asked for, under every name that means the same.

    https of a name asked for with http is meant too, but not the other way round.
    """
    asked = [str(row[0]) for row in db.execute("SELECT host FROM hosts WHERE asked = 1")]
    return frozenset(
        each
        for host in asked
        for each in siblings(host)
        if each.startswith("https:") or origin(host).startswith("http:")
    )
