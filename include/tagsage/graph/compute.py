"""The study's path: similarity, components, a sample, GraphSAGE trained on it, all embedded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.graph.arrays import check_vectors, create_array
from tagsage.graph.components import start_node
from tagsage.graph.engine import GraphEngine, Sample, Training

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr
    from tagsage.settings import Settings

DEGREES_FILE = "degrees.npy"
EMBEDDINGS_FILE = "embeddings.npy"
MODEL_FOLDER = "model"


def compute_graph(
    engine: GraphEngine,
    folder: Path,
    members: Csr,
    vectors: npt.NDArray[np.floating],
    settings: Settings,
    *,
    keys: Sequence[str] = (),
    vector_property: str = "",
) -> dict[str, Any]:
    """Embed every article by GraphSAGE; returns counts and losses for the report.

    Fills `folder`, which exists, with ``degrees.npy`` (int64, neighbours per article),
    ``embeddings.npy`` (float32) and, where the engine exports the weights, ``model/``. When no two
    articles share a list the embeddings are zeros, and ``trained`` is false. For the other
    arguments see :meth:`GraphEngine.open`.
    """
    n = members.shape[0]
    check_vectors(vectors, n)
    embeddings = create_array(folder / EMBEDDINGS_FILE, (n, settings.graphsage_dimensions))
    degrees, labels = np.zeros(n, dtype=np.int64), np.arange(n, dtype=np.int32)
    sample = Sample(np.zeros(0, dtype=np.int32), 0)
    training = Training(0, [], converged=False)
    if members.nnz:
        opened = engine.open(
            members, vectors, settings, folder=folder, keys=keys, vector_property=vector_property
        )
        with opened as graph:
            degrees = graph.similarity()
            if degrees.any():
                labels = graph.components()
                sample = graph.sample(start_node(labels, degrees))
                training = graph.graphsage(sample.articles, embeddings)
    embeddings.flush()
    np.save(folder / DEGREES_FILE, degrees)
    if training.model is not None:
        training.model.save(folder / MODEL_FOLDER)
    return {
        "articles_joined": int((degrees > 0).sum()),
        "relationships": int(degrees.sum()),
        "components": len(np.unique(labels)),
        "largest_component": int(np.bincount(labels, minlength=1).max()),
        "sampled": len(sample.articles),
        "sampled_relationships": sample.relationships,
        "trained": training.trained_on > 0,
        "trained_on": training.trained_on,
        "epoch_losses": training.epoch_losses,
        "converged": training.converged,
        "zero_embeddings": int((~embeddings.any(axis=1)).sum()),
    }
