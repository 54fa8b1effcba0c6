"""One request for embeddings: reserved, sent, received into the spool, read, kept, settled."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import httpx2
import openai

from tagsage.embed.openai.answers import Answer, BrokenAnswerError, read_answer
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.ledger import Ledger, State, new_request_id
from tagsage.embed.openai.pacing import Pacer, growing_pause, retry_after
from tagsage.embed.openai.spool import Asked, as_text, keep, open_body
from tagsage.embed.openai.tokens import token_bound
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.openai_connection import OpenAiConnection, is_quota, openai_complaint, server_said

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Waits that are told of, and how often a wait looks whether all is stopped.
LONG_WAIT_S = 10.0
LOOK_EVERY_S = 0.5

# A server that never answered us is more likely misnamed than busy.
CONNECT_ATTEMPTS = 3
# Generous for a number in JSON, and for the longest vectors there are.
BYTES_A_NUMBER = 40
LONGEST_VECTOR = 20_000
# What a connection that was never made raises: nothing was sent.
_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
_FOR_LATER = {408, 409, 425}
_LARGE = re.compile(r"request too large|must be reduced", re.IGNORECASE)
_LONG = re.compile(
    r"context length|too long|(max|limit|less than|exceed).*\btokens|\btokens.*(max|limit|exceed)",
    re.IGNORECASE,
)


class Kind(Enum):
    """Whose fault a failed request is."""

    NOT_NOW = "the server has no room yet, or cannot be reached"
    REFUSED = "the server does not take what was sent"
    TOO_LARGE = "the account may not send so much at once"
    FAILED = "the server or the network failed, perhaps at these texts"


@dataclass(frozen=True)
class Failure:
    """Why a request failed.

    Attributes
    ----------
    kind : Kind
        Whose fault it is.
    said : str
        What the server said, without secrets.
    sentence : str
        The same as a whole sentence for the user, with what to do.
    wait_s : float or None
        How long the server asks to wait.
    too_long : bool
        Whether it found a text too long.
    """

    kind: Kind
    said: str
    sentence: str
    wait_s: float | None = None
    too_long: bool = False


class Sender:
    """Sends requests of one run; an asynchronous context manager.

    Parameters
    ----------
    connection : OpenAiConnection
        The server.
    config : OpenAiConfig
        Model and manners.
    ledger : Ledger
        The open books.
    folder : pathlib.Path
        Folder of cache, ledger and spool.
    dimensions : int or None
        Numbers in a vector; None when nobody knows yet.
    run_id : str
        Who pays.
    price : float
        US dollars a million tokens.
    ceiling : Ceiling
        What the run may spend.
    """

    def __init__(
        self,
        connection: OpenAiConnection,
        config: OpenAiConfig,
        ledger: Ledger,
        *,
        folder: Path,
        dimensions: int | None,
        run_id: str,
        price: float,
        ceiling: Ceiling,
    ) -> None:
        self.connection, self.config, self.ledger = connection, config, ledger
        self.folder, self.dimensions = folder, dimensions
        self.run_id, self._price, self._ceiling = run_id, price, ceiling
        self._encoding = config.encoding_at(official=connection.official)
        self._pacer = Pacer()
        # What blocks is done there, one thing after the other, and never where the network is
        # listened to: bytes that came in must reach the spool at once.
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="openai")
        # Whether nothing more is to be sent.
        self.stopped = False
        self._answered = False
        self._not_now = 0
        self._last_success = time.monotonic()

    async def __aenter__(self) -> Self:
        self._client = self.connection.async_client(timeout_s=self.config.timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()
        self._aside.shutdown()

    async def aside(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Do something that blocks, in the thread where ledger and cache are used."""
        work = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    async def send(
        self, texts: Sequence[str], hashes: Sequence[bytes] | None, estimate: int
    ) -> Answer | Failure:
        """Send texts, and keep what comes back.

        Parameters
        ----------
        texts : sequence of str, length n
            As they go to the server.
        hashes : sequence of bytes, length n, or None
            Under which the vectors are kept; None throws them away.
        estimate : int
            About how many tokens the texts have. Counting takes time, and while this thread counts
            it does not listen to the network.

        Returns
        -------
        Answer or Failure
            What is sound of an answer is in the cache already.

        Raises
        ------
        CeilingReachedError
            When it could cost too much; nothing was sent.
        NonRetryableError
            When somebody has to act: no right, no quota, no such model.
        TagsageError
            When it makes no sense to go on now: no server.
        """
        await self._wait(estimate)
        if self.stopped:
            return Failure(Kind.NOT_NOW, "stopped", "The run was stopped.")
        self._pacer.count(estimate)
        asked = Asked(
            new_request_id(self.ledger.owner),
            self.ledger.owner,
            self.config.model_id,
            self.dimensions,
            as_text(hashes or ()),
        )
        body = await self.aside(self._book, asked, texts, estimate)
        encoding = self._encoding
        try:
            with body:
                async with asyncio.timeout(self.config.timeout_s):
                    await self._receive(texts, body, encoding)
            answer = await self.aside(self._keep, asked, len(texts))
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError, BrokenAnswerError) as caught:
            error = caught
        else:
            if len(answer.good):
                self._not_now, self._last_success = 0, time.monotonic()
            return answer
        # Not within the handler: the SDK's error, which may repeat the key, would be the context of
        # what is raised here.
        await self.aside(self._end, asked, "refused" if _was_free(error) else "lost")
        return self._failure(error, encoding)

    async def _wait(self, tokens: int) -> None:
        """Wait until the server has room for a request of so many tokens, or all is stopped."""
        delay = self._pacer.delay(tokens)
        if delay > LONG_WAIT_S:
            logger.info("openai: the rate limit is reached, waiting for %.0f s", delay)
        while delay > 0 and not self.stopped:
            self._refuse_to_wait(delay, "The rate limit is reached.")
            await asyncio.sleep(min(delay, LOOK_EVERY_S))
            delay = self._pacer.delay(tokens)

    def _book(self, asked: Asked, texts: Sequence[str], estimate: int) -> IO[bytes]:
        """Write a request down before it is sent; return where its answer goes."""
        self.ledger.reserve(
            asked.request_id,
            run_id=self.run_id,
            model_id=self.config.model_id,
            texts=len(texts),
            bound=sum(map(token_bound, texts)),
            estimate=estimate,
            price=self._price,
            ceiling=self._ceiling,
        )
        return open_body(asked, self.folder)

    def _keep(self, asked: Asked, expected: int) -> Answer:
        """Read an answer, put its vectors into the cache, and settle the request."""
        content = asked.body(self.folder).read_bytes()
        answer = read_answer(content, expected=expected, dimensions=self.dimensions)
        if asked.hashes:
            keep(asked, answer, self.folder)
        self._end(asked, "done", answer.tokens)
        return answer

    def _end(self, asked: Asked, state: State, tokens: int | None = None) -> None:
        self.ledger.settle(asked.request_id, state, tokens)
        asked.forget(self.folder)

    async def _receive(self, texts: Sequence[str], body: IO[bytes], encoding: str) -> None:
        """Send a request, and write the body of the answer as it comes."""
        arguments: dict[str, Any] = {"encoding_format": encoding}
        if self.config.dimensions:
            arguments["dimensions"] = self.config.dimensions
        limit = 1_000_000 + len(texts) * BYTES_A_NUMBER * (self.dimensions or LONGEST_VECTOR)
        create = self._client.embeddings.with_streaming_response.create
        async with create(model=self.config.model, input=list(texts), **arguments) as response:
            self._answered = True
            self._pacer.record(response.headers)
            received = 0
            async for chunk in response.iter_bytes():
                received += len(chunk)
                if received > limit:
                    raise BrokenAnswerError(f"the answer is larger than {limit:,} bytes")
                body.write(chunk)

    def _failure(self, error: Exception, encoding: str) -> Failure:
        """Sort a failure; raise what makes it senseless to go on."""
        sentence = openai_complaint(self.connection, error)
        said = server_said(self.connection, error)
        if isinstance(error, openai.APIStatusError):
            self._answered = True
            self._pacer.record(error.response.headers)
            return self._status_failure(error, said, sentence, encoding)
        if _was_free(error):
            self._not_now += 1
            if not self._answered and self._not_now >= CONNECT_ATTEMPTS:
                raise TagsageError(sentence)
            failure = Failure(Kind.NOT_NOW, said, sentence)
            self._pause(failure)
            return failure
        return Failure(Kind.FAILED, said, sentence)

    def _status_failure(
        self, error: openai.APIStatusError, said: str, sentence: str, encoding: str
    ) -> Failure:
        wait_s = retry_after(error.response.headers)
        if isinstance(error, _FATAL) or is_quota(error):
            raise NonRetryableError(sentence)
        if error.status_code == 429 and _LARGE.search(said):
            return Failure(Kind.TOO_LARGE, said, sentence)
        if error.status_code == 429:
            self._not_now += 1
            failure = Failure(Kind.NOT_NOW, said, sentence, wait_s)
            self._pause(failure)
            return failure
        if error.status_code >= 500 or error.status_code in _FOR_LATER:
            self._refuse_to_wait(wait_s or 0.0, sentence)
            return Failure(Kind.FAILED, said, sentence, wait_s)
        if self._is_about(error, "dimensions") and self.config.dimensions:
            msg = (
                f"{self.config.model} does not take openai_dimensions={self.config.dimensions} "
                f"({said}); set it to 0, or choose a model that does."
            )
            raise TagsageError(msg)
        if self._is_about(error, "encoding_format"):
            # The texts are not to blame; others of them may be under way as base64 still.
            if encoding == "base64" and self.config.encoding == "auto":
                self._encoding = "float"
                return Failure(Kind.NOT_NOW, said, sentence)
            msg = (
                f"The server does not take openai_encoding={self.config.encoding} ({said}); set it "
                "to auto, float or base64, as the server has it."
            )
            raise TagsageError(msg)
        too_long = bool(_LONG.search(said)) or error.status_code == 413
        return Failure(Kind.REFUSED, said, sentence, too_long=too_long)

    @staticmethod
    def _is_about(error: openai.APIStatusError, parameter: str) -> bool:
        return error.param == parameter or parameter in str(error.message)

    def _pause(self, failure: Failure) -> None:
        """Let all requests wait; raise when that would take too long."""
        self.give_up_after_patience(failure)
        wait_s = growing_pause(self._not_now) if failure.wait_s is None else failure.wait_s
        self._refuse_to_wait(wait_s, failure.sentence)
        self._pacer.pause(wait_s)

    def _refuse_to_wait(self, wait_s: float, sentence: str) -> None:
        if wait_s > self.config.patience_s:
            msg = (
                f"{sentence} The server asks to wait for {wait_s:,.0f} s, longer than "
                f"openai_patience_s={self.config.patience_s:g}; what was paid for is kept."
            )
            raise TagsageError(msg)

    def give_up_after_patience(self, failure: Failure) -> None:
        """Raise when nothing has succeeded for so long that nothing will."""
        if time.monotonic() - self._last_success > self.config.patience_s:
            raise TagsageError(failure.sentence)


def _was_free(error: Exception) -> bool:
    """Tell whether the server cannot have done the work: it said no, or was never reached."""
    if isinstance(error, openai.APIStatusError):
        return True
    return isinstance(error, _NOT_CONNECTED) or isinstance(error.__cause__, _NOT_CONNECTED)
