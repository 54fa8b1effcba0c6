"""The interchangeable parts that settings name: the store, the graph engine, the runner, MLflow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from tagsage.graph.engine import GraphEngine
    from tagsage.registry.tracking import Tracking
    from tagsage.report.picture import Picture
    from tagsage.runner import Runner
    from tagsage.store.base import ArticleStore


def open_store(run: RunContext) -> ArticleStore:
    """Open the store that the settings name."""
    from tagsage.store.database import sqlite_file
    from tagsage.store.open import open_store as open_kind

    return open_kind(run.settings.store, sqlite_path=sqlite_file(run.settings))


def engine_of(run: RunContext) -> GraphEngine:
    """Return the graph engine that the settings name."""
    from tagsage.graph.local import LocalEngine

    if run.settings.engine == "local":
        return LocalEngine()
    from tagsage.graph.gds import GdsEngine
    from tagsage.neo4j_connection import resolve_connection

    # Runs of one workspace follow one another: what an earlier one left on the server is dead.
    owner = hashlib.sha256(str(run.workspace.root).encode()).hexdigest()[:8]
    return GdsEngine(resolve_connection(), owner=owner)


def runner_of(run: RunContext) -> Runner:
    """Return the runner that the settings name."""
    from tagsage.runner import LocalRunner, SparkRunner

    return LocalRunner() if run.settings.runner == "local" else SparkRunner(run.workspace)


def tracking_of(settings: Settings, *, must_exist: bool = False) -> Tracking:
    """Return the MLflow store that the settings or the environment name, ready to log to.

    Raises `TagsageError` when it must exist, and would be in a workspace that does not.
    """
    from tagsage.registry.tracking import open_tracking

    uri = settings.mlflow_tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    workspace = Workspace(settings.workspace)
    if must_exist and not uri:
        workspace.check()
    return open_tracking(
        uri, experiment=settings.mlflow_experiment, folder=workspace.local_folder()
    )


def log_results(
    run: RunContext,
    *,
    pictures: Sequence[Picture] = (),
    figures: Mapping[str, Path] | None = None,
    **results: Any,
) -> None:
    """Log results and pictures to MLflow, see :func:`tagsage.registry.runs.log_results`."""
    from tagsage.registry.runs import log_results as log

    with run.workspace.scratch() as folder:
        drawn = dict(figures or {})
        if pictures:
            # Here, not above: Matplotlib takes a second to import.
            from tagsage.report.picture import save_pictures

            drawn |= save_pictures(pictures, folder)
        log(tracking_of(run.settings), run.run_id, figures=drawn, **results)
