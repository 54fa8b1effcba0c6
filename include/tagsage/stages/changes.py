"""What is new in this run's predictions, beside those of the run before."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.stages.common import LEARN_CODE, PREDICTIONS, Ref
from tagsage.workspace import Artifact

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

CHANGES_FILE = "changes.csv"
CHANGED_EXAMPLES_FILE = "examples.json"
EXAMPLES = 12
# What a run records: the predictions that its own are compared with, and the result.
BEFORE, CHANGES = "predictions_before", "changes"
# The workspace's newest predictions, and whose they are.
LATEST = "runs/predicted.json"


def predictions_before(run: RunContext) -> Ref:
    """Return the predictions of the run before; empty when there are none.

    They are recorded by the first call of the run: a task that is run again, after its run's own
    predictions have become the newest, compares with the same as at first.
    """

    def find() -> Ref:
        latest = run.workspace.read_json(LATEST) or {"run_id": "", "ref": ""}
        return "" if latest["run_id"] == run.run_id else str(latest["ref"])

    return str(run.record_once(BEFORE, find))


def latest_predictions(run: RunContext) -> Ref:
    """Return the workspace's newest predictions, of whichever run; empty when there are none."""
    latest = run.workspace.read_json(LATEST) or {"ref": ""}
    return str(latest["ref"]) if run.workspace.exists(latest["ref"]) else ""


def remember_predictions(run: RunContext, predictions: Artifact) -> None:
    """Record that these are the workspace's newest: the next run compares with them."""
    run.workspace.write_json(LATEST, {"run_id": run.run_id, "ref": predictions.ref})


def publish_changes(
    run: RunContext, before: Ref, predictions: Artifact, snapshot: Snapshot
) -> None:
    """Compare this run's predictions with those of the run before; publishes ``changes.csv``.

    Without earlier ones there is no such file, and nothing is recorded.
    """
    import pandas as pd

    from tagsage.evaluate.changes import compare_predictions

    workspace = run.workspace
    if not before or not workspace.exists(before):
        workspace.unpublish(CHANGES_FILE)
        run.record(CHANGES, "")
        logger.info("changes: there are no earlier predictions to compare with")
        return

    def build(folder: Path) -> dict[str, Any]:
        tables = (
            pd.read_parquet(artifact.path / f"{PREDICTIONS}.parquet")
            for artifact in (workspace.open(before), predictions)
        )
        changes, counts = compare_predictions(*tables)
        changes.to_csv(folder / CHANGES_FILE, index=False)
        examples = _examples(changes, snapshot, seed=run.settings.seed)
        (folder / CHANGED_EXAMPLES_FILE).write_text(json.dumps(examples), encoding="utf-8")
        return {"listed": len(changes), **asdict(counts)}

    inputs = {"before": before, "after": predictions.ref}
    artifact = run.artifact("changes", inputs, build, code=LEARN_CODE)
    workspace.publish(artifact.path / CHANGES_FILE, CHANGES_FILE)
    run.record(CHANGES, artifact.ref)
    logger.info("changes since the run before: %s", artifact.summary)


def _examples(changes: pd.DataFrame, snapshot: Snapshot, *, seed: int) -> list[dict[str, Any]]:
    """Return a few articles of the corpus, drawn at random, with the tags they gained and lost."""
    import numpy as np

    was = changes["assigned_before"].fillna(0).to_numpy() == 1
    is_now = changes["assigned"].fillna(0).to_numpy() == 1
    flipped = changes[was != is_now].assign(gained=is_now[was != is_now])
    titles = snapshot.articles.drop_duplicates("url").set_index("url")["title"]
    stories = np.intersect1d(flipped["story"].unique(), titles.index)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(stories))[:EXAMPLES])
    shown = flipped[flipped["story"].isin(stories[drawn])]
    return [
        {
            "title": str(titles[story]),
            "url": story,
            "gained": part["tag"][part["gained"]].tolist(),
            "lost": part["tag"][~part["gained"]].tolist(),
        }
        for story, part in shown.groupby("story")
    ]
