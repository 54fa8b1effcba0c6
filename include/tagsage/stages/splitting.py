"""The one split of a run, which continues the champion's."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import IDS_FILE, LEARN_CODE, Ref, load_snapshot
from tagsage.stages.backends import tracking_of
from tagsage.stages.fresh_articles import FRESH_FILE, frozen_test_of, hold_out

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.learn.labels import Labels

logger = logging.getLogger(__name__)

# What a run records: the split that it continues, and a sentence about that.
EARLIER_SPLIT, SPLIT_SENTENCE = "earlier_split", "split"


def split(token: Token, corpus: Ref) -> Ref:
    """Choose the target tags and the one split that every candidate of the run shares.

    Articles that the champion was trained or tested on keep their part, so that it can be compared
    with on articles that neither has learned from; see :func:`tagsage.learn.split.continued_split`.
    Fresh articles (:func:`hold_out`) are in neither part, as if they had no tags.
    """
    import numpy as np

    from tagsage.corpus.fields import UNKNOWN_AUTHOR
    from tagsage.embed.text import article_texts
    from tagsage.evaluate.frozen_test import FrozenTest
    from tagsage.features import article_ids
    from tagsage.learn.families import families
    from tagsage.learn.labels import label_corpus

    run = RunContext.of(token)
    settings = run.settings
    earlier = _earlier_split(run)
    articles = load_snapshot(run, corpus).articles
    ids, parts = article_ids(articles["key"].tolist()), None
    if earlier["ref"]:
        parts = FrozenTest.load(run.workspace.open(earlier["ref"]).path).parts(ids)
    fresh = hold_out(run, articles)
    tags = articles["tags"].tolist()
    for row in fresh.tolist():
        tags[row] = ()
    family = families(
        articles["title"].fillna("").tolist(),
        article_texts(articles),
        articles["author"].replace(UNKNOWN_AUTHOR, "").tolist(),
    )
    labels = label_corpus(
        tags,
        min_tag_articles=settings.min_tag_articles,
        test_share=settings.test_share,
        seed=settings.seed,
        max_articles=settings.max_tagged_articles,
        parts=parts,
        families=family,
    )

    def build(folder: Path) -> dict[str, Any]:
        labels.save(folder)
        np.save(folder / IDS_FILE, ids[labels.rows], allow_pickle=False)
        np.save(folder / FRESH_FILE, np.stack([fresh, family[fresh]]), allow_pickle=False)
        return labels.summary()

    # Named after the parts, not after where they came from: the same parts are the same split, and
    # what was fitted on it is found again.
    digest = hashlib.sha256(labels.rows.astype("<i8").tobytes())
    digest.update(labels.test.astype("<i8").tobytes())
    digest.update(fresh.astype("<i8").tobytes())
    inputs = {
        "corpus": corpus,
        "min_tag_articles": settings.min_tag_articles,
        "parts": digest.hexdigest(),
    }
    artifact = run.artifact("split", inputs, build, code=LEARN_CODE)
    sentence = earlier["why_new"]
    if parts is not None:
        sentence = _sentence(labels, parts, earlier["version"])
    if len(fresh):
        sentence += f" {len(fresh):,} articles that got tags since are held out, as fresh evidence."
    run.record(SPLIT_SENTENCE, sentence)
    logger.info("split: %s %s", artifact.summary, sentence)
    return artifact.ref


def _earlier_split(run: RunContext) -> dict[str, str]:
    """Return the split that is continued: ``ref``, ``version``, ``why_new``.

    `ref` is the champion's frozen test, `version` its version; both are empty without a champion.
    `why_new` says why a champion's split is not continued; `ref` is then empty. What was found is
    recorded: the run run again, when its own winner may be champion, has the same split again.
    """
    found: dict[str, str] | None = run.recorded(EARLIER_SPLIT)
    if found is None or (found["ref"] and not run.workspace.exists(found["ref"])):
        ref, version, why_new = _split_of_champion(run)
        found = {"ref": ref, "version": version, "why_new": why_new}
        run.record(EARLIER_SPLIT, found)
    return found


def _split_of_champion(run: RunContext) -> tuple[Ref, str, str]:
    from tagsage.evaluate.frozen_test import FrozenTest
    from tagsage.registry.versions import DamagedTestError, registered_model

    settings = run.settings
    champion = registered_model(tracking_of(settings), settings.registered_model).champion
    if champion is None:
        return "", "", ""
    new = f"A new split: the champion's (version {champion.number})"
    try:
        artifact = frozen_test_of(run, champion)
    except DamagedTestError:
        return "", champion.number, f"{new} is damaged."
    if not artifact.summary["there"]:
        return "", champion.number, f"{new} is not known."
    frozen = FrozenTest.load(artifact.path)
    if (frozen.seed, frozen.test_share) != (settings.seed, settings.test_share):
        other = f"seed={frozen.seed} and test_share={frozen.test_share:g}"
        return "", champion.number, f"{new} was made with {other}."
    return artifact.ref, champion.number, ""


def _sentence(labels: Labels, parts: npt.NDArray[np.int8], version: str) -> str:
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
