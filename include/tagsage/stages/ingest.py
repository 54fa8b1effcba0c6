"""The run begins: settings resolved, the corpus read, stored and frozen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.files import read_json
from tagsage.harvest.csv_export import export_csv
from tagsage.harvest.folder import existing_collection
from tagsage.run_context import REPORTED, STARTED, TRIAL, RunContext, Token
from tagsage.settings import Settings
from tagsage.stages.artifacts import CORPUS_CODE, Ref
from tagsage.stages.backends import open_store, tracking_of
from tagsage.stages.checks import QUARANTINE, check_corpus, earlier_profile
from tagsage.stages.earlier_run import FINISHED, earlier_run, recipe
from tagsage.stages.nothing_new import finish_if_nothing_is_new
from tagsage.stages.notifications import record_mlflow_link

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.corpus.model import Corpus
    from tagsage.corpus.quarantine import Repairs
    from tagsage.registry.tracking import Tracking

logger = logging.getLogger(__name__)


def start(run_id: str, overrides: Mapping[str, Any]) -> Token:
    """Resolve the settings, once for the whole run, and open its run in MLflow.

    The same `run_id` continues the same run. `overrides` are settings by name, from the form or the
    command line. Raises `TagsageError` when a setting is unknown or impossible, or MLflow cannot be
    reached.
    """
    from tagsage.registry.runs import TRIAL as TRIAL_TAG
    from tagsage.registry.runs import log_run

    run = RunContext(run_id, Settings.resolve(overrides))
    settings = run.settings
    if (run.workspace.read_json(FINISHED) or {}).get("recipe") != recipe(run):
        # Else the last run has checked them, and the import takes seconds.
        from tagsage.learn.candidate_names import check_candidates

        check_candidates(settings.parsed_candidates())
    tracking = tracking_of(settings)
    tags: dict[str, str] = {
        name: getattr(settings, name) for name in ("store", "engine", "embedder")
    }
    if run.record_once(TRIAL, lambda: _is_trial(tracking, settings, overrides)):
        tags[TRIAL_TAG] = "true"
    mlflow_run = log_run(tracking, run_id, params=settings.model_dump(mode="json"), tags=tags)
    record_mlflow_link(run, mlflow_run)
    run.record_once(STARTED, lambda: datetime.now(UTC).isoformat())
    earlier_profile(run)
    earlier_run(run)
    run.record(REPORTED, None)
    return run.token()


def _is_trial(tracking: Tracking, settings: Settings, overrides: Mapping[str, Any]) -> bool:
    """Return whether other candidates than the configured ones are compared with a champion."""
    from tagsage.registry.versions import registered_model

    configured = Settings.resolve({**overrides, "candidates": None})
    same = set(settings.parsed_candidates()) == set(configured.parsed_candidates())
    return not same and registered_model(tracking, settings.registered_model).champion is not None


def load_corpus(token: Token) -> Ref:
    """Read the source, check it, put it into the store, and freeze it as the run's snapshot.

    Writes ``quarantine/`` in the workspace. A source that is refused changes nothing in the store,
    and nor does a corpus that fails a check with ``checks=stop``: readers keep their predictions.
    An empty ref says that nothing is new since the last run, and that this one is over.
    """
    from tagsage.registry.runs import DataSet, log_datasets
    from tagsage.store.base import snapshot_of

    run = RunContext.of(token)
    settings = run.settings
    harvested = ""
    if settings.corpus == "harvest":
        with existing_collection(settings) as collection:
            harvested = collection.digest()
    corpus = _read_corpus(run)
    snapshot = snapshot_of(corpus)
    check_corpus(run, snapshot)
    with open_store(run) as store:
        report = store.load(corpus)
    logger.info("corpus: %s", report)
    if harvested:
        # The nightly run need not be started for what it has read.
        with existing_collection(settings) as collection:
            collection.announce(harvested)

    def build(folder: Path) -> dict[str, Any]:
        snapshot.save(folder)
        return {"digest": snapshot.digest}

    artifact = run.artifact("corpus", {"digest": snapshot.digest}, build, code=CORPUS_CODE)
    datasets = [
        DataSet("snapshot", snapshot.digest, settings.store, corpus.counts),
        *(DataSet(name, digest, name, {}) for name, digest in corpus.digests.items()),
    ]
    log_datasets(tracking_of(settings), run.run_id, datasets)
    return "" if finish_if_nothing_is_new(run, artifact.ref) else artifact.ref


def _read_corpus(run: RunContext) -> Corpus:
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.corpus.quarantine import RejectedShareError

    articles, lists = _source_files(run)
    limit = run.settings.max_rejected_share
    try:
        corpus = read_csv_corpus(articles, lists, max_rejected_share=limit)
    except RejectedShareError as error:
        _publish_quarantine(run, error.quarantine)
        raise
    _publish_quarantine(run, corpus.quarantine, corpus.repairs)
    return corpus


def _source_files(run: RunContext) -> tuple[str, str]:
    """Return the files of articles and of lists that the setting `corpus` names, made first."""
    source = run.settings.corpus
    if source == "csv":
        return run.settings.articles, run.settings.lists
    if source == "bundled":
        from tagsage.corpus.bundled import bundled_files

        return bundled_files()
    if source == "medium":
        from tagsage.corpus.medium import medium_files

        return medium_files(run.workspace.local_folder() / "downloads")
    folder = run.workspace.local_folder() / "harvested"
    folder.mkdir(parents=True, exist_ok=True)
    articles, lists = folder / "articles.csv", folder / "lists.csv"
    with existing_collection(run.settings) as collection:
        export_csv(collection, articles, lists)
    return str(articles), str(lists)


def _publish_quarantine(
    run: RunContext, quarantine: pd.DataFrame, repairs: Sequence[Repairs] = ()
) -> None:
    from tagsage.corpus.quarantine import write_quarantine

    with run.workspace.scratch() as folder:
        write_quarantine(quarantine, folder)
        for file in folder.iterdir():
            run.workspace.publish(file, f"quarantine/{file.name}")
        summary = read_json(folder / "summary.json") or {}
    run.record(QUARANTINE, {**summary, "repairs": [asdict(one) for one in repairs]})
    # Of another run, with other vectors.
    run.workspace.unpublish("quarantine/vectors.csv")
