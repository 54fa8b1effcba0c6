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
from tagsage.run_context import Token
from tagsage.settings import Settings
from tagsage.workspace import Workspace

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNFINISHED = "runs/unfinished.json"


def run_pipeline(overrides: Mapping[str, Any]) -> Token:
    """Run every stage; a run that was killed is continued when the settings are the same.

    Raises `TagsageError` when a stage fails, or another run is under way.
    """
    settings = Settings.resolve(overrides)
    workspace = Workspace(settings.workspace)
    with workspace.locked():
        run = _timed("start", stages.start, _run_id(workspace, settings), overrides)
        try:
            _run_stages(run)
        except BaseException:
            _teardown_after_failure(run)
            raise
        stages.teardown(run)
        workspace.write_json(UNFINISHED, None)
    return run


def _teardown_after_failure(run: Token) -> None:
    """Tear down without hiding what went wrong before."""
    try:
        stages.teardown(run)
    except (TagsageError, OSError) as error:
        logger.warning("teardown: %s", error)


def _run_stages(run: Token) -> None:
    _timed("harvest", stages.harvest, run)
    corpus = _timed("load corpus", stages.load_corpus, run)
    if not corpus:
        return
    vectors = _embed(run, corpus)
    graph = _timed("graph", stages.graph, run, corpus, vectors)

    split = _timed("split", stages.split, run, corpus)
    features = _timed("fit blocks", stages.fit_blocks, run, corpus, split, vectors, graph)
    fitted = [
        _timed(f"fit {name}", stages.fit_candidate, run, split, features, name)
        for name in stages.candidate_names(run)
    ]
    board = _timed("leaderboard", stages.leaderboard, run, split, fitted)

    evaluated = [
        _timed(scenario, stages.evaluate_scenario, run, corpus, split, features, board, scenario)
        for scenario in stages.scenarios(run, board)
    ]
    found = _timed("findings", stages.findings, run, corpus, split, board, evaluated)

    promoted = _timed("promote", stages.promote, run, corpus, split, features, board)
    predicted = _timed("predict", stages.predict, run, corpus, features, promoted)
    explained = _timed("explain", stages.explain, run, corpus, features, predicted)
    _timed("suggest", stages.suggest, run, corpus, features, predicted)
    _timed("publish", stages.publish, run, corpus, split, board, promoted, predicted, explained)
    explored = _timed("eda", stages.eda, run, corpus, split, graph)
    _timed("report", stages.report, run, board, found, promoted, predicted, explored, explained)


def _embed(run: Token, corpus: str) -> str:
    settings = Settings.model_validate(run["settings"])
    if settings.embedder == "openai":
        jobs = _timed("submit jobs", stages.submit_jobs, run, corpus)
        while jobs := [job for job in jobs if not stages.await_job(run, job)]:
            time.sleep(settings.openai_poll_s)
    return _timed("embed texts", stages.embed_texts, run, corpus)


def _timed(what: str, stage: Callable[..., T], *arguments: Any) -> T:
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
