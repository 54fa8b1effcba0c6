"""Weakly connected components and the start node."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.graph import components as room
from tagsage.graph.components import connected_components, start_node


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


def test_directions_are_ignored_and_components_numbered_by_lowest_node() -> None:
    labels = connected_components(graph(6, [(5, 1), (3, 5), (4, 2)]))
    assert labels.tolist() == [0, 1, 2, 1, 2, 1]
    assert labels.dtype == np.int32


@given(
    n=st.integers(1, 15),
    data=st.data(),
    block=st.sampled_from([1, 3, 1000]),
)
@settings(deadline=None)
def test_any_graph_gives_the_labels_of_the_slow_spread(
    n: int, data: st.DataObject, block: int
) -> None:
    node = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=25))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_ENTRIES", block)
        patch.setattr(room, "BLOCK_ENTRIES_PER_NODE", 0)
        assert connected_components(graph(n, edges)).tolist() == oracle(n, edges)


def test_a_graph_without_nodes_has_no_components() -> None:
    assert connected_components(graph(0, [])).tolist() == []


def test_the_start_node_is_the_lowest_of_the_largest_component() -> None:
    similarity = graph(6, [(0, 1), (1, 0), (2, 4), (4, 2), (5, 4), (4, 5)])
    assert start_node(connected_components(similarity), np.diff(similarity.indptr)) == 2


def test_of_equally_large_components_the_first_has_the_start_node() -> None:
    similarity = graph(5, [(3, 4), (4, 3), (1, 2), (2, 1)])
    assert start_node(connected_components(similarity), np.diff(similarity.indptr)) == 1


def test_a_start_node_that_no_walk_can_leave_is_passed_over() -> None:
    similarity = graph(4, [(3, 1)])
    assert start_node(connected_components(similarity), np.diff(similarity.indptr)) == 3


def test_without_relationships_the_first_node_is_the_start_node() -> None:
    similarity = graph(3, [])
    assert start_node(connected_components(similarity), np.diff(similarity.indptr)) == 0
