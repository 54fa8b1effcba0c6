"""Results of a batch, taken into the cache."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tagsage.embed.cache import VectorCache
from tagsage.embed.files import remove_folder
from tagsage.embed.openai.batch_books import (
    ENDED,
    TAKEN,
    Entry,
    change_entry,
    get_entry,
    job_folder,
    job_lock,
)
from tagsage.embed.openai.batch_calls import HORIZON_S, TROUBLES, Calls, is_unknown
from tagsage.embed.openai.batch_files import Job, LineResult, read_results
from tagsage.embed.openai.batch_jobs import check_server, let_go, poll_job
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.openai.prices import dollars
from tagsage.embed.openai.spool import CACHE
from tagsage.errors import TagsageError
from tagsage.openai_connection import OpenAiConnection
from tagsage.progress import track

logger = logging.getLogger(__name__)

# Vectors in memory before they are put into the cache: a segment of it.
PART_BYTES = 32 << 20

# The files of results, as they are called here.
OUTPUT, ERRORS = "output.jsonl", "errors.jsonl"


@dataclass(frozen=True)
class TakeReport:
    """What a job brought.

    Attributes
    ----------
    key : str
        The job.
    texts : int
        Texts in it.
    embedded : int
        Those that have a vector now.
    missing : int
        The others; they are free to be embedded on line.
    problems : dict of str to int
        Why they have none, and how many.
    cut : int
        Texts that were too long and were cut.
    tokens : int
        What was charged.
    dollars : float
        Its price.
    """

    key: str
    texts: int
    embedded: int
    missing: int
    problems: dict[str, int]
    cut: int
    tokens: int
    dollars: float


def take_job(
    connection: OpenAiConnection, config: OpenAiConfig, key: str, *, folder: Path
) -> TakeReport:
    """Take the results of a job that has ended into the cache.

    They are downloaded to disk first, each file whole or not at all, and read line by line. The
    books are closed on the job when all vectors are in the cache; then its input is removed from
    the server, while its results stay there until they expire.

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
    TakeReport
        What it brought; of a job that was taken before, what it brought then. Texts without a
        vector, because their line failed, expired or was cancelled, are free for
        :func:`tagsage.embed.openai.online.embed_online`.

    Raises
    ------
    TagsageError
        When the job is still under way, the server refuses us or is away, or it does not find
        results that it must still have.
    """
    with Ledger(folder) as ledger, job_lock(ledger, key):
        entry = get_entry(ledger, key)
        place = job_folder(folder, key)
        if entry.state != TAKEN:
            if entry.state != ENDED:
                state = poll_job(connection, config, key, folder=folder)
                entry = get_entry(ledger, key)
                if entry.state != ENDED:
                    msg = (
                        f"The batch job {key} is still under way ({state.status or state.state}); "
                        "wait for it, or cancel it."
                    )
                    raise TagsageError(msg)
            entry = _take(connection, config, ledger, entry, place)
        if place.is_dir():
            _tidy(connection, config, entry, place)
        return _report(entry)


def _take(
    connection: OpenAiConnection, config: OpenAiConfig, ledger: Ledger, entry: Entry, place: Path
) -> Entry:
    """Download and read the results; returns the entry, taken."""
    job = Job.load(place)
    files = _download(connection, config, entry, place)
    gone = bool(entry.output_file) and OUTPUT not in files
    cache = VectorCache(ledger.folder / CACHE, entry.model_id, entry.dimensions)
    embedded, tokens, problems, silent = _read(cache, job, list(files.values()))
    if silent.any():
        absent = int(np.diff(job.lines)[silent].sum())
        if gone:
            problems["the results are gone"] = absent
        elif entry.error_file and ERRORS not in files:
            # They were in it, then; what fails is not charged.
            problems["failed, and the server no longer says why"] = absent
        elif entry.status == "completed":
            problems["no answer for them"] = absent
            # Nobody knows, but a batch that was completed is likely to be charged for them.
            tokens += int(job.tokens[silent].sum())
        else:
            problems[entry.status] = absent
    report = TakeReport(
        entry.key,
        job.texts,
        embedded,
        job.texts - embedded,
        dict(problems.most_common()),
        job.cut,
        tokens,
        dollars(tokens, entry.price),
    )
    with ledger.transaction():
        if gone:
            ledger.settle(entry.request_id, "lost")
        else:
            ledger.settle(entry.request_id, "done" if tokens else "refused", tokens)
        let_go(ledger, entry)
        entry = change_entry(ledger, entry, state=TAKEN, report=json.dumps(asdict(report)))
    if report.missing:
        logger.warning(
            "openai: the batch %s (job %s) brought no vector for %s of %s texts: %s %s",
            entry.batch_id, entry.key, f"{report.missing:,}", f"{report.texts:,}",
            report.problems, entry.note,
        )  # fmt: skip
    return entry


def _download(
    connection: OpenAiConnection, config: OpenAiConfig, entry: Entry, place: Path
) -> dict[str, Path]:
    """Return the files of results that there are, by name; without those that are surely gone.

    Raises
    ------
    TagsageError
        When the server says that it has no results though it must have them: what was paid for is
        not to be given up because we ask in the name of another account.
    """
    files = [(entry.output_file, OUTPUT), (entry.error_file, ERRORS)]
    wanted = {name: (file_id, place / name) for file_id, name in files if file_id}
    if any(not path.exists() for _, path in wanted.values()):
        check_server(entry, connection)
        with Calls(connection, config) as calls:
            for name, (file_id, path) in wanted.items():
                if path.exists():
                    continue
                try:
                    calls.download(file_id, path)
                except TROUBLES as error:
                    if not is_unknown(error):
                        raise calls.failure(error) from None
                    if name == OUTPUT and not _is_expired(calls, entry):
                        raise TagsageError(_not_found(connection, entry)) from None
                    logger.warning("openai: the file %s of the job %s is gone", name, entry.key)
    return {name: path for name, (_, path) in wanted.items() if path.exists()}


def _is_expired(calls: Calls, entry: Entry) -> bool:
    """Tell whether the server knows a batch and has kept its results for as long as it does."""
    try:
        batch = calls.patiently(lambda: calls.retrieve(entry.batch_id))
    except TROUBLES as error:
        if is_unknown(error):
            return False
        raise calls.failure(error) from None
    return time.time() - (batch.created_at or entry.created_at) >= HORIZON_S


def _not_found(connection: OpenAiConnection, entry: Entry) -> str:
    where = "OpenAI" if connection.official else connection.base_url
    return (
        f"{where} does not find the results of the batch {entry.batch_id} (job {entry.key}), most "
        "likely because key, organization or project are not those that it was made with; set "
        "these and run again, or give up what was paid for (tagsage vectors cancel "
        f"{entry.key} --give-up)."
    )


def _read(
    cache: VectorCache, job: Job, paths: list[Path]
) -> tuple[int, int, Counter[str], npt.NDArray[np.bool_]]:
    """Put the vectors of files of results into the cache.

    Returns
    -------
    tuple of int, int, collections.Counter, bool array of shape [m]
        How many vectors there were; tokens charged; problems, and with how many texts; which lines
        of the job were not there.
    """
    silent = np.ones(len(job.lines) - 1, dtype=bool)
    embedded = tokens = 0
    problems: Counter[str] = Counter()
    results = read_results(paths, job, dimensions=cache.dimensions)
    lines = track(results, "taking results", len(job.lines) - 1)
    for part in _parts(lines):
        cache.put(
            np.concatenate([line.hashes for line in part]),
            np.concatenate([line.vectors for line in part]),
        )
        for line in part:
            embedded += len(line.hashes)
            tokens += line.tokens
            problems.update(line.problems)
            silent[line.line] = False
    return embedded, tokens, problems, silent


def _parts(lines: Iterator[LineResult]) -> Iterator[list[LineResult]]:
    """Gather lines into parts of a good size for the cache."""
    part: list[LineResult] = []
    size = 0
    for line in lines:
        part.append(line)
        size += line.vectors.nbytes
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _tidy(connection: OpenAiConnection, config: OpenAiConfig, entry: Entry, place: Path) -> None:
    """Remove the job's input from the server, then its files here."""
    if entry.input_file and connection.base_url == entry.server:
        with Calls(connection, config) as calls:
            calls.delete_file(entry.input_file)
    remove_folder(place)


def _report(entry: Entry) -> TakeReport:
    if entry.report:
        return TakeReport(**json.loads(entry.report))
    # Refused by the server, or given up.
    problems = {entry.note: entry.texts}
    return TakeReport(entry.key, entry.texts, 0, entry.texts, problems, 0, 0, 0.0)
