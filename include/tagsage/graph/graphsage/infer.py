"""Inference: embeddings of every node by a trained model, layer by layer and by blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.graph.arrays import fixed_product, row_slices, scratch_array
from tagsage.graph.csr import make_csr
from tagsage.graph.graphsage.config import LEAK, NORM_EPSILON
from tagsage.graph.graphsage.model import GraphSageModel
from tagsage.graph.graphsage.neighbours import layer_seed, sample_neighbours
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, IntArray, LongArray

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
    result = np.zeros((n, model.config.dimensions), dtype=np.float32) if out is None else out
    for layer, hidden in enumerate(hidden_layers(model, graph, features, seed=seed), start=1):
        if layer == len(model.weights):
            for rows in row_slices(n):
                result[rows] = unit_rows(hidden[rows])
    return result


def hidden_layers(
    model: GraphSageModel, graph: Csr, features: npt.NDArray[np.floating], *, seed: int
) -> Iterator[FloatArray]:
    """Yield what each layer makes of every node, first to last, float32 [n, dimensions]."""
    n = graph.shape[0]
    hidden: npt.NDArray[np.floating] = features
    for layer, size in enumerate(model.config.sample_sizes):
        target = scratch_array(n, model.config.dimensions)
        width = max(hidden.shape[1], model.config.dimensions)
        rows = max(1, BLOCK_NUMBERS // ((1 + size) * width))
        blocks = [(start, min(start + rows, n)) for start in range(0, n, rows)]
        for start, stop in track(blocks, f"graphsage layer {layer + 1}"):
            nodes = np.arange(start, stop, dtype=np.int64)
            own = hidden[start:stop]
            target[start:stop] = apply_layer(
                model, layer, own, graph, nodes, hidden, seed=seed, keys=nodes
            )
        hidden = target
        yield target


def apply_layer(
    model: GraphSageModel,
    layer: int,
    own: npt.NDArray[np.floating],
    graph: Csr,
    nodes: LongArray,
    values: npt.NDArray[np.floating],
    *,
    seed: int,
    keys: LongArray,
) -> FloatArray:
    """Compute one layer for some nodes, each by itself.

    Parameters
    ----------
    model : GraphSageModel
        The model.
    layer : int
        The layer's number, from 0.
    own : float array, shape [m, f]
        What the layer before made of these nodes; for the first layer, their vectors.
    graph : csr_array, shape [rows, n]
        Who is whose neighbour.
    nodes : int64 array, shape [m]
        The nodes' rows of `graph`.
    values : float array, shape [n, f]
        The same as `own`, of the nodes that are neighbours; it may be memory-mapped.
    seed : int
        Seed of the neighbours.
    keys : int64 array, shape [m]
        What each node's neighbours are drawn by.

    Returns
    -------
    float32 array, shape [m, dimensions]
    """
    weights, act = model.weights[layer], ACTIVATION[model.config.activation]
    size = model.config.sample_sizes[layer]
    sampled = sample_neighbours(graph, nodes, size, layer_seed(seed, 0, layer), keys)
    if model.config.aggregator == "mean":
        return act(fixed_product(means_with(own, *sampled, values), weights["weights"].T))
    neighbours, counts = sampled
    filled = np.arange(size) < counts[:, None]
    unique, place = np.unique(neighbours[filled], return_inverse=True)
    pooled = act(fixed_product(values[unique], weights["pool"].T) + weights["bias"])
    largest = np.full((len(nodes), model.config.dimensions), -np.inf, dtype=np.float32)
    np.maximum.at(largest, np.repeat(np.arange(len(nodes)), counts), pooled[place])
    largest[counts == 0] = 0
    return act(
        fixed_product(own, weights["self"].T) + fixed_product(largest, weights["neighbours"].T)
    )


def sampled_means(
    graph: Csr,
    values: npt.NDArray[np.floating],
    nodes: LongArray,
    size: int,
    seed: np.uint64,
) -> FloatArray:
    """Average the rows of each node and its sampled neighbours, float32 [m, f]."""
    return means_with(values[nodes], *sample_neighbours(graph, nodes, size, seed), values)


def means_with(
    own: npt.NDArray[np.floating],
    neighbours: IntArray,
    counts: IntArray,
    values: npt.NDArray[np.floating],
) -> FloatArray:
    """Average the own row of each node and the rows of its sampled neighbours.

    Parameters
    ----------
    own : float array, shape [m, f]
        A row per node.
    neighbours, counts : int32 arrays, shapes [m, size] and [m]
        From :func:`~tagsage.graph.graphsage.neighbours.sample_neighbours`.
    values : float array, shape [n, f]
        The rows of the neighbours.

    Returns
    -------
    float32 array, shape [m, f]
    """
    m = len(own)
    filled = np.arange(neighbours.shape[1]) < counts[:, None]
    unique, place = np.unique(neighbours[filled], return_inverse=True)
    columns = np.empty((m, 1 + neighbours.shape[1]), dtype=np.int32)
    columns[:, 0] = np.arange(m)
    columns[:, 1:][filled] = m + place
    is_entry = np.concatenate([np.ones((m, 1), dtype=np.bool_), filled], axis=1)
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts + 1)])
    weight = np.repeat((1 / (counts + 1)).astype(np.float32), counts + 1)
    rows = np.concatenate([own, values[unique]]).astype(np.float32)
    average = make_csr(weight, columns[is_entry], indptr, (m, len(rows)))
    means: FloatArray = average @ rows
    return means


def unit_rows(hidden: FloatArray) -> FloatArray:
    """Scale rows to length 1; zero rows stay zero."""
    lengths = np.linalg.norm(hidden, axis=1, keepdims=True)
    scaled: FloatArray = hidden / (lengths + np.float32(NORM_EPSILON))
    return scaled


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
