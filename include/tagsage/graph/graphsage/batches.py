"""Batches of training: nodes with their positive and negative examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.graph.graphsage.config import GraphSageConfig

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, LongArray

DEGREE_EXPONENT = 0.75
# Rounds of drawing anew; what is left after them is a graph with too few other nodes.
REDRAWS = 32


@dataclass(frozen=True)
class Batches:
    """The batches a training uses, drawn before it starts.

    Attributes
    ----------
    schedule : int64 array, shape [epochs, max_iterations, batches_per_iteration]
        Rows of the arrays below.
    nodes, positives, negatives : int64 arrays, shape [used batches, batch_size]
        The examples. The last batch of a graph may be shorter; its empty slots hold node 0.
    share : float32 array, shape [used batches, batch_size]
        What each slot contributes to its batch's loss: 1 / nodes in the batch; 0: empty slot.
    """

    schedule: LongArray
    nodes: LongArray
    positives: LongArray
    negatives: LongArray
    share: FloatArray


def draw_batches(graph: Csr, config: GraphSageConfig) -> Batches:
    """Draw the schedule of training and the examples of every batch in it.

    As in Neo4j GDS: batches are consecutive nodes; each node has, for the whole training, one
    positive example, the end of a random walk of 1 to `search_depth` steps (a walk ends early where
    no relationship leads on), and one negative example, drawn by degree to the power 0.75 without
    repetition in a batch and avoiding the batch's positive examples; an iteration uses batches
    drawn with repetition. Unlike there, batches do not share one stream of random numbers: in GDS
    every batch starts the same one, so that nearly all have the same negative examples.

    Parameters
    ----------
    graph : csr_array, shape [n, n], with at least one relationship
        The graph trained on.
    config : GraphSageConfig
        Batch size, search depth, epochs, iterations, seed.

    Returns
    -------
    Batches
    """
    n = graph.shape[0]
    random = np.random.default_rng([config.seed, 0x5347])
    schedule = random.integers(
        config.batches(n),
        size=(config.epochs, config.max_iterations, config.batches_per_iteration(n)),
    )
    used, rows = np.unique(schedule, return_inverse=True)
    nodes = used[:, None] * config.batch_size + np.arange(config.batch_size)
    valid = nodes < n
    nodes[~valid] = 0
    positives = _walk_ends(graph, nodes.ravel(), config.search_depth, random).reshape(nodes.shape)
    negatives = _draw_negatives(graph, positives, valid, random)
    share = (valid / valid.sum(axis=1, keepdims=True)).astype(np.float32)
    return Batches(rows.reshape(schedule.shape), nodes, positives, negatives, share)


def _walk_ends(graph: Csr, nodes: LongArray, depth: int, random: np.random.Generator) -> LongArray:
    """Return the last node of one random walk from each node."""
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
    """Draw nodes by degree^0.75, in each row unlike each other and unlike the row's positives."""
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
