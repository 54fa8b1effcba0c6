"""Tags that tagged articles lack: suggested, and kept apart from all else."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.progress import track
from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import MODEL_CODE, Blocks, Ref, load_snapshot
from tagsage.stages.backends import open_store
from tagsage.stages.predict import UNUSABLE
from tagsage.stages.tag_tables import (
    EXAMPLES_FILE,
    SUGGESTIONS,
    lines_of_stories,
    publish_table,
    read_table,
    write_table,
)
from tagsage.stages.tagger import BLOCK_ROWS, LoadedTagger, load_tagger

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

SUGGESTED = "suggested"


def suggest(token: Token, corpus: Ref, features: Blocks, predicted: Ref) -> Ref:
    """Write the tags that tagged articles lack although the model that predicted is sure of them.

    Publishes ``suggestions.csv`` and ``suggestions.parquet``. A tagged article's features leave its
    own tags out. A trial suggests nothing, and leaves the suggestions that are there; so does a run
    whose champion cannot be used, which the stage predict records.
    """
    from tagsage.report.examples import write_examples

    run = RunContext.of(token)
    if run.is_trial or run.recorded(UNUSABLE):
        run.record(SUGGESTED, "")
        return ""
    version = str(run.workspace.open(predicted).summary["version"])
    inputs = {
        "corpus": corpus,
        "features": features,
        # They stand for the model that made them.
        "predictions": predicted,
        "min_score": run.settings.suggest_min_score,
    }

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        model = load_tagger(run, version, snapshot, features)
        is_tagged = snapshot.articles["tags"].map(len) > 0
        rows = (is_tagged & ~snapshot.articles["is_stub"]).to_numpy().nonzero()[0]
        counts: Counter[str] = Counter()

        def parts() -> Iterator[pd.DataFrame]:
            least = run.settings.suggest_min_score
            for lines in _missing_tags(model, snapshot, rows, min_score=least):
                counts.update(articles=lines["row"].nunique(), tags=len(lines))
                yield lines_of_stories(lines, snapshot, version)

        write_table(folder, SUGGESTIONS, parts())
        file, table = folder / EXAMPLES_FILE, folder / f"{SUGGESTIONS}.parquet"
        write_examples(file, snapshot.articles, table, seed=run.settings.seed)
        return {
            "tagged_articles": len(rows),
            "articles": counts["articles"],
            "tags": counts["tags"],
            "version": version,
        }

    artifact = run.artifact("suggestions", inputs, build, code=(*MODEL_CODE, "report"))
    suggestions = read_table(artifact.path, SUGGESTIONS)
    with open_store(run) as store:
        written = store.write_suggestions(suggestions, run_id=run.run_id, model_version=version)
    publish_table(run, artifact.path, SUGGESTIONS)
    run.record(SUGGESTED, artifact.ref)
    logger.info("suggestions: %s; in the store: %s", artifact.summary, written)
    return artifact.ref


def _missing_tags(
    model: LoadedTagger, snapshot: Snapshot, rows: npt.NDArray[np.int64], *, min_score: float
) -> Iterator[pd.DataFrame]:
    """Yield the tags that the articles `rows` lack, block by block."""
    import numpy as np
    import pandas as pd

    from tagsage.features import Articles
    from tagsage.learn.labels import label_matrix
    from tagsage.learn.predictions import missing_tags

    corpus, fitted = Articles.of_snapshot(snapshot), model.tagger.candidate
    # The columns of a table without lines.
    yield pd.DataFrame({"row": rows[:0], "tag": [], "score": []})
    for start in track(range(0, len(rows), BLOCK_ROWS), "suggesting: blocks of articles"):
        block = rows[start : start + BLOCK_ROWS]
        known = label_matrix(snapshot.articles["tags"].iloc[block].tolist(), fitted.tags)
        P, assigned = fitted.predict(model.features(corpus, block), np.arange(len(block)))
        yield missing_tags(P, assigned, known, tags=fitted.tags, min_score=min_score, rows=block)
