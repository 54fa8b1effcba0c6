"""The tags of the articles that have none: in the store, in files, and beside last night's."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.night import Night, Token
from tagsage.progress import track
from tagsage.stages.changes import predictions_before, remember_predictions, tell_changes
from tagsage.stages.common import (
    LEARN_CODE,
    PREDICTIONS,
    Blocks,
    Ref,
    feature_matrix,
    load_snapshot,
    open_store,
    publish_table,
    tracking_of,
    write_table,
)
from tagsage.stages.promote import Promoted
from tagsage.stages.served import vectors_for

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.store.snapshot import Snapshot
    from tagsage.tracking.servable import Tagger

logger = logging.getLogger(__name__)

ARTICLES_A_BLOCK = 8192
# What a night notes of its predictions: what the store wrote, and who could not make them.
WRITTEN, STOOD_IN = "predictions_written", "stood_in"
EXAMPLES_FILE = "examples.json"
EXAMPLES = 12


def predict(token: Token, corpus: Ref, features: Blocks, promoted: Promoted) -> Ref:
    """Write the best tags of every article that has none, and what is new in them.

    Publishes ``predictions.csv``, ``predictions.parquet`` and ``changes.csv``. The champion
    predicts: tonight's winner when it was promoted, or when there is no champion yet; else the
    champion of an earlier night, which makes its own features. When it cannot be loaded or cannot
    make them tonight (see :func:`_cannot_predict`), the winner stands in, and the summary says why.
    """
    import pandas as pd

    night = Night.of(token)
    before = predictions_before(night)
    snapshot = load_snapshot(night, corpus)
    has_none = snapshot.articles["tags"].map(len) == 0
    rows = (has_none & ~snapshot.articles["is_stub"]).to_numpy().nonzero()[0]
    champion, why_not = _load_champion(night, features, promoted)
    version = promoted["champion_version"] if champion else promoted["version"]
    inputs = {
        "corpus": corpus,
        "features": features,
        "model": champion.model_id if champion else promoted["model"],
        "version": version,
        "top_tags": night.settings.top_tags,
    }

    def build(folder: Path) -> dict[str, Any]:
        parts = (
            _champion_predictions(night, champion.tagger, snapshot, features, rows)
            if champion
            else _winner_predictions(night, promoted, rows)
        )
        columns = ("row", "tag", "score", "assigned", "threshold")
        empty = pd.DataFrame({name: [] for name in columns})
        frame = pd.concat([empty, *parts], ignore_index=True) if parts else empty
        predictions = pd.DataFrame({
            "story": snapshot.articles["url"].to_numpy()[frame["row"].to_numpy(dtype="int64")],
            "tag": frame["tag"].astype("str"),
            # Six digits: enough for any use, and the same file from the same night.
            "score": frame["score"].astype("float64").round(6),
            "assigned": frame["assigned"].astype("int8"),
            "model_version": str(version),
        })
        predictions["model_version"] = predictions["model_version"].astype("str")
        write_table(folder, PREDICTIONS, predictions)
        # Only here: for the report and the pages, which show it beside the score.
        shown = predictions.assign(threshold=frame["threshold"].astype("float64"))
        shown.to_parquet(folder / f"{PREDICTIONS}.parquet", index=False)
        write_examples(folder / EXAMPLES_FILE, snapshot, shown, seed=night.settings.seed)
        assigned = predictions[predictions["assigned"] == 1]
        return {
            "articles": len(rows),
            "assigned": int(assigned["story"].nunique()),
            "tags": len(assigned),
            "version": str(version),
            "by": "champion" if champion or promoted["promoted"] else "winner",
        }

    artifact = night.artifact("predictions", inputs, build, code=(*LEARN_CODE, "tracking"))
    predictions = pd.read_parquet(artifact.path / f"{PREDICTIONS}.parquet")
    predictions = predictions.drop(columns="threshold")
    with open_store(night) as store:
        written = store.write_predictions(
            predictions, run_id=night.run_id, model_version=str(version)
        )
    logger.info("predictions: %s; in the store: %s", artifact.summary, written)
    # A task that is run again finds its own: what it wrote at first is what is told.
    if written.unchanged < len(predictions) or written.removed or not night.noted(WRITTEN):
        night.note(WRITTEN, written.to_json())
    publish_table(night, artifact.path, PREDICTIONS, predictions)
    tell_changes(night, before, artifact, snapshot)
    night.note(STOOD_IN, why_not)
    remember_predictions(night, artifact)
    return artifact.ref


def _winner_predictions(
    night: Night, promoted: Promoted, rows: npt.NDArray[np.int64]
) -> list[pd.DataFrame]:
    from tagsage.learn.candidate import FittedCandidate

    fitted = FittedCandidate.load(night.workspace.open(promoted["model"]).path)
    X = feature_matrix(night, promoted["features"], promoted["winner"].partition(":")[0])
    return list(fitted.top_tags(X, rows, k=night.settings.top_tags))


@dataclass(frozen=True)
class _Champion:
    """The champion of an earlier night, ready to predict."""

    tagger: Tagger
    model_id: str


def _load_champion(
    night: Night, features: Blocks, promoted: Promoted
) -> tuple[_Champion | None, str]:
    """Load the champion of an earlier night.

    Returns
    -------
    (_Champion or None, str)
        None when tonight's winner is to predict; then why the champion of an earlier night does
        not, empty when there is none.

    Raises
    ------
    TagsageError
        When MLflow cannot be asked for it; the earlier predictions stay, and a later try may find
        MLflow there.
    """
    from tagsage.tracking.registry import load_champion
    from tagsage.tracking.seal import DamagedModelError
    from tagsage.tracking.servable import tagger_of

    version = promoted["champion_version"]
    if version in {"", promoted["version"]}:
        return None, ""
    champion = None
    try:
        loaded = load_champion(
            tracking_of(night.settings), night.settings.registered_model, version=version
        )
        tagger = tagger_of(loaded)
        champion = _Champion(tagger, str(loaded.metadata.model_uuid))
        why_not = _cannot_predict(night, tagger, features)
    except DamagedModelError as error:
        logger.warning("the champion: %s", error)
        why_not = "its files are damaged or gone"
    if not why_not:
        return champion, ""
    told = (
        f"The champion (version {version}) cannot predict tonight, since {why_not}: tonight's "
        "winner does."
    )
    logger.warning("%s", told)
    return None, told


def _cannot_predict(night: Night, tagger: Tagger, features: Blocks) -> str:
    """Say why a champion cannot make its features of tonight's articles; empty when it can."""
    featuriser = tagger.featuriser
    for block, name in (("graphsage", "GraphSAGE"), ("fastrp", "FastRP")):
        if block in featuriser.blocks:
            # Without neighbours its embeddings are others than those it was trained on.
            return f"its {name} would need tonight's graph"
    if featuriser.embedder is None:
        width = feature_matrix(night, features, "text").shape[1]
        if night.settings.embedder != "none" or width != featuriser.dimensions:
            return f"it was trained on given vectors of {featuriser.dimensions} numbers"
    return ""


def _champion_predictions(
    night: Night,
    tagger: Tagger,
    snapshot: Snapshot,
    features: Blocks,
    rows: npt.NDArray[np.int64],
) -> list[pd.DataFrame]:
    import numpy as np
    import pandas as pd

    from tagsage.learn.predictions import top_tags

    incidence = snapshot.incidence()
    vectors_of = vectors_for(night, tagger, snapshot, features)
    parts = []
    for start in track(range(0, len(rows), ARTICLES_A_BLOCK), "predicting: blocks of articles"):
        block = rows[start : start + ARTICLES_A_BLOCK]
        lists = snapshot.list_names(incidence[block])
        articles = snapshot.articles.iloc[block][["title", "subtitle", "author"]].copy()
        articles["lists"] = pd.Series(lists, index=articles.index, dtype=object)
        vectors = None if vectors_of is None else vectors_of(block)
        fitted = tagger.candidate
        X = tagger.features(articles, vectors, in_corpus=True)
        places = np.arange(len(block))
        parts.append(
            top_tags(
                *fitted.answer(X, places),
                fitted.thresholds(X, places),
                tags=fitted.tags,
                k=night.settings.top_tags,
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
