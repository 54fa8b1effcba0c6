"""The features joined, every candidate fitted on the one split, the leaderboard."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagsage.errors import TagsageError
from tagsage.run_context import RunContext, Token, file_name
from tagsage.stages.common import (
    KNOWN,
    LEARN_CODE,
    MODEL_FOLDER,
    VECTORS,
    Blocks,
    Ref,
    assignment_inputs,
    feature_matrix,
    load_labels,
    search_inputs,
    search_of,
    tracking_of,
    vectors_of_run,
)

logger = logging.getLogger(__name__)

JUDGED_FOLDER = "judged"


def candidate_names(token: Token) -> list[str]:
    """Return the candidates that are compared, as ``feature_set:classifier``."""
    return [":".join(pair) for pair in RunContext.of(token).settings.parsed_candidates()]


def candidates_without_lists(token: Token) -> list[str]:
    """Return the candidates to fit first: those without lists, and the fallbacks of the others."""
    from tagsage.evaluate.scenarios import fallback_of
    from tagsage.features import needs_lists

    names = candidate_names(token)
    alone = [name for name in names if not needs_lists(name.partition(":")[0])]
    fallbacks = [fallback_of(name) for name in names]
    return list(dict.fromkeys([*alone, *(name for name in fallbacks if name)]))


def candidates_with_lists(token: Token) -> list[str]:
    """Return the candidates whose features know of lists."""
    from tagsage.features import needs_lists

    return [name for name in candidate_names(token) if needs_lists(name.partition(":")[0])]


def fit_candidate(token: Token, split: Ref, features: Blocks, candidate: str) -> Ref:
    """Fit one candidate on the training part, judge it on the test part, log its child run.

    One that is only a fallback of others is fitted, but not logged. One that would take too long or
    too much memory is left out: its ref is then empty, and the leaderboard tells why.
    """
    from tagsage.evaluate.judgement import Judgement
    from tagsage.registry.runs import log_candidate
    from tagsage.report.figures import (
        f1_by_frequency,
        precision_recall_curves,
        reliability_diagram,
    )
    from tagsage.report.picture import save_pictures

    run = RunContext.of(token)
    reason = _too_much(run, split, features, candidate)
    run.record(_left_out_note(candidate), reason)
    if reason:
        logger.warning("%s is left out: %s.", candidate, reason)
        return ""
    artifact = run.workspace.open(candidate_ref(run, split, features, candidate))
    if candidate not in candidate_names(token):
        return artifact.ref
    # The same candidate on other vectors, in another run, is told apart by these.
    about = {"embedder": run.settings.embedder, **vectors_of_run(run, features[VECTORS])}
    judged = Judgement.load(artifact.path / JUDGED_FOLDER)
    pictures = [
        f1_by_frequency(judged.per_tag),
        precision_recall_curves({candidate: judged.curve}),
        reliability_diagram(judged.reliability),
    ]
    with run.workspace.scratch() as folder:
        log_candidate(
            tracking_of(run.settings),
            run.run_id,
            candidate,
            params=about | artifact.summary["fit"],
            scores=artifact.summary["scores"],
            per_tag=judged.per_tag,
            figures=save_pictures(pictures, folder),
        )
    return artifact.ref


def _too_much(run: RunContext, split: Ref, features: Blocks, candidate: str) -> str:
    """Return why a candidate cannot be fitted, as far as can be told; empty when it can."""
    import dataclasses

    import numpy as np

    from tagsage.learn.costs import estimate_cost, reason_to_leave_out

    settings = run.settings
    feature_set, _, classifier = candidate.partition(":")
    Y = load_labels(run, split).Y_train
    cost = estimate_cost(
        classifier,
        rows=len(Y),
        features=feature_matrix(run, features, feature_set).shape[1],
        tags=Y.shape[1],
        label_sets=len(np.unique(np.packbits(Y, axis=1), axis=0)),
    )
    # A trial is a fit on 85%, and one such fit is part of every candidate.
    trials = 1 + max(settings.search_trials - 1, 0) / 2
    return reason_to_leave_out(
        dataclasses.replace(cost, seconds=cost.seconds * trials),
        max_minutes=settings.candidate_max_minutes,
        max_gb=settings.candidate_max_gb,
    )


def _left_out_note(candidate: str) -> str:
    return f"left_out/{file_name(candidate)}"


def candidate_ref(run: RunContext, split: Ref, features: Blocks, candidate: str) -> Ref:
    """Return the ref of a fitted and judged candidate, which is made where there is none."""
    from tagsage.evaluate.judgement import Judgement
    from tagsage.evaluate.scenarios import fallback_of
    from tagsage.features import blocks_of
    from tagsage.learn.candidate import FittedCandidate
    from tagsage.learn.fitting import fit_candidate as fit

    seed = run.settings.seed
    feature_set, _, classifier = candidate.partition(":")
    other = fallback_of(candidate)
    fallback = candidate_ref(run, split, features, other) if other else ""
    inputs = {
        "split": split,
        "features": {block: features[block] for block in (*blocks_of(feature_set), KNOWN)},
        "feature_set": feature_set,
        "assignment": assignment_inputs(run.settings),
        "classifier": classifier,
        "seed": seed,
        "fallback": fallback,
        "search": search_inputs(run.settings),
    }

    def build(folder: Path) -> dict[str, Any]:
        labels = load_labels(run, split)
        X = feature_matrix(run, features, feature_set)
        tuning = feature_matrix(run, features, feature_set, tuning=True)
        fitted = fit(
            X,
            labels.Y_train,
            labels.train_rows,
            tags=labels.tags,
            classifier=classifier,
            seed=seed,
            tuning=tuning,
            assignment=run.settings,
            fallback=FittedCandidate.load(run.workspace.open(fallback).path / MODEL_FOLDER).main
            if fallback
            else None,
            search=search_of(run.settings),
        )
        fitted.save(folder / MODEL_FOLDER)
        started = time.perf_counter()
        answers = fitted.answer(X, labels.test_rows)
        seconds = time.perf_counter() - started
        judged = Judgement.of(fitted, answers, labels.Y_test)
        judged.save(folder / JUDGED_FOLDER)
        scores = {**judged.scores, "predict_seconds": seconds}
        return {"candidate": candidate, "scores": scores, "fit": fitted.summary}

    return run.artifact("candidate", inputs, build, code=LEARN_CODE, label=candidate).ref


def leaderboard(token: Token, split: Ref, *fitted: Sequence[Ref]) -> Ref:
    """Rank the candidates; publishes ``leaderboard.csv``.

    Parameters
    ----------
    token : dict
        The run.
    split : str
        Ref of the split.
    *fitted : sequences of str
        Refs of candidates; those that are only fallbacks of others are not ranked.
    """
    from tagsage.evaluate.leaderboard import rank_candidates

    run = RunContext.of(token)
    named = candidate_names(token)
    reasons = {name: run.recorded(_left_out_note(name)) for name in named}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    if len(left_out) == len(named):
        msg = (
            "No candidate is left: "
            + "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            + ". Raise candidate_max_minutes or candidate_max_gb, or name other candidates."
        )
        raise TagsageError(msg)
    refs = [ref for part in fitted for ref in part or () if ref]
    summaries = {ref: run.workspace.open(ref).summary for ref in refs}
    results = {ref: result for ref, result in summaries.items() if result["candidate"] in named}

    def build(folder: Path) -> dict[str, Any]:
        board = rank_candidates([
            {
                "candidate": result["candidate"],
                **result["scores"],
                "fit_seconds": result["fit"]["fit_seconds"],
            }
            for result in results.values()
        ])
        board.to_csv(folder / "leaderboard.csv", index=False)
        facts = run.workspace.open(split).summary
        of_candidate = {
            result["candidate"]: {**result, "ref": ref} for ref, result in results.items()
        }
        ranking = [of_candidate[candidate] for candidate in board["candidate"]]
        return {
            "best": ranking[0],
            "ranking": ranking,
            "left_out": left_out,
            "candidates": {result["candidate"]: result["scores"] for result in results.values()},
            "split": {
                **facts,
                "test_share": run.settings.test_share,
                "seed": run.settings.seed,
            },
        }

    inputs = {"split": split, "fitted": list(results), "left_out": left_out}
    artifact = run.artifact("leaderboard", inputs, build, code=LEARN_CODE)
    run.workspace.publish(artifact.path / "leaderboard.csv", "leaderboard.csv")
    return artifact.ref
