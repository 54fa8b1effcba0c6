"""The run in MLflow: a parent run, and a child run for every candidate.

Runs are found again by the tags ``tagsage.run_id`` and ``tagsage.candidate``. So a task that was
killed and run again continues its run: nothing is logged twice.
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

from tagsage.registry.store import Tracking, without_secrets

RUN_ID = "tagsage.run_id"
CANDIDATE = "tagsage.candidate"
TRIAL = "tagsage.trial"
CHANGED = "tagsage.changed_params"
PARAM_LIMIT = 6000  # characters of a parameter that MLflow takes
BATCH_LIMIT = 100  # parameters and tags that MLflow takes in one request
METRIC_BATCH = 900


@dataclass(frozen=True)
class DataSet:
    """An input of the run, as MLflow lists it.

    Attributes
    ----------
    name : str
        What it is: a file name, or ``snapshot``.
    digest : str
        Digest of its content; MLflow keeps the first 36 characters.
    source : str
        Where it came from.
    profile : mapping
        Numbers about it, such as how many articles it holds.
    """

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
    datasets: Sequence[DataSet] = (),
) -> str:
    """Find or create the parent run of a run, and log what is known when it starts.

    Parameters
    ----------
    tracking : Tracking
        The store.
    run_id : str
        tagsage's own name of the run.
    params : mapping
        The resolved settings.
    tags : mapping, optional
        Further tags: engine, store, embedder. The version of tagsage is always set.
    datasets : sequence of DataSet
        The inputs.

    Returns
    -------
    str
        MLflow's id of the parent run.
    """
    run = _find_or_create(tracking, run_id, None)
    with tracking.alone():
        if run.info.status != "RUNNING":
            tracking.client.update_run(run.info.run_id, status="RUNNING")
    tags = {"tagsage.version": version("tagsage"), **(tags or {})}
    _log(tracking, run, params=params, tags=tags)
    log_datasets(tracking, run_id, datasets)
    return str(run.info.run_id)


def log_datasets(tracking: Tracking, run_id: str, datasets: Sequence[DataSet]) -> None:
    """Add inputs to the parent run of a run; those already there are not added again."""
    if not datasets:
        return
    run = _find_or_create(tracking, run_id, None)
    inputs = [
        DatasetInput(
            dataset=Dataset(
                name=item.name[:500],
                digest=item.digest.removeprefix("sha256:")[:36],
                source_type="local",
                source=json.dumps({"uri": without_secrets(item.source)}),
                profile=json.dumps(dict(item.profile)),
            ),
            tags=[InputTag(key="mlflow.data.context", value="training")],
        )
        for item in datasets
    ]
    with tracking.alone():
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
    """Log one candidate as a finished child run of the run.

    Parameters
    ----------
    tracking : Tracking
        The store.
    run_id : str
        tagsage's name of the run.
    candidate : str
        Name of the candidate, ``feature_set:classifier``.
    params : mapping
        What it was fitted with: threshold, epochs, number of training rows.
    scores : mapping of str to float
        Metrics by name; those that are not finite are left out, for MLflow has no place for them.
    per_tag : pandas.DataFrame, optional
        Scores of every target tag, one row a tag; logged as ``per_tag.csv``.
    figures : mapping of str to pathlib.Path, optional
        Files by name; logged under ``figures/``.

    Returns
    -------
    str
        MLflow's id of the child run.
    """
    run = _find_or_create(tracking, run_id, candidate)
    feature_set, _, classifier = candidate.partition(":")
    params = {"feature_set": feature_set, "classifier": classifier, **params}
    _log(tracking, run, params=params, tags={}, metrics=scores)
    if per_tag is not None:
        _log_table(tracking, run, per_tag, "per_tag.csv")
    _log_files(tracking, run, figures or {}, "figures")
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
    """Log what came out of the run to its parent run.

    Parameters
    ----------
    tracking : Tracking
        The store.
    run_id : str
        tagsage's name of the run.
    params : mapping, optional
        What was decided on the way and is no setting, such as which model made the vectors.
    metrics : mapping of str to float, optional
        Single numbers, such as the winner's scores or how many articles got tags.
    series : mapping of str to sequence of float, optional
        Numbers by step, such as GraphSAGE's loss of each epoch (step 1 is the first).
    tags : mapping, optional
        Words: the winner, the decision on promotion.
    tables : mapping of str to pandas.DataFrame, optional
        Tables by file name, such as ``leaderboard.csv``.
    figures, files : mapping of str to pathlib.Path, optional
        Files by name; figures go under ``figures/``.

    Returns
    -------
    str
        MLflow's id of the parent run.
    """
    run = _find_or_create(tracking, run_id, None)
    _log(
        tracking,
        run,
        params=params or {},
        tags=tags or {},
        metrics=metrics or {},
        series=series or {},
    )
    for name, table in (tables or {}).items():
        _log_table(tracking, run, table, name)
    _log_files(tracking, run, figures or {}, "figures")
    _log_files(tracking, run, files or {}, None)
    return str(run.info.run_id)


def finish(tracking: Tracking, run_id: str, status: Literal["FINISHED", "FAILED"]) -> None:
    """End the parent run of a run, and with it any child that a killed task left open."""
    with tracking.alone():
        open_runs = _search(tracking, run_id)
    for run in open_runs:
        is_parent = CANDIDATE not in run.data.tags
        if is_parent:
            _end(tracking, run, status)
        elif run.info.status not in {"FINISHED", "FAILED"}:
            _end(tracking, run, "FAILED")


def parent_run(tracking: Tracking, run_id: str) -> str | None:
    """Return MLflow's id of the parent run of a run, or None when there is none."""
    with tracking.alone():
        runs = [run for run in _search(tracking, run_id) if CANDIDATE not in run.data.tags]
    return str(runs[0].info.run_id) if runs else None


def candidate_run(tracking: Tracking, run_id: str, candidate: str) -> str:
    """Return MLflow's id of a candidate's child run; it is created when there is none."""
    return str(_find_or_create(tracking, run_id, candidate).info.run_id)


def metric_name(name: str) -> str:
    """Return a name that MLflow takes as a metric.

    Examples
    --------
    >>> metric_name("P@5")
    'p_at_5'
    """
    name = name.strip().lower().replace("@", "_at_")
    return re.sub(r"[^a-z0-9_./-]+", "_", name).strip("_") or "metric"


def _search(tracking: Tracking, run_id: str) -> list[Run]:
    """Return the runs of a run, oldest first: the parent and its children."""
    quote = '"' if "'" in run_id else "'"
    return list(
        tracking.client.search_runs(
            [tracking.experiment_id],
            f"tags.`{RUN_ID}` = {quote}{run_id}{quote}",
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            max_results=1000,
        )
    )


def _find_or_create(tracking: Tracking, run_id: str, candidate: str | None) -> Run:
    """Find the parent run (candidate None) or a child run; create what is missing."""
    with tracking.alone():
        found = {run.data.tags.get(CANDIDATE): run for run in reversed(_search(tracking, run_id))}
        for name in dict.fromkeys([None, candidate]):
            if name not in found:
                found[name] = _create(tracking, run_id, name, found.get(None))
        return found[candidate]


def _create(tracking: Tracking, run_id: str, candidate: str | None, parent: Run | None) -> Run:
    tags = {RUN_ID: run_id, MLFLOW_RUN_NAME: candidate or run_id, MLFLOW_SOURCE_NAME: "tagsage"}
    if candidate is not None and parent is not None:
        tags |= {CANDIDATE: candidate, MLFLOW_PARENT_RUN_ID: parent.info.run_id}
    created = tracking.client.create_run(tracking.experiment_id, tags=tags)
    # The lock does not reach another machine: when one there was first, its run is the run.
    runs = [run for run in _search(tracking, run_id) if run.data.tags.get(CANDIDATE) == candidate]
    if runs and runs[0].info.run_id != created.info.run_id:
        tracking.client.delete_run(created.info.run_id)
        return runs[0]
    return created


def _log(
    tracking: Tracking,
    run: Run,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    metrics: Mapping[str, float] | None = None,
    series: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Log what the run does not hold yet; MLflow keeps the first value of a parameter."""
    worded = {key: without_secrets(str(value))[:PARAM_LIMIT] for key, value in params.items()}
    known = run.data.params
    changed = {key: value for key, value in worded.items() if known.get(key, value) != value}
    tags = dict(tags)
    if changed:
        tags[CHANGED] = json.dumps(changed, sort_keys=True)[:PARAM_LIMIT]
    new_params = [Param(key, value) for key, value in worded.items() if key not in known]
    new_tags = [RunTag(key, without_secrets(str(value))) for key, value in tags.items()]
    points = _points(run, metrics or {}, series or {})
    with tracking.alone():
        for kind, items, limit in (
            ("params", new_params, BATCH_LIMIT),
            ("tags", new_tags, BATCH_LIMIT),
            ("metrics", points, METRIC_BATCH),
        ):
            for start in range(0, len(items), limit):
                batch: Any = {kind: items[start : start + limit]}
                tracking.client.log_batch(run.info.run_id, **batch)


def _points(
    run: Run, metrics: Mapping[str, float], series: Mapping[str, Sequence[float]]
) -> list[Metric]:
    """Return the metric points that logging again would not double.

    Single values equal to the logged ones are left out. The points of a series carry the run's
    start as their time: MLflow ignores a point that it holds with the same time, step and value.
    """
    now = time.time_ns() // 1_000_000
    points = []
    for name, value in metrics.items():
        key = metric_name(name)
        if math.isfinite(value) and run.data.metrics.get(key) != value:
            points.append(Metric(key, float(value), now, 0))
    for name, values in series.items():
        points += [
            Metric(metric_name(name), float(value), run.info.start_time, step)
            for step, value in enumerate(values, start=1)
            if math.isfinite(value)
        ]
    return points


def _log_table(tracking: Tracking, run: Run, table: pd.DataFrame, name: str) -> None:
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    with tracking.alone():
        tracking.client.log_text(run.info.run_id, text.getvalue(), name)


def _log_files(tracking: Tracking, run: Run, files: Mapping[str, Path], folder: str | None) -> None:
    with tracking.alone():
        for file in files.values():
            tracking.client.log_artifact(run.info.run_id, str(file), folder)


def _end(tracking: Tracking, run: Run, status: str) -> None:
    with tracking.alone():
        tracking.client.set_terminated(run.info.run_id, status)
