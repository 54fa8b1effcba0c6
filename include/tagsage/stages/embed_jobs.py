"""The embedder ``openai`` by the Batch API: submitted, looked after, taken."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tagsage.run_context import RunContext, Token
from tagsage.settings import Settings
from tagsage.stages.common import Ref, load_texts, openai_folder
from tagsage.stages.embed_openai import ceiling_of, config_of, send_online

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from tagsage.embed.openai.batch_results import TakeReport
    from tagsage.embed.plan import Plan

logger = logging.getLogger(__name__)


def submit_jobs(token: Token, corpus: Ref, plan: Ref) -> list[str]:
    """Submit what is new as batches of the Batch API, where the settings say so.

    Returns
    -------
    list of str
        Keys of the jobs to wait for: the new ones, and in either mode those of earlier runs that
        hold texts of this run.
    """
    from tagsage.embed.plan import Plan

    run = RunContext.of(token)
    todo = Plan.load(run.workspace.open(plan).path)
    return submit_texts(run.settings, *load_texts(run, corpus), todo, run_id=run.run_id)


def submit_texts(
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    todo: Plan,
    *,
    run_id: str,
) -> list[str]:
    """Submit what a plan says is missing, where the settings say so; return the jobs to wait for.

    Parameters
    ----------
    settings : Settings
        Model, mode, ceiling, prices and folder.
    texts, hashes : sequence of str and S32 array, length n
        All texts, and their hashes.
    todo : Plan
        What is missing of them.
    run_id : str
        Who pays.
    """
    from tagsage.embed.openai.batch_jobs import pending_jobs
    from tagsage.embed.openai.batch_submit import submit_missing
    from tagsage.embed.openai.prices import price_of
    from tagsage.openai_connection import resolve_openai_connection

    config, folder = config_of(settings), openai_folder(settings)
    # Of all texts: of a job that was killed at the end of its taking, nothing is missing any more.
    pending = pending_jobs(folder, config.model_id, hashes)
    if settings.openai_mode == "online" or not len(todo.missing):
        return pending
    connection = resolve_openai_connection()
    submitted = submit_missing(
        connection,
        config,
        texts,
        hashes,
        todo.missing,
        folder=folder,
        dimensions=todo.dimensions,
        run_id=run_id,
        price=price_of(
            config.model,
            official=connection.official,
            table=settings.openai_prices,
            batch=True,
        ),
        ceiling=ceiling_of(settings),
    )
    return list(dict.fromkeys([*pending, *submitted]))


def await_job(token: Token, corpus: Ref, plan: Ref, key: str) -> bool:
    """Look after a job, and take its results once it has ended; tells whether it has.

    A server that does not answer now is asked again later. Texts without a vector in the results
    are sent online.
    """
    from tagsage.embed.plan import Plan

    run = RunContext.of(token)
    if not _has_ended(run.settings, key):
        return False
    report = take_results(run.settings, key)
    logger.info("openai: the job %s: %s", key, report)
    if report.missing:
        logger.warning(
            "openai: %s texts are sent online, at the full price, below the same ceiling",
            f"{report.missing:,}",
        )
        todo = Plan.load(run.workspace.open(plan).path)
        # Texts of jobs that are still under way are left to these.
        send_online(
            run.settings,
            *load_texts(run, corpus),
            todo.missing,
            run_id=run.run_id,
            dimensions=todo.dimensions,
        )
    return True


def await_jobs(settings: Settings, waiting: Sequence[str], take: Callable[[str], object]) -> None:
    """Look after jobs every `openai_poll_s` seconds, and take each when it has ended.

    Parameters
    ----------
    settings : Settings
        How often, and the folder.
    waiting : sequence of str
        Keys of the jobs.
    take : callable
        Takes the results of one, by its key.
    """
    while waiting:
        ended = [key for key in waiting if _has_ended(settings, key)]
        for key in ended:
            take(key)
        waiting = [key for key in waiting if key not in ended]
        if waiting:
            time.sleep(settings.openai_poll_s)


def _has_ended(settings: Settings, key: str) -> bool:
    from tagsage.embed.openai.batch_jobs import poll_job
    from tagsage.openai_connection import resolve_openai_connection

    state = poll_job(
        resolve_openai_connection(), config_of(settings), key, folder=openai_folder(settings)
    )
    logger.info("openai: the job %s is %s %s", key, state.status or state.state, state.note)
    return state.finished


def take_results(settings: Settings, key: str) -> TakeReport:
    """Take the results of a job that has ended into the cache."""
    from tagsage.embed.openai.batch_results import take_job as take
    from tagsage.openai_connection import resolve_openai_connection

    return take(
        resolve_openai_connection(), config_of(settings), key, folder=openai_folder(settings)
    )
