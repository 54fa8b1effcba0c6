"""The best candidate with lists and the best on text, compared in each scenario."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import (
    KNOWN,
    LEARN_CODE,
    VECTORS,
    Blocks,
    Ref,
    load_articles,
    load_fitted,
    load_labels,
    load_snapshot,
)
from tagsage.stages.backends import runner_of
from tagsage.stages.candidates import compared
from tagsage.stages.compare import fit_inputs

if TYPE_CHECKING:
    from tagsage.evaluate.scenarios import ScenarioInputs

logger = logging.getLogger(__name__)


def best_candidates(run: RunContext, board: Ref) -> dict[str, dict[str, Any]]:
    """Return the lines of the best candidate on text and the best with lists, by role."""
    from tagsage.evaluate.leaderboard import best_text_and_graph

    return best_text_and_graph(run.workspace.open(board).summary["ranking"])


def scenarios(token: Token, board: Ref) -> list[str]:
    """Return the scenarios to evaluate, a task each: ``inductive``, ``split 43``, ``share 0.5``.

    Empty when only finalists are compared, and when the leaderboard has no candidate on text, or
    none with lists.
    """
    run = RunContext.of(token)
    settings = run.settings
    if compared(run)["what"] == "finalists":
        return []
    if len(best_candidates(run, board)) < 2:
        logger.info("There is no candidate on text, or none with lists: nothing to compare.")
        return []
    further = range(settings.seed + 1, settings.seed + settings.splits)
    return [
        *settings.chosen_scenarios(),
        *(f"split {seed}" for seed in further),
        *(f"share {share:g}" for share in settings.chosen_shares()),
    ]


def evaluate_scenario(
    token: Token, corpus: Ref, split: Ref, features: Blocks, board: Ref, scenario: str
) -> Ref:
    """Evaluate both candidates in one scenario.

    The artifact's summary holds ``rows``, and ``reason`` where the scenario could not be evaluated.
    """
    from tagsage.evaluate.scenarios import NotMeasuredError
    from tagsage.evaluate.scenarios import evaluate_scenario as evaluate

    run = RunContext.of(token)
    settings, best = run.settings, best_candidates(run, board)
    inputs = {
        "corpus": corpus,
        "split": split,
        "features": features,
        "best": {role: row["ref"] for role, row in best.items()},
        "scenario": scenario,
        "within_split": settings.chosen_scenarios() if scenario.startswith("split") else [],
        "settings": _block_settings(run, [row["candidate"] for row in best.values()]),
        "test_share": settings.test_share,
        **fit_inputs(settings),
    }

    def build(folder: Path) -> dict[str, Any]:
        with run.workspace.scratch() as scratch:
            given = _inputs(run, corpus, split, features, best, scratch)
            try:
                rows = evaluate(given, scenario, folder)
            except NotMeasuredError as error:
                return {"scenario": scenario, "rows": [], "reason": str(error)}
        return {"scenario": scenario, "rows": rows, "reason": ""}

    code = (*LEARN_CODE, "embed", "graph")
    artifact = run.artifact("scenario", inputs, build, code=code, label=scenario)
    logger.info("%s: %s", scenario, artifact.summary["reason"] or "evaluated")
    return artifact.ref


def _inputs(
    run: RunContext,
    corpus: Ref,
    split: Ref,
    features: Blocks,
    best: dict[str, dict[str, Any]],
    scratch: Path,
) -> ScenarioInputs:
    from tagsage.evaluate.scenarios import Conditions, ScenarioInputs
    from tagsage.features import KnownArticles

    labels = load_labels(run, split)
    path = {name: run.workspace.open(ref).path for name, ref in features.items()}
    return ScenarioInputs(
        conditions=Conditions(
            load_articles(run, corpus, features[VECTORS]),
            labels.rows,
            {name: folder for name, folder in path.items() if name not in {VECTORS, KNOWN}},
            run.settings,
            scratch,
            runner_of(run),
        ),
        labels=labels,
        known=KnownArticles.load(path[KNOWN]),
        dates=load_snapshot(run, corpus).articles["date"].to_numpy(),
        candidates={role: row["candidate"] for role, row in best.items()},
        compared=load_fitted(run, best["graph"]["ref"]),
    )


def _block_settings(run: RunContext, candidates: list[str]) -> dict[str, Any]:
    """Return the settings that the candidates' blocks depend on."""
    from tagsage.features import BLOCKS, blocks_of

    blocks = {block for name in candidates for block in blocks_of(name.partition(":")[0])}
    return run.settings.model_dump(
        include={name for block in blocks for name in BLOCKS[block].settings}
    )
