"""The calls of the Batch API, repeated with patience, and nothing made twice.

What a call makes (a file, a batch) has a name of ours, and is looked for before it is made again:
an answer may be lost after the server has done its work. The SDK's own retries are off.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import httpx2
import openai
from openai.types import Batch, FileObject

from tagsage.embed.openai.batch_files import ENDPOINT
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.pacing import growing_pause, retry_after
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.openai_connection import (
    OpenAiConnection,
    is_quota,
    openai_complaint,
    server_said,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Where our name stands in a batch's metadata.
NAME = "tagsage"
# OpenAI keeps files of batches for 30 days; what is older is of no use.
HORIZON_S = 31 * 24 * 3600.0
PAGE = 100
# A server that never comes to the end of a list is not listened to for ever.
MOST_LISTED = 10_000
CHUNK = 1 << 20

DEAD_STATUSES = frozenset({"failed", "expired", "cancelling", "cancelled"})
ENDED_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})


class UnusableAnswerError(ValueError):
    """An answer that is not what the API promises."""


TROUBLES = (openai.OpenAIError, httpx2.TransportError, UnusableAnswerError, json.JSONDecodeError)


class Calls:
    """One server's Batch API; a context manager.

    Parameters
    ----------
    connection : OpenAiConnection
        The server.
    config : OpenAiConfig
        Time limit of a request, and how long a server that is away is waited for.
    """

    def __init__(self, connection: OpenAiConnection, config: OpenAiConfig) -> None:
        self.connection = connection
        self.config = config
        with self.told():
            self.client = connection.client(timeout_s=config.timeout_s)

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @contextmanager
    def told(self) -> Generator[None]:
        """Turn what the server or the SDK complains of into one sentence, without secrets.

        Raises
        ------
        TagsageError
            For everything a user can act on; see :meth:`failure`.
        """
        try:
            yield
        except TROUBLES as error:
            # Not as the cause: the SDK's error holds the request with its key.
            raise self.failure(error) from None

    def failure(self, error: Exception, *, about: str = "") -> TagsageError:
        """Return what to raise instead of an error, to be raised ``from None``.

        Parameters
        ----------
        error : Exception
            One of :data:`TROUBLES`.
        about : str
            What comes before the complaint.

        Returns
        -------
        TagsageError
            A :class:`NonRetryableError` when key or quota are refused.
        """
        refused = isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError)
        kind = NonRetryableError if refused or is_quota(error) else TagsageError
        return kind(about + self.complaint(error))

    def complaint(self, error: Exception) -> str:
        """Word an error for a user, without secrets."""
        if isinstance(error, openai.APIStatusError) and error.status_code in {404, 405, 501}:
            where = "OpenAI" if self.connection.official else self.connection.base_url
            return (
                f"{where} does not know the batch or file, or offers no Batch API "
                f"({server_said(self.connection, error)}); set openai_mode=online, or "
                "OPENAI_BASE_URL and the key to those of the account that has it."
            )
        return openai_complaint(self.connection, error)

    def patiently(self, call: Callable[[], T]) -> T:
        """Call until it succeeds, the server refuses, or patience ends; raise the last error."""
        started = time.monotonic()
        failures = 0
        while True:
            try:
                return call()
            except TROUBLES as error:
                failures += 1
                pause = _asked_pause(error) or growing_pause(failures)
                left = started + self.config.patience_s - time.monotonic()
                if not is_passing(error) or pause > left:
                    raise
                said = server_said(self.connection, error)
                logger.warning("openai: %s; trying again in %.1f s", said, pause)
            time.sleep(pause)

    # -- files -----------------------------------------------------------------------------
    def upload_once(self, path: Path, name: str) -> str:
        """Upload a file unless the server has it; return its id there."""
        size = path.stat().st_size

        def find_or_upload() -> str:
            files = self.client.files.list(purpose="batch", order="desc")
            for file in islice(files, MOST_LISTED):
                if 0 < (file.created_at or 0) < time.time() - HORIZON_S:
                    break
                if (file.filename, file.bytes) == (name, size) and file.status != "error":
                    return _text(file.id)
            with path.open("rb") as content:
                made = self.client.files.create(
                    file=(name, content, "application/jsonl"), purpose="batch"
                )
            return _text(_is(made, FileObject).id)

        return self.patiently(find_or_upload)

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of the server to `path`, whole or not at all."""
        temporary = path.with_name(f".{path.name}")

        def fetch() -> None:
            size = _is(self.client.files.retrieve(file_id), FileObject).bytes or 0
            with (
                self.client.files.with_streaming_response.content(file_id) as response,
                temporary.open("wb") as file,
            ):
                for chunk in response.iter_bytes(CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            got = temporary.stat().st_size
            if got < size:
                raise UnusableAnswerError(f"only {got} of {size} bytes of the results came")

        self.patiently(fetch)
        temporary.replace(path)

    def delete_file(self, file_id: str) -> None:
        """Remove a file from the server; one that cannot be removed expires there by itself."""
        try:
            self.client.files.delete(file_id)
        except TROUBLES as error:
            said = server_said(self.connection, error)
            logger.info("openai: the file %s stays on the server: %s", file_id, said)

    # -- batches ---------------------------------------------------------------------------
    def create_once(self, name: str, upload: Callable[[], str]) -> Batch:
        """Create a batch unless the server has one of this name that is of use.

        Parameters
        ----------
        name : str
            Our name for it.
        upload : callable
            Returns the id of its input file; called only when there is no batch yet.
        """

        def find_or_create() -> Batch:
            found = self.find_batch(name)
            if found is not None:
                logger.info("openai: found the batch %s, submitted before", found.id)
                return found
            made = self.client.batches.create(
                input_file_id=upload(),
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={NAME: name},
            )
            return _is(made, Batch)

        return self.patiently(find_or_create)

    def find_batch(self, name: str) -> Batch | None:
        """Return the batch of this name; None when there is none, or it ended without results."""
        for batch in islice(self.client.batches.list(limit=PAGE), MOST_LISTED):
            if 0 < (batch.created_at or 0) < time.time() - HORIZON_S:
                break
            ours = isinstance(batch.metadata, dict) and batch.metadata.get(NAME) == name
            if ours and (batch.status not in DEAD_STATUSES or batch.output_file_id):
                return _is(batch, Batch)
        return None

    def retrieve(self, batch_id: str) -> Batch:
        """Return a batch as it is now; asks once."""
        return _is(self.client.batches.retrieve(batch_id), Batch)

    def cancel(self, batch_id: str) -> Batch:
        """Ask for a batch to be cancelled; one that has ended is returned as it is."""

        def cancel_or_look() -> Batch:
            try:
                return _is(self.client.batches.cancel(batch_id), Batch)
            except (openai.BadRequestError, openai.ConflictError):
                return self.retrieve(batch_id)

        return self.patiently(cancel_or_look)


def is_passing(error: Exception) -> bool:
    """Tell whether an error may be gone when the same is asked again."""
    if isinstance(error, openai.APIStatusError):
        return not is_quota(error) and (
            error.status_code in {408, 409, 425, 429} or error.status_code >= 500
        )
    # Not those of the SDK that say it was set up wrongly.
    return isinstance(error, openai.APIError) or not isinstance(error, openai.OpenAIError)


def is_refusal(error: Exception) -> bool:
    """Tell whether the server has surely done nothing, and would not do it if asked again."""
    return isinstance(error, openai.APIStatusError) and not is_passing(error)


def is_unknown(error: Exception) -> bool:
    """Tell whether the server does not know what was asked for."""
    return isinstance(error, openai.NotFoundError)


def _asked_pause(error: Exception) -> float | None:
    if isinstance(error, openai.APIStatusError):
        return retry_after(error.response.headers)
    return None


def _is(value: object, kind: type[T]) -> T:
    """Check what the SDK hands through: text where the server sent no JSON, None for fields."""
    if not isinstance(value, kind) or not isinstance(getattr(value, "id", None), str):
        raise UnusableAnswerError("the answer is not what was asked for")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise UnusableAnswerError("the answer lacks an id")
    return value
