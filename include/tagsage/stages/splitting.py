"""The one split of a run, which goes on from the champion's."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from tagsage.run_context import RunContext, Token
from tagsage.stages.common import LEARN_CODE, Ref, load_snapshot, tracking_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.learn.labels import Labels

logger = logging.getLogger(__name__)

# Notes of a run.
EARLIER_SPLIT = "earlier_split"
SPLIT_TOLD = "split"


class EarlierSplit(TypedDict):
    """The split that goes on.

    `ref` is the champion's frozen test and `version` its version; both are empty where there is no
    champion. `why_new` says why the split of a champion does not go on; `ref` is then empty.
    """

    ref: Ref
    version: str
    why_new: str


def split(token: Token, corpus: Ref) -> Ref:
    """Choose the target tags and the one split that every candidate of the run shares.

    Articles that the champion was trained or tested on keep their part, so that it can be compared
    with on articles that neither has learned from; see :func:`tagsage.learn.split.continued_split`.
    """
    from tagsage.evaluate.frozen import FrozenTest
    from tagsage.features import article_ids
    from tagsage.learn.labels import Labels, label_corpus

    run = RunContext.of(token)
    settings = run.settings
    earlier = _earlier_split(run)
    inputs = {
        "corpus": corpus,
        "min_tag_articles": settings.min_tag_articles,
        "test_share": settings.test_share,
        "seed": settings.seed,
        "earlier": earlier["ref"],
    }

    def part(folder: Path) -> dict[str, Any]:
        articles = load_snapshot(run, corpus).articles
        parts = None
        if earlier["ref"]:
            frozen = FrozenTest.load(run.workspace.open(earlier["ref"]).path)
            parts = frozen.parts(article_ids(articles["key"].tolist()))
        labels = label_corpus(
            articles["tags"].tolist(),
            min_tag_articles=settings.min_tag_articles,
            test_share=settings.test_share,
            seed=settings.seed,
            parts=parts,
        )
        labels.save(folder)
        told = "" if parts is None else _told_split(labels, parts, earlier["version"])
        return {"digest": _digest_of(labels), "told": told}

    parted = run.artifact("parts", inputs, part, code=LEARN_CODE)

    def build(folder: Path) -> dict[str, Any]:
        labels = Labels.load(parted.path)
        labels.save(folder)
        return labels.summary()

    # Named after the parts, not after where they came from: the same parts are the same split, and
    # what was fitted on it is found again.
    same = {
        "corpus": corpus,
        "min_tag_articles": settings.min_tag_articles,
        "parts": parted.summary["digest"],
    }
    artifact = run.artifact("split", same, build, code=LEARN_CODE)
    told = earlier["why_new"] or parted.summary["told"]
    run.record(SPLIT_TOLD, told)
    logger.info("split: %s", artifact.summary)
    if told:
        logger.info("%s", told)
    return artifact.ref


def _earlier_split(run: RunContext) -> EarlierSplit:
    """Find the split that goes on: the champion's.

    What was found is noted: the run run again, when its own winner may be champion, has the same
    split again.
    """
    noted = run.recorded(EARLIER_SPLIT)
    if noted is not None and (not noted["ref"] or run.workspace.exists(noted["ref"])):
        return cast(EarlierSplit, noted)
    found = _split_of_champion(run)
    run.record(EARLIER_SPLIT, dict(found))
    return found


def _split_of_champion(run: RunContext) -> EarlierSplit:
    from tagsage.evaluate.frozen import FrozenTest
    from tagsage.registry.versions import DamagedTestError, load_frozen, registered_model

    settings = run.settings
    tracking = tracking_of(settings)
    champion = registered_model(tracking, settings.registered_model).champion
    if champion is None:
        return EarlierSplit(ref="", version="", why_new="")

    def fetch(folder: Path) -> dict[str, Any]:
        return {"there": load_frozen(tracking, champion, folder)}

    origin = {"run": champion.run_id, "version": champion.number}
    new = f"A new split: the champion's (version {champion.number})"
    try:
        artifact = run.artifact("champion_test", origin, fetch, code=("learn", "registry"))
    except DamagedTestError:
        return EarlierSplit(ref="", version=champion.number, why_new=f"{new} is damaged.")
    if not artifact.summary["there"]:
        return EarlierSplit(ref="", version=champion.number, why_new=f"{new} is not known.")
    frozen = FrozenTest.load(artifact.path)
    if (frozen.seed, frozen.test_share) != (settings.seed, settings.test_share):
        other = f"seed={frozen.seed} and test_share={frozen.test_share:g}"
        return EarlierSplit(
            ref="", version=champion.number, why_new=f"{new} was made with {other}."
        )
    return EarlierSplit(ref=artifact.ref, version=champion.number, why_new="")


def _told_split(labels: Labels, parts: npt.NDArray[np.int8], version: str) -> str:
    """Say how the split comes from the champion's."""
    from tagsage.learn.split import NEW, TEST, TRAIN

    known = parts[labels.rows]
    moved = (known[labels.train] == TEST).any() or (known[labels.test] == TRAIN).any()
    new = int((known == NEW).sum())
    if moved or new == len(known):
        return (
            f"A new split: too few of the articles that the champion (version {version}) was "
            "trained and tested on are left to keep their parts."
        )
    return (
        f"The split is that of the champion (version {version}): {len(known) - new:,} articles "
        f"keep their part, {new:,} are new."
    )


def _digest_of(labels: Labels) -> str:
    """Return a digest of the parts."""
    import hashlib

    digest = hashlib.sha256(labels.rows.astype("<i8").tobytes())
    digest.update(labels.test.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
