"""The tags of the articles that have none: in the store, in files, and compared with last run's."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.files import write_json
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
from tagsage.stages.tagger import LoadedTagger, UnusableModelError, load_tagger

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

BLOCK_ROWS = 8192
# What a run records of its predictions: what the store wrote, and why the champion made none.
WRITTEN, UNUSABLE = "predictions_written", "champion_unusable"
EXAMPLES_FILE = "examples.json"
EXAMPLES = 12


def predict(token: Token, corpus: Ref, features: Blocks, promoted: Promoted) -> Ref:
    """Write the best tags of every article that has none, and what is new in them.

    Publishes ``predictions.csv``, ``predictions.parquet`` and ``changes.csv``. The champion
    predicts, as it is kept in the registry; this run's winner where there is no champion. When the
    champion cannot be used, nobody takes its place: the files and the store stay as they were, the
    ref is that of the earlier predictions, and the run's last stage fails.
    """
    import pandas as pd

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
        made = _predictions(model, snapshot, rows, top_tags=run.settings.top_tags)
        predictions = made.drop(columns="threshold").assign(model_version=version)
        predictions["model_version"] = predictions["model_version"].astype("str")
        write_table(folder, PREDICTIONS, predictions)
        # Not published: the report and the pages show thresholds beside the scores.
        made.assign(model_version=predictions["model_version"]).to_parquet(
            folder / f"{PREDICTIONS}.parquet", index=False
        )
        write_examples(folder / EXAMPLES_FILE, snapshot, made, seed=run.settings.seed)
        assigned = predictions[predictions["assigned"] == 1]
        return {
            "articles": len(rows),
            "assigned": int(assigned["story"].nunique()),
            "tags": len(assigned),
            "version": version,
            "candidate": promoted["champion_candidate"] or promoted["winner"],
            "by": inputs["by"],
        }

    code = (*LEARN_CODE, "embed", "graph", "registry")
    artifact = run.artifact("predictions", inputs, build, code=code)
    if unusable:
        return artifact.ref
    predictions = pd.read_parquet(artifact.path / f"{PREDICTIONS}.parquet")
    with open_store(run) as store:
        written = store.write_predictions(predictions, run_id=run.run_id, model_version=version)
    logger.info("predictions: %s; in the store: %s", artifact.summary, written)
    # A task that runs again finds its own predictions: what it wrote at first is what is reported.
    if written.unchanged < len(predictions) or written.removed or not run.recorded(WRITTEN):
        run.record(WRITTEN, written.to_json())
    publish_table(run, artifact.path, PREDICTIONS, predictions.drop(columns="threshold"))
    publish_changes(run, before, artifact, snapshot)
    remember_predictions(run, artifact)
    return artifact.ref


def _predictions(
    model: LoadedTagger | None,
    snapshot: Snapshot,
    rows: npt.NDArray[np.int64],
    *,
    top_tags: int,
) -> pd.DataFrame:
    """Return ``story``, ``tag``, ``score``, ``assigned`` and ``threshold`` of the best tags."""
    import numpy as np
    import pandas as pd

    from tagsage.features import Articles
    from tagsage.learn.predictions import top_tags as best_tags

    columns = ("row", "tag", "score", "assigned", "threshold")
    parts = [pd.DataFrame({name: [] for name in columns})]
    if model is not None:
        corpus, fitted = Articles.of_snapshot(snapshot), model.tagger.candidate
        blocks = range(0, len(rows), BLOCK_ROWS)
        for start in track(blocks, "predicting: blocks of articles"):
            block = rows[start : start + BLOCK_ROWS]
            X = model.tagger.features.transform(model.articles(corpus, block))
            own = np.arange(len(block))
            tagged, thresholds = fitted.predict(X, own), fitted.thresholds(X, own)
            parts.append(best_tags(*tagged, thresholds, tags=fitted.tags, k=top_tags, rows=block))
    frame = pd.concat(parts[1:] or parts, ignore_index=True)
    return pd.DataFrame({
        "story": snapshot.articles["url"].to_numpy()[frame["row"].to_numpy(dtype="int64")],
        "tag": frame["tag"].astype("str"),
        # Six digits: enough for any use, and the same file from the same run.
        "score": frame["score"].astype("float64").round(6),
        "assigned": frame["assigned"].astype("int8"),
        "threshold": frame["threshold"].astype("float64"),
    })


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
    write_json(file, examples)
