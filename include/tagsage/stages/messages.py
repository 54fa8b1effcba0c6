"""What is left in the workspace for messages: the summary of a run, the errors of its tasks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tagsage.errors import TagsageError
from tagsage.redact import redact
from tagsage.run_context import RunContext, file_name
from tagsage.stages.common import tracking_of
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from upath import UPath

logger = logging.getLogger(__name__)

SUMMARY = "summary"
MLFLOW = "mlflow"
METRICS = "metrics.json"
# What a run notes: the metrics that its own are compared with.
METRICS_BEFORE = "metrics_before"
# Much more than a sentence is a traceback, which belongs in the log.
SAYS_LIMIT = 2000


def keep_summary(run: RunContext, metrics: Mapping[str, Any], where: str) -> None:
    """Keep the run in one sentence, before its ``metrics.json`` takes the earlier one's place.

    Parameters
    ----------
    run : RunContext
        The run.
    metrics : mapping
        What ``metrics.json`` will hold.
    where : str
        Where the report will be.
    """
    from tagsage.report.summary import summarise

    try:
        summary = summarise(metrics, _run_before(run))
    except (TagsageError, KeyError, TypeError, AttributeError) as error:
        # An edit by hand, or another version's: it is about to be replaced anyway.
        logger.warning("the earlier %s cannot be compared with: %s", METRICS, error)
        summary = summarise(metrics)
    run.record(SUMMARY, {**summary.to_json(), "report": where})


def _run_before(run: RunContext) -> Any | None:
    """Return the ``metrics.json`` of the run before; None when there is none.

    It is noted by the first call of the run: a task that is run again, after its run's own has
    been published, compares with the same as at first. A trial is no run before.
    """

    def find() -> Any:
        newest = run.workspace.read_json(METRICS) or {}
        return {} if newest.get("run_id") == run.run_id or newest.get("trial") else newest

    return run.record_once(METRICS_BEFORE, find) or None


def note_mlflow(run: RunContext, mlflow_run: str) -> None:
    """Keep where the run's run is seen in MLflow's pages; nothing when nobody serves them."""
    tracking = tracking_of(run.settings)
    base = run.settings.mlflow_url or redact(tracking.uri)
    if base.startswith(("http://", "https://")) and "***" not in base:
        place = f"experiments/{quote(tracking.experiment_id)}/runs/{quote(mlflow_run)}"
        run.record(MLFLOW, f"{base.rstrip('/')}/#/{place}")


def told_of(workspace: str, run_id: str) -> dict[str, Any]:
    """Return what a run has left for messages.

    Parameters
    ----------
    workspace : str
        Folder or URL of the workspace.
    run_id : str
        The run.

    Returns
    -------
    dict
        ``summary`` (``sentence``, ``details``, ``report``; None when it has not finished) and
        ``mlflow`` (an address, or None).
    """
    place = f"runs/{file_name(run_id)}"
    found = Workspace(workspace)
    return {
        "summary": found.read_json(f"{place}/{SUMMARY}.json"),
        "mlflow": found.read_json(f"{place}/{MLFLOW}.json"),
    }


def note_failure(workspace: str, dag_id: str, run_id: str, task: str, says: str) -> None:
    """Keep the error of a task that failed until it was sent in a message.

    Parameters
    ----------
    workspace : str
        Folder or URL of the workspace.
    dag_id, run_id, task : str
        Who failed; a mapped task with its index.
    says : str
        What its exception said, without secrets.
    """
    value = {
        "task": task,
        "says": says[:SAYS_LIMIT],
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    name = f"{_failures(dag_id, run_id)}/{file_name(task)}.json"
    Workspace(workspace).write_json(name, value)


def take_failures(workspace: str, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the errors of the tasks of a run, the earliest first, and forget them.

    A run that is cleared and fails again then tells what is new.
    """
    folder: UPath = Workspace(workspace).root / _failures(dag_id, run_id)
    if not folder.exists():
        return []
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.iterdir()]
    folder.fs.rm(folder.path, recursive=True)
    return sorted(found, key=lambda one: (one["at"], one["task"]))


def _failures(dag_id: str, run_id: str) -> str:
    # Not below runs/: a harvest that failed is no run whose files are kept.
    return f"failures/{file_name(dag_id)}/{file_name(run_id)}"
