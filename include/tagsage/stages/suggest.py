"""Tags that tagged articles lack: suggested, and kept apart from all else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.progress import track
from tagsage.run_context import RunContext, Token
from tagsage.stages.common import (
    LEARN_CODE,
    SUGGESTIONS,
    Ref,
    feature_matrix,
    load_snapshot,
    open_store,
    publish_table,
    write_table,
)
from tagsage.stages.predict import EXAMPLES_FILE, UNUSABLE, write_examples
from tagsage.stages.promote import Promoted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.features.matrix import FeatureMatrix
    from tagsage.learn.candidate import FittedCandidate

logger = logging.getLogger(__name__)

SUGGESTED = "suggested"
ARTICLES_PER_BLOCK = 1 << 14


def suggest(token: Token, corpus: Ref, promoted: Promoted) -> Ref:
    """Write the tags that tagged articles lack although this run's winner is sure of them.

    Publishes ``suggestions.csv`` and ``suggestions.parquet``. It is always the winner that
    suggests: its features of a tagged article leave the article's own tags out, which those that a
    champion of an earlier run makes do not. A trial suggests nothing, and leaves the suggestions
    that are there; so does a run whose champion cannot be used, which the stage predict records.
    """
    import pandas as pd

    run = RunContext.of(token)
    if run.is_trial or run.recorded(UNUSABLE):
        run.record(SUGGESTED, "")
        return ""
    min_score = run.settings.suggest_min_score

    def build(folder: Path) -> dict[str, Any]:
        from tagsage.learn.candidate import FittedCandidate

        snapshot = load_snapshot(run, corpus)
        is_tagged = snapshot.articles["tags"].map(len) > 0
        rows = (is_tagged & ~snapshot.articles["is_stub"]).to_numpy().nonzero()[0]
        fitted = FittedCandidate.load(run.workspace.open(promoted["model"]).path)
        X = feature_matrix(run, promoted["features"], promoted["winner"].partition(":")[0])
        parts = _missing(fitted, X, snapshot.articles["tags"], rows, min_score=min_score)
        found = pd.concat(parts, ignore_index=True)
        suggestions = pd.DataFrame({
            "story": snapshot.articles["url"].to_numpy()[found["row"].to_numpy()],
            "tag": found["tag"],
            "score": found["score"].astype("float64").round(6),
            "model_version": promoted["version"],
        }).astype({"story": "str", "tag": "str", "model_version": "str"})
        write_table(folder, SUGGESTIONS, suggestions)
        write_examples(
            folder / EXAMPLES_FILE,
            snapshot,
            suggestions.assign(assigned=1),
            seed=run.settings.seed,
        )
        return {
            "tagged_articles": len(rows),
            "articles": int(suggestions["story"].nunique()),
            "tags": len(suggestions),
            "version": promoted["version"],
        }

    inputs = {
        "corpus": corpus,
        "features": promoted["features"],
        "model": promoted["model"],
        "version": promoted["version"],
        "min_score": min_score,
    }
    artifact = run.artifact("suggestions", inputs, build, code=LEARN_CODE)
    suggestions = pd.read_parquet(artifact.path / f"{SUGGESTIONS}.parquet")
    with open_store(run) as store:
        written = store.write_suggestions(
            suggestions, run_id=run.run_id, model_version=promoted["version"]
        )
    publish_table(run, artifact.path, SUGGESTIONS, suggestions)
    run.record(SUGGESTED, artifact.ref)
    logger.info("suggestions: %s; in the store: %s", artifact.summary, written)
    return artifact.ref


def _missing(
    fitted: FittedCandidate,
    X: FeatureMatrix,
    tags: pd.Series[Any],
    rows: npt.NDArray[np.int64],
    *,
    min_score: float,
) -> list[pd.DataFrame]:
    """Return the missing tags, block by block; ``row`` is the article index."""
    import pandas as pd

    from tagsage.features.matrix import row_blocks
    from tagsage.learn.labels import label_matrix
    from tagsage.learn.predictions import missing_tags

    parts = [pd.DataFrame({"row": rows[:0], "tag": [], "score": []})]
    blocks = list(row_blocks(rows, ARTICLES_PER_BLOCK))
    for _, block in track(blocks, "suggesting: blocks of articles"):
        known = label_matrix(tags.iloc[block].tolist(), fitted.tags)
        P, assigned = fitted.predict(X, block)
        parts.append(
            missing_tags(P, assigned, known, tags=fitted.tags, min_score=min_score, rows=block)
        )
    return parts
