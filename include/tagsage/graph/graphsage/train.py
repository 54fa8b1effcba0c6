"""Training of GraphSAGE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.graph.arrays import check_row_count, row_slices, take_rows
from tagsage.graph.csr import induced_subgraph
from tagsage.graph.graphsage.batches import Batches, draw_batches
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import sampled_means
from tagsage.graph.graphsage.model import GraphSageModel, initial_weights
from tagsage.graph.graphsage.neighbours import layer_seed, sample_neighbours
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, LongArray
    from tagsage.graph.graphsage.network import Tree

# Iterations whose neighbourhoods are sampled together: fewer, larger array operations.
GROUP = 16


def train_graphsage(
    graph: Csr, features: npt.NDArray[np.floating], config: GraphSageConfig
) -> GraphSageModel:
    """Train GraphSAGE without labels: nodes near each other in the graph get like embeddings.

    The semantics are those of ``graphSage.train`` of Neo4j GDS 2.13 (Hamilton et al. [1]_),
    unweighted: which batches an iteration uses, walks, negative examples, loss, Adam anew in each
    epoch, clipped gradients, the end by `tolerance`. Random streams differ, so losses agree in
    distribution, not digit by digit; see :func:`draw_batches` for the one deliberate difference.
    The same seed gives the same model, in another process too; on a machine with another number of
    cores the last digits may differ, as XLA sums in another order.

    Parameters
    ----------
    graph : csr_array, shape [n, n]
        The graph to train on, directions followed; usually a sample of the whole.
    features : float array, shape [n, f]
        One vector a node; it may be memory-mapped.
    config : GraphSageConfig
        The settings.

    Returns
    -------
    GraphSageModel
        With the losses of every iteration.

    Raises
    ------
    TagsageError
        When the graph has no relationship, features and nodes disagree, a feature is not a number,
        or the loss is not finite.

    References
    ----------
    .. [1] W. Hamilton, R. Ying, J. Leskovec: Inductive representation learning on large graphs.
       NIPS 2017.
    """
    # Here, not at the top: JAX starts threads, and importers of this module may fork.
    import jax

    from tagsage.graph.graphsage import network

    if graph.nnz == 0:
        raise TagsageError(
            "GraphSAGE cannot be trained: no two of the sampled articles share a list; "
            "raise the sample's ratio or leave graphsage out of the candidates."
        )
    check_features(graph, features)
    n = graph.shape[0]
    batches = draw_batches(graph, config)
    weights: network.Weights = [
        {name: jax.device_put(value) for name, value in layer.items()}
        for layer in initial_weights(config, features.shape[1])
    ]
    per_epoch: list[list[float]] = []
    previous = np.nan
    converged = False
    for epoch in track(range(1, config.epochs + 1), "training graphsage"):
        optimiser = network.start_optimiser(weights)
        losses: list[float] = []
        for tree, share in _iterations(graph, features, batches, config, epoch):
            stepped, optimiser, value = network.training_step(
                weights,
                optimiser,
                tree,
                share,
                aggregator=config.aggregator,
                activation=config.activation,
                negative_weight=config.negative_weight,
                penalty=_penalty(config, share, n),
                learning_rate=config.learning_rate,
            )
            losses.append(float(value))
            if not np.isfinite(losses[-1]):
                msg = (
                    f"GraphSAGE's loss became {losses[-1]} in epoch {epoch}; "
                    "lower its learning rate."
                )
                raise TagsageError(msg)
            converged = abs(previous - losses[-1]) < config.tolerance
            previous = losses[-1]
            if converged:
                break
            weights = stepped
        per_epoch.append(losses)
        if converged:
            break
    return GraphSageModel(
        config=config,
        weights=[{name: np.asarray(value) for name, value in layer.items()} for layer in weights],
        iteration_losses=per_epoch,
        converged=converged,
    )


def check_features(graph: Csr, features: npt.NDArray[np.floating]) -> None:
    """Refuse features that do not fit the graph or are not numbers.

    Raises
    ------
    TagsageError
        With the counts, or the first bad row.
    """
    n = graph.shape[0]
    check_row_count(features, n)
    for rows in row_slices(n):
        bad = ~np.isfinite(features[rows]).all(axis=1)
        if bad.any():
            msg = (
                f"The vector of article {rows.start + int(bad.argmax())} holds a value that is "
                "not a finite number; compute or import the vectors again."
            )
            raise TagsageError(msg)


def _penalty(config: GraphSageConfig, share: FloatArray, nodes: int) -> np.float32:
    """Scale the L2 penalty by the mean size of the iteration's batches, as GDS does."""
    batches = len(share) // config.batch_size
    return np.float32(config.penalty_l2 * np.count_nonzero(share) / batches / nodes)


def _iterations(
    graph: Csr,
    features: npt.NDArray[np.floating],
    batches: Batches,
    config: GraphSageConfig,
    epoch: int,
) -> Iterator[tuple[Tree, FloatArray]]:
    """Yield the sampled neighbourhoods and node weights of an epoch's iterations.

    All iterations of a training have the same shapes, so the step is compiled once.
    """
    seeds = [layer_seed(config.seed, epoch, layer) for layer in range(len(config.sample_sizes))]
    schedule = batches.schedule[epoch - 1]
    for start in range(0, len(schedule), GROUP):
        rows = schedule[start : start + GROUP]
        targets = np.stack(
            [kind[rows].reshape(len(rows), -1) for kind in _examples(batches)], axis=1
        ).reshape(len(rows), -1)
        shares = batches.share[rows].reshape(len(rows), -1) / np.float32(rows.shape[1])
        yield from zip(_trees(graph, features, targets, config, seeds), shares, strict=True)


def train_on_sample(
    graph: Csr,
    features: npt.NDArray[np.floating],
    nodes: npt.NDArray[np.integer],
    config: GraphSageConfig,
) -> tuple[GraphSageModel, int]:
    """Train on a sample of a graph; on the whole graph where no two of the sample are joined.

    Parameters
    ----------
    graph : csr_array, shape [n, n]
        The graph, with at least one relationship.
    features : float array, shape [n, f]
        One vector per node; it may be memory-mapped.
    nodes : int array, shape [s]
        The sample, ascending.
    config : GraphSageConfig
        The settings.

    Returns
    -------
    model : GraphSageModel
        The model.
    trained_on : int
        How many nodes it was trained on.
    """
    sample = induced_subgraph(graph, nodes)
    if not sample.nnz:
        nodes, sample = np.arange(graph.shape[0], dtype=np.int32), graph
    return train_graphsage(sample, take_rows(features, nodes), config), len(nodes)


def _examples(batches: Batches) -> tuple[LongArray, LongArray, LongArray]:
    return batches.nodes, batches.positives, batches.negatives


def _trees(
    graph: Csr,
    features: npt.NDArray[np.floating],
    targets: LongArray,
    config: GraphSageConfig,
    seeds: list[np.uint64],
) -> Iterator[Tree]:
    """Sample the neighbourhoods of several iterations' targets, int64 [iterations, targets]."""
    from tagsage.graph.graphsage.network import Tree

    iterations = len(targets)
    masks: list[FloatArray] = []
    nodes = targets
    for layer in range(len(config.sample_sizes) - 1, 0, -1):
        nodes, mask = _expand(graph, nodes, config.sample_sizes[layer], seeds[layer])
        masks.insert(0, mask)
    size = config.sample_sizes[0]
    if config.aggregator == "mean":
        unique, inverse = np.unique(nodes, return_inverse=True)
        means = sampled_means(graph, features, unique, size, seeds[0])
        inverse = inverse.reshape(iterations, -1)
        no_index = np.zeros((0, 0), dtype=np.int32)
        for i in range(iterations):
            yield Tree(means[inverse[i]], no_index, tuple(mask[i] for mask in masks))
        return
    first_layer = nodes.shape[1]
    nodes, mask = _expand(graph, nodes, size, seeds[0])
    masks.insert(0, mask)
    rows = min(graph.shape[0], nodes.shape[1])
    for i in range(iterations):
        unique, inverse = np.unique(nodes[i], return_inverse=True)
        # Padding: the number of distinct nodes varies, the compiled shape must not.
        table = np.zeros((rows, features.shape[1]), dtype=np.float32)
        table[: len(unique)] = features[unique]
        index = inverse.reshape(first_layer, -1).astype(np.int32)
        yield Tree(table, index, tuple(mask[i] for mask in masks))


def _expand(
    graph: Csr, nodes: LongArray, size: int, seed: np.uint64
) -> tuple[LongArray, FloatArray]:
    """Put every node's sampled neighbours behind it.

    Returns
    -------
    nodes : int64 array, shape [iterations, t * (1 + size)]
    mask : float32 array, shape [iterations, t, 1 + size]
        1 where a slot is filled.
    """
    iterations, t = nodes.shape
    unique, inverse = np.unique(nodes, return_inverse=True)
    neighbours, counts = sample_neighbours(graph, unique, size, seed)
    inverse = inverse.ravel()
    expanded = np.concatenate([nodes.reshape(-1, 1), neighbours[inverse]], axis=1)
    mask = (np.arange(1 + size) <= counts[inverse, None]).astype(np.float32)
    return expanded.reshape(iterations, -1), mask.reshape(iterations, t, 1 + size)
