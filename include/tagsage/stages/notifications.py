"""What a run leaves in the workspace for notifications: its summary, the errors of its tasks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tagsage.errors import TagsageError
from tagsage.redact import redact
from tagsage.run_context import RunContext, file_name
from tagsage.stages.backends import tracking_of
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from upath import UPath

logger = logging.getLogger(__name__)

METRICS = "metrics.json"
SUMMARY, MLFLOW_LINK, METRICS_BEFORE = "summary", "mlflow", "metrics_before"
# Much more than a sentence is a traceback, which belongs in the log.
ERROR_LIMIT = 2000


def record_summary(run: RunContext, metrics: Mapping[str, Any], report: str) -> None:
    """Record the run's summary, before `metrics` replace the ``metrics.json`` of the run before."""
    from tagsage.report.summary import summarise

    try:
        summary = summarise(metrics, _metrics_before(run))
    except (TagsageError, KeyError, TypeError, AttributeError) as error:
        # Somebody edited the file; it is about to be replaced anyway.
        logger.warning("the earlier %s cannot be compared with: %s", METRICS, error)
        summary = summarise(metrics)
    run.record(SUMMARY, {**asdict(summary), "report": report})


def _metrics_before(run: RunContext) -> Any | None:
    """Return the metrics of the last run that was no trial; the same when the task runs again."""

    def find() -> Any:
        newest = run.workspace.read_json(METRICS) or {}
        return {} if newest.get("run_id") == run.run_id or newest.get("trial") else newest

    return run.record_once(METRICS_BEFORE, find) or None


def record_mlflow_link(run: RunContext, mlflow_run: str) -> None:
    """Record where MLflow's pages show the run; nothing when nobody serves them."""
    tracking = tracking_of(run.settings)
    base = run.settings.mlflow_url or redact(tracking.uri)
    if base.startswith(("http://", "https://")) and "***" not in base:
        page = f"experiments/{quote(tracking.experiment_id)}/runs/{quote(mlflow_run)}"
        run.record(MLFLOW_LINK, f"{base.rstrip('/')}/#/{page}")


def read_summary(workspace: str, run_id: str) -> tuple[dict[str, Any] | None, str | None]:
    """Return a run's summary (``sentence``, ``details``, ``report``) and its address in MLflow.

    Each is None when the run did not record it.
    """
    run = f"runs/{file_name(run_id)}"
    files = Workspace(workspace)
    return files.read_json(f"{run}/{SUMMARY}.json"), files.read_json(f"{run}/{MLFLOW_LINK}.json")


def record_failure(workspace: str, dag_id: str, run_id: str, task: str, error: str) -> None:
    """Record the error of a failed task, without secrets, until a notification is sent."""
    value = {
        "task": task,
        "error": error[:ERROR_LIMIT],
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    Workspace(workspace).write_json(f"{_failures(dag_id, run_id)}/{file_name(task)}.json", value)


def take_failures(workspace: str, dag_id: str, run_id: str) -> list[dict[str, str]]:
    """Return the errors of a run's tasks, the earliest first, and remove them."""
    folder: UPath = Workspace(workspace).root / _failures(dag_id, run_id)
    if not folder.exists():
        return []
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.iterdir()]
    folder.fs.rm(folder.path, recursive=True)
    return sorted(found, key=lambda failure: (failure["at"], failure["task"]))


def _failures(dag_id: str, run_id: str) -> str:
    # Not below runs/: a harvest that failed is no run whose files are kept.
    return f"failures/{file_name(dag_id)}/{file_name(run_id)}"
