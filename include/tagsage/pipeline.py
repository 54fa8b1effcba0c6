"""The whole run in one process: the stages in the same order as in ``dags/retrain.py``."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tagsage import stages
from tagsage.errors import TagsageError
from tagsage.night import Token
from tagsage.settings import Settings
from tagsage.workspace import Workspace

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNFINISHED = "runs/unfinished.json"


def run_night(overrides: Mapping[str, Any]) -> Token:
    """Run every stage; a run that was killed is continued when the settings are the same.

    Parameters
    ----------
    overrides : mapping
        Settings by name.

    Returns
    -------
    dict
        The night's token.

    Raises
    ------
    TagsageError
        When a stage fails (the next run takes up what is done), or another run is under way.
    """
    settings = Settings.resolve(overrides)
    workspace = Workspace(settings.workspace)
    with workspace.alone():
        night = _told("start", stages.start, _run_id(workspace, settings), overrides)
        try:
            _run_stages(night)
        except BaseException:
            _teardown_after_failure(night)
            raise
        stages.teardown(night)
        workspace.write_json(UNFINISHED, None)
    return night


def _teardown_after_failure(night: Token) -> None:
    """Tear down without hiding what went wrong before."""
    try:
        stages.teardown(night)
    except (TagsageError, OSError) as error:
        logger.warning("teardown: %s", error)


def _run_stages(night: Token) -> None:
    _told("harvest", stages.harvest, night)
    corpus = _told("load corpus", stages.load_corpus, night)
    corpus = _told("check corpus", stages.check_corpus, night, corpus)

    vectors = _embed(night, corpus)
    projection = _told("project", stages.project, night, corpus, vectors)
    similarity = _told("similarity", stages.similarity, night, projection)
    components = _told("components", stages.components, night, similarity)
    sample = _told("sample", stages.sample, night, similarity, components)
    graphsage = _told("graphsage", stages.graphsage, night, corpus, similarity, sample, vectors)

    split = _told("split", stages.split, night, corpus)
    features = _told("fit blocks", stages.fit_blocks, night, corpus, split, vectors, graphsage)
    # Those without lists first: they are the fallbacks of the others.
    fitted = [
        _told(f"fit {name}", stages.fit_candidate, night, split, features, name)
        for name in stages.candidates_without_lists(night)
    ]
    others = [
        _told(f"fit {name}", stages.fit_candidate, night, split, features, name)
        for name in stages.candidates_with_lists(night)
    ]
    board = _told("leaderboard", stages.leaderboard, night, split, fitted, others)

    answered = [
        _told(question, stages.evaluate_scenario, night, corpus, split, features, board, question)
        for question in stages.scenarios(night, board)
    ]
    found = _told("findings", stages.findings, night, corpus, split, board, answered)

    promoted = _told("promote", stages.promote, night, corpus, split, features, board)
    predicted = _told("predict", stages.predict, night, corpus, features, promoted)
    explained = _told("explain", stages.explain, night, corpus, features, predicted)
    _told("suggest", stages.suggest, night, corpus, promoted)
    _told(
        "catalogue", stages.catalogue, night, corpus, split, board, promoted, predicted, explained
    )
    explored = _told(
        "eda", stages.eda, night, corpus, split, similarity, components, sample, graphsage
    )
    _told("report", stages.report, night, board, found, promoted, predicted, explored, explained)


def _embed(night: Token, corpus: str) -> str:
    """Run the stages of the embedder in use."""
    settings = Settings.model_validate(night["settings"])
    if settings.embedder == "none":
        return _told("collect vectors", stages.collect_vectors, night, corpus)
    plan = _told("plan vectors", stages.plan_vectors, night, corpus)
    for batch in stages.vector_batches(night, plan):
        _told(f"embed batch {batch}", stages.embed_batch, night, corpus, plan, batch)
    if settings.embedder == "openai":
        jobs = _told("submit jobs", stages.submit_jobs, night, corpus, plan)
        while jobs := [job for job in jobs if not stages.await_job(night, corpus, plan, job)]:
            time.sleep(settings.openai_poll_s)
    return _told("collect vectors", stages.collect_vectors, night, corpus, plan)


def _told(what: str, stage: Callable[..., T], *arguments: Any) -> T:
    """Run a stage and log how long it took."""
    started = time.perf_counter()
    result = stage(*arguments)
    logger.info("✓ %s (%.1f s)", what, time.perf_counter() - started)
    return result


def _run_id(workspace: Workspace, settings: Settings) -> str:
    """Return the id of the unfinished run with the same settings and files, or a new one."""
    recipe = {"settings": settings.model_dump(mode="json"), "files": _file_states(settings)}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    unfinished = workspace.read_json(UNFINISHED)
    if unfinished and unfinished["recipe"] == digest:
        logger.info("Continuing the unfinished run %s.", unfinished["run_id"])
        return str(unfinished["run_id"])
    now = datetime.now(UTC)
    run_id = f"cli-{now:%Y%m%dT%H%M%S}-{os.getpid()}"
    workspace.write_json(UNFINISHED, {"run_id": run_id, "recipe": digest})
    return run_id


def _file_states(settings: Settings) -> list[list[Any]]:
    """Return size and time of the input files: other files are another run."""
    files = [Path(name) for name in (settings.articles, settings.lists, settings.vectors) if name]
    return [
        [str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.exists()
    ]
