"""The run's winner beside the champion: what it gains, which guards break, what is decided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.stages.artifacts import (
    LEARN_CODE,
    Blocks,
    Ref,
    load_labels,
    load_scored,
    load_snapshot,
)
from tagsage.stages.backends import tracking_of
from tagsage.stages.fresh_articles import with_fresh_articles
from tagsage.workspace import Artifact

if TYPE_CHECKING:
    from tagsage.evaluate.frozen_test import FrozenTest
    from tagsage.evaluate.promotion import Decision, Evidence, Guard
    from tagsage.evaluate.promotion_guards import Comparison
    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.learn.labels import Labels
    from tagsage.registry.versions import RegisteredModel, Version
    from tagsage.store.snapshot import Snapshot

MEGABYTE = 1e6
# The guards whose earlier values are looked up by name.
LATENCY, SIZE = "latency", "size of the model"


def freeze_test(run: RunContext, corpus: Ref, split: Ref, candidate: Ref) -> Artifact:
    """Keep what later runs need to be compared with this run's winner; see `FrozenTest`."""

    def build(folder: Path) -> None:
        from tagsage.evaluate.frozen_test import FrozenTest
        from tagsage.features import article_ids

        labels, articles = load_labels(run, split), load_snapshot(run, corpus).articles
        ids = article_ids(articles["key"].tolist())
        scored = load_scored(run, candidate)
        FrozenTest(
            tags=labels.tags,
            test=ids[labels.test_rows],
            train=ids[labels.train_rows],
            tagged=ids[(articles["tags"].map(len) > 0).to_numpy()],
            assigned=scored.results.assigned,
            scores=scored.scores,
            test_share=run.settings.test_share,
            seed=run.settings.seed,
        ).save(folder)

    inputs = {
        "corpus": corpus,
        "split": split,
        "candidate": candidate,
        **run.settings.model_dump(include={"test_share", "seed"}),
    }
    return run.artifact("frozen_test", inputs, build, code=LEARN_CODE)


def make_decision(
    run: RunContext,
    corpus: Ref,
    split: Ref,
    features: Blocks,
    best: dict[str, Any],
    tagger: Artifact,
    version: str,
) -> Decision:
    """Compare this run's version with the champion, try the guards, decide, and carry it out.

    A run that decided before repeats its decision.
    """
    from tagsage.registry.champion import carry_out, kept_decision

    tracking, name = tracking_of(run.settings), run.settings.registered_model
    decision = kept_decision(tracking, name, version)
    if decision is None:
        decision = _decide(run, corpus, split, features, best, tagger, version)
    decision, _ = carry_out(tracking, run.run_id, name=name, version=version, decision=decision)
    return decision


def _decide(
    run: RunContext,
    corpus: Ref,
    split: Ref,
    features: Blocks,
    best: dict[str, Any],
    tagger: Artifact,
    version: str,
) -> Decision:
    from tagsage.evaluate.promotion import Evidence, decide
    from tagsage.evaluate.promotion_guards import Comparison
    from tagsage.registry.champion import decision_of, last_decided, pinned_sentence
    from tagsage.registry.latency import measure_latency
    from tagsage.registry.versions import DATA_DIGEST, DamagedTestError, registered_model

    tracking, name = tracking_of(run.settings), run.settings.registered_model
    model = registered_model(tracking, name)
    champion, digest = model.champion, model.version(version).tags[DATA_DIGEST]
    scored = load_scored(run, best["ref"])
    labels, snapshot = load_labels(run, split), load_snapshot(run, corpus)
    last = last_decided(model, run_id=run.run_id)
    compared, frozen, evidence = Comparison(None, "", []), None, None
    if champion is not None:
        evidence = Evidence.of(decision_of(last.tags) if last else None, champion=champion.origin)
        versions = (model.version(version), champion)
        fresh = with_fresh_articles(run, evidence.fresh, corpus, split, features, versions, last)
        try:
            frozen = _frozen_of(run, champion)
            compared = _compare(run, model, snapshot, labels, scored, frozen, evidence)
        except DamagedTestError as error:
            compared = Comparison(None, str(error), [])
        evidence = Evidence(
            champion.origin,
            looks=evidence.looks + (compared.gain is not None),
            fresh=fresh,
            best_version=compared.best_version or evidence.best_version,
        )
    latency_ms = measure_latency(tracking, name, version, tagger.path, snapshot, labels)
    size = sum(file.stat().st_size for file in tagger.path.rglob("*") if file.is_file())
    own = _own_guards(run, scored, champion, frozen, latency_ms=latency_ms, size_mb=size / MEGABYTE)
    return decide(
        challenger_version=version,
        champion_version=champion.number if champion else "",
        settings=run.settings,
        guards=[*compared.guards, *own],
        gain=compared.gain,
        evidence=evidence,
        not_comparable=compared.why_not,
        trial=run.is_trial,
        pinned=pinned_sentence(model),
        scores=(best["scores"]["micro_f1"], champion.micro_f1 if champion else None),
        same_data=champion is not None and champion.tags.get(DATA_DIGEST) == digest,
    )


def _frozen_of(run: RunContext, version: Version | None) -> FrozenTest | None:
    from tagsage.evaluate.frozen_test import FrozenTest
    from tagsage.registry.versions import load_frozen

    if version is None:
        return None
    with run.workspace.scratch() as folder:
        there = load_frozen(tracking_of(run.settings), version, folder)
        return FrozenTest.load(folder) if there else None


def _compare(
    run: RunContext,
    model: RegisteredModel,
    snapshot: Snapshot,
    labels: Labels,
    scored: ScoredCandidate,
    frozen: FrozenTest | None,
    evidence: Evidence,
) -> Comparison:
    import numpy as np

    from tagsage.embed.text import article_texts
    from tagsage.evaluate.promotion_guards import compare_with_champion
    from tagsage.features import article_ids

    rows, version = labels.test_rows, model.champion.number if model.champion else ""
    articles = snapshot.articles.iloc[rows]
    # It may be deleted meanwhile.
    best = next((one for one in model.versions if one.number == evidence.best_version), None)
    return compare_with_champion(
        scored,
        labels,
        frozen,
        version=version,
        look=evidence.looks + 1,
        best=(evidence.best_version, _frozen_of(run, best)),
        ids=article_ids(articles["key"].tolist()),
        texts=article_texts(articles),
        list_degree=np.diff(snapshot.incidence().indptr)[rows],
        settings=run.settings,
    )


def _own_guards(
    run: RunContext,
    scored: ScoredCandidate,
    champion: Version | None,
    frozen: FrozenTest | None,
    *,
    latency_ms: float | None,
    size_mb: float,
) -> list[Guard]:
    """Return the guards that a first champion has to pass, too; `latency_ms` may not apply."""
    from tagsage.evaluate.promotion_guards import guard_calibration, guard_most
    from tagsage.registry.champion import decision_of

    settings = run.settings
    # What was measured of the champion when it was the challenger.
    kept = decision_of(champion.tags) if champion else None
    earlier = {check["name"]: check["value"] for check in kept.checks} if kept else {}
    guards = [
        guard_calibration(
            scored.scores["ece_top_5"],
            scored.reliability,
            champion=frozen.scores.get("ece_top_5") if frozen else None,
            settings=settings,
        ),
        guard_most(
            SIZE, size_mb, settings.promote_max_model_mb, about="MB", champion=earlier.get(SIZE)
        ),
    ]
    if latency_ms is not None:
        limit, about = settings.promote_max_latency_ms, "ms per request, the median"
        guards.append(
            guard_most(LATENCY, latency_ms, limit, about=about, champion=earlier.get(LATENCY))
        )
    return guards
