"""Online requests: small at first, larger while the server is quick.

What the SDK's retries don't cure is sent again in halves, until the text at fault is alone.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import openai
from pydantic_core import from_json

from tagsage.embed.openai.answers import Answer, BrokenAnswerError, read_answer
from tagsage.embed.openai.tokens import MAX_REQUEST_TOKENS, estimate_tokens, sendable
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.openai_connection import OpenAiConnection, openai_failure, server_said
from tagsage.progress import LOG_EVERY_S, Pulse
from tagsage.settings.embed import EmbedSettings

logger = logging.getLogger(__name__)

FIRST_TEXTS = 64
# Requests grow when answers take less than the first, and shrink above the second.
QUICK_S, SLOW_S = 5.0, 30.0
# How often a single text may fail, or ever smaller parts of a request may be too slow.
ATTEMPTS = 4
# Before a text is blamed, the server has to answer this one.
HARMLESS_TEXT = "A text to try the model with."


@dataclass(frozen=True)
class Outcome:
    """The result for some texts, by position; `tokens` may be estimated."""

    places: npt.NDArray[np.int64]  # texts that have a vector now
    vectors: npt.NDArray[np.float32]
    tokens: int
    rejected: dict[int, str]  # position -> reason


@dataclass
class _Work:
    """Texts of one request, by position, and how often they failed."""

    places: list[int]
    failures: int = 0


def embed_online(
    connection: OpenAiConnection,
    settings: EmbedSettings,
    texts: Sequence[str],
    *,
    dimensions: int | None = None,
    before_sending: Callable[[int], None] | None = None,
) -> Iterator[Outcome]:
    """Send non-empty texts and yield each answer at once; each text is in one outcome.

    `before_sending` is called before each request with the estimated tokens of it and of those
    under way, and raises `TagsageError` when that is too much. Raises `NonRetryableError` when
    somebody has to act: a wrong key, a used-up quota, another length than `dimensions`; and
    `TagsageError` when the server does not answer. Requests under way are yielded before.
    """
    # On an interrupt, closing the client ends the requests that the pool waits for.
    with (
        ThreadPoolExecutor(settings.openai_in_flight, thread_name_prefix="openai") as pool,
        connection.client(timeout_s=settings.openai_timeout_s) as client,
    ):
        requests = _Requests(connection, client, settings, texts, dimensions)
        yield from requests.run(pool, before_sending or (lambda _: None))


class _Requests:
    def __init__(
        self,
        connection: OpenAiConnection,
        client: openai.OpenAI,
        settings: EmbedSettings,
        texts: Sequence[str],
        dimensions: int | None,
    ) -> None:
        self.connection, self.client, self.settings = connection, client, settings
        self.dimensions = dimensions
        self.texts = [sendable(text)[0] for text in texts]
        self.tokens = [estimate_tokens(text) for text in self.texts]
        self.fresh = 0
        self.again: deque[_Work] = deque()
        self.size = min(FIRST_TEXTS, settings.openai_request_texts)
        self.answered = False
        self.done = 0

    def run(
        self, pool: ThreadPoolExecutor, before_sending: Callable[[int], None]
    ) -> Iterator[Outcome]:
        running: dict[Future[tuple[Answer, float]], _Work] = {}
        failure: TagsageError | None = None
        started = time.monotonic()
        with Pulse("embedding texts") as pulse:
            while running or (failure is None and self._has_more()):
                while failure is None and self._has_more() and len(running) < self._in_flight():
                    work = self._take()
                    try:
                        before_sending(sum(map(self._tokens_of, [work, *running.values()])))
                    except TagsageError as error:
                        failure = error
                        break
                    running[pool.submit(self._request, work)] = work
                ended, _ = wait(running, timeout=LOG_EVERY_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    try:
                        outcome = self._outcome(running.pop(future), future)
                    except TagsageError as error:
                        failure = failure or error
                        continue
                    yield outcome
                    self.done += len(outcome.places) + len(outcome.rejected)
                pulse(self._how_far(time.monotonic() - started))
        if failure is not None:
            raise failure

    def _how_far(self, seconds: float) -> str:
        left = seconds * (len(self.texts) - self.done) / self.done / 60 if self.done else None
        return f"{self.done:,} of {len(self.texts):,} in requests of up to {self.size:,}" + (
            f", about {left:,.0f} minutes left" if left is not None else ""
        )

    def _in_flight(self) -> int:
        """Send the first request on its own: it tests key, quota, model and vector length."""
        return self.settings.openai_in_flight if self.answered else 1

    def _has_more(self) -> bool:
        return bool(self.again) or self.fresh < len(self.texts)

    def _take(self) -> _Work:
        """Return texts that failed before, else as many new ones as a request may have now."""
        if self.again:
            return self.again.popleft()
        start, tokens = self.fresh, 0
        for place in range(start, min(start + self.size, len(self.texts))):
            tokens += self.tokens[place]
            if tokens > MAX_REQUEST_TOKENS and place > start:
                break
            self.fresh = place + 1
        return _Work(list(range(start, self.fresh)))

    def _tokens_of(self, work: _Work) -> int:
        return sum(self.tokens[place] for place in work.places)

    def _request(self, work: _Work) -> tuple[Answer, float]:
        started = time.monotonic()
        answer = self._send([self.texts[place] for place in work.places])
        return answer, time.monotonic() - started

    def _send(self, texts: list[str]) -> Answer:
        options: dict[str, Any] = {"input": texts, "model": self.settings.openai_model}
        # Other servers may have no base64.
        options["encoding_format"] = "base64" if self.connection.official else "float"
        if self.settings.openai_dimensions:
            options["dimensions"] = self.settings.openai_dimensions
        # Raw: making objects of three million numbers takes seconds.
        body = self.client.embeddings.with_raw_response.create(**options).content
        try:
            parsed = from_json(body)
        except ValueError:
            raise BrokenAnswerError("the answer is not JSON") from None
        return read_answer(parsed, expected=len(texts), dimensions=self.dimensions)

    def _outcome(self, work: _Work, future: Future[tuple[Answer, float]]) -> Outcome:
        try:
            answer, seconds = future.result()
        except (openai.OpenAIError, BrokenAnswerError) as error:
            rejected = self._after_failure(work, error)
            return Outcome(np.zeros(0, np.int64), np.zeros((0, 0), np.float32), 0, rejected)
        self._adapt(len(work.places), seconds)
        if len(answer.places):
            self.answered = True
            self.dimensions = answer.vectors.shape[1]
        rejected = {}
        for place, why in answer.bad.items():
            rejected |= self._failed(_Work([work.places[place]], work.failures), why)
        return Outcome(
            np.array(work.places, dtype=np.int64)[answer.places],
            answer.vectors,
            answer.tokens or self._tokens_of(work),
            rejected,
        )

    def _adapt(self, texts: int, seconds: float) -> None:
        """Let requests grow while answers come quickly, and shrink when they are slow."""
        if seconds < QUICK_S and texts >= self.size:
            self.size = min(2 * self.size, self.settings.openai_request_texts)
        elif seconds > SLOW_S:
            self.size = max(min(self.size, texts) // 2, 1)

    def _after_failure(self, work: _Work, error: Exception) -> dict[int, str]:
        """Queue the texts of a failed request again, in halves; return those that are rejected."""
        failure = openai_failure(self.connection, error)
        status = getattr(error, "status_code", None)
        said = server_said(self.connection, error)
        if isinstance(failure, NonRetryableError):
            raise failure from None
        if status == 408:
            self.size = max(min(self.size, len(work.places)) // 2, 1)
            if work.failures + 1 == ATTEMPTS:
                raise failure from None
            logger.warning("openai: no answer in time; sending fewer texts per request")
            self._put_back(work, work.failures + 1)
            return {}
        refused = status in {400, 413, 422}
        if not (refused or isinstance(error, BrokenAnswerError) or (status or 0) >= 500):
            # Unreachable or overloaded, after all the SDK's retries.
            raise failure from None
        if not self.answered or (status or 0) >= 500:
            self._check_server()
        if len(work.places) > 1:
            self._put_back(work, 0)
            return {}
        return self._failed(_Work(work.places, ATTEMPTS if refused else work.failures), said)

    def _put_back(self, work: _Work, failures: int) -> None:
        middle = len(work.places) // 2
        for part in (work.places[middle:], work.places[:middle]):
            if part:
                self.again.appendleft(_Work(part, failures))

    def _failed(self, work: _Work, why: str) -> dict[int, str]:
        """Queue a text again that failed in a request of its own; after a few times, reject it."""
        work.failures += 1
        if work.failures < ATTEMPTS:
            self.again.append(work)
            return {}
        self._check_server()
        (place,) = work.places
        logger.warning("openai: no vector for %.80r: %s", self.texts[place], why)
        return {place: why}

    def _check_server(self) -> None:
        """Raise an error when the server cannot embed a harmless text: then no text is to blame."""
        for _ in range(ATTEMPTS):
            try:
                answer = self._send([HARMLESS_TEXT])
                why = answer.bad.get(0)
            except openai.OpenAIError as error:
                raise openai_failure(self.connection, error) from None
            except BrokenAnswerError as error:
                why = str(error)
            if why is None:
                self.answered = True
                return
        raise TagsageError(f"{self.settings.openai_model} gives no usable vectors: {why}.")
