"""Tags that tagged articles lack: suggested, and kept apart from all else."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.progress import track
from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import MODEL_CODE, Blocks, Ref, load_snapshot
from tagsage.stages.backends import open_store, runner_of
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
            for lines in _missing_tags(run, model, snapshot, rows):
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
    run: RunContext, model: LoadedTagger, snapshot: Snapshot, rows: npt.NDArray[np.int64]
) -> Iterator[pd.DataFrame]:
    """Yield the tags that the articles `rows` lack, block by block."""
    import pandas as pd

    from tagsage.features import Articles
    from tagsage.learn.labels import label_matrix
    from tagsage.learn.predictions import suggest_tags

    # The columns of a table without lines.
    yield pd.DataFrame({"row": rows[:0], "tag": [], "score": []})
    corpus, tagger, tags = Articles.of_snapshot(snapshot), model.tagger, snapshot.articles["tags"]
    parts = (
        (part, articles, label_matrix(tags.iloc[part].tolist(), tagger.candidate.tags))
        for part, articles in model.parts(corpus, rows)
    )
    least = run.settings.suggest_min_score
    work = partial(suggest_tags, tagger.features, tagger.candidate, least)
    made = runner_of(run).map(work, parts)
    yield from track(made, "suggesting: blocks of articles", ceil(len(rows) / BLOCK_ROWS))
