"""A trained GraphSAGE model and its embeddings: numpy only, no JAX.

Neighbours are sampled by a function of seed, layer and node, as in GDS: a node gets the same
embedding whether it is embedded alone or with others. An isolated node is embedded from its own
vector only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.files import read_json, write_json
from tagsage.graph.arrays import fixed_product, row_slices, scratch_array, sigmoid
from tagsage.graph.csr import make_csr
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, IntArray, LongArray

UINT = np.uint64
# GDS's slope of leaky relu below 0, and what keeps a zero row from division by 0.
LEAK = 0.01
NORM_EPSILON = 1e-10
# Numbers that a block's gathered rows may hold: 128 MB of float32.
BLOCK_NUMBERS = 1 << 25
MODEL_FILE = "model.json"


@dataclass(frozen=True)
class GraphSageModel:
    """A GraphSAGE model; activation "relu" is leaky.

    `weights` has a dict per layer. Aggregator "mean": ``weights`` [d, in]; "pool": ``pool`` [d,
    in], ``bias`` [d], ``self`` [d, in], ``neighbours`` [d, d].
    """

    weights: list[dict[str, FloatArray]]
    sample_sizes: tuple[int, ...]  # per layer; the last: direct neighbours
    activation: str
    seed: int
    iteration_losses: list[list[float]] = field(default_factory=list)  # mean per node, by epoch
    converged: bool = False  # the loss stopped changing

    @property
    def dimensions(self) -> int:
        """The number of dimensions of an embedding."""
        return len(next(iter(self.weights[-1].values())))

    @property
    def epoch_losses(self) -> list[float]:
        """The loss of each epoch's last iteration, as GDS reports it."""
        return [losses[-1] for losses in self.iteration_losses]

    def save(self, folder: Path) -> None:
        """Write the model: one .npy file per weight, and ``model.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, layer in enumerate(self.weights):
            for name, values in layer.items():
                np.save(folder / f"layer{number}_{name}.npy", values)
        content = {key: value for key, value in vars(self).items() if key != "weights"}
        write_json(folder / MODEL_FILE, content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that :meth:`save` wrote; a TagsageError says when there is none."""
        try:
            content: Any = read_json(folder / MODEL_FILE)
            content["sample_sizes"] = tuple(content["sample_sizes"])
            weights: list[dict[str, FloatArray]] = [{} for _ in content["sample_sizes"]]
            for file in folder.glob("layer*.npy"):
                number, _, name = file.stem.removeprefix("layer").partition("_")
                weights[int(number)][name] = np.load(file, allow_pickle=False)
            return cls(weights, **content)
        except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
            msg = f"Cannot read a GraphSAGE model in {folder} ({error}); train it again."
            raise TagsageError(msg) from error


# -- embeddings ----------------------------------------------------------------------------------


def infer_graphsage(
    model: GraphSageModel,
    graph: Csr,
    vectors: npt.NDArray[np.floating],
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """Embed every node of a graph, [n, dimensions]; rows have length 1 or are zero.

    The graph [n, n], the vectors [n, f] and `out`, which takes the result, may be memory-mapped.
    Each layer is computed once for all nodes, because a node has one sample per layer.
    """
    n = graph.shape[0]
    result = np.zeros((n, model.dimensions), dtype=np.float32) if out is None else out
    for hidden in hidden_layers(model, graph, vectors):
        last = hidden
    for rows in row_slices(n):
        result[rows] = unit_rows(last[rows])
    return result


def hidden_layers(
    model: GraphSageModel, graph: Csr, vectors: npt.NDArray[np.floating]
) -> Iterator[FloatArray]:
    """Yield what each layer makes of every node, first to last, [n, dimensions]."""
    n = graph.shape[0]
    hidden: npt.NDArray[np.floating] = vectors
    for layer, size in enumerate(model.sample_sizes):
        target = scratch_array(n, model.dimensions)
        rows = max(1, BLOCK_NUMBERS // ((1 + size) * max(hidden.shape[1], model.dimensions)))
        for start in track(range(0, n, rows), f"graphsage layer {layer + 1}"):
            nodes = np.arange(start, min(start + rows, n), dtype=np.int64)
            own = hidden[start : start + rows]
            target[start : start + rows] = apply_layer(
                model, layer, own, graph, nodes, hidden, keys=nodes
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
    keys: LongArray,
) -> FloatArray:
    """Compute one layer, numbered from 0, for m nodes, each independently of the others.

    `own` [m, f] is its input for these nodes, `values` [n, f] that for their neighbours. `nodes`
    are their rows of `graph` [rows, n]; for `keys` see :func:`sample_neighbours`.
    """
    weights, act = model.weights[layer], ACTIVATION[model.activation]
    seed = layer_seed(model.seed, 0, layer)
    neighbours, counts = sample_neighbours(graph, nodes, model.sample_sizes[layer], seed, keys)
    if "weights" in weights:
        means = means_with(own, neighbours, counts, values)
        return act(fixed_product(means, weights["weights"].T))
    filled = np.arange(neighbours.shape[1]) < counts[:, None]
    unique, place = np.unique(neighbours[filled], return_inverse=True)
    pooled = act(fixed_product(values[unique], weights["pool"].T) + weights["bias"])
    largest = np.full((len(nodes), model.dimensions), -np.inf, dtype=np.float32)
    np.maximum.at(largest, np.repeat(np.arange(len(nodes)), counts), pooled[place])
    largest[counts == 0] = 0
    return act(
        fixed_product(own, weights["self"].T) + fixed_product(largest, weights["neighbours"].T)
    )


def means_with(
    own: npt.NDArray[np.floating],
    neighbours: IntArray,
    counts: IntArray,
    values: npt.NDArray[np.floating],
) -> FloatArray:
    """Average each node's own row and those of its neighbours, from :func:`sample_neighbours`."""
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
    means: FloatArray = make_csr(weight, columns[is_entry], indptr, (m, len(rows))) @ rows
    return means


def unit_rows(hidden: FloatArray) -> FloatArray:
    """Scale rows to length 1; zero rows stay zero."""
    lengths = np.linalg.norm(hidden, axis=1, keepdims=True)
    scaled: FloatArray = hidden / (lengths + np.float32(NORM_EPSILON))
    return scaled


def _leaky_relu(x: FloatArray) -> FloatArray:
    result: FloatArray = np.maximum(x, np.float32(LEAK) * x)
    return result


ACTIVATION: dict[str, Callable[[FloatArray], FloatArray]] = {
    "relu": _leaky_relu,
    "sigmoid": sigmoid,
}


# -- sampled neighbours --------------------------------------------------------------------------


def layer_seed(seed: int, epoch: int, layer: int) -> np.uint64:
    """Return the seed of one layer's neighbours in one epoch (0: inference)."""
    return UINT(np.random.SeedSequence([seed, epoch, layer]).generate_state(1, UINT)[0])


def sample_neighbours(
    graph: Csr,
    nodes: npt.NDArray[np.integer],
    size: int,
    seed: np.uint64,
    keys: npt.NDArray[np.integer] | None = None,
) -> tuple[IntArray, IntArray]:
    """Sample at most `size` neighbours of each node, uniformly and without repetition.

    As in GDS, a node has the same sample wherever it appears: random numbers come from a hash of
    seed, key (by default its row) and slot (splitmix64, G. Steele et al., OOPSLA 2014). Sampling is
    R. Floyd's (J. Bentley: Programming pearls: a sample of brilliance, CACM 30, 1987).

    Returns the neighbours, int32 [m, size], unused slots holding the node itself, and how many
    slots, the first ones, are used, int32 [m].
    """
    nodes = np.asarray(nodes, dtype=np.int64)
    first = graph.indptr[nodes].astype(np.int64)
    degrees = graph.indptr[nodes + 1].astype(np.int64) - first
    # One row per slot: every operation below runs over all the nodes at once.
    chosen: LongArray = np.empty((size, len(nodes)), dtype=np.int64)
    key = _mix((nodes if keys is None else np.asarray(keys, dtype=np.int64)).astype(UINT) + seed)
    for slot in range(size):
        last = degrees - size + slot
        drawn = (_uniform(key, slot) * (last + 1)).astype(np.int64)
        repeated = (chosen[:slot] == drawn).any(axis=0)
        chosen[slot] = np.where(repeated, last, drawn)
    few = degrees <= size
    chosen[:, few] = np.arange(size)[:, None]
    counts = np.minimum(degrees, size).astype(np.int32)
    filled = np.arange(size)[:, None] < counts
    neighbours = np.broadcast_to(nodes.astype(np.int32), chosen.shape).copy()
    neighbours[filled] = graph.indices[(first + chosen)[filled]]
    return np.ascontiguousarray(neighbours.T), counts


def _uniform(key: npt.NDArray[np.uint64], slot: int) -> npt.NDArray[np.float64]:
    step = UINT(((slot + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    # The 53 highest bits, as many as a double holds exactly.
    return (_mix(key + step) >> UINT(11)).astype(np.float64) * 2.0**-53


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> UINT(30))) * UINT(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> UINT(27))) * UINT(0x94D049BB133111EB)
    return value ^ (value >> UINT(31))
