"""Publishes the run to the store, from which the pages in Airflow are served."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from tagsage import __version__
from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import Ref, load_labels, load_scored, load_snapshot
from tagsage.stages.backends import open_store, tracking_of
from tagsage.stages.compare import LEADERBOARD_FILE
from tagsage.stages.explain import EXPLANATIONS_FILE
from tagsage.stages.predict import UNUSABLE
from tagsage.stages.promote import Promoted

if TYPE_CHECKING:
    from tagsage.store.snapshot import Snapshot
    from tagsage.store.sql import SqlStore
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

# Of the run's facts, what a trial replaces.
OF_PREDICTIONS = ("counts", "predicted")
# Of the run's facts, what is kept when later runs are published.
KEPT = (
    *("run_id", "started", "winner", "promoted", "model_version", "champion_version"),
    *OF_PREDICTIONS,
)


def publish(
    token: Token,
    corpus: Ref,
    split: Ref,
    board: Ref,
    promoted: Promoted,
    predicted: Ref,
    explained: Ref = "",
) -> None:
    """Publish scores, explanations and the run's facts beside the corpus and the predictions.

    The pages read a SQL store. With store=neo4j that is the SQLite file of the workspace, to which
    the corpus and the predictions are copied first.

    A trial is not kept: the pages go on to show the last ordinary run, with the predictions of now.
    `explained` is empty when nothing was explained.
    """
    from tagsage.app.published import read_facts
    from tagsage.store.publish import Publication
    from tagsage.store.publish import publish as publish_to

    run = RunContext.of(token)
    ranked = run.workspace.open(board)
    facts = _facts(run, load_snapshot(run, corpus), ranked, promoted, predicted)
    target_tags = load_labels(run, split).tags
    facts["counts"]["target_tags"] = len(target_tags)
    scores = entry = None
    with _pages_store(run, target_tags) as store:
        if run.is_trial:
            with store.database.reading() as connection:
                before = read_facts(connection) or facts | {"leaderboard": []}
            facts = before | {name: facts[name] for name in OF_PREDICTIONS}
        else:
            scores = load_scored(run, ranked.summary["best"]["ref"]).per_tag
            entry = _entry(run, facts, ranked)
        file = run.workspace.open(explained).path / EXPLANATIONS_FILE if explained else None
        left_out = publish_to(store, Publication(facts, target_tags, scores, entry, file))
    if left_out:
        logger.warning("%d explanations of unknown articles are left out.", left_out)


def _pages_store(run: RunContext, target_tags: list[str]) -> SqlStore:
    """Open the store that the pages read; with Neo4j, mark the target tags, and copy all to it."""
    from tagsage.store.copy import copy_store
    from tagsage.store.database import pages_url
    from tagsage.store.sql import SqlStore

    store = open_store(run)
    if isinstance(store, SqlStore):
        return store
    with store:
        store.mark_targets(target_tags)
        pages = SqlStore(pages_url(run.settings))
        copy_store(store, pages, replace=True)
    return pages


def _facts(
    run: RunContext, snapshot: Snapshot, ranked: Artifact, promoted: Promoted, predicted: Ref
) -> dict[str, Any]:
    import pandas as pd

    from tagsage.registry.runs import parent_run

    tracking = tracking_of(run.settings)
    summary = run.workspace.open(predicted).summary
    leaderboard = pd.read_csv(ranked.path / LEADERBOARD_FILE).to_dict("records")
    is_stub = snapshot.articles["is_stub"]
    return {
        "run_id": run.run_id,
        "started": f"{run.started:%d %B %Y, %H:%M} UTC",
        "version": __version__,
        "winner": promoted["winner"],
        "promoted": promoted["promoted"],
        "reason": promoted["reason"],
        "model_version": promoted["version"],
        "champion_version": promoted["champion_version"],
        "leaderboard": [_plain(row) for row in leaderboard],
        "split": ranked.summary["split"],
        "predicted": {
            key: summary[key]
            for key in ("articles", "assigned", "tags", "version", "candidate", "by")
        },
        "unusable": run.recorded(UNUSABLE) or "",
        "counts": {
            "articles": int((~is_stub).sum()),
            "stubs": int(is_stub.sum()),
            "lists": len(snapshot.lists),
            "memberships": len(snapshot.article_index),
        },
        "mlflow": {
            "experiment": tracking.experiment_id,
            "run": parent_run(tracking, run.run_id),
        },
    }


def _entry(run: RunContext, facts: dict[str, Any], ranked: Artifact) -> dict[str, Any]:
    """Return what is kept of the run for the history that the first page draws."""
    return {
        "at": run.started.isoformat(timespec="minutes"),
        **{name: facts[name] for name in KEPT},
        "scores": {name: _plain(scores) for name, scores in ranked.summary["candidates"].items()},
    }


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """Return a row that JSON has: no NaN."""
    return {
        str(name): None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
