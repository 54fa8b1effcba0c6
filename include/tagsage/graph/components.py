"""Weakly connected components of the projection, and where a walk over it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse import csgraph

from tagsage.graph.csr import entry_rows, row_blocks

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, IntArray

# Small blocks: once most nodes are in one component, the other relationships join nothing new and
# are only looked at. But each block with news relabels all nodes, hence the part for the nodes.
BLOCK_ENTRIES = 1 << 20
BLOCK_ENTRIES_PER_NODE = 2


def connected_components(similarity: Csr) -> IntArray:
    """Label the weakly connected components, as ``wcc`` of Neo4j GDS does.

    Directions are ignored. Relationships are read block by block and components merged after each,
    so a memory-mapped graph never lies in memory as a whole.

    Parameters
    ----------
    similarity : csr_array, shape [n, n]
        The graph.

    Returns
    -------
    int32 array, shape [n]
        The component of each node; components are numbered by their lowest node.
    """
    n = similarity.shape[0]
    labels = np.arange(n, dtype=np.int32)
    count = n
    budget = max(BLOCK_ENTRIES, BLOCK_ENTRIES_PER_NODE * n)
    for start, stop in row_blocks(np.diff(similarity.indptr), budget):
        entries = slice(int(similarity.indptr[start]), int(similarity.indptr[stop]))
        sources = labels[entry_rows(similarity, start, stop)]
        targets = labels[similarity.indices[entries]]
        joins = sources != targets
        if not joins.any():
            continue
        ones = np.ones(int(joins.sum()), dtype=np.float32)
        graph = sp.csr_array((ones, (sources[joins], targets[joins])), shape=(count, count))
        count, merged = csgraph.connected_components(graph, directed=False)
        labels = merged[labels]
    return number_by_lowest(labels)


def number_by_lowest(labels: npt.NDArray[np.integer]) -> IntArray:
    """Give components numbers in the order of their lowest nodes.

    Parameters
    ----------
    labels : int array, shape [n]
        Any number for each node, the same for the nodes of a component.

    Returns
    -------
    int32 array, shape [n]
        0 for the component of node 0, 1 for that of the lowest node outside it, and so on.
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    result: IntArray = rank[inverse]
    return result


def start_node(labels: IntArray, degrees: npt.NDArray[np.integer]) -> int:
    """Choose the node where random walks start: in the largest component, the lowest index.

    The study takes any node of the largest component; this one is the same every night. A node
    that a walk can leave is preferred.

    Parameters
    ----------
    labels : int32 array, shape [n], n >= 1
        The component of each node. Of equally large components the one with the lowest label wins.
    degrees : int array, shape [n]
        How many relationships leave each node.

    Returns
    -------
    int
        The node.
    """
    largest = int(np.bincount(labels).argmax())
    nodes = np.flatnonzero(labels == largest)
    leavable = degrees[nodes] > 0
    return int(nodes[leavable.argmax()])
