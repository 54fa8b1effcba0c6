"""How much of the server's memory the graph needs; refuse what cannot fit.

GDS guards itself too, but counts an array property as one number: its estimates are far too low for
vectors. Bytes are those of Java's heap. The store keeps vectors in single precision, and so does
the projection; GraphSAGE computes in doubles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.similarity import SimilarityConfig

NUMBER = 8
SINGLE = 4
# An array object's header, and the reference to it.
ARRAY = 24
# A membership or a relationship in an adjacency list, compressed; a score beside it is a double.
RELATIONSHIP = 6
# Identities, labels and offsets of a node.
NODE = 64
# Nodes whose embeddings GDS computes at once, a worker.
PREDICT_BATCH = 100


@dataclass(frozen=True)
class Heap:
    """Java's heap on the server.

    Attributes
    ----------
    free, max : int
        Bytes: what may be used, and in all.
    """

    free: int
    max: int


def projection_bytes(articles: int, lists: int, memberships: int, dimensions: int) -> int:
    """Return what a projection with vectors occupies."""
    return (
        NODE * (articles + lists)
        + RELATIONSHIP * memberships
        + (_vectors(articles, dimensions, SINGLE) if dimensions else 0)
    )


def similarity_bytes(
    list_sizes: npt.NDArray[np.integer], articles: int, config: SimilarityConfig
) -> int:
    """Return what nodeSimilarity needs.

    Each article gets a queue of `top_k` ids and scores, filled or not; then all pairs become
    relationships. A list of s articles makes at most s (s - 1) of them.
    """
    sizes = list_sizes.astype(np.float64)
    if config.max_list_size:
        sizes = sizes[sizes <= config.max_list_size]
    places = min(config.top_k, articles + len(list_sizes))
    queues = articles * (2 * NUMBER * places + 2 * ARRAY)
    relationships = min(articles * places, int((sizes * (sizes - 1)).sum()))
    neighbours = NUMBER * int(sizes.sum()) + ARRAY * articles
    # Twice: as they are gathered, and as they are kept.
    return queues + neighbours + 2 * relationships * (RELATIONSHIP + NUMBER)


def graphsage_bytes(
    articles: int, sampled: int, dimensions: int, config: GraphSageConfig, concurrency: int
) -> int:
    """Return what training on a sample and then embedding all articles needs at its height.

    GDS copies the features of the graph at hand; each worker holds the matrices of a batch, whose
    nodes multiply with each layer.
    """
    spread = math.prod(size + 1 for size in config.sample_sizes)
    # A batch comes with as many positive and as many negative examples.
    training = _vectors(sampled, dimensions) + 2 * concurrency * _batch(
        min(sampled, 3 * config.batch_size * spread), dimensions, config.dimensions
    )
    embedding = (
        _vectors(articles, dimensions)
        + _vectors(articles, config.dimensions)
        + concurrency * _batch(min(articles, PREDICT_BATCH * spread), dimensions, config.dimensions)
    )
    return max(training, embedding)


def server_bytes(most: int) -> int:
    """Return what Neo4j takes for itself of a heap of this size."""
    return max(1 << 28, most // 10)


def refuse_if_short(what: str, needed: int, heap: Heap) -> None:
    """Refuse what cannot fit.

    Parameters
    ----------
    what : str
        What is to be done, as the beginning of a sentence.
    needed : int
        Bytes.
    heap : Heap
        What there is.

    Raises
    ------
    TagsageError
        With the numbers, and the setting of the server to raise.
    """
    if needed <= heap.free:
        return
    enough = math.ceil((heap.max - heap.free + needed) / 1e9 * 1.1 * 2) / 2
    msg = (
        f"{what} needs about {_gb(needed)} of Neo4j's memory, and {_gb(heap.free)} of "
        f"{_gb(heap.max)} are free; set server.memory.heap.max_size to {enough:g}g or more in "
        "neo4j.conf, start Neo4j anew and run again."
    )
    raise TagsageError(msg)


def _vectors(count: int, dimensions: int, number: int = NUMBER) -> int:
    return count * (number * dimensions + ARRAY)


def _batch(nodes: int, dimensions: int, embedding: int) -> int:
    return nodes * NUMBER * (dimensions + 2 * embedding)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
