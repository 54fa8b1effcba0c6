"""OpenAI's Batch API (half the price, answers within 24 hours): submit, poll, ingest.

Texts that have no vector after that are sent online. A job is recorded in the cache right after the
server made it; one made just before a kill is found again by the name in its metadata.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import httpx2
import numpy as np
import numpy.typing as npt
import openai
from openai.types import Batch
from pydantic_core import from_json

from tagsage.embed.cache import Job, Usage, VectorCache
from tagsage.embed.openai.answers import BrokenAnswerError, read_answer
from tagsage.embed.openai.embedder import check_ceiling, model_id_of, plan_texts
from tagsage.embed.openai.tokens import dollars_of, estimate_tokens, sendable
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.openai_connection import (
    OpenAiConnection,
    openai_failure,
    resolve_openai_connection,
    server_said,
)
from tagsage.settings import Settings

logger = logging.getLogger(__name__)

ENDPOINT: Final = "/v1/embeddings"
# A batch of embeddings may have 50,000 texts, and its file 200 MB.
JOB_TEXTS = 50_000
JOB_BYTES = 150_000_000
# The key of our name in a batch's metadata, and how many batches are searched for it.
NAME, LISTED = "tagsage", 1000
UNDER_WAY = {"validating", "in_progress", "finalizing", "cancelling"}
# Vectors per transaction.
PART = 1000


def submit_jobs(
    cache: VectorCache,
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    *,
    run_id: str,
) -> list[str]:
    """Submit the texts that neither the cache nor a job under way has; in online mode, none.

    Returns the ids of the jobs to wait for, earlier runs' included; `run_id` pays. Raises
    `TagsageError` when the ceiling is too low, or the server does not answer or refuses.
    """
    model = model_id_of(settings)
    with cache.filling():
        missing = set(hashes[cache.missing(model, hashes)].astype("U32").tolist())
        held = {job.id: cache.texts_of_job(job.id) & missing for job in cache.jobs(model)}
        waiting = [job for job, its in held.items() if its]
        if settings.openai_mode == "online":
            return waiting
        plan = plan_texts(cache, settings, texts, hashes, batch=True)
        in_jobs = np.array(sorted(set().union(*held.values())), dtype="S32")
        rows = plan.rows[~np.isin(hashes[plan.rows], in_jobs)]
        if not len(rows):
            return waiting
        connection = resolve_openai_connection()
        logger.info("openai: batches of %s texts; %s", f"{len(rows):,}", plan.sentence(settings))
        with _client(connection, settings) as client:
            for part in _parts(texts, rows):
                tokens = sum(estimate_tokens(sendable(texts[row])[0]) for row in part)
                check_ceiling(settings, cache.spent(run_id), tokens, plan.price)
                job = _submit(client, settings, [texts[row] for row in part], hashes[part])
                dollars = dollars_of(tokens, plan.price)
                cache.add_job(
                    Job(job, model, run_id, plan.price, time.time(), len(part)),
                    hashes[part],
                    Usage(run_id, model, len(part), tokens, dollars),
                )
                waiting.append(job)
    return waiting


def has_ended(settings: Settings, job: str) -> bool:
    """Return whether a job has ended, well or not; False when the server does not answer."""
    connection = resolve_openai_connection()
    try:
        with _client(connection, settings, job) as client:
            batch = client.batches.retrieve(job)
    except NonRetryableError:
        raise
    except TagsageError as error:
        logger.warning("openai: the batch %s: %s", job, error)
        return False
    counts = batch.request_counts
    logger.info(
        "openai: the batch %s is %s, %s", job, batch.status,
        f"{counts.completed:,} of {counts.total:,} texts" if counts else "nothing counted yet",
    )  # fmt: skip
    return batch.status not in UNDER_WAY


def ingest_results(cache: VectorCache, settings: Settings, job: str) -> int:
    """Add a job's vectors to the cache; return how many of its texts have none. Safe to repeat."""
    entry = next((one for one in cache.jobs() if one.id == job), None)
    if entry is None:
        # Ingested before.
        return 0
    connection = resolve_openai_connection()
    dimensions = cache.dimensions_of(entry.model)
    charged = embedded = 0
    with _client(connection, settings, job) as client:
        batch = client.batches.retrieve(job)
        wanted = cache.texts_of_job(job)
        results = _results(client, batch, wanted, dimensions)
        while part := list(islice(results, PART)):
            hashes = np.array([name for name, _, _ in part], dtype="S32")
            vectors = np.stack([vector for _, vector, _ in part])
            cache.put(entry.model, hashes, vectors)
            charged += sum(tokens for _, _, tokens in part)
            embedded += len(part)
        dollars = dollars_of(charged, entry.price)
        cache.finish_job(job, Usage(entry.run_id, entry.model, embedded, charged, dollars))
        _delete_input(client, batch)
    errors = [error.message for error in (batch.errors.data or [])] if batch.errors else []
    missing = len(wanted) - embedded
    if missing:
        logger.warning(
            "openai: the batch %s (%s) brought no vector for %s of %s texts: they go online. %s",
            job, batch.status, f"{missing:,}", f"{len(wanted):,}", "; ".join(map(str, errors)),
        )  # fmt: skip
    return missing


def cancel_job(settings: Settings, job: str) -> None:
    """Ask the server to end a job; the next run ingests the results that there are."""
    with _client(resolve_openai_connection(), settings, job) as client:
        client.batches.cancel(job)


@contextmanager
def _client(
    connection: OpenAiConnection, settings: Settings, job: str = ""
) -> Generator[openai.OpenAI, None, None]:
    try:
        with connection.client(timeout_s=settings.openai_timeout_s) as client:
            yield client
    except openai.NotFoundError as error:
        what = f"does not know the batch {job}" if job else "has no Batch API"
        msg = (
            f"{connection.base_url} {what} ({server_said(connection, error)}); set key and address "
            "of the account that has it, or openai_mode=online; `tagsage vectors cancel --forget` "
            "gives a batch up."
        )
        raise NonRetryableError(msg) from None
    except (openai.OpenAIError, httpx2.HTTPError) as error:
        raise openai_failure(connection, error) from None


def _parts(texts: Sequence[str], rows: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for row in rows.tolist():
        # A character has four bytes at most, and six where JSON escapes it.
        length = 6 * len(texts[row]) + 300
        if part and (len(part) == JOB_TEXTS or size + length > JOB_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def _submit(
    client: openai.OpenAI,
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
) -> str:
    """Submit a batch, unless the server already has one of the same texts; return its id."""
    digest = hashlib.sha256(model_id_of(settings).encode())
    digest.update(np.sort(hashes).tobytes())
    name = digest.hexdigest()[:32]
    for batch in islice(client.batches.list(limit=100), LISTED):
        alive = batch.status in UNDER_WAY - {"cancelling"} or batch.status == "completed"
        if alive and (batch.metadata or {}).get(NAME) == name:
            logger.info("openai: found the batch %s, submitted before", batch.id)
            return batch.id
    body: dict[str, Any] = {"model": settings.openai_model, "encoding_format": "base64"}
    if settings.openai_dimensions:
        body["dimensions"] = settings.openai_dimensions
    with tempfile.TemporaryFile() as file:
        for text, key in zip(texts, hashes.astype("U32").tolist(), strict=True):
            request = {**body, "input": sendable(text)[0]}
            line = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": request}
            file.write(json.dumps(line).encode() + b"\n")
        file.seek(0)
        uploaded = client.files.create(file=(f"{name}.jsonl", file), purpose="batch")
    batch = client.batches.create(
        input_file_id=uploaded.id,
        endpoint=ENDPOINT,
        completion_window="24h",
        metadata={NAME: name},
    )
    return batch.id


def _results(
    client: openai.OpenAI, batch: Batch, wanted: set[str], dimensions: int | None
) -> Iterator[tuple[str, npt.NDArray[np.float32], int]]:
    if not batch.output_file_id:
        return
    broken = 0
    left = set(wanted)
    with client.files.with_streaming_response.content(batch.output_file_id) as response:
        for line in response.iter_lines():
            try:
                result = from_json(line)
                name = result["custom_id"]
                answer = read_answer(result["response"]["body"], expected=1, dimensions=dimensions)
            except (BrokenAnswerError, ValueError, TypeError, KeyError):
                broken += 1
                continue
            if answer.bad or name not in left:
                broken += 1
                continue
            left.remove(name)
            dimensions = answer.vectors.shape[1]
            yield name, answer.vectors[0], answer.tokens
    if broken:
        logger.warning("openai: %s lines of the batch %s are of no use", f"{broken:,}", batch.id)


def _delete_input(client: openai.OpenAI, batch: Batch) -> None:
    """Delete the input file from the server; if that fails, it expires there."""
    try:
        client.files.delete(batch.input_file_id)
    except openai.OpenAIError as error:
        logger.info("openai: the file %s stays on the server (%s)", batch.input_file_id, error)
