"""The work of one call on line: what is left to send, and what becomes of what was sent."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

import numpy as np

from tagsage.embed.cache import VectorCache
from tagsage.embed.openai.answers import Answer
from tagsage.embed.openai.ledger import JOB, CeilingReachedError
from tagsage.embed.openai.pacing import again_at, growing_pause
from tagsage.embed.openai.packing import Work, pack
from tagsage.embed.openai.requests import Failure, Kind, Sender
from tagsage.embed.openai.spool import recover
from tagsage.embed.openai.tokens import REQUEST_TOKENS, Prepared, cut_further, estimate_tokens
from tagsage.errors import TagsageError
from tagsage.progress import track

logger = logging.getLogger(__name__)

# How often to look what others, or other requests, have done.
POLL_S, LONGEST_POLL_S = 0.2, 5.0
# A text is refused for good when the server has said so as often as this.
REFUSALS = 2
# What is asked to see whether a server takes anything at all; a few tokens.
CONTROL_TEXT = "A text to try the model with."


class OnlineRun:
    """One call of :func:`tagsage.embed.openai.online.embed_online`.

    Parameters
    ----------
    sender : Sender
        Sends the requests.
    cache : VectorCache or None
        Where vectors of other processes appear; None when nobody knows their length yet.
    hashes : list of bytes, length n
        The texts' hashes, all different.
    prepared : Prepared
        The texts as they are sent.

    Attributes
    ----------
    embedded : int
        Texts that this process got vectors for.
    rejected : dict of bytes to str
        Hashes of texts without a vector, and why.
    cut : set of int
        Positions of texts that were too long.
    in_jobs : int
        Texts left to batches that are under way.
    """

    def __init__(
        self,
        sender: Sender,
        cache: VectorCache | None,
        hashes: list[bytes],
        prepared: Prepared,
    ) -> None:
        self.sender, self.cache = sender, cache
        self.config, self.ledger = sender.config, sender.ledger
        self.hashes, self.texts = hashes, prepared.texts
        self.estimates, self.cut = prepared.estimates, set(np.flatnonzero(prepared.cut).tolist())
        # Nothing tells a text alone from a bad day of the server but patience.
        self.attempts_of_one = 2 * self.config.attempts
        self.most_tokens = REQUEST_TOKENS
        self.queue = self._packed(list(range(len(hashes))))
        self.elsewhere: list[int] = []
        self.embedded = self.in_jobs = self.successes = self.busy = 0
        self.rejected: dict[bytes, str] = {}
        self.tried = self.narrow = self.last_try = False
        self.fatal: Exception | None = None
        self.changed = asyncio.Condition()
        self.trying = asyncio.Lock()
        self.progress = track(range(len(hashes)), "embedding texts")

    async def embed(self) -> None:
        """Do all there is to do; what others have in hand comes last."""
        next(self.progress, None)
        async with self.sender:
            while self.queue:
                workers = [self._work_off() for _ in range(self.config.in_flight)]
                await asyncio.gather(*workers)
                if self.fatal is not None:
                    raise self.fatal
                await self._wait_for_others()
        for _ in self.progress:
            pass

    async def _work_off(self) -> None:
        while (work := await self._next()) is not None:
            try:
                await self._send(work)
            except Exception as error:  # ruff: ignore[blind-except]
                # Raised when all that is under way, and paid for, has come.
                self.fatal = self.fatal or error
                self.sender.stopped = True
            finally:
                async with self.changed:
                    self.busy -= 1
                    self.changed.notify_all()

    async def _next(self) -> Work | None:
        """Take the first work that may be sent by now; None when there is no more to come."""
        async with self.changed:
            while self.fatal is None and (self.queue or self.busy):
                waiting: Iterable[Work] = () if self.narrow and self.busy else self.queue
                for work in waiting:
                    if work.delay() <= 0:
                        self.queue.remove(work)
                        self.busy += 1
                        return work
                # A request under way may fail and come back, in parts.
                soonest = min((work.delay() for work in waiting), default=None)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), soonest)
            return None

    async def _send(self, work: Work) -> None:
        """Send what of the work nobody else has in hand, and see what comes of it."""
        mine, others = await self.sender.aside(self._claim, work.positions)
        self.elsewhere += others
        mine = await self._still_missing(mine)
        if not mine:
            return
        work.positions = mine
        try:
            result = await self.sender.send(
                [self.texts[position] for position in mine],
                [self.hashes[position] for position in mine],
                int(self.estimates[mine].sum()),
            )
        except CeilingReachedError:
            if self.busy == 1 and len(mine) == 1 and not await self._others_are_sending():
                # Another may have been charged less than it reserved between our try and this look.
                if self.last_try:
                    raise
                self.last_try = True
            self._with_less(work)
            return
        self.last_try = False
        if isinstance(result, Answer):
            await self._take(work, result)
        else:
            await self._again(work, result)

    def _claim(self, positions: list[int]) -> tuple[list[int], list[int]]:
        """Take texts in hand; return those we got, and those that others have in hand."""
        ours = self.ledger.claim(self.config.model_id, [self.hashes[place] for place in positions])
        mine = [place for place in positions if self.hashes[place] in ours]
        return mine, [place for place in positions if self.hashes[place] not in ours]

    async def _still_missing(self, positions: list[int]) -> list[int]:
        """Leave out what another process has put into the cache since we looked."""
        if self.cache is None or not positions:
            return positions
        hashes = np.array([self.hashes[position] for position in positions], dtype="S32")
        missing = set((await self.sender.aside(self.cache.missing, hashes)).tolist())
        there = [place for row, place in enumerate(positions) if row not in missing]
        if there:
            await self._release([self.hashes[place] for place in there])
            self._advance(len(there))
        return [place for row, place in enumerate(positions) if row in missing]

    async def _take(self, work: Work, answer: Answer) -> None:
        """Count what is in the cache now, and ask again for what was no good."""
        done = [work.positions[place] for place in answer.good.tolist()]
        if done:
            self.successes += 1
            self.embedded += len(done)
            await self._release([self.hashes[place] for place in done])
            self._advance(len(done))
        bad = {work.positions[place]: why for place, why in answer.bad.items()}
        if not bad:
            return
        if answer.other_length and not self.successes and len(bad) > 1:
            msg = (
                f"{self.config.model} gives vectors of {answer.other_length} numbers, not of "
                f"{self.sender.dimensions}; correct openai_model or openai_dimensions."
            )
            raise TagsageError(msg)
        if len(bad) < len(work.positions):
            self.queue.append(work.part(sorted(bad), self.attempts_of_one))
            return
        work.failures += 1
        if work.failures < work.attempts:
            self.queue.append(work)
        elif len(bad) > 1:
            # One of them may spoil the answers for the others.
            self.queue.extend(work.halves(self.attempts_of_one))
        elif self.successes:
            await self._reject(bad, "failed")
        else:
            (why,) = bad.values()
            raise TagsageError(f"The model {self.config.model} gives no usable vector: {why}.")

    async def _again(self, work: Work, failure: Failure) -> None:
        """Decide what to do about a request that failed as a whole."""
        if failure.kind is Kind.TOO_LARGE and len(work.positions) > 1:
            tokens = int(self.estimates[work.positions].sum())
            self.most_tokens = max(min(self.most_tokens, tokens // 2), 1)
            self.queue.appendleft(work)
            self._repack()
        elif failure.kind is Kind.TOO_LARGE:
            await self._shorten_or_reject(work, failure)
        elif failure.kind is Kind.NOT_NOW:
            # Neither the texts' fault nor an attempt: the sender waits as long as it is told.
            self.queue.appendleft(work)
        elif failure.kind is Kind.REFUSED:
            await self._refused(work, failure)
        else:
            await self._failed(work, failure)

    async def _refused(self, work: Work, failure: Failure) -> None:
        """Find out which of the texts the server does not take."""
        if not self.successes and not await self._takes_anything():
            raise TagsageError(failure.sentence)
        if len(work.positions) > 1:
            self.queue.extendleft(reversed(work.halves(self.attempts_of_one)))
            return
        await self._shorten_or_reject(work, failure)

    async def _shorten_or_reject(self, work: Work, failure: Failure) -> None:
        """Send less of a text that the server finds too long; set aside what it does not take."""
        (position,) = work.positions
        shorter = cut_further(self.texts[position])
        too_long = failure.too_long or failure.kind is Kind.TOO_LARGE
        if too_long and shorter != self.texts[position]:
            self.texts[position] = shorter
            self.estimates[position] = estimate_tokens(shorter)
            self.cut.add(position)
            await self.sender.aside(
                self.ledger.note_cut, self.config.model_id, [self.hashes[position]]
            )
            self.queue.appendleft(work)
            return
        work.refusals += 1
        if work.refusals < REFUSALS:
            self.queue.appendleft(work)
        else:
            await self._reject({position: failure.said}, "refused")

    async def _failed(self, work: Work, failure: Failure) -> None:
        """Send later again, or in parts, what the server or the network failed at."""
        if work.successes_before is None:
            work.successes_before = self.successes
        work.failures += 1
        # Others went well meanwhile, so it is the texts; or there are no others to tell.
        alive = self.successes > work.successes_before
        if work.failures < work.attempts * (1 if alive else 2):
            self.sender.give_up_after_patience(failure)
            work.not_before = again_at(work.failures, failure.wait_s, alive=alive)
            self.queue.append(work)
        elif len(work.positions) > 1:
            self.queue.extend(work.halves(self.attempts_of_one))
        elif alive or await self._takes_anything():
            await self._reject({work.positions[0]: failure.said}, "failed")
        else:
            raise TagsageError(failure.sentence)

    async def _takes_anything(self) -> bool:
        """Tell whether the server takes a harmless text: asked once, before texts are blamed."""
        # Several requests may be refused at the same time: all wait for the one answer.
        async with self.trying:
            failures = 0
            while not self.tried and not self.successes:
                result = await self.sender.send([CONTROL_TEXT], None, estimate_tokens(CONTROL_TEXT))
                if isinstance(result, Answer):
                    self.tried = True
                    self.successes += len(result.good) == 1
                elif result.kind is Kind.FAILED and failures + 1 < self.config.attempts:
                    failures += 1
                    self.sender.give_up_after_patience(result)
                    await asyncio.sleep(result.wait_s or growing_pause(failures))
                else:
                    self.tried = result.kind is not Kind.NOT_NOW
        return self.successes > 0

    def _with_less(self, work: Work) -> None:
        """Near the ceiling: one request at a time, when all others are settled, and smaller."""
        self.narrow = True
        if self.busy > 1 or len(work.positions) == 1:
            work.not_before = again_at(1, None, alive=True)
            self.queue.appendleft(work)
        else:
            self.queue.extendleft(reversed(work.halves(self.attempts_of_one)))

    async def _others_are_sending(self) -> bool:
        """Tell whether other tasks of the run may soon be charged less than they reserved."""
        await self.sender.aside(recover, self.ledger, self.sender.folder)
        return await self.sender.aside(self.ledger.others_are_sending, self.sender.run_id)

    async def _release(self, hashes: Iterable[bytes]) -> None:
        await self.sender.aside(self.ledger.release, self.config.model_id, hashes)

    async def _reject(self, reasons: dict[int, str], kind: Literal["refused", "failed"]) -> None:
        why = {self.hashes[position]: reason for position, reason in reasons.items()}
        for position, reason in reasons.items():
            logger.warning("openai: no vector for %.80r: %s", self.texts[position], reason)
        await self.sender.aside(self.ledger.reject, self.config.model_id, why, kind)
        await self._release(why)
        self.rejected |= why
        self._advance(len(why))

    async def _wait_for_others(self) -> None:
        """Wait for texts that other processes have in hand; take those they let go."""
        positions, self.elsewhere = self.elsewhere, []
        told, pause = False, POLL_S
        while positions and not self.queue:
            recover(self.ledger, self.sender.folder)
            positions = await self._still_missing(positions)
            owners = self.ledger.owners_of(
                self.config.model_id, [self.hashes[place] for place in positions]
            )
            known = self.ledger.rejected(self.config.model_id)
            waiting = []
            for place in positions:
                each = self.hashes[place]
                owner = owners.get(each, self.ledger.owner)
                if each in known:
                    self.rejected[each] = known[each]
                elif owner.startswith(JOB):
                    self.in_jobs += 1
                elif owner == self.ledger.owner:
                    self.queue.append(Work([place], 1))
                else:
                    waiting.append(place)
            positions = waiting
            if positions and not self.queue:
                if not told:
                    logger.info("openai: waiting for %d texts of another run", len(positions))
                    told = True
                await asyncio.sleep(pause)
                pause = min(1.5 * pause, LONGEST_POLL_S)
        self.elsewhere = positions
        self._repack()

    def _repack(self) -> None:
        """Pack what is left into as few requests as may be."""
        self.queue = self._packed(sorted(place for work in self.queue for place in work.positions))

    def _packed(self, places: list[int]) -> deque[Work]:
        sizes = self.estimates[places]
        limits = {"most_texts": self.config.request_texts, "most_tokens": self.most_tokens}
        return deque(
            Work(places[start:stop], self.config.attempts) for start, stop in pack(sizes, **limits)
        )

    def _advance(self, texts: int) -> None:
        for _ in range(texts):
            next(self.progress, None)
