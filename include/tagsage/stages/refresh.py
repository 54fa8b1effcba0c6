"""A champion of an earlier run gets to know this run's lists, authors and tags."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tagsage.run_context import RunContext
from tagsage.stages.artifacts import Blocks, Ref, load_snapshot
from tagsage.stages.backends import tracking_of
from tagsage.stages.tagger import (
    UnusableModelError,
    is_outdated,
    load_tagger,
    refreshed_tagger,
)

if TYPE_CHECKING:
    from tagsage.registry.versions import Version

logger = logging.getLogger(__name__)


def refresh_champion(run: RunContext, corpus: Ref, split: Ref, features: Blocks) -> Version | None:
    """Fit the champion's list means, label sums and author sums again, without a gate.

    Weights, vocabularies, calibration and thresholds stay. The refreshed model is a new version,
    which takes the champion's place, so that it is served, too. Nothing is done when the champion
    knows this corpus, has no such blocks, is pinned, or cannot be used. Returns the version that is
    champion now.
    """
    from tagsage.registry.champion import refresh
    from tagsage.registry.versions import registered_model

    tracking, name = tracking_of(run.settings), run.settings.registered_model
    model = registered_model(tracking, name)
    champion = model.champion
    if champion is None or model.pinned or not is_outdated(run, champion, corpus):
        return champion
    try:
        loaded = load_tagger(run, champion.number, load_snapshot(run, corpus), features)
    except UnusableModelError as error:
        logger.warning("%s, so it is not refreshed.", error)
        return champion
    artifact = refreshed_tagger(run, loaded, corpus, split, features)
    version = refresh(
        tracking,
        run.run_id,
        champion,
        name=name,
        tagger=artifact.path,
        tagger_ref=artifact.ref,
        states_digest=run.workspace.open(corpus).summary["digest"],
    )
    logger.info("The champion, version %s, was refreshed: now %s.", champion.number, version)
    return registered_model(tracking, name).version(version)
