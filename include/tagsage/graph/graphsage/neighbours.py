"""Sampling of neighbours: a pure function of node and seed, for many nodes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, IntArray, LongArray

UINT = np.uint64


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
    """Sample neighbours of each node, uniformly and without repetition.

    As in Neo4j GDS, a node has the same sample wherever it appears under the same seed: random
    numbers come from a hash of seed, node and slot, not from a stream. A node with at most `size`
    neighbours has all of them.

    Parameters
    ----------
    graph : csr_array, shape [rows, n]
        The graph, or rows of it; it may be memory-mapped.
    nodes : int array, shape [m]
        The nodes.
    size : int
        Neighbours sampled a node, at most.
    seed : numpy.uint64
        See :func:`layer_seed`.
    keys : int array, shape [m], optional
        What a node's sample is drawn by; the node by default.

    Returns
    -------
    neighbours : int32 array, shape [m, size]
        In slots that are not filled stands the node itself.
    counts : int32 array, shape [m]
        How many slots are filled; they are the first ones.

    References
    ----------
    Sampling without repetition: R. Floyd, in J. Bentley: Programming pearls: a sample of
    brilliance. CACM 30 (1987). The hash: splitmix64 (G. Steele et al., OOPSLA 2014).
    """
    nodes = np.asarray(nodes, dtype=np.int64)
    first = graph.indptr[nodes].astype(np.int64)
    degrees = graph.indptr[nodes + 1].astype(np.int64) - first
    # One row a slot: every operation below runs over all the nodes at once.
    chosen: LongArray = np.empty((size, len(nodes)), dtype=np.int64)
    key = _mix((nodes if keys is None else np.asarray(keys, dtype=np.int64)).astype(UINT) + seed)
    for slot in range(size):
        last = degrees - size + slot
        uniform = _uniform(key, slot)
        drawn = (uniform * (last + 1)).astype(np.int64)
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
    """Hash a node's key and a slot to a number in [0, 1)."""
    step = UINT(((slot + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    # The 53 highest bits, as many as a double holds exactly.
    return (_mix(key + step) >> UINT(11)).astype(np.float64) * 2.0**-53


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finish a splitmix64 hash; unsigned arrays wrap around as it needs."""
    value = (value ^ (value >> UINT(30))) * UINT(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> UINT(27))) * UINT(0x94D049BB133111EB)
    return value ^ (value >> UINT(31))
