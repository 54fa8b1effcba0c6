"""What stages leave for later ones: its names, the code that makes it, and how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tagsage.errors import TagsageError
from tagsage.run_context import RunContext

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.features import Articles, FeatureMatrix
    from tagsage.learn.candidate import FittedCandidate
    from tagsage.learn.labels import Labels
    from tagsage.store.snapshot import Snapshot

Ref = str
Blocks = dict[str, Ref]

# Of a candidate: the fitted model, and what it scored on the test part.
MODEL_FOLDER, SCORED_FOLDER = "model", "scored"
# Beside the blocks: the vectors they are made of, and what they were fitted on.
VECTORS, KNOWN = "vectors", "known"
VECTORS_FILE, IN_LIST_FILE = "vectors.npy", "in_list.npy"
# In the artifact of the split: the ids of the articles `Labels.rows`.
IDS_FILE = "ids.npy"

# The rooms whose code makes an artifact: a change in one of them makes it anew.
CORPUS_CODE = ("corpus", "store", "stages")
VECTORS_CODE = (*CORPUS_CODE, "embed")
GRAPH_CODE = (*CORPUS_CODE, "graph")
LEARN_CODE = (*CORPUS_CODE, "features", "learn", "evaluate")
MODEL_CODE = (*LEARN_CODE, "embed", "graph", "registry")


def load_snapshot(run: RunContext, corpus: Ref) -> Snapshot:
    """Load the frozen corpus of the run."""
    from tagsage.store.snapshot import Snapshot

    return Snapshot.load(run.workspace.open(corpus).path)


def load_labels(run: RunContext, split: Ref) -> Labels:
    """Load target tags, label matrix and split."""
    from tagsage.learn.labels import Labels

    return Labels.load(run.workspace.open(split).path)


def load_vectors(run: RunContext, vectors: Ref) -> npt.NDArray[np.float32]:
    """Open the vectors of the run, float32 [n_articles, d], memory-mapped."""
    from tagsage.graph.arrays import load_array

    return load_array(run.workspace.open(vectors).path / VECTORS_FILE)


def load_articles(run: RunContext, corpus: Ref, vectors: Ref) -> Articles:
    """Load all articles of the run, with their vectors."""
    from tagsage.features import Articles

    return Articles.of_snapshot(load_snapshot(run, corpus), load_vectors(run, vectors))


def load_fitted(run: RunContext, candidate: Ref) -> FittedCandidate:
    """Load a candidate as it was fitted on the training part."""
    from tagsage.learn.candidate import FittedCandidate

    return FittedCandidate.load(run.workspace.open(candidate).path / MODEL_FOLDER)


def load_scored(run: RunContext, candidate: Ref) -> ScoredCandidate:
    """Load what a candidate scored on the test part."""
    from tagsage.evaluate.scored_candidate import ScoredCandidate

    return ScoredCandidate.load(run.workspace.open(candidate).path / SCORED_FOLDER)


def feature_matrix(
    run: RunContext, features: Blocks, feature_set: str, *, tuning: bool = False
) -> FeatureMatrix:
    """Open the features of a feature set, memory-mapped, in the snapshot's order.

    For `tuning`, blocks made of tags know fewer tags. Raises `TagsageError` when one is missing.
    """
    import numpy as np

    from tagsage.features import blocks_of
    from tagsage.features.fitting import open_matrix

    folders = {}
    for block in blocks_of(feature_set):
        if block not in features:
            msg = f"The block {block} was not fitted this run; name it in the setting candidates."
            raise TagsageError(msg)
        folders[block] = run.workspace.open(features[block]).path
    in_list = np.load(run.workspace.open(features[KNOWN]).path / IN_LIST_FILE)
    return open_matrix(folders, feature_set, in_list, tuning=tuning)
