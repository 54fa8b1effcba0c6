"""Every candidate fitted on the one split and scored, and the leaderboard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagsage.run_context import RunContext, Token
from tagsage.settings import Settings
from tagsage.stages.artifacts import (
    KNOWN,
    LEARN_CODE,
    MODEL_FOLDER,
    SCORED_FOLDER,
    VECTORS,
    Blocks,
    Ref,
    feature_matrix,
    load_fitted,
    load_labels,
    load_scored,
)
from tagsage.stages.backends import tracking_of
from tagsage.stages.candidates import chosen_before
from tagsage.stages.embed import vectors_of_run

LEADERBOARD_FILE = "leaderboard.csv"


def fit_candidate(token: Token, split: Ref, features: Blocks, candidate: str) -> Ref:
    """Fit one candidate on the training part, score it on the test part, log its child run."""
    from tagsage.registry.runs import log_candidate
    from tagsage.report.figures import (
        f1_by_frequency,
        precision_recall_curves,
        reliability_diagram,
    )
    from tagsage.report.picture import save_pictures

    run = RunContext.of(token)
    artifact = run.workspace.open(fitted_candidate(run, split, features, candidate))
    # The same candidate on other vectors, in another run, is told apart by these.
    about = {"embedder": run.settings.embedder, **vectors_of_run(run, features[VECTORS])}
    scored = load_scored(run, artifact.ref)
    pictures = [
        f1_by_frequency(scored.per_tag),
        precision_recall_curves({candidate: scored.curve}),
        reliability_diagram(scored.reliability),
    ]
    with run.workspace.scratch() as folder:
        log_candidate(
            tracking_of(run.settings),
            run.run_id,
            candidate,
            params=about | artifact.summary["fit"],
            scores=artifact.summary["scores"],
            per_tag=scored.per_tag,
            figures=save_pictures(pictures, folder),
        )
    return artifact.ref


def fitted_candidate(run: RunContext, split: Ref, features: Blocks, candidate: str) -> Ref:
    """Return the ref of a fitted and scored candidate, which is made where there is none."""
    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.evaluate.study import study_scores
    from tagsage.features import blocks_of
    from tagsage.learn.candidate_names import fallback_of
    from tagsage.learn.fitting import fit_candidate as fit

    settings = run.settings
    feature_set, _, classifier = candidate.partition(":")
    other = fallback_of(candidate)
    fallback = fitted_candidate(run, split, features, other) if other else ""
    like = chosen_before(run, split, candidate)
    inputs = {
        "split": split,
        "features": {block: features[block] for block in (*blocks_of(feature_set), KNOWN)},
        "feature_set": feature_set,
        "classifier": classifier,
        "fallback": fallback,
        "like": like,
        **fit_inputs(settings),
    }

    def build(folder: Path) -> dict[str, Any]:
        labels = load_labels(run, split)
        X = feature_matrix(run, features, feature_set)
        fitted = fit(
            X,
            labels.Y_train,
            labels.train_rows,
            tags=labels.tags,
            classifier=classifier,
            seed=settings.seed,
            tuning=feature_matrix(run, features, feature_set, tuning=True),
            settings=settings,
            fallback=load_fitted(run, fallback).main if fallback else None,
            search_trials=settings.search_trials,
            like=load_fitted(run, like) if like else None,
        )
        fitted.save(folder / MODEL_FOLDER)
        started = time.perf_counter()
        predictions = fitted.predict(X, labels.test_rows)
        seconds = time.perf_counter() - started
        scored = ScoredCandidate.of(fitted, predictions, labels.Y_test, Y_train=labels.Y_train)
        scored.save(folder / SCORED_FOLDER)
        return {
            "candidate": candidate,
            "like": like,
            "scores": {**scored.scores, "predict_seconds": seconds},
            "study": study_scores(candidate, fitted, X, labels.test_rows, labels.Y_test),
            "fit": fitted.summary,
        }

    return run.artifact("candidate", inputs, build, code=LEARN_CODE, label=candidate).ref


def fit_inputs(settings: Settings) -> dict[str, Any]:
    """Return the settings that a fit depends on, beside its features."""
    names = {"seed", "search_trials", "assign_max_tags", "assign_min_tags"}
    return settings.model_dump(include=names)


def leaderboard(token: Token, split: Ref, fitted: Sequence[Ref]) -> Ref:
    """Rank the fitted candidates; publishes ``leaderboard.csv``."""
    from tagsage.evaluate.leaderboard import rank_candidates

    run = RunContext.of(token)
    results = {ref: run.workspace.open(ref).summary for ref in fitted}

    def build(folder: Path) -> dict[str, Any]:
        board = rank_candidates([
            {
                "candidate": result["candidate"],
                **result["scores"],
                "fit_seconds": result["fit"]["fit_seconds"],
            }
            for result in results.values()
        ])
        board.to_csv(folder / LEADERBOARD_FILE, index=False)
        of_candidate = {
            result["candidate"]: {**result, "ref": ref} for ref, result in results.items()
        }
        ranking = [of_candidate[candidate] for candidate in board["candidate"]]
        return {
            "best": ranking[0],
            "ranking": ranking,
            "candidates": {result["candidate"]: result["scores"] for result in results.values()},
            "split": {
                **run.workspace.open(split).summary,
                "test_share": run.settings.test_share,
                "seed": run.settings.seed,
            },
        }

    inputs = {"split": split, "fitted": list(results)}
    artifact = run.artifact("leaderboard", inputs, build, code=LEARN_CODE)
    run.workspace.publish(artifact.path / LEADERBOARD_FILE, LEADERBOARD_FILE)
    return artifact.ref
