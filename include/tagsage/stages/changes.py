"""What is new in this run's predictions, beside those of the run before."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.stages.artifacts import LEARN_CODE, Ref
from tagsage.stages.tag_tables import PREDICTIONS, read_table
from tagsage.workspace import Artifact

if TYPE_CHECKING:
    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

CHANGES_FILE = "changes.csv"
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


def publish_changes(
    run: RunContext, before: Ref, predictions: Artifact, snapshot: Snapshot
) -> None:
    """Publish ``changes.csv`` from the predictions of the run before; without any, nothing."""
    import pandas as pd

    from tagsage.evaluate.changes import (
        ChangeCounts,
        changed_examples,
        compare_predictions,
        flipped,
        matching_parts,
    )

    workspace = run.workspace

    def build(folder: Path) -> dict[str, Any]:
        tables = (
            read_table(artifact.path, PREDICTIONS)
            for artifact in (workspace.open(before), predictions)
        )
        counts: list[ChangeCounts] = []
        flips: list[pd.DataFrame] = []
        with (folder / CHANGES_FILE).open("w", encoding="utf-8", newline="") as file:
            for parts in matching_parts(*tables):
                changes, of_part = compare_predictions(*parts)
                changes.to_csv(file, index=False, header=not counts)
                counts.append(of_part)
                flips.append(flipped(changes))
        examples = changed_examples(pd.concat(flips), snapshot.articles, seed=run.settings.seed)
        return {"counts": asdict(reduce(add, counts)), "examples": examples}

    if before and workspace.exists(before):
        inputs = {"before": before, "after": predictions.ref}
        artifact = run.artifact("changes", inputs, build, code=LEARN_CODE)
        workspace.publish(artifact.path / CHANGES_FILE, CHANGES_FILE)
        run.record(CHANGES, artifact.ref)
        logger.info("changes since the run before: %s", artifact.summary["counts"])
    else:
        workspace.unpublish(CHANGES_FILE)
        run.record(CHANGES, "")
        logger.info("changes: there are no earlier predictions to compare with")
    workspace.write_json(LATEST, {"run_id": run.run_id, "ref": predictions.ref})
