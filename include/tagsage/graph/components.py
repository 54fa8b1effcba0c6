"""Weakly connected components of the similarity graph, and where a walk over it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse import csgraph

from tagsage.graph.csr import row_blocks

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, IntArray

# Small blocks: once most nodes are in one component, the other relationships join nothing new and
# are only looked at. But each block with news relabels all nodes, hence the part for the nodes.
BLOCK_ENTRIES = 1 << 20
BLOCK_ENTRIES_PER_NODE = 2


def connected_components(similarity: Csr) -> IntArray:
    """Label the weakly connected components [n] by their lowest node, as ``wcc`` of Neo4j GDS."""
    n = similarity.shape[0]
    indptr = similarity.indptr
    labels = np.arange(n, dtype=np.int32)
    count = n
    budget = max(BLOCK_ENTRIES, BLOCK_ENTRIES_PER_NODE * n)
    for start, stop in row_blocks(np.diff(indptr), budget):
        sources = np.repeat(labels[start:stop], np.diff(indptr[start : stop + 1]))
        targets = labels[similarity.indices[indptr[start] : indptr[stop]]]
        joins = sources != targets
        if not joins.any():
            continue
        ones = np.ones(int(joins.sum()), dtype=np.float32)
        graph = sp.csr_array((ones, (sources[joins], targets[joins])), shape=(count, count))
        count, merged = csgraph.connected_components(graph, directed=False)
        labels = merged[labels]
    return number_by_lowest(labels)


def components_through_lists(
    article_index: IntArray, list_index: IntArray, n_articles: int
) -> IntArray:
    """Label the articles [n] by their components in the graph of articles and lists.

    Memberships are an article's index and a list's. The study counts components in this graph.
    """
    n = n_articles + int(list_index.max(initial=-1)) + 1
    ones = np.ones(len(list_index), dtype=np.int8)
    graph = sp.coo_array((ones, (article_index, n_articles + list_index)), shape=(n, n))
    _, labels = csgraph.connected_components(graph.tocsr(), directed=False)
    return number_by_lowest(labels[:n_articles])


def number_by_lowest(labels: npt.NDArray[np.integer]) -> IntArray:
    """Return components renumbered by their lowest nodes: 0 for that of node 0, and so on."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    result: IntArray = rank[inverse]
    return result


def start_node(labels: IntArray, degrees: npt.NDArray[np.integer]) -> int:
    """Choose where walks start: the largest component's lowest node that a walk can leave."""
    largest = int(np.bincount(labels).argmax())
    nodes = np.flatnonzero(labels == largest)
    leavable = degrees[nodes] > 0
    return int(nodes[leavable.argmax()])
