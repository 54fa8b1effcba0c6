"""The tags of the articles that have none: in the store, in files, and beside last run's."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.progress import track
from tagsage.run_context import RunContext, Token
from tagsage.stages.changes import (
    latest_predictions,
    predictions_before,
    publish_changes,
    remember_predictions,
)
from tagsage.stages.common import (
    LEARN_CODE,
    PREDICTIONS,
    Blocks,
    Ref,
    load_snapshot,
    open_store,
    publish_table,
    write_table,
)
from tagsage.stages.promote import Promoted
from tagsage.stages.served import Served, UnusableModelError, articles_for, load_served

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

ARTICLES_A_BLOCK = 8192
# What a run notes of its predictions: what the store wrote, and why the champion made none.
WRITTEN, UNUSABLE = "predictions_written", "champion_unusable"
EXAMPLES_FILE = "examples.json"
EXAMPLES = 12


def predict(token: Token, corpus: Ref, features: Blocks, promoted: Promoted) -> Ref:
    """Write the best tags of every article that has none, and what is new in them.

    Publishes ``predictions.csv``, ``predictions.parquet`` and ``changes.csv``. The champion
    predicts, as it is kept in the registry, on the run of its promotion as on later ones;
    this run's winner where there is no champion. When the champion cannot be used, nobody takes its
    place: all of that, and the store, stay as they were, the ref is that of the predictions that
    stay, and the run's last stage fails.
    """
    import pandas as pd

    run = RunContext.of(token)
    before = predictions_before(run)
    snapshot = load_snapshot(run, corpus)
    has_none = snapshot.articles["tags"].map(len) == 0
    rows = (has_none & ~snapshot.articles["is_stub"]).to_numpy().nonzero()[0]
    version = promoted["champion_version"] or promoted["version"]
    model, unusable = None, ""
    try:
        model = load_served(run, version, snapshot, features)
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
    inputs = {
        "corpus": corpus,
        "features": features,
        "model": model.model_id if model else "",
        "version": version,
        "by": "champion" if promoted["champion_version"] else "winner",
        "top_tags": run.settings.top_tags,
    }

    def build(folder: Path) -> dict[str, Any]:
        top_tags = run.settings.top_tags
        parts = _predictions(model, snapshot, rows, top_tags=top_tags) if model else []
        columns = ("row", "tag", "score", "assigned", "threshold")
        empty = pd.DataFrame({name: [] for name in columns})
        frame = pd.concat([empty, *parts], ignore_index=True) if parts else empty
        predictions = pd.DataFrame({
            "story": snapshot.articles["url"].to_numpy()[frame["row"].to_numpy(dtype="int64")],
            "tag": frame["tag"].astype("str"),
            # Six digits: enough for any use, and the same file from the same run.
            "score": frame["score"].astype("float64").round(6),
            "assigned": frame["assigned"].astype("int8"),
            "model_version": str(version),
        })
        predictions["model_version"] = predictions["model_version"].astype("str")
        write_table(folder, PREDICTIONS, predictions)
        # Only here: for the report and the pages, which show it beside the score.
        shown = predictions.assign(threshold=frame["threshold"].astype("float64"))
        shown.to_parquet(folder / f"{PREDICTIONS}.parquet", index=False)
        write_examples(folder / EXAMPLES_FILE, snapshot, shown, seed=run.settings.seed)
        assigned = predictions[predictions["assigned"] == 1]
        return {
            "articles": len(rows),
            "assigned": int(assigned["story"].nunique()),
            "tags": len(assigned),
            "version": str(version),
            "candidate": promoted["champion_candidate"] or promoted["winner"],
            "by": inputs["by"],
        }

    code = (*LEARN_CODE, "embed", "graph", "registry")
    artifact = run.artifact("predictions", inputs, build, code=code)
    if unusable:
        return artifact.ref
    predictions = pd.read_parquet(artifact.path / f"{PREDICTIONS}.parquet")
    with open_store(run) as store:
        written = store.write_predictions(
            predictions, run_id=run.run_id, model_version=str(version)
        )
    logger.info("predictions: %s; in the store: %s", artifact.summary, written)
    # A task that is run again finds its own: what it wrote at first is what is told.
    if written.unchanged < len(predictions) or written.removed or not run.recorded(WRITTEN):
        run.record(WRITTEN, written.to_json())
    publish_table(run, artifact.path, PREDICTIONS, predictions.drop(columns="threshold"))
    publish_changes(run, before, artifact, snapshot)
    remember_predictions(run, artifact)
    return artifact.ref


def _predictions(
    model: Served, snapshot: Snapshot, rows: npt.NDArray[np.int64], *, top_tags: int
) -> list[pd.DataFrame]:
    import numpy as np

    from tagsage.features import Articles
    from tagsage.learn.predictions import top_tags as best_tags

    tagger, corpus = model.tagger, Articles.of_snapshot(snapshot)
    parts = []
    for start in track(range(0, len(rows), ARTICLES_A_BLOCK), "predicting: blocks of articles"):
        block = rows[start : start + ARTICLES_A_BLOCK]
        X = tagger.features.transform(articles_for(model, corpus, block))
        fitted, places = tagger.candidate, np.arange(len(block))
        parts.append(
            best_tags(
                *fitted.predict(X, places),
                fitted.thresholds(X, places),
                tags=fitted.tags,
                k=top_tags,
                rows=block,
            )
        )
    return parts


def write_examples(file: Path, snapshot: Snapshot, predictions: pd.DataFrame, *, seed: int) -> None:
    """Write a few predicted articles, drawn at random, for the report."""
    import numpy as np

    stories = predictions["story"].unique()
    drawn = np.random.default_rng(seed).permutation(len(stories))[:EXAMPLES]
    shown = {stories[position] for position in sorted(drawn)}
    articles = snapshot.articles[snapshot.articles["url"].isin(shown)]
    texts = {row.url: (row.title, row.subtitle) for row in articles.itertuples()}
    examples = [
        {
            "title": texts[story][0],
            "subtitle": texts[story][1],
            "url": story,
            "tags": [
                {
                    "tag": row.tag,
                    "score": row.score,
                    "assigned": bool(row.assigned),
                    "threshold": getattr(row, "threshold", None),
                }
                for row in part.itertuples()
            ],
        }
        for story, part in predictions[predictions["story"].isin(shown)].groupby("story")
    ]
    file.write_text(json.dumps(examples), encoding="utf-8")
