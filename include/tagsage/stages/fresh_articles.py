"""Fresh articles, which got tags since the last run: held out of a run, and asked who is better."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.evaluate.fresh_evidence import FreshEvidence
    from tagsage.registry.versions import Version
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

# In the artifact of the split: the rows of the fresh articles, and their families.
FRESH_FILE = "fresh.npy"
# What a run records: the version since which articles are fresh; empty where none are held out.
SINCE_VERSION = "fresh_since"


def frozen_test_of(run: RunContext, version: Version) -> Artifact:
    """Fetch a version's frozen test from the registry; the summary says whether it is ``there``.

    Raises `DamagedTestError` when files are damaged.
    """
    from tagsage.registry.versions import load_frozen

    def fetch(folder: Path) -> dict[str, Any]:
        return {"there": load_frozen(tracking_of(run.settings), version, folder)}

    origin = {"run": version.run_id, "version": version.number}
    code, label = ("learn", "evaluate", "registry"), f"version {version.number}"
    return run.artifact("frozen_test_of", origin, fetch, code=code, label=label)


def hold_out(run: RunContext, articles: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the rows of the articles that this run must not learn from, and will be judged on.

    Those that were tagged since the last run, where there is a champion; none in a trial. What was
    found is recorded: the run run again holds out the same.
    """
    import numpy as np

    from tagsage.evaluate.fresh_evidence import fresh_rows
    from tagsage.evaluate.frozen_test import FrozenTest
    from tagsage.features import article_ids
    from tagsage.registry.champion import last_decided
    from tagsage.registry.versions import DamagedTestError, registered_model

    model = registered_model(tracking_of(run.settings), run.settings.registered_model)
    is_judged = model.champion is not None and not run.is_trial
    last = last_decided(model, run_id=run.run_id) if is_judged else None
    number = run.record_once(SINCE_VERSION, lambda: last.number if last else "")
    try:
        kept = frozen_test_of(run, model.version(number)) if number else None
    except DamagedTestError as error:
        logger.warning("No article is held out as fresh: %s", error)
        kept = None
    if kept is None or not kept.summary["there"]:
        return np.zeros(0, dtype=np.int64)
    return fresh_rows(
        article_ids(articles["key"].tolist()),
        (articles["tags"].map(len) > 0).to_numpy(),
        FrozenTest.load(kept.path).tagged,
        seed=run.settings.seed,
    )


def with_fresh_articles(
    run: RunContext,
    evidence: FreshEvidence,
    corpus: Ref,
    split: Ref,
    features: Blocks,
    versions: tuple[Version, Version],
    last: Version | None,
) -> FreshEvidence:
    """Return the evidence with that of this run's fresh articles.

    `versions` are the challenger and the champion: both know this run's texts and lists, and
    neither has seen the tags. Where another run has decided since this run's split (`last`), its
    articles may be the same ones, and nothing is added.
    """
    import numpy as np

    rows, families = np.load(run.workspace.open(split).path / FRESH_FILE, allow_pickle=False)
    if not len(rows) or last is None or last.number != run.recorded(SINCE_VERSION):
        return evidence
    try:
        challenger, champion = (_f1(run, corpus, split, features, one, rows) for one in versions)
    except UnusableModelError as error:
        logger.warning("Fresh articles are not looked at: %s", error)
        return evidence
    return evidence.after(challenger - champion, families, margin=run.settings.promote_margin)


def _f1(
    run: RunContext,
    corpus: Ref,
    split: Ref,
    features: Blocks,
    version: Version,
    rows: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    import numpy as np

    from tagsage.evaluate.fresh_evidence import article_f1
    from tagsage.features import Articles
    from tagsage.registry.tagger import Tagger

    snapshot = load_snapshot(run, corpus)
    model = load_tagger(run, version.number, snapshot, features)
    if is_outdated(run, version, corpus):
        refreshed = refreshed_tagger(run, model, corpus, split, features)
        model = replace(model, tagger=Tagger.load(refreshed.path))
    fitted = model.tagger.candidate
    X = model.features(Articles.of_snapshot(snapshot), rows)
    assigned = fitted.predict(X, np.arange(len(rows))).assigned
    return article_f1(snapshot.articles["tags"].iloc[rows].tolist(), assigned, fitted.tags)
