"""Random walks with restarts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph.sampling import _uniform_numbers, random_walk_sample


def graph(n: int, edges: list[tuple[int, int]]) -> sp.csr_array:
    dense = np.zeros((n, n), dtype=np.float32)
    for a, b in edges:
        dense[a, b] = 1
    return sp.csr_array(dense)


def ring(n: int) -> sp.csr_array:
    return graph(n, [(i, (i + step) % n) for i in range(n) for step in (1, n - 1)])


def oracle(
    neighbours: list[list[int]], starts: list[int], target: int, restart: float, seed: int
) -> list[int]:
    """Walk by the letter of GDS: start nodes with qualities, summed anew whenever needed."""
    draw = _uniform_numbers(seed)
    n = len(neighbours)
    candidates = [[node, 1.0] for node in starts or [int(draw() * n)]]
    ever = {int(node) for node, _ in candidates}
    seen: set[int] = set()

    def choose() -> tuple[int, list[float], int]:
        position = int(draw() * len(candidates))
        entry = candidates[position]
        return position, entry, int(entry[1] * 100 + 0.5)

    position, entry, _ = choose()
    walks_left = 100
    node, added, considered = int(entry[0]), 0, 1
    while True:
        if node not in seen:
            seen.add(node)
            added += 1
        if len(seen) >= target:
            return sorted(seen)
        if neighbours[node] and draw() >= restart:
            node = neighbours[node][int(draw() * len(neighbours[node]))]
            considered += 1
            continue
        entry[1] = 0.9 * entry[1] + 0.1 * added / considered
        added, considered = 0, 1
        walks_left -= 1
        if walks_left >= 0 and entry[1] > 0.05:
            node = int(entry[0])
            continue
        if entry[1] < 0.01:
            candidates[position] = candidates[-1]
            candidates.pop()
        total = sum(quality for _, quality in candidates)
        expected = sum(quality**2 for _, quality in candidates) / total if candidates else 0
        if expected < 0.05 and len(ever) < n:
            fresh = int(draw() * n)
            while fresh in ever:
                fresh = int(draw() * n)
            ever.add(fresh)
            candidates.append([fresh, 1.0])
        position, entry, walks_left = choose()
        node = int(entry[0])


@given(
    n=st.integers(1, 25),
    density=st.sampled_from([0.0, 0.05, 0.2, 0.6]),
    ratio=st.sampled_from([0.1, 0.5, 1.0]),
    restart=st.sampled_from([0.05, 0.1, 0.9]),
    seed=st.integers(0, 1000),
    fixed_start=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_any_graph_gives_the_sample_of_the_slow_walk(
    n: int, density: float, ratio: float, restart: float, seed: int, fixed_start: bool
) -> None:
    dense = np.random.default_rng(seed).random((n, n)) < density
    np.fill_diagonal(dense, val=False)
    similarity = sp.csr_array(dense.astype(np.float32))
    starts = [n // 2] if fixed_start else []
    target = int(ratio * n + 0.5)
    sample = random_walk_sample(
        similarity, starts, ratio=ratio, restart_probability=restart, seed=seed
    )
    neighbours = [np.flatnonzero(row).tolist() for row in dense]
    expected = oracle(neighbours, starts, target, restart, seed) if target else []
    assert sample.tolist() == expected
    assert len(sample) == target


def test_half_a_node_rounds_up_as_in_java() -> None:
    assert len(random_walk_sample(ring(5), [0], ratio=0.5, seed=1)) == 3


def test_the_sample_is_sorted_and_holds_the_start_node() -> None:
    sample = random_walk_sample(ring(100), [40], ratio=0.2, seed=3)
    assert sample.dtype == np.int32
    assert 40 in sample
    assert np.array_equal(sample, np.unique(sample))


def test_the_walk_stays_near_its_start_node() -> None:
    # With one start node on a ring every sampled node is joined to it through sampled nodes.
    sample = random_walk_sample(ring(1000), [500], ratio=0.02, seed=5)
    assert sample.max() - sample.min() == len(sample) - 1


def test_the_same_seed_gives_the_same_sample_and_another_seed_another() -> None:
    samples = [random_walk_sample(ring(500), [], ratio=0.1, seed=s).tolist() for s in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]


def test_other_components_and_isolated_nodes_are_reached_when_one_is_exhausted() -> None:
    # Ten nodes in a ring, ten on their own: half of all means going beyond the ring in the end.
    similarity = sp.csr_array(sp.block_diag([ring(10), sp.csr_array((10, 10))]), dtype=np.float32)
    sample = random_walk_sample(similarity, [0], ratio=0.75, seed=2)
    assert len(sample) == 15
    assert (sample >= 10).any()


def test_a_graph_without_relationships_is_sampled_from_all_nodes() -> None:
    assert len(random_walk_sample(graph(50, []), [], ratio=0.4, seed=0)) == 20


def test_a_sample_of_less_than_half_a_node_is_empty() -> None:
    assert random_walk_sample(graph(2, []), [], ratio=0.1).tolist() == []
    assert random_walk_sample(graph(0, []), [], ratio=0.2).tolist() == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ratio": 0}, "ratio must be above 0 and at most 1, not 0"),
        ({"ratio": 1.1}, "ratio must be above 0 and at most 1, not 1.1"),
        ({"restart_probability": 1}, "restart_probability must be between 0 and 1, not 1"),
        ({"start_nodes": [9]}, "a start node is not among the graph's 5 nodes"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(TagsageError, match=message):
        random_walk_sample(ring(5), **{"start_nodes": [0], **wrong})
