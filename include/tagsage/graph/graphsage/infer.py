"""Inference: embeddings of every node by a trained model, layer by layer and by blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tagsage.errors import TagsageError
from tagsage.graph.arrays import row_slices, scratch_array
from tagsage.graph.csr import make_csr
from tagsage.graph.graphsage.config import LEAK, NORM_EPSILON
from tagsage.graph.graphsage.model import GraphSageModel
from tagsage.graph.graphsage.neighbours import layer_seed, sample_neighbours
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, LongArray

# Numbers that a block's gathered rows may hold: 128 MB of float32.
BLOCK_NUMBERS = 1 << 25


def infer_graphsage(
    model: GraphSageModel,
    graph: Csr,
    features: npt.NDArray[np.floating],
    *,
    seed: int,
    out: FloatArray | None = None,
) -> FloatArray:
    """Embed every node of a graph.

    Neighbours are sampled in inference as in training (GDS does so too), by a function of seed,
    layer and node: the same seed gives the same embeddings. As a node has one sample a layer, each
    layer is computed once for all nodes, whatever the number of layers.

    An isolated node is embedded from its own features only. With activation relu a node that,
    like all its sampled neighbours, has zero features gets a zero row, never NaN; with sigmoid it
    gets the constant row that the network makes of zeros.

    Parameters
    ----------
    model : GraphSageModel
        The model.
    graph : csr_array, shape [n, n]
        The graph; it may be memory-mapped.
    features : float array, shape [n, f]
        One vector a node; it may be memory-mapped.
    seed : int
        Seed of the neighbours.
    out : float32 array, shape [n, dimensions], optional
        Takes the result; it may be a writable memory-mapped file.

    Returns
    -------
    float32 array, shape [n, dimensions]
        `out`, or a new array; rows have length 1 or are zero.

    Raises
    ------
    TagsageError
        When the features do not fit the graph or the model.
    """
    n = graph.shape[0]
    if features.shape != (n, model.features):
        msg = (
            f"The GraphSAGE model wants vectors of {model.features} numbers for {n} articles, "
            f"but these have the shape {features.shape}; train the model again."
        )
        raise TagsageError(msg)
    sizes = model.config.sample_sizes
    result = np.zeros((n, model.config.dimensions), dtype=np.float32) if out is None else out
    hidden: npt.NDArray[np.floating] = features
    # The last digits of a product depend on BLAS's number of threads, which a scheduler's worker
    # may set otherwise than a shell; most of the time here goes into reading rows anyway.
    with threadpool_limits(limits=1, user_api="blas"):
        for layer, size in enumerate(sizes):
            last = layer == len(sizes) - 1
            target = result if last else scratch_array(n, model.config.dimensions)
            _layer(model, layer, graph, hidden, size, layer_seed(seed, 0, layer), target)
            hidden = target
    for rows in row_slices(n):
        block = result[rows]
        block /= np.linalg.norm(block, axis=1, keepdims=True) + np.float32(NORM_EPSILON)
    return result


def _layer(
    model: GraphSageModel,
    layer: int,
    graph: Csr,
    hidden: npt.NDArray[np.floating],
    size: int,
    seed: np.uint64,
    target: FloatArray,
) -> None:
    """Compute one layer for every node into `target`."""
    n, width = hidden.shape
    act = ACTIVATION[model.config.activation]
    weights = model.weights[layer]
    pool = model.config.aggregator == "pool"
    rows = max(1, BLOCK_NUMBERS // ((1 + size) * max(width, model.config.dimensions)))
    blocks = [(start, min(start + rows, n)) for start in range(0, n, rows)]
    if pool:
        pooled = scratch_array(n, model.config.dimensions)
        for start, stop in blocks:
            own = np.asarray(hidden[start:stop], dtype=np.float32)
            pooled[start:stop] = act(own @ weights["pool"].T + weights["bias"])
    for start, stop in track(blocks, f"graphsage layer {layer + 1}"):
        nodes = np.arange(start, stop, dtype=np.int64)
        if pool:
            largest = _sampled_maxima(graph, pooled, nodes, size, seed)
            own = np.asarray(hidden[start:stop], dtype=np.float32)
            target[start:stop] = act(own @ weights["self"].T + largest @ weights["neighbours"].T)
        else:
            means = sampled_means(graph, hidden, nodes, size, seed)
            target[start:stop] = act(means @ weights["weights"].T)


def sampled_means(
    graph: Csr,
    values: npt.NDArray[np.floating],
    nodes: LongArray,
    size: int,
    seed: np.uint64,
) -> FloatArray:
    """Average the rows of each node and its sampled neighbours.

    Parameters
    ----------
    graph : csr_array, shape [n, n]
        The graph.
    values : float array, shape [n, f]
        One row a node; it may be memory-mapped.
    nodes : int64 array, shape [m]
        The nodes wanted.
    size : int
        Neighbours sampled a node, at most.
    seed : numpy.uint64
        See :func:`~tagsage.graph.graphsage.neighbours.layer_seed`.

    Returns
    -------
    float32 array, shape [m, f]
    """
    neighbours, counts = sample_neighbours(graph, nodes, size, seed)
    members = np.concatenate([nodes[:, None], neighbours], axis=1)
    filled = np.arange(1 + size) <= counts[:, None]
    unique, columns = np.unique(members[filled], return_inverse=True)
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts + 1)])
    weight = np.repeat((1 / (counts + 1)).astype(np.float32), counts + 1)
    rows = np.asarray(values[unique], dtype=np.float32)
    average = make_csr(weight, columns.astype(np.int32), indptr, (len(nodes), len(unique)))
    means: FloatArray = average @ rows
    return means


def _sampled_maxima(
    graph: Csr, values: FloatArray, nodes: LongArray, size: int, seed: np.uint64
) -> FloatArray:
    """Return the elementwise largest row of each node's sampled neighbours; 0 where it has none."""
    neighbours, counts = sample_neighbours(graph, nodes, size, seed)
    # Empty slots repeat the first neighbour, which does not change the largest.
    padded = np.where(np.arange(size) < counts[:, None], neighbours, neighbours[:, :1])
    largest: FloatArray = values[padded].max(axis=1)
    largest[counts == 0] = 0
    return largest


def _leaky_relu(x: FloatArray) -> FloatArray:
    result: FloatArray = np.maximum(x, np.float32(LEAK) * x)
    return result


def _sigmoid(x: FloatArray) -> FloatArray:
    # The same function, without the overflow of exp.
    result: FloatArray = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
    return result


ACTIVATION: dict[str, Callable[[FloatArray], FloatArray]] = {
    "relu": _leaky_relu,
    "sigmoid": _sigmoid,
}
