"""Texts embedded by the Batch API: submitted once, awaited, and taken into the cache.

A job owns its texts in the ledger from before it is sent until its results are taken, whatever
becomes of the process: other runs leave them to it. Every step may be killed and done again: what
was sent is found again at the server by its name.

    submit_missing -> poll_job, again and again -> take_job -> what is still missing goes on line
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tagsage.embed.cache import VectorCache
from tagsage.embed.files import finished_folders, remove_folder, remove_stale
from tagsage.embed.openai.batch_books import (
    JOBS,
    PREPARED,
    TAKEN,
    Entry,
    add_entry,
    find_entry,
    job_folder,
    job_lock,
)
from tagsage.embed.openai.batch_calls import TROUBLES, Calls, is_refusal
from tagsage.embed.openai.batch_files import Job, JobLimits, plan_jobs, write_job
from tagsage.embed.openai.batch_jobs import drop_job, jobs_that_hold, send_job
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.ledger import JOB, CeilingReachedError, Ledger
from tagsage.embed.openai.prices import dollars
from tagsage.embed.openai.spool import CACHE, recover
from tagsage.openai_connection import OpenAiConnection


def submit_missing(
    connection: OpenAiConnection,
    config: OpenAiConfig,
    texts: Sequence[str],
    hashes: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    *,
    folder: Path,
    dimensions: int,
    run_id: str,
    price: float,
    ceiling: Ceiling,
    limits: JobLimits | None = None,
) -> list[str]:
    """Submit the texts that the cache lacks, and that nobody else has in hand, as batches.

    Parameters
    ----------
    connection : OpenAiConnection
        The server; not asked, and no key needed, when there is nothing to submit.
    config : OpenAiConfig
        Model and manners.
    texts, hashes : sequence of str and numpy.ndarray of S32, length n
        The exact texts, and their hashes.
    rows : int64 array
        Which of them are wanted; there may be none.
    folder : pathlib.Path
        Folder of cache, ledger and jobs.
    dimensions : int
        Numbers in a vector.
    run_id : str
        Who pays.
    price : float
        US dollars a million tokens, in a batch.
    ceiling : Ceiling
        What the run may spend; a job is reserved by the bytes of its texts, which their tokens
        cannot exceed.
    limits : JobLimits, optional
        What a job may hold.

    Returns
    -------
    list of str
        Keys of all jobs to wait for: those of earlier runs that hold some of the texts, and the
        new ones.

    Raises
    ------
    CeilingReachedError
        When the next job could cross the ceiling; those before it are under way.
    TagsageError
        When the server refuses a job, or is away for too long; run again, nothing is sent twice.
    """
    with Ledger(folder) as ledger:
        recover(ledger, folder)
        _sweep(ledger)
        cache = VectorCache(folder / CACHE, config.model_id, dimensions)
        keys = jobs_that_hold(ledger, config.model_id, hashes)

        def plan() -> list[tuple[Job, npt.NDArray[np.int64]]]:
            free = _free(ledger, config.model_id, hashes, rows[cache.missing(hashes[rows])])
            return plan_jobs(texts, hashes, free, config=config, limits=limits)

        planned = plan()
        if not planned:
            return keys
        with Calls(connection, config) as calls:
            while planned:
                job, own = planned.pop(0)
                with job_lock(ledger, job.key):
                    encoding = config.encoding_at(official=connection.official)
                    content = [texts[row] for row in own.tolist()]
                    write_job(
                        job_folder(folder, job.key), job, content, config=config, encoding=encoding
                    )
                    entry = _write_down(
                        ledger,
                        cache,
                        job,
                        server=connection.base_url,
                        run_id=run_id,
                        price=price,
                        ceiling=ceiling,
                    )
                    if entry is None:
                        # Another run was quicker with some of the texts.
                        remove_folder(job_folder(folder, job.key))
                        planned = plan()
                        continue
                    _send_or_undo(calls, ledger, entry)
                    keys.append(job.key)
    return keys


def _send_or_undo(calls: Calls, ledger: Ledger, entry: Entry) -> None:
    """Send a new job; undo it when the server refuses it."""
    try:
        send_job(calls, ledger, entry)
    except TROUBLES as error:
        if is_refusal(error):
            drop_job(ledger, entry, why="the server refused it", charged=False)
        # Not as the cause: the SDK's error holds the request with its key.
        raise calls.failure(error) from None


def _free(
    ledger: Ledger, model_id: str, hashes: npt.NDArray[Any], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the rows of texts that nobody has in hand, and no server has refused."""
    wanted = [bytes(each) for each in hashes[rows]]
    others = ledger.owners_of(model_id, wanted).keys() | ledger.rejected(model_id).keys()
    free = [row for row, each in zip(rows.tolist(), wanted, strict=True) if each not in others]
    return np.array(free, dtype=np.int64)


def _sweep(ledger: Ledger) -> None:
    """Remove the files of jobs that were killed before they were written down, or taken."""
    remove_stale(ledger.folder / JOBS)
    for place in finished_folders(ledger.folder / JOBS):
        with job_lock(ledger, place.name, wait=False) as ours:
            entry = find_entry(ledger, place.name)
            if ours and (entry is None or entry.state == TAKEN):
                remove_folder(place)


class _QuickerError(Exception):
    """Another run has some of the texts."""


def _write_down(
    ledger: Ledger,
    cache: VectorCache,
    job: Job,
    *,
    server: str,
    run_id: str,
    price: float,
    ceiling: Ceiling,
) -> Entry | None:
    """Claim a job's texts, reserve its price and enter it in the books, all or nothing.

    Returns
    -------
    Entry or None
        What the books say of it now; None when somebody else has one of its texts.
    """
    known = find_entry(ledger, job.key)
    if known is not None and known.state != TAKEN:
        return known
    attempt = 0 if known is None else known.attempt + 1
    now = time.time()
    entry = Entry(
        key=job.key,
        model_id=cache.model_id,
        dimensions=cache.dimensions,
        server=server,
        run_id=run_id,
        price=price,
        texts=job.texts,
        attempt=attempt,
        request_id=f"{JOB}{job.key}:{attempt}",
        state=PREPARED,
        **dict.fromkeys(
            ("batch_id", "input_file", "output_file", "error_file", "status", "note", "report"), ""
        ),
        created_at=now,
        updated_at=now,
    )
    wanted = [bytes(each) for each in job.hashes]
    try:
        with ledger.transaction():
            ours = ledger.claim(cache.model_id, wanted, owner=entry.owner)
            # Those who had them may have finished since they were planned.
            if len(ours) < job.texts or len(cache.missing(job.hashes)) < job.texts:
                raise _QuickerError
            ledger.reserve(
                entry.request_id,
                run_id=run_id,
                model_id=cache.model_id,
                texts=job.texts,
                bound=job.bound_tokens,
                estimate=job.estimated_tokens,
                price=price,
                ceiling=ceiling,
                kind="batch",
                owner=entry.owner,
            )
            add_entry(ledger, entry)
    except _QuickerError:
        return None
    except CeilingReachedError as error:
        remove_folder(job_folder(ledger.folder, job.key))
        msg = (
            f"A batch of {job.texts:,} texts is reserved at {job.bound_tokens:,} tokens and "
            f"${dollars(job.bound_tokens, price):.4f}, the number of their bytes, which is about "
            f"{job.bound_tokens / max(job.estimated_tokens, 1):.1f} times what they will cost. "
            f"{error} Or set openai_mode=online, which reserves a request at a time."
        )
        raise CeilingReachedError(msg) from None
    return entry
