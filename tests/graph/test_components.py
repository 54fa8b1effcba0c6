"""Weakly connected components and the start node."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.graph import components as module
from tagsage.graph.components import (
    components_through_lists,
    connected_components,
    start_node,
)


def graph(n: int, edges: list[tuple[int, int]]) -> sp.csr_array:
    dense = np.zeros((n, n), dtype=np.float32)
    for a, b in edges:
        dense[a, b] = 1
    return sp.csr_array(dense)


def oracle(n: int, edges: list[tuple[int, int]]) -> list[int]:
    """Spread the lowest node of each component until nothing changes."""
    lowest = list(range(n))
    for _ in range(n):
        for a, b in edges:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    order = sorted(set(lowest))
    return [order.index(x) for x in lowest]


@given(n=st.integers(1, 15), data=st.data(), block=st.sampled_from([1, 3, 1000]))
def test_any_graph_gives_the_labels_of_the_slow_spread(
    n: int, data: st.DataObject, block: int
) -> None:
    node = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=25))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ENTRIES", block)
        patch.setattr(module, "BLOCK_ENTRIES_PER_NODE", 0)
        assert connected_components(graph(n, edges)).tolist() == oracle(n, edges)


@pytest.mark.parametrize(
    ("n", "edges", "expected"),
    [
        # The lowest of the largest component; of equally large ones the first.
        (6, [(0, 1), (1, 0), (2, 4), (4, 2), (5, 4), (4, 5)], 2),
        (5, [(3, 4), (4, 3), (1, 2), (2, 1)], 1),
        # One that no walk can leave is passed over.
        (4, [(3, 1)], 3),
    ],
)
def test_walks_start_in_the_largest_component(n, edges, expected) -> None:
    similarity = graph(n, edges)
    assert start_node(connected_components(similarity), np.diff(similarity.indptr)) == expected


def test_articles_hang_together_through_lists() -> None:
    # Lists: {0, 2}, {2, 3}, {5}; 1 and 4 are in none.
    articles, lists = np.array([0, 2, 2, 3, 5]), np.array([0, 0, 1, 1, 2])
    assert components_through_lists(articles, lists, 6).tolist() == [0, 1, 0, 0, 2, 3]
    none = np.zeros(0, dtype=np.int32)
    assert components_through_lists(none, none, 2).tolist() == [0, 1]
