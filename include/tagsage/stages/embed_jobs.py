"""The embedder ``openai`` by the Batch API: submitted, looked after, taken."""

from __future__ import annotations

import logging
from typing import Any

from tagsage.night import Night, Token
from tagsage.stages.common import Ref, load_texts, openai_folder
from tagsage.stages.embed_openai import ceiling_of, config_of, send_online

logger = logging.getLogger(__name__)


def submit_jobs(token: Token, corpus: Ref, plan: Ref) -> list[str]:
    """Submit what is new as batches of the Batch API, where the settings say so.

    Returns
    -------
    list of str
        Keys of the jobs to wait for: the new ones, and in either mode those of earlier runs that
        hold texts of tonight.
    """
    from tagsage.openai_connection import resolve_openai_connection
    from tagsage.vectors.openai.batch_jobs import pending_jobs
    from tagsage.vectors.openai.batch_submit import submit_missing
    from tagsage.vectors.openai.prices import price_of
    from tagsage.vectors.plan import Plan

    night = Night.of(token)
    settings = night.settings
    if settings.embedder != "openai":
        return []
    todo = Plan.load(night.workspace.open(plan).path)
    config, folder = config_of(settings), openai_folder(settings)
    texts, hashes = load_texts(night, corpus)
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
        run_id=night.run_id,
        price=price_of(
            config.model,
            official=connection.official,
            table=settings.openai_prices,
            batch=True,
        ),
        ceiling=ceiling_of(settings),
    )
    return list(dict.fromkeys([*pending, *submitted]))


def job_done(token: Token, key: str) -> bool:
    """Look after a job: one request. A server that does not answer now is asked again later."""
    from tagsage.openai_connection import resolve_openai_connection
    from tagsage.vectors.openai.batch_jobs import poll_job

    settings = Night.of(token).settings
    state = poll_job(
        resolve_openai_connection(), config_of(settings), key, folder=openai_folder(settings)
    )
    logger.info("openai: the job %s is %s %s", key, state.status or state.state, state.note)
    return state.finished


def take_job(token: Token, corpus: Ref, plan: Ref, key: str) -> dict[str, Any]:
    """Take the results of a job; texts that it brought no vector for are sent on line.

    Returns
    -------
    dict
        Counts: ``texts``, ``embedded``, ``missing``, ``tokens``, ``dollars``.
    """
    from tagsage.openai_connection import resolve_openai_connection
    from tagsage.vectors.openai.batch_results import take_job as take
    from tagsage.vectors.plan import Plan

    night = Night.of(token)
    config = config_of(night.settings)
    report = take(resolve_openai_connection(), config, key, folder=openai_folder(night.settings))
    if report.missing:
        logger.warning(
            "openai: %s texts go on line, at the full price, below the same ceiling",
            f"{report.missing:,}",
        )
        todo = Plan.load(night.workspace.open(plan).path)
        texts, hashes = load_texts(night, corpus)
        # Texts of jobs that are still under way are left to these.
        send_online(night, config, texts, hashes, todo.missing, dimensions=todo.dimensions)
    return {
        "texts": report.texts,
        "embedded": report.embedded,
        "missing": report.missing,
        "tokens": report.tokens,
        "dollars": report.dollars,
    }
