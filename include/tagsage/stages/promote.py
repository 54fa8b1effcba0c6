"""The winner: refitted on every tagged article, registered, and promoted when it is better."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from tagsage.files import write_json
from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import (
    KNOWN,
    LEARN_CODE,
    MODEL_CODE,
    MODEL_FOLDER,
    VECTORS,
    Blocks,
    Ref,
    feature_matrix,
    load_fitted,
    load_labels,
    load_vectors,
)
from tagsage.stages.backends import log_results, tracking_of
from tagsage.stages.compare_with_champion import freeze_test, make_decision
from tagsage.stages.features import fit_on_all
from tagsage.stages.refresh import refresh_champion
from tagsage.workspace import Artifact

if TYPE_CHECKING:
    from tagsage.evaluate.promotion import Decision

logger = logging.getLogger(__name__)


class Promoted(TypedDict):
    """What later stages need of the promotion."""

    winner: str
    version: str
    champion_version: str
    champion_candidate: str  # the candidate of `champion_version`
    promoted: bool
    reason: str
    decision: dict[str, Any]


def promote(token: Token, corpus: Ref, split: Ref, features: Blocks, board: Ref) -> Promoted:
    """Refit the winner on every tagged article, register it, and decide whether it is champion.

    Then a champion of an earlier run is refreshed (:mod:`tagsage.stages.refresh`).
    """
    from tagsage.registry.versions import register_version

    run = RunContext.of(token)
    tracking, name = tracking_of(run.settings), run.settings.registered_model
    ranked = run.workspace.open(board).summary
    best, counts = ranked["best"], ranked["split"]
    winner: str = best["candidate"]
    # The comparison is over: now the labels of the test part may be known, too.
    features = fit_on_all(run, corpus, split, features, winner.partition(":")[0])
    model = _refitted(run, split, features, best)
    log_results(
        run,
        metrics={f"winner_{name}": value for name, value in best["scores"].items()},
        tags={
            "tagsage.winner_fit": json.dumps(best["fit"]),
            "tagsage.winner_refit": json.dumps(model.summary["fit"]),
        },
    )
    tagger = _tagger(run, features, winner, model.ref)
    version = register_version(
        tracking,
        run.run_id,
        winner,
        name=name,
        tagger=tagger.path,
        tagger_ref=tagger.ref,
        frozen=freeze_test(run, corpus, split, best["ref"]).path,
        micro_f1=best["scores"]["micro_f1"],
        data_digest=run.workspace.open(corpus).summary["digest"],
        description=(
            f"{winner}, the best of {len(ranked['candidates'])} candidates by micro-F1 "
            f"({best['scores']['micro_f1']:.4f} on {counts['test_articles']:,} test articles), "
            f"refitted on all {counts['labelled_articles']:,} tagged articles."
        ),
        trial=run.is_trial,
    )
    decision = make_decision(run, corpus, split, features, best, tagger, version)
    _log_decision(run, winner, decision)
    logger.info("%s", decision.reason)
    champion = refresh_champion(run, corpus, split, features)
    return Promoted(
        winner=winner,
        version=version,
        champion_version=champion.number if champion else "",
        champion_candidate=champion.candidate if champion else "",
        promoted=decision.promoted,
        reason=decision.reason,
        decision=asdict(decision),
    )


def _refitted(run: RunContext, split: Ref, features: Blocks, best: dict[str, Any]) -> Artifact:
    from tagsage.learn.fitting import refit_candidate

    def build(folder: Path) -> dict[str, Any]:
        labels = load_labels(run, split)
        X = feature_matrix(run, features, best["candidate"].partition(":")[0])
        fitted = refit_candidate(X, labels.Y, labels.rows, like=load_fitted(run, best["ref"]))
        fitted.save(folder)
        return {"fit": fitted.summary}

    # The candidate's ref stands for its split, features, classifier and seed.
    return run.artifact("winner", {"candidate": best["ref"]}, build, code=LEARN_CODE)


def _tagger(run: RunContext, features: Blocks, winner: str, model: Ref) -> Artifact:
    """Gather what the winner needs to tag articles."""
    from tagsage.features import blocks_of
    from tagsage.features.fitting import STATE_FOLDER
    from tagsage.registry.tagger import write_tagger

    feature_set = winner.partition(":")[0]
    names, vectors = blocks_of(feature_set), features[VECTORS]

    def build(folder: Path) -> None:
        path = {name: run.workspace.open(features[name]).path for name in (*names, KNOWN)}
        embedder = run.workspace.open(vectors).path / MODEL_FOLDER
        write_tagger(
            folder,
            candidate=run.workspace.open(model).path,
            feature_set=feature_set,
            known=path[KNOWN],
            blocks={name: path[name] / STATE_FOLDER for name in names},
            embedder=embedder if embedder.is_dir() else None,
            dimensions=load_vectors(run, vectors).shape[1],
        )

    needed = {name: features[name] for name in (*names, KNOWN)}
    inputs = {"model": model, "features": needed, "vectors": vectors}
    return run.artifact("tagger", inputs, build, code=MODEL_CODE)


def _log_decision(run: RunContext, winner: str, decision: Decision) -> None:
    """Log the decision with its numbers to the run in MLflow."""
    values = asdict(decision)
    metrics = {f"promotion_{name}": value for name, value in (decision.gain or {}).items()}
    for check in decision.checks:
        name = f"promotion_{check['name'].replace(' ', '_')}"
        metrics |= {name: check["value"], f"{name}_limit": check["limit"]}
    broken = [check["name"] for check in decision.checks if not check["passed"]]
    with run.workspace.scratch() as folder:
        file = folder / "promotion.json"
        write_json(file, values)
        log_results(
            run,
            metrics={name: value for name, value in metrics.items() if value is not None},
            tags={
                "tagsage.winner": winner,
                **{
                    f"tagsage.promotion.{name}": str(value)
                    for name, value in values.items()
                    if name not in {"gain", "checks", "evidence"}
                },
                "tagsage.promotion.broken_guards": ", ".join(broken),
            },
            files={"promotion.json": file},
        )
