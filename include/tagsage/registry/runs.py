"""The runs in MLflow: a parent run for each run of the pipeline, and a child for every candidate.

They are found again by their tags, so a task that runs again logs nothing twice.
"""

from __future__ import annotations

import io
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_SOURCE_NAME

from tagsage.redact import redact
from tagsage.registry.tracking import Tracking

RUN_ID = "tagsage.run_id"
CANDIDATE = "tagsage.candidate"
TRIAL = "tagsage.trial"
CHANGED = "tagsage.changed_params"
PARAM_LIMIT = 6000  # characters of a parameter that MLflow takes
# How many of each MLflow takes in one request.
BATCH_LIMITS = {"params": 100, "tags": 100, "metrics": 900}


@dataclass(frozen=True)
class DataSet:
    """An input of the run, as MLflow lists it; `profile` holds numbers about it."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, Any]


def log_run(
    tracking: Tracking,
    run_id: str,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
) -> str:
    """Find or create the parent run of a run, and log what is known at its start."""
    run = _find_or_create(tracking, run_id, None)
    with tracking.locked():
        if run.info.status != "RUNNING":
            tracking.client.update_run(run.info.run_id, status="RUNNING")
    _log(tracking, run, params=params, tags={"tagsage.version": version("tagsage"), **(tags or {})})
    return str(run.info.run_id)


def log_datasets(tracking: Tracking, run_id: str, datasets: Sequence[DataSet]) -> None:
    """Add inputs to the parent run of a run; MLflow keeps each once."""
    run = _find_or_create(tracking, run_id, None)
    inputs = [
        DatasetInput(
            dataset=Dataset(
                name=item.name[:500],
                digest=item.digest.removeprefix("sha256:")[:36],
                source_type="local",
                source=json.dumps({"uri": redact(item.source)}),
                profile=json.dumps(dict(item.profile)),
            ),
            tags=[InputTag(key="mlflow.data.context", value="training")],
        )
        for item in datasets
    ]
    with tracking.locked():
        tracking.client.log_inputs(run.info.run_id, inputs)


def log_candidate(
    tracking: Tracking,
    run_id: str,
    candidate: str,
    *,
    params: Mapping[str, Any],
    scores: Mapping[str, float],
    per_tag: pd.DataFrame | None = None,
    figures: Mapping[str, Path] | None = None,
) -> str:
    """Log one candidate, ``feature_set:classifier``, as a finished child run of the run."""
    run = _find_or_create(tracking, run_id, candidate)
    feature_set, _, classifier = candidate.partition(":")
    params = {"feature_set": feature_set, "classifier": classifier, **params}
    _log(tracking, run, params=params, metrics=scores)
    tables = {} if per_tag is None else {"per_tag.csv": per_tag}
    _log_files(tracking, run, tables=tables, figures=figures)
    _end(tracking, run, "FINISHED")
    return str(run.info.run_id)


def log_results(
    tracking: Tracking,
    run_id: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    series: Mapping[str, Sequence[float]] | None = None,
    tags: Mapping[str, str] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    figures: Mapping[str, Path] | None = None,
    files: Mapping[str, Path] | None = None,
) -> str:
    """Log results to the parent run of tagsage's `run_id`; return MLflow's id of it.

    MLflow never changes a parameter. Metrics that are not finite are left out. `series` are numbers
    by step, from 1; `tables`, `figures` and `files` go by file name, figures under ``figures/``.
    """
    run = _find_or_create(tracking, run_id, None)
    _log(tracking, run, params=params, tags=tags, metrics=metrics, series=series)
    _log_files(tracking, run, tables=tables, figures=figures, files=files)
    return str(run.info.run_id)


def finish(tracking: Tracking, run_id: str, status: Literal["FINISHED", "FAILED"]) -> None:
    """End the parent run of a run, and any child that a killed task left open."""
    with tracking.locked():
        runs = _search(tracking, run_id)
    for candidate, run in runs.items():
        if candidate is None:
            _end(tracking, run, status)
        elif run.info.status not in {"FINISHED", "FAILED"}:
            _end(tracking, run, "FAILED")


def parent_run(tracking: Tracking, run_id: str) -> str | None:
    """Return MLflow's id of the parent run of a run."""
    with tracking.locked():
        found = _search(tracking, run_id).get(None)
    return None if found is None else str(found.info.run_id)


def candidate_run(tracking: Tracking, run_id: str, candidate: str) -> str:
    """Return MLflow's id of a candidate's child run; a missing one is created."""
    return str(_find_or_create(tracking, run_id, candidate).info.run_id)


def metric_name(name: str) -> str:
    """Return a name that MLflow accepts for a metric: ``p_at_5`` for ``P@5``."""
    name = name.strip().lower().replace("@", "_at_")
    return re.sub(r"[^a-z0-9_./-]+", "_", name).strip("_") or "metric"


def _search(tracking: Tracking, run_id: str) -> dict[str | None, Run]:
    """Return the runs of a run: by candidate, the parent under None."""
    quote = '"' if "'" in run_id else "'"
    found = tracking.client.search_runs(
        [tracking.experiment_id],
        f"tags.`{RUN_ID}` = {quote}{run_id}{quote}",
        order_by=["attributes.start_time DESC"],  # of two, the oldest counts
        max_results=1000,
    )
    return {run.data.tags.get(CANDIDATE): run for run in found}


def _find_or_create(tracking: Tracking, run_id: str, candidate: str | None) -> Run:
    with tracking.locked():
        found = _search(tracking, run_id)
        for name in (None, candidate):
            if name not in found:
                tags = {RUN_ID: run_id, MLFLOW_RUN_NAME: name or run_id}
                tags[MLFLOW_SOURCE_NAME] = "tagsage"
                if name is not None:
                    tags |= {CANDIDATE: name, MLFLOW_PARENT_RUN_ID: found[None].info.run_id}
                found[name] = tracking.client.create_run(tracking.experiment_id, tags=tags)
        return found[candidate]


def _log(
    tracking: Tracking,
    run: Run,
    *,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    series: Mapping[str, Sequence[float]] | None = None,
) -> None:
    values = {key: redact(str(value))[:PARAM_LIMIT] for key, value in (params or {}).items()}
    known = run.data.params
    changed = {key: value for key, value in values.items() if known.get(key, value) != value}
    tags = dict(tags or {})
    if changed:
        # MLflow refuses another value of a parameter.
        tags[CHANGED] = json.dumps(changed, sort_keys=True)[:PARAM_LIMIT]
    items: dict[str, list[Any]] = {
        "params": [Param(key, value) for key, value in values.items() if key not in known],
        "tags": [RunTag(key, redact(str(value))) for key, value in tags.items()],
        "metrics": _points(run, metrics or {}, series or {}),
    }
    with tracking.locked():
        for kind, limit in BATCH_LIMITS.items():
            for start in range(0, len(items[kind]), limit):
                batch: Any = {kind: items[kind][start : start + limit]}
                tracking.client.log_batch(run.info.run_id, **batch)


def _points(
    run: Run, metrics: Mapping[str, float], series: Mapping[str, Sequence[float]]
) -> list[Metric]:
    """Return the metric points that logging again would not duplicate.

    MLflow ignores a point that it holds with the same time, step and value: here the run's start.
    """
    now = time.time_ns() // 1_000_000
    points = [
        Metric(metric_name(name), float(value), now, 0)
        for name, value in metrics.items()
        if math.isfinite(value) and run.data.metrics.get(metric_name(name)) != value
    ]
    for name, values in series.items():
        points += [
            Metric(metric_name(name), float(value), run.info.start_time, step)
            for step, value in enumerate(values, start=1)
            if math.isfinite(value)
        ]
    return points


def _log_files(
    tracking: Tracking,
    run: Run,
    *,
    tables: Mapping[str, pd.DataFrame] | None = None,
    figures: Mapping[str, Path] | None = None,
    files: Mapping[str, Path] | None = None,
) -> None:
    client, run_id = tracking.client, run.info.run_id
    with tracking.locked():
        for name, table in (tables or {}).items():
            text = io.StringIO()
            table.to_csv(text, index=False, lineterminator="\n")
            client.log_text(run_id, text.getvalue(), name)
        for file in (figures or {}).values():
            client.log_artifact(run_id, str(file), "figures")
        for file in (files or {}).values():
            client.log_artifact(run_id, str(file))


def _end(tracking: Tracking, run: Run, status: str) -> None:
    with tracking.locked():
        tracking.client.set_terminated(run.info.run_id, status)
