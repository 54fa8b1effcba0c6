"""The end of a run: free what engines hold, remove the files of older runs."""

from __future__ import annotations

import logging

from tagsage.run_context import REPORTED, RunContext, Token, artifacts_of_run, latest_runs
from tagsage.stages.backends import engine_of, tracking_of
from tagsage.stages.spending import log_spending

logger = logging.getLogger(__name__)

RUNS_KEPT = 3


def teardown(token: Token | None) -> None:
    """End the run: drop what engines hold, call an unfinished run failed, remove old files.

    Runs whatever happened before; there is no token when not even the start succeeded. The files
    of the last runs are kept, so that a failed run can be continued.
    """
    if token is None:
        return
    run = RunContext.of(token)
    try:
        engine_of(run).teardown()
    finally:
        _end(run)


def _end(run: RunContext) -> None:
    from tagsage.registry.runs import finish

    if not run.recorded(REPORTED):
        finish(tracking_of(run.settings), run.run_id, "FAILED")
        # A run that failed has spent, too.
        log_spending(run)
        return
    kept = latest_runs(run.workspace, RUNS_KEPT)
    artifacts = [artifact for name in kept for artifact in artifacts_of_run(run.workspace, name)]
    removed = run.workspace.prune({artifact["ref"] for artifact in artifacts})
    logger.info("removed %d artifacts of older runs", removed)
