"""The tags of the articles that have none: in the store, in files, and compared with last run's."""

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
from tagsage.stages.changes import latest_predictions, predictions_before, publish_changes
from tagsage.stages.promote import Promoted
from tagsage.stages.tag_tables import (
    EXAMPLES_FILE,
    PREDICTIONS,
    THRESHOLD,
    lines_of_stories,
    publish_table,
    read_table,
    write_table,
)
from tagsage.stages.tagger import BLOCK_ROWS, LoadedTagger, UnusableModelError, load_tagger

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

# What a run records of its predictions: what the store wrote, and why the champion made none.
WRITTEN, UNUSABLE = "predictions_written", "champion_unusable"


def predict(token: Token, corpus: Ref, features: Blocks, promoted: Promoted) -> Ref:
    """Write the best tags of every article that has none, and what is new in them.

    Publishes ``predictions.csv``, ``predictions.parquet`` and ``changes.csv``. The champion
    predicts, as it is kept in the registry; this run's winner where there is no champion. When the
    champion cannot be used, nobody takes its place: the files and the store stay as they were, the
    ref is that of the earlier predictions, and the run's last stage fails.
    """
    from tagsage.report.examples import write_examples

    run = RunContext.of(token)
    before = predictions_before(run)
    snapshot = load_snapshot(run, corpus)
    version = promoted["champion_version"] or promoted["version"]
    model, unusable = None, ""
    try:
        model = load_tagger(run, version, snapshot, features)
    except UnusableModelError as error:
        unusable = (
            f"{error}, so version {version} cannot be used and the predictions stay as they were; "
            "make another version champion with `tagsage model rollback` or `tagsage model promote "
            "VERSION`, then run again."
        )
        logger.error("%s", unusable)
    run.record(UNUSABLE, unusable)
    if unusable and (kept := latest_predictions(run)):
        return kept
    has_none = snapshot.articles["tags"].map(len) == 0
    rows = (has_none & ~snapshot.articles["is_stub"]).to_numpy().nonzero()[0]
    inputs = {
        "corpus": corpus,
        "features": features,
        "model": model.model_id if model else "",
        "version": version,
        "by": "champion" if promoted["champion_version"] else "winner",
        "top_tags": run.settings.top_tags,
    }

    def build(folder: Path) -> dict[str, Any]:
        counts: Counter[str] = Counter()

        def parts() -> Iterator[pd.DataFrame]:
            for lines in _predictions(run, model, snapshot, rows):
                assigned = lines["row"][lines["assigned"] == 1]
                counts.update(assigned=assigned.nunique(), tags=len(assigned))
                yield lines_of_stories(lines, snapshot, version)

        write_table(folder, PREDICTIONS, parts())
        file, table = folder / EXAMPLES_FILE, folder / f"{PREDICTIONS}.parquet"
        write_examples(file, snapshot.articles, table, seed=run.settings.seed)
        return {
            "articles": len(rows),
            "assigned": counts["assigned"],
            "tags": counts["tags"],
            "version": version,
            "candidate": promoted["champion_candidate"] or promoted["winner"],
            "by": inputs["by"],
        }

    artifact = run.artifact("predictions", inputs, build, code=(*MODEL_CODE, "report"))
    if unusable:
        return artifact.ref
    predictions = read_table(artifact.path, PREDICTIONS)
    with open_store(run) as store:
        written = store.write_predictions(predictions, run_id=run.run_id, model_version=version)
    logger.info("predictions: %s; in the store: %s", artifact.summary, written)
    # A task that runs again finds its own predictions: what it wrote at first is what is reported.
    if written.added or written.changed or written.removed or not run.recorded(WRITTEN):
        run.record(WRITTEN, written.to_json())
    publish_table(run, artifact.path, PREDICTIONS)
    publish_changes(run, before, artifact, snapshot)
    return artifact.ref


def _predictions(
    run: RunContext,
    model: LoadedTagger | None,
    snapshot: Snapshot,
    rows: npt.NDArray[np.int64],
) -> Iterator[pd.DataFrame]:
    """Yield ``row``, ``tag``, ``score``, ``assigned`` and ``threshold`` of articles' best tags."""
    import pandas as pd

    from tagsage.features import Articles
    from tagsage.learn.predictions import predict_tags

    types = {"assigned": "int8", THRESHOLD: "float64"}
    # The columns of a table without lines.
    yield pd.DataFrame(columns=["row", "tag", "score", "assigned", THRESHOLD]).astype(types)
    if model is None:
        return
    corpus, tagger = Articles.of_snapshot(snapshot), model.tagger
    work = partial(predict_tags, tagger.features, tagger.candidate, run.settings.top_tags)
    made = runner_of(run).map(work, model.parts(corpus, rows))
    for lines in track(made, "predicting: blocks of articles", ceil(len(rows) / BLOCK_ROWS)):
        yield lines.astype(types)
