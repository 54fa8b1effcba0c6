"""A run on the corpus, settings, code and champion of the last one ends after its checks."""

from __future__ import annotations

import csv
import logging
from dataclasses import fields
from typing import Any

from tagsage.run_context import REPORTED, RunContext
from tagsage.stages.artifacts import Ref
from tagsage.stages.backends import log_results, tracking_of
from tagsage.stages.candidates import why_all
from tagsage.stages.changes import CHANGES_FILE
from tagsage.stages.earlier_run import (
    FINISHED,
    REPLACED,
    champion_of,
    earlier_run,
    vectors_digest,
)
from tagsage.stages.notifications import METRICS, SUMMARY
from tagsage.stages.spending import log_spending

logger = logging.getLogger(__name__)

REPORT = "report.html"
PUBLISHED = ("predictions.csv", "predictions.parquet", "leaderboard.csv", REPORT, METRICS)


def finish_if_nothing_is_new(run: RunContext, corpus: Ref) -> bool:
    """Finish the run, with the results of the last finished run, if it could only repeat it.

    Those results stay in the workspace, the store and the registry; ``changes.csv`` has no rows.
    """
    earlier = earlier_run(run)
    if not _is_same(run, earlier, corpus):
        if earlier:
            # From here on its results are replaced, one by one.
            run.workspace.write_json(FINISHED, {**earlier, REPLACED: True})
        return False
    own = {artifact["stage"] for artifact in run.artifacts()}
    for name, ref in earlier["artifacts"].items():
        if name not in own:
            run.reuse(ref, name)
    sentence = f"Nothing is new since the run {earlier['run_id']}, so its results stay."
    metrics = _metrics(run, earlier["run_id"], sentence)
    with run.workspace.scratch() as folder:
        file = folder / CHANGES_FILE
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerow(_columns())
        run.workspace.publish(file, CHANGES_FILE)
    run.workspace.write_json(METRICS, metrics)
    report = str(run.workspace.root / REPORT)
    run.record(SUMMARY, {"sentence": sentence, "details": [], "report": report})
    log_results(run, tags={"tagsage.nothing_new_since": earlier["run_id"]})
    log_spending(run)
    _finish(run)
    run.record(REPORTED, {"report": report})
    logger.info("%s", sentence)
    return True


def _is_same(run: RunContext, earlier: dict[str, Any], corpus: Ref) -> bool:
    workspace = run.workspace
    return bool(
        earlier
        and earlier["run_id"] != run.run_id
        # No run since then has begun to replace its results.
        and earlier == workspace.read_json(FINISHED)
        and REPLACED not in earlier
        and not why_all(run)
        and earlier["artifacts"]["corpus"] == corpus
        and earlier["vectors"] == vectors_digest(run)
        and earlier["champion"] == champion_of(run)
        and all((workspace.root / name).exists() for name in PUBLISHED)
        and all(workspace.exists(ref) for ref in earlier["artifacts"].values())
    )


def _metrics(run: RunContext, since: str, sentence: str) -> dict[str, Any]:
    from tagsage.evaluate.changes import ChangeCounts

    metrics = run.workspace.read_json(METRICS) or {}
    return {
        **metrics,
        "run_id": run.run_id,
        "nothing_new_since": since,
        "promoted": False,
        "promotion_reason": sentence,
        "changes": {field.name: 0 for field in fields(ChangeCounts)},
        "seconds": {},
    }


def _columns() -> tuple[str, ...]:
    from tagsage.evaluate.changes import COLUMNS

    return COLUMNS


def _finish(run: RunContext) -> None:
    from tagsage.registry.runs import finish

    finish(tracking_of(run.settings), run.run_id, "FINISHED")
