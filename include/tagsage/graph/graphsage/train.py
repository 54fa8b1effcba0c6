"""Training of GraphSAGE without labels: nodes near each other in the graph get similar embeddings.

The semantics are those of ``graphSage.train`` of Neo4j GDS 2.13 (W. Hamilton, R. Ying, J. Leskovec:
Inductive representation learning on large graphs. NIPS 2017), unweighted, with its defaults where
the study changed nothing. Random streams differ, so losses agree in distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.graph.arrays import take_rows
from tagsage.graph.csr import induced_subgraph
from tagsage.graph.graphsage.model import GraphSageModel, layer_seed, means_with, sample_neighbours
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, LongArray
    from tagsage.graph.graphsage.network import Tree
    from tagsage.settings import Settings

MAX_ITERATIONS = 10
TOLERANCE = 1e-4
DEGREE_EXPONENT = 0.75
# GDS's number of batches per iteration depends on its workers, four without a licence; here it is
# fixed, so that numbers don't depend on the machine.
WORKERS = 4
# Rounds of drawing anew; what is left after them is a graph with too few other nodes.
REDRAWS = 32
# Iterations whose neighbourhoods are sampled together: fewer, larger array operations.
GROUP = 16


def train_on_sample(
    graph: Csr,
    vectors: npt.NDArray[np.floating],
    nodes: npt.NDArray[np.integer],
    settings: Settings,
) -> tuple[GraphSageModel, int]:
    """Train on the nodes of a sample (ascending), or on all where no two of these are joined.

    The graph [n, n], with at least one relationship, and the vectors may be memory-mapped. Also
    returns how many nodes the model was trained on.
    """
    sample = induced_subgraph(graph, nodes)
    if not sample.nnz:
        nodes, sample = np.arange(graph.shape[0], dtype=np.int32), graph
    return train_graphsage(sample, take_rows(vectors, nodes), settings), len(nodes)


def train_graphsage(
    graph: Csr, vectors: npt.NDArray[np.floating], settings: Settings
) -> GraphSageModel:
    """Train on a whole graph [n, n], following directions; a TagsageError if the loss isn't finite.

    The same seed gives the same model, but for last digits on another number of cores.
    """
    # Here, not at the top: JAX starts threads, and importers of this module may fork.
    import jax

    from tagsage.graph.graphsage import network

    batches = draw_batches(graph, settings)
    weights: network.Weights = jax.device_put(initial_weights(vectors.shape[1], settings))
    start_optimiser = jax.jit(network.optimiser(settings.graphsage_learning_rate).init)
    per_epoch: list[list[float]] = []
    previous = np.nan
    converged = False
    for epoch in track(range(1, settings.graphsage_epochs + 1), "training graphsage"):
        state = start_optimiser(weights)
        losses: list[float] = []
        for tree, share in _iterations(graph, vectors, batches, settings, epoch):
            stepped, state, value = network.training_step(
                weights,
                state,
                tree,
                share,
                activation=settings.graphsage_activation,
                learning_rate=settings.graphsage_learning_rate,
            )
            losses.append(float(value))
            refuse_infinite(losses[-1], epoch)
            converged = abs(previous - losses[-1]) < TOLERANCE
            previous = losses[-1]
            if converged:
                break
            weights = stepped
        per_epoch.append(losses)
        if converged:
            break
    return GraphSageModel(
        weights=[{name: np.asarray(value) for name, value in layer.items()} for layer in weights],
        sample_sizes=settings.sample_sizes(),
        activation=settings.graphsage_activation,
        seed=settings.seed,
        iteration_losses=per_epoch,
        converged=converged,
    )


def refuse_infinite(loss: float, epoch: int) -> None:
    """Raise a TagsageError when a loss is not a finite number."""
    if not math.isfinite(loss):
        msg = f"GraphSAGE's loss became {loss} in epoch {epoch}; lower graphsage_learning_rate."
        raise TagsageError(msg)


def initial_weights(inputs: int, settings: Settings) -> list[dict[str, FloatArray]]:
    """Draw the weights that training starts from; see :class:`GraphSageModel`.

    Uniform in ±sqrt(2 / columns) for relu, ±sqrt(2 / (rows + columns)) for sigmoid; biases are 0.
    """
    random = np.random.default_rng([settings.seed, 0x5730])
    d = settings.graphsage_dimensions

    def uniform(columns: int) -> FloatArray:
        fan = columns if settings.graphsage_activation == "relu" else d + columns
        bound = np.sqrt(2 / fan)
        return random.uniform(-bound, bound, size=(d, columns)).astype(np.float32)

    layers: list[dict[str, FloatArray]] = []
    for number in range(len(settings.sample_sizes())):
        columns = inputs if number == 0 else d
        if settings.graphsage_aggregator == "mean":
            layers.append({"weights": uniform(columns)})
        else:
            layers.append({
                "pool": uniform(columns),
                "bias": np.zeros(d, dtype=np.float32),
                "self": uniform(columns),
                "neighbours": uniform(d),
            })
    return layers


# -- batches: nodes with their positive and negative examples ------------------------------------


@dataclass(frozen=True)
class Batches:
    """The batches of a training, drawn before it starts.

    `schedule` [epochs, iterations, batches per iteration] has rows of the other arrays, [used
    batches, batch_size]. Unused slots hold node 0 and weigh 0 in the loss; others weigh `share`.
    """

    schedule: LongArray
    nodes: LongArray
    positives: LongArray
    negatives: LongArray
    share: FloatArray


def sampling_ratio(nodes: int, settings: Settings) -> float:
    """Return the share of all batches that is drawn per iteration: GDS's with four workers."""
    return min(1.0, settings.graphsage_batch_size * WORKERS / nodes)


def draw_batches(graph: Csr, settings: Settings) -> Batches:
    """Draw the schedule of training and the examples of every batch in it.

    As in GDS: batches are consecutive nodes, and an iteration draws some with repetition. Each node
    has one positive example, the end of a random walk of 1 to ``graphsage_search_depth`` steps, and
    one negative, drawn by degree to the power 0.75 without repetition in a batch and avoiding its
    positive examples. In GDS nearly all batches have the same negative examples; here each has its
    own.
    """
    n, size = graph.shape[0], settings.graphsage_batch_size
    random = np.random.default_rng([settings.seed, 0x5347])
    count = math.ceil(n / size)
    per_iteration = math.ceil(sampling_ratio(n, settings) * count)
    schedule = random.integers(
        count, size=(settings.graphsage_epochs, MAX_ITERATIONS, per_iteration)
    )
    used, rows = np.unique(schedule, return_inverse=True)
    nodes = used[:, None] * size + np.arange(size)
    valid = nodes < n
    nodes[~valid] = 0
    positives = _walk_ends(graph, nodes.ravel(), settings.graphsage_search_depth, random)
    positives = positives.reshape(nodes.shape)
    negatives = _draw_negatives(graph, positives, valid, random)
    share = (valid / valid.sum(axis=1, keepdims=True)).astype(np.float32)
    return Batches(rows.reshape(schedule.shape), nodes, positives, negatives, share)


def _walk_ends(graph: Csr, nodes: LongArray, depth: int, random: np.random.Generator) -> LongArray:
    lengths = random.integers(1, depth + 1, size=len(nodes))
    current = nodes.copy()
    for step in range(depth):
        first = graph.indptr[current].astype(np.int64)
        degrees = graph.indptr[current + 1] - first
        uniform = random.random(len(nodes))
        moving = (step < lengths) & (degrees > 0)
        next_entry = first + (uniform * degrees).astype(np.int64)
        current[moving] = graph.indices[next_entry[moving]]
    return current


def _draw_negatives(
    graph: Csr,
    positives: LongArray,
    valid: npt.NDArray[np.bool_],
    random: np.random.Generator,
) -> LongArray:
    n = graph.shape[0]
    cumulative = np.cumsum(np.diff(graph.indptr).astype(np.float64) ** DEGREE_EXPONENT)
    batch = np.repeat(np.arange(len(positives)), positives.shape[1])
    # A (batch, node) pair as one number, so that membership is one sorted search.
    forbidden = np.unique((batch * n + positives.ravel())[valid.ravel()])
    negatives = np.full(positives.size, -1, dtype=np.int64)
    wanted = np.flatnonzero(valid.ravel())
    for _ in range(REDRAWS):
        drawn = np.searchsorted(cumulative, random.random(len(wanted)) * cumulative[-1], "right")
        negatives[wanted] = np.minimum(drawn, n - 1)
        pairs = batch * n + negatives
        first = np.zeros(len(pairs), dtype=bool)
        first[np.unique(pairs, return_index=True)[1]] = True
        bad = (~first | np.isin(pairs, forbidden)) & valid.ravel()
        wanted = np.flatnonzero(bad)
        if not len(wanted):
            break
    negatives[~valid.ravel()] = 0
    return negatives.reshape(positives.shape)


# -- the neighbourhoods of the iterations' targets -----------------------------------------------


def _iterations(
    graph: Csr,
    vectors: npt.NDArray[np.floating],
    batches: Batches,
    settings: Settings,
    epoch: int,
) -> Iterator[tuple[Tree, Any]]:
    sizes = settings.sample_sizes()
    seeds = [layer_seed(settings.seed, epoch, layer) for layer in range(len(sizes))]
    schedule = batches.schedule[epoch - 1]
    for start in range(0, len(schedule), GROUP):
        rows = schedule[start : start + GROUP]
        examples = (batches.nodes, batches.positives, batches.negatives)
        targets = np.stack([kind[rows].reshape(len(rows), -1) for kind in examples], axis=1)
        targets = targets.reshape(len(rows), -1)
        shares = batches.share[rows].reshape(len(rows), -1) / np.float32(rows.shape[1])
        trees = sample_trees(graph, vectors, targets, settings, seeds)
        yield from zip(trees, shares, strict=True)


def sample_trees(
    graph: Csr,
    vectors: npt.NDArray[np.floating],
    targets: LongArray,
    settings: Settings,
    seeds: list[np.uint64],
) -> Iterator[Tree]:
    """Sample the neighbourhoods of several iterations' targets [iterations, targets]."""
    from tagsage.graph.graphsage.network import Tree

    iterations, sizes = len(targets), settings.sample_sizes()
    masks: list[FloatArray] = []
    nodes = targets
    for layer in range(len(sizes) - 1, 0, -1):
        nodes, mask = _expand(graph, nodes, sizes[layer], seeds[layer])
        masks.insert(0, mask)
    if settings.graphsage_aggregator == "mean":
        unique, inverse = np.unique(nodes, return_inverse=True)
        sampled = sample_neighbours(graph, unique, sizes[0], seeds[0])
        means = means_with(vectors[unique], *sampled, vectors)
        inverse = inverse.reshape(iterations, -1)
        no_index = np.zeros((0, 0), dtype=np.int32)
        for i in range(iterations):
            yield Tree(means[inverse[i]], no_index, tuple(mask[i] for mask in masks))
        return
    first_layer = nodes.shape[1]
    nodes, mask = _expand(graph, nodes, sizes[0], seeds[0])
    masks.insert(0, mask)
    rows = min(graph.shape[0], nodes.shape[1])
    for i in range(iterations):
        unique, inverse = np.unique(nodes[i], return_inverse=True)
        # Padding: the number of distinct nodes varies, the compiled shape must not.
        table = np.zeros((rows, vectors.shape[1]), dtype=np.float32)
        table[: len(unique)] = vectors[unique]
        index = inverse.reshape(first_layer, -1).astype(np.int32)
        yield Tree(table, index, tuple(mask[i] for mask in masks))


def _expand(
    graph: Csr, nodes: LongArray, size: int, seed: np.uint64
) -> tuple[LongArray, FloatArray]:
    """Return nodes with their neighbours behind them, and which of these slots are used."""
    iterations, t = nodes.shape
    unique, inverse = np.unique(nodes, return_inverse=True)
    neighbours, counts = sample_neighbours(graph, unique, size, seed)
    inverse = inverse.ravel()
    expanded = np.concatenate([nodes.reshape(-1, 1), neighbours[inverse]], axis=1)
    mask = (np.arange(1 + size) <= counts[inverse, None]).astype(np.float32)
    return expanded.reshape(iterations, -1), mask.reshape(iterations, t, 1 + size)
