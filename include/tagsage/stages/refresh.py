"""A champion of an earlier run gets to know this run's lists, authors and tags."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import MODEL_CODE, VECTORS, Blocks, Ref, load_labels, load_snapshot
from tagsage.stages.backends import tracking_of
from tagsage.stages.promote import Promoted
from tagsage.stages.tagger import UnusableModelError, load_tagger

if TYPE_CHECKING:
    from tagsage.registry.versions import Version

logger = logging.getLogger(__name__)


def refresh_champion(
    token: Token, corpus: Ref, split: Ref, features: Blocks, promoted: Promoted
) -> Promoted:
    """Fit the champion's list means, label sums and author sums again, without a gate.

    Weights, vocabularies, calibration and thresholds stay. The refreshed model is a new version,
    which takes the champion's place, so that it is served, too. Nothing is done when the champion
    knows this corpus, has no such blocks, is pinned, or cannot be used. Returns `promoted` with the
    version that is champion now.
    """
    from tagsage.registry.versions import DATA_DIGEST, STATES_DIGEST, registered_model

    run = RunContext.of(token)
    model = registered_model(tracking_of(run.settings), run.settings.registered_model)
    champion = model.champion
    if champion is None:
        return promoted
    number = champion.number
    digest = run.workspace.open(corpus).summary["digest"]
    known = champion.tags.get(STATES_DIGEST, champion.tags[DATA_DIGEST])
    if known != digest and not model.pinned and _is_refreshable(champion.candidate):
        number = _refresh(run, corpus, split, features, champion, digest)
    return {**promoted, "champion_version": number, "champion_candidate": champion.candidate}


def _is_refreshable(candidate: str) -> bool:
    from tagsage.features import BLOCKS, blocks_of

    return any(BLOCKS[name].refreshable for name in blocks_of(candidate.partition(":")[0]))


def _refresh(
    run: RunContext, corpus: Ref, split: Ref, features: Blocks, champion: Version, digest: str
) -> str:
    """Register the refreshed champion; return the version that is champion now."""
    from tagsage.registry.champion import refresh

    settings, snapshot = run.settings, load_snapshot(run, corpus)
    try:
        loaded = load_tagger(run, champion.number, snapshot, features)
    except UnusableModelError as error:
        logger.warning("%s, so it is not refreshed.", error)
        return champion.number

    def build(folder: Path) -> None:
        from tagsage.features import Articles
        from tagsage.learn.labels import label_matrix
        from tagsage.runner import LocalRunner

        tagger, rows = loaded.tagger, load_labels(run, split).rows
        Y = label_matrix(snapshot.articles["tags"].iloc[rows].tolist(), tagger.candidate.tags)
        with run.workspace.scratch() as scratch:
            articles = loaded.all_articles(Articles.of_snapshot(snapshot), scratch / "vectors.npy")
            refreshed = tagger.features.refreshed(articles, rows, Y, LocalRunner())
        dataclasses.replace(tagger, features=refreshed).save(folder)

    inputs = {
        "model": loaded.model_id,
        "corpus": corpus,
        "split": split,
        "vectors": features[VECTORS],
    }
    artifact = run.artifact("refreshed", inputs, build, code=MODEL_CODE)
    version = refresh(
        tracking_of(settings),
        run.run_id,
        champion,
        name=settings.registered_model,
        tagger=artifact.path,
        tagger_ref=artifact.ref,
        states_digest=digest,
    )
    logger.info("The champion, version %s, was refreshed: now %s.", champion.number, version)
    return version
