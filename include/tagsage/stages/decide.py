"""The run's winner beside the champion: what it gains, which guards break, what is decided."""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext
from tagsage.stages.common import (
    LEARN_CODE,
    Ref,
    load_labels,
    load_snapshot,
    tracking_of,
)
from tagsage.stages.compare import JUDGED_FOLDER
from tagsage.workspace import Artifact

if TYPE_CHECKING:
    from tagsage.evaluate.frozen import FrozenTest
    from tagsage.evaluate.judgement import Judgement
    from tagsage.evaluate.promotion import Check, Decision, Gain
    from tagsage.learn.labels import Labels
    from tagsage.registry.versions import Version
    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

REQUESTS = 30
# What is compiled or read at the first requests is not what a request takes.
WARMING_REQUESTS = 3
MEGABYTE = 1e6
# What the guards are called where their earlier values are looked up.
LATENCY, SIZE = "latency", "size of the model"


def freeze_test(run: RunContext, corpus: Ref, split: Ref, candidate: Ref) -> Artifact:
    """Keep what later runs need to be compared with this run's winner; see `FrozenTest`."""

    def build(folder: Path) -> None:
        from tagsage.evaluate.frozen import FrozenTest
        from tagsage.evaluate.judgement import Judgement
        from tagsage.features import article_ids

        labels = load_labels(run, split)
        ids = article_ids(load_snapshot(run, corpus).articles["key"].tolist())
        judged = Judgement.load(run.workspace.open(candidate).path / JUDGED_FOLDER)
        FrozenTest(
            tags=labels.tags,
            test=ids[labels.test_rows],
            train=ids[labels.train_rows],
            assigned=judged.system.assigned,
            scores=judged.scores,
            test_share=run.settings.test_share,
            seed=run.settings.seed,
        ).save(folder)

    inputs = {
        "corpus": corpus,
        "split": split,
        "candidate": candidate,
        "test_share": run.settings.test_share,
        "seed": run.settings.seed,
    }
    return run.artifact("frozen_test", inputs, build, code=LEARN_CODE)


def make_decision(
    run: RunContext, corpus: Ref, split: Ref, best: dict[str, Any], served: Artifact, version: str
) -> tuple[Decision, str]:
    """Compare the version of this run with the champion, try the guards, decide, and carry it out.

    A run that decided before repeats its decision: nothing is measured again.

    Returns
    -------
    decision : Decision
        What was decided.
    champion : str
        The version that is champion now; empty for none.
    """
    from tagsage.registry.champion import carry_out, kept_decision

    tracking, name = tracking_of(run.settings), run.settings.registered_model
    decision = kept_decision(tracking, name, version)
    if decision is None:
        decision = _decide(run, corpus, split, best, served, version)
    return carry_out(tracking, run.run_id, name=name, version=version, decision=decision)


def _decide(
    run: RunContext, corpus: Ref, split: Ref, best: dict[str, Any], served: Artifact, version: str
) -> Decision:
    from tagsage.evaluate.judgement import Judgement
    from tagsage.evaluate.promotion import decide
    from tagsage.registry.champion import pinned_sentence
    from tagsage.registry.versions import DATA_DIGEST, DamagedTestError, registered_model

    model = registered_model(tracking_of(run.settings), run.settings.registered_model)
    champion = model.champion
    judged = Judgement.load(run.workspace.open(best["ref"]).path / JUDGED_FOLDER)
    labels, snapshot = load_labels(run, split), load_snapshot(run, corpus)
    gain, not_comparable, frozen = None, "", None
    checks: list[Check] = []
    if champion is not None:
        try:
            frozen = _frozen_of(run, champion)
            gain, not_comparable, checks = _compare(run, snapshot, labels, judged, champion, frozen)
        except DamagedTestError as error:
            not_comparable = str(error)
    checks += _absolute_checks(run, snapshot, labels, judged, served, version, champion, frozen)
    own = best["scores"]["micro_f1"]
    digest = model.version(version).tags[DATA_DIGEST]
    return decide(
        challenger_version=version,
        champion_version=champion.number if champion else "",
        promote=run.settings.promote,
        limits=run.settings,
        checks=checks,
        gain=gain,
        not_comparable=not_comparable,
        trial=run.is_trial,
        pinned=pinned_sentence(model),
        scores=(own, champion.micro_f1 if champion else None),
        same_data=champion is not None and champion.tags.get(DATA_DIGEST) == digest,
    )


def _frozen_of(run: RunContext, version: Version) -> FrozenTest | None:
    from tagsage.evaluate.frozen import FrozenTest
    from tagsage.registry.versions import load_frozen

    with run.workspace.scratch() as folder:
        if not load_frozen(tracking_of(run.settings), version, folder):
            return None
        return FrozenTest.load(folder)


def _compare(
    run: RunContext,
    snapshot: Snapshot,
    labels: Labels,
    judged: Judgement,
    champion: Version,
    frozen: FrozenTest | None,
) -> tuple[Gain | None, str, list[Check]]:
    """Return the gain, why there is none, and the guards that need both."""
    import numpy as np

    from tagsage.embed.text import article_texts
    from tagsage.evaluate.guards import compare_with_champion
    from tagsage.features import article_ids

    rows = labels.test_rows
    return compare_with_champion(
        judged,
        labels,
        frozen,
        version=champion.number,
        ids=article_ids(snapshot.articles["key"].iloc[rows].tolist()),
        texts=article_texts(snapshot.articles.iloc[rows]),
        list_degree=np.diff(snapshot.incidence().indptr)[rows],
        settings=run.settings,
    )


def _absolute_checks(
    run: RunContext,
    snapshot: Snapshot,
    labels: Labels,
    judged: Judgement,
    served: Artifact,
    version: str,
    champion: Version | None,
    frozen: FrozenTest | None,
) -> list[Check]:
    """Return the guards that a first champion has to pass, too."""
    from tagsage.evaluate.guards import check_calibration, check_most

    limits = run.settings
    latency, about = _latency(run, snapshot, labels, served, version)
    earlier = _earlier_values(champion)
    size = sum(file.stat().st_size for file in served.path.rglob("*") if file.is_file())
    return [
        check_calibration(
            judged.scores["ece_top_5"],
            judged.reliability,
            articles=len(labels.test),
            champion=frozen.scores.get("ece_top_5") if frozen else None,
            limits=limits,
        ),
        check_most(
            LATENCY,
            latency,
            limits.promote_max_latency_ms,
            about=about,
            champion=earlier.get(LATENCY),
        ),
        check_most(
            SIZE,
            size / MEGABYTE,
            limits.promote_max_model_mb,
            about="MB on disk",
            champion=earlier.get(SIZE),
        ),
    ]


def _earlier_values(champion: Version | None) -> dict[str, float]:
    """Return what was measured of the champion when it was the challenger."""
    from tagsage.registry.champion import decision_of

    kept = decision_of(champion.tags) if champion else None
    return {check["name"]: check["value"] for check in kept.checks} if kept else {}


def _latency(
    run: RunContext, snapshot: Snapshot, labels: Labels, served: Artifact, version: str
) -> tuple[float | None, str]:
    """Time requests of one article each; return the median in ms, or None, and words about it."""
    from tagsage.registry.tagger import read_about
    from tagsage.registry.versions import load_version

    about = read_about(served.path)
    if about["embedder"] == "openai":
        # Each request would be paid for, and it is the server's time that would be measured.
        return None, "not measured: each request asks a server for its vector"
    model = load_version(tracking_of(run.settings), run.settings.registered_model, version)
    # A model on given vectors is asked with some.
    dimensions = about["dimensions"] if about["needs_given_vectors"] else 0
    requests = _requests(snapshot, labels, dimensions=dimensions)
    times = []
    for request in requests:
        started = time.perf_counter()
        model.predict([request])
        times.append(1000 * (time.perf_counter() - started))
    measured = times[WARMING_REQUESTS:]
    return statistics.median(measured), f"ms a request, median of {len(measured)}"


def _requests(snapshot: Snapshot, labels: Labels, *, dimensions: int) -> list[dict[str, Any]]:
    """Return requests with the texts and lists of test articles."""
    import numpy as np

    rows = np.resize(labels.test_rows, REQUESTS + WARMING_REQUESTS)
    list_names = snapshot.list_names(snapshot.incidence()[rows])
    requests = []
    for row, lists in zip(rows.tolist(), list_names, strict=True):
        article = snapshot.articles.iloc[row]
        request: dict[str, Any] = {
            "title": str(article["title"]),
            "subtitle": str(article["subtitle"]),
            "lists": lists,
        }
        if dimensions:
            request["vector"] = [0.5] * dimensions
        requests.append(request)
    return requests
