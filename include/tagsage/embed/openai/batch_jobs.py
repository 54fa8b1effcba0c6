"""Jobs of the Batch API that are under way: sent, looked after, cancelled."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from openai.types import Batch

from tagsage.embed.cache import VectorCache
from tagsage.embed.files import remove_folder
from tagsage.embed.openai.batch_books import (
    DEFERRED,
    ENDED,
    PREPARED,
    SUBMITTED,
    TAKEN,
    Entry,
    all_entries,
    change_entry,
    entries_under_way,
    get_entry,
    job_folder,
    job_lock,
)
from tagsage.embed.openai.batch_calls import (
    ENDED_STATUSES,
    TROUBLES,
    Calls,
    is_passing,
)
from tagsage.embed.openai.batch_files import INPUT_FILE, Job
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.openai.spool import CACHE
from tagsage.errors import TagsageError
from tagsage.openai_connection import OpenAiConnection, server_said

logger = logging.getLogger(__name__)

# A batch that fails so did not start, because too much of the account's is waiting already.
FULL = frozenset({"token_limit_exceeded", "request_limit_exceeded", "rate_limit_exceeded"})
# How long until it is submitted again, and until when.
DEFER_S = 300.0
GIVE_UP_S = 24 * 3600.0
# A look at a batch repeats itself soon anyway.
POLL_PATIENCE_S = 60.0


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    Attributes
    ----------
    key : str
        Its name.
    state : str
        prepared: about to be sent; submitted: the server works on it; deferred: the server has too
        much of ours waiting, it is sent again later; ended: its results are to be taken; taken.
    status : str
        What the server calls its state; empty before it was asked.
    texts : int
        Texts in it.
    run_id : str
        Who pays.
    created_at : float
        When it was written down, in seconds since 1970.
    note : str
        What else is to be said: why it is deferred, has failed, or could not be asked after.
    """

    key: str
    state: str
    status: str
    texts: int
    run_id: str
    created_at: float
    note: str

    @property
    def finished(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.state in {ENDED, TAKEN}


def pending_jobs(folder: Path, model_id: str, hashes: npt.NDArray[Any]) -> list[str]:
    """Return the jobs to wait for: under way, and holding some of these texts.

    Give it all texts of the corpus, also those that have a vector: a job whose taking was killed
    at its very end is found so, and finished.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of cache, ledger and jobs.
    model_id : str
        The vectors' name.
    hashes : S32 array
        The texts' hashes.

    Returns
    -------
    list of str
        Their keys, the earliest first.
    """
    with Ledger(folder) as ledger:
        return jobs_that_hold(ledger, model_id, hashes)


def list_jobs(folder: Path) -> list[JobState]:
    """Return all jobs that the books know, the latest first; asks no server."""
    with Ledger(folder) as ledger:
        return [_state(entry) for entry in all_entries(ledger)]


def poll_job(
    connection: OpenAiConnection, config: OpenAiConfig, key: str, *, folder: Path
) -> JobState:
    """Look how far a job is: one request. A job that is not sent yet, or deferred, is sent.

    Parameters
    ----------
    connection, config
        As in :func:`tagsage.embed.openai.batch_submit.submit_missing`.
    key : str
        The job.
    folder : pathlib.Path
        Folder of cache, ledger and jobs.

    Returns
    -------
    JobState
        How far it is. A server that does not answer now is no error; `note` says so.

    Raises
    ------
    TagsageError
        When the job or its batch is not known, or the server refuses us.
    """
    config = replace(config, patience_s=min(config.patience_s, POLL_PATIENCE_S))
    with Ledger(folder) as ledger:
        entry = get_entry(ledger, key)
        if entry.state in {ENDED, TAKEN}:
            return _state(entry)
        check_server(entry, connection)
        with Calls(connection, config) as calls:
            if entry.state == SUBMITTED:
                return _look(calls, ledger, entry)
            with job_lock(ledger, key, wait=False) as ours:
                entry = get_entry(ledger, key)
                if ours and (entry.state == PREPARED or _is_due(entry)):
                    try:
                        entry = send_job(calls, ledger, entry)
                    except TROUBLES as error:
                        return _trouble(calls, entry, error)
            return _state(entry)


def cancel_job(
    connection: OpenAiConnection | None, config: OpenAiConfig, key: str, *, folder: Path
) -> JobState:
    """Cancel a job; what its batch has done by then is still to be taken.

    Parameters
    ----------
    connection : OpenAiConnection or None
        The server. None gives the job up without asking: for one whose server or account is gone;
        its price counts as spent.
    config, key, folder
        As in :func:`poll_job`.

    Returns
    -------
    JobState
        How far it is: a server takes some minutes to cancel a batch.

    Raises
    ------
    TagsageError
        When the job is not known, or the server refuses us.
    """
    with Ledger(folder) as ledger, job_lock(ledger, key):
        entry = get_entry(ledger, key)
        if entry.state == TAKEN:
            return _state(entry)
        if connection is None:
            # Whether a job that is about to be sent was sent, nobody knows.
            charged = entry.state in {PREPARED, SUBMITTED, ENDED}
            return _state(drop_job(ledger, entry, why="it was given up", charged=charged))
        if entry.state == ENDED:
            return _state(entry)
        check_server(entry, connection)
        with Calls(connection, config) as calls, calls.told():
            if entry.state == PREPARED:
                # It may have been sent just before a kill.
                batch = calls.patiently(lambda: calls.find_batch(entry.name))
                if batch is not None:
                    entry = _submitted(ledger, entry, batch)
            if entry.state != SUBMITTED:
                note = "it was cancelled before the server had it"
                return _state(
                    change_entry(ledger, entry, state=ENDED, status="cancelled", note=note)
                )
            return _state(_note_status(calls, ledger, entry, calls.cancel(entry.batch_id)))


def jobs_that_hold(ledger: Ledger, model_id: str, hashes: npt.NDArray[Any]) -> list[str]:
    """Return the jobs under way that hold some of these texts, the earliest first.

    One whose texts of these are all in the cache is not waited for; but when it has ended, its
    taking was killed on the way, and is to be finished.
    """
    wanted = np.unique(hashes)
    keys = []
    for entry in entries_under_way(ledger, model_id):
        held = Job.load(job_folder(ledger.folder, entry.key)).hashes
        ours = held[np.isin(held, wanted)]
        cache = VectorCache(ledger.folder / CACHE, model_id, entry.dimensions)
        if len(ours) and (entry.state == ENDED or len(cache.missing(ours))):
            keys.append(entry.key)
    return keys


def send_job(calls: Calls, ledger: Ledger, entry: Entry) -> Entry:
    """Make the job's batch at the server, unless it is there; the job's lock is ours.

    Raises
    ------
    Exception
        What the SDK raises; see :data:`tagsage.embed.openai.batch_calls.TROUBLES`.
    """
    if entry.state not in {PREPARED, DEFERRED}:
        return entry
    path = job_folder(ledger.folder, entry.key) / INPUT_FILE
    batch = calls.create_once(
        entry.name, lambda: calls.upload_once(path, f"tagsage-{entry.key}.jsonl")
    )
    texts = f"{entry.texts:,}"
    logger.info("openai: the batch %s (job %s) has %s texts", batch.id, entry.key, texts)
    return _submitted(ledger, entry, batch)


def _submitted(ledger: Ledger, entry: Entry, batch: Batch) -> Entry:
    return change_entry(
        ledger,
        entry,
        state=SUBMITTED,
        batch_id=batch.id,
        input_file=batch.input_file_id,
        status=batch.status,
        note="",
    )


def _look(calls: Calls, ledger: Ledger, entry: Entry) -> JobState:
    """Ask after a batch once."""
    try:
        batch = calls.retrieve(entry.batch_id)
    except TROUBLES as error:
        return _trouble(calls, entry, error)
    return _state(_note_status(calls, ledger, entry, batch))


def _trouble(calls: Calls, entry: Entry, error: Exception) -> JobState:
    """Note what may be gone at the next look, and raise what may not."""
    if is_passing(error):
        return replace(_state(entry), note=calls.complaint(error))
    what = f"batch {entry.batch_id} of the job" if entry.batch_id else "batch job"
    raise calls.failure(error, about=f"Cannot look after the {what} {entry.key}: ") from None


def _note_status(calls: Calls, ledger: Ledger, entry: Entry, batch: Batch) -> Entry:
    """Write down what the server says of a job's batch."""
    status = batch.status
    if status not in ENDED_STATUSES:
        counts = batch.request_counts
        note = f"{counts.completed} of {counts.total} requests" if counts and counts.total else ""
        return change_entry(ledger, entry, status=status, note=note)
    errors = (batch.errors.data if batch.errors else None) or []
    said = "; ".join(f"{each.code}: {each.message}" for each in errors[:3])
    said = server_said(calls.connection, ValueError(said)) if said else ""
    if status == "failed" and any(each.code in FULL for each in errors):
        if time.time() - entry.created_at < GIVE_UP_S:
            logger.info("openai: the job %s is submitted again later (%s)", entry.key, said)
            return change_entry(
                ledger,
                entry,
                state=DEFERRED,
                status=status,
                attempt=entry.attempt + 1,
                batch_id="",
                note=f"the server has too much waiting: {said}",
            )
        said = f"the server had too much waiting all day: {said}"
    return change_entry(
        ledger,
        entry,
        state=ENDED,
        status=status,
        output_file=batch.output_file_id or "",
        error_file=batch.error_file_id or "",
        note=said,
    )


def _is_due(entry: Entry) -> bool:
    return entry.state == DEFERRED and time.time() - entry.updated_at >= DEFER_S


def drop_job(ledger: Ledger, entry: Entry, *, why: str, charged: bool) -> Entry:
    """Close the books on a job that brings nothing.

    Parameters
    ----------
    ledger, entry
        The books, and what they say of it.
    why : str
        For people to read.
    charged : bool
        Whether it may have been charged.

    Returns
    -------
    Entry
        What they say now.
    """
    with ledger.transaction():
        ledger.settle(entry.request_id, "lost" if charged else "refused")
        let_go(ledger, entry)
        changed = change_entry(ledger, entry, state=TAKEN, note=why)
    remove_folder(job_folder(ledger.folder, entry.key))
    return changed


def let_go(ledger: Ledger, entry: Entry) -> None:
    """Free the texts of a job."""
    with ledger.transaction() as books:
        books.execute("DELETE FROM claims WHERE owner = ?", (entry.owner,))


def check_server(entry: Entry, connection: OpenAiConnection) -> None:
    """Raise a TagsageError when a job is at another server."""
    if entry.server != connection.base_url:
        msg = (
            f"The batch job {entry.key} is at {entry.server}, not at {connection.base_url}; set "
            "OPENAI_BASE_URL back until it is done, or give it up (tagsage vectors cancel "
            f"{entry.key} --give-up)."
        )
        raise TagsageError(msg)


def _state(entry: Entry) -> JobState:
    return JobState(
        entry.key,
        entry.state,
        entry.status,
        entry.texts,
        entry.run_id,
        entry.created_at,
        entry.note,
    )
