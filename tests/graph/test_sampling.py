"""Random walks with restarts."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.graph.sampling import _uniform_numbers, random_walk_sample


def oracle(neighbours: list[list[int]], start: int, target: int, seed: int) -> list[int]:
    """Walk by the letter of GDS: start nodes with qualities, summed anew whenever needed."""
    draw = _uniform_numbers(seed)
    n = len(neighbours)
    candidates = [[start, 1.0]]
    ever, seen = {start}, set()
    position, walks_left = 0, 100
    entry = candidates[0]
    node, added, considered = start, 0, 1
    while True:
        if node not in seen:
            seen.add(node)
            added += 1
        if len(seen) >= target:
            return sorted(seen)
        if neighbours[node] and draw() >= 0.1:
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
        position = int(draw() * len(candidates))
        entry = candidates[position]
        walks_left = int(entry[1] * 100 + 0.5)
        node = int(entry[0])


@given(
    n=st.integers(1, 25),
    density=st.sampled_from([0.0, 0.05, 0.2, 0.6]),
    ratio=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_any_graph_gives_the_sample_of_the_slow_walk(
    n: int, density: float, ratio: float, seed: int
) -> None:
    dense = np.random.default_rng(seed).random((n, n)) < density
    np.fill_diagonal(dense, val=False)
    similarity = sp.csr_array(dense.astype(np.float32))
    # Halves round up, as in Java.
    target = int(ratio * n + 0.5)
    sample = random_walk_sample(similarity, n // 2, ratio=ratio, seed=seed)
    neighbours = [np.flatnonzero(row).tolist() for row in dense]
    expected = oracle(neighbours, n // 2, target, seed) if target else []
    assert sample.tolist() == expected
    assert len(sample) == target
    assert sample.dtype == np.int32
