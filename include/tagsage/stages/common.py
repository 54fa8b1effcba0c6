"""What several stages need: the store, the snapshot, MLflow and the features of a run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import TagsageError
from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.features import Articles, FeatureMatrix
    from tagsage.learn.labels import Labels
    from tagsage.registry.tracking import Tracking
    from tagsage.store.base import ArticleStore
    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

Ref = str
Blocks = dict[str, Ref]

MODEL_FOLDER = "model"
# The tables of what a model says, as files of artifacts and of the workspace.
PREDICTIONS, SUGGESTIONS = "predictions", "suggestions"
# Beside the blocks: the vectors they are made of, and what they were fitted on.
VECTORS, KNOWN = "vectors", "known"
VECTORS_FILE, IN_LIST_FILE = "vectors.npy", "in_list.npy"
# What of the source's rows was not taken as it came; a note of the run.
QUARANTINE = "quarantine"

# The rooms whose code makes an artifact: a change in one of them makes it anew.
CORPUS_CODE = ("corpus", "store", "stages")
VECTORS_CODE = (*CORPUS_CODE, "embed")
GRAPH_CODE = (*CORPUS_CODE, "graph")
LEARN_CODE = (*CORPUS_CODE, "features", "learn", "evaluate")


def open_store(run: RunContext) -> ArticleStore:
    """Open the store that the settings name."""
    from tagsage.store.database import sqlite_file
    from tagsage.store.open import open_store as open_kind

    return open_kind(run.settings.store, sqlite_path=sqlite_file(run.settings))


def keep_vectors(run: RunContext, corpus: Ref, name: str, vectors: Ref, file: str) -> bool:
    """Write the vectors in a file of an artifact into the store, unless they are there already.

    Returns
    -------
    bool
        False when the store keeps no vectors.
    """
    import numpy as np

    with open_store(run) as store:
        if not store.keeps_vectors:
            return False
        keys = load_snapshot(run, corpus).articles["key"].tolist()
        matrix = np.load(run.workspace.open(vectors).path / file, mmap_mode="r")
        written = store.write_vectors(name, keys, matrix, digest=vectors)
    logger.info("vectors: %s of the store %s", name, "written" if written else "are these already")
    return True


def load_snapshot(run: RunContext, corpus: Ref) -> Snapshot:
    """Load the frozen corpus of the run."""
    from tagsage.store.snapshot import Snapshot

    return Snapshot.load(run.workspace.open(corpus).path)


def load_texts(run: RunContext, corpus: Ref) -> tuple[list[str], npt.NDArray[np.bytes_]]:
    """Return the text of every article of the snapshot, and the texts' hashes."""
    from tagsage.embed.text import article_texts, text_hashes

    texts = article_texts(load_snapshot(run, corpus).articles)
    return texts, text_hashes(texts)


def load_labels(run: RunContext, split: Ref) -> Labels:
    """Load target tags, label matrix and split."""
    from tagsage.learn.labels import Labels

    return Labels.load(run.workspace.open(split).path)


def vectors_of_run(run: RunContext, vectors: Ref) -> dict[str, Any]:
    """Return which model made the vectors of an artifact, as parameters for MLflow."""
    summary = run.workspace.open(vectors).summary
    return {"vectors_model": summary["model_id"], "vectors_dimensions": summary["dimensions"]}


def tracking_of(settings: Settings, *, must_exist: bool = False) -> Tracking:
    """Return the MLflow store that the settings or the environment name, ready to log to.

    Raises
    ------
    TagsageError
        When it must exist, would be that of the workspace, and there is no workspace.
    """
    from tagsage.registry.tracking import open_tracking

    uri = settings.mlflow_tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    workspace = Workspace(settings.workspace)
    if must_exist and not uri:
        workspace.check()
    return open_tracking(
        uri, experiment=settings.mlflow_experiment, folder=workspace.local_folder()
    )


def write_table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Write a frame of an artifact as ``<name>.parquet`` and ``<name>.csv``."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    frame.to_parquet(folder / f"{name}.parquet", index=False)
    pa_csv.write_csv(
        pa.Table.from_pandas(frame, preserve_index=False),
        folder / f"{name}.csv",
        pa_csv.WriteOptions(quoting_style="needed"),
    )


def publish_table(run: RunContext, folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Publish what :func:`write_table` wrote; the Parquet file names the run besides.

    An artifact does not: on another run it may be found again.
    """
    run.workspace.publish(folder / f"{name}.csv", f"{name}.csv")
    with run.workspace.scratch() as scratch:
        file = scratch / f"{name}.parquet"
        frame.assign(run_id=run.run_id).astype({"run_id": "str"}).to_parquet(file, index=False)
        run.workspace.publish(file, file.name)


def wanted_blocks(settings: Settings) -> set[str]:
    """Return the blocks that some candidate of the run uses."""
    from tagsage.features import blocks_of

    return {
        block for feature_set, _ in settings.parsed_candidates() for block in blocks_of(feature_set)
    }


def fit_inputs(settings: Settings) -> dict[str, Any]:
    """Return the settings that a fit depends on, beside its features."""
    names = {"seed", "search_trials", "assign_max_tags", "assign_min_tags"}
    return settings.model_dump(include=names)


def feature_matrix(
    run: RunContext, features: Blocks, feature_set: str, *, tuning: bool = False
) -> FeatureMatrix:
    """Open the features of a feature set, memory-mapped, in the snapshot's order.

    Parameters
    ----------
    run : RunContext
        The run.
    features : dict of str to str
        Block -> ref, and ``known``.
    feature_set : str
        Its name.
    tuning : bool
        Whether threshold and epochs are being chosen: blocks made of tags then know fewer.

    Raises
    ------
    TagsageError
        When a block was not fitted this run.
    """
    import numpy as np

    from tagsage.features import blocks_of
    from tagsage.features.fitting import open_matrix

    names = blocks_of(feature_set)
    for block in names:
        if block not in features:
            msg = f"The block {block} was not fitted this run; name it in the setting candidates."
            raise TagsageError(msg)
    folders = {block: run.workspace.open(features[block]).path for block in blocks_of(feature_set)}
    in_list = np.load(run.workspace.open(features[KNOWN]).path / IN_LIST_FILE)
    return open_matrix(folders, feature_set, in_list, tuning=tuning)


def load_vectors(run: RunContext, vectors: Ref) -> npt.NDArray[np.float32]:
    """Open the vectors of the run, float32 [n_articles, d], memory-mapped."""
    from tagsage.graph.arrays import load_array

    return load_array(run.workspace.open(vectors).path / VECTORS_FILE)


def articles_of(run: RunContext, corpus: Ref, vectors: Ref) -> Articles:
    """Return all articles of the run, with their vectors."""
    from tagsage.features import Articles

    return Articles.of_snapshot(load_snapshot(run, corpus), load_vectors(run, vectors))
