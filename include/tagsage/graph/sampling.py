"""A smaller graph that looks like the whole: random walks with restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, IntArray

# As in Neo4j GDS 2.13, with the threshold of one worker, which a seeded run has there.
RESTART_PROBABILITY = 0.1
QUALITY_MOMENTUM = 0.9
QUALITY_THRESHOLD = 0.05
MAX_WALKS_PER_START = 100

RANDOM_BLOCK = 1 << 16


def random_walk_sample(similarity: Csr, start_node: int, *, ratio: float, seed: int) -> IntArray:
    """Sample a share of the nodes (`ratio`, in (0, 1]) by random walks; returns them ascending.

    As ``graph.sample.rwr`` of Neo4j GDS 2.13, after J. Leskovec and C. Faloutsos (Sampling from
    large graphs, KDD 2006), unweighted; directions are followed. Walks end with a chance of 10% per
    step, or where no relationship leads on. A walk's quality is the share of newly visited among
    visited nodes; a start node makes at most 100 walks in a row, and is dropped when its quality is
    used up. When the start nodes' expected quality falls under a threshold, a new one is drawn from
    all nodes.
    """
    # Halves round up, as in Java.
    target = int(ratio * similarity.shape[0] + 0.5)
    if target == 0:
        return np.zeros(0, dtype=np.int32)
    seen = _walk(similarity, start_node, target, _uniform_numbers(seed))
    return np.flatnonzero(np.frombuffer(seen, dtype=np.uint8)).astype(np.int32)


def _walk(similarity: Csr, start_node: int, target: int, draw: Callable[[], float]) -> bytearray:
    """Walk until `target` nodes were seen; return a byte per node, 1 where seen."""
    # Single items of a memoryview are far cheaper to read than those of an array.
    indptr = np.ascontiguousarray(similarity.indptr).data
    indices = np.asarray(similarity.indices).data
    n = similarity.shape[0]
    seen = bytearray(n)
    seen_count = 0
    starts, qualities = [start_node], [1.0]
    ever_started = {start_node}
    total = squares = 1.0

    position, node = 0, start_node
    walks_left = MAX_WALKS_PER_START
    added, visited = 0, 1
    while True:
        if not seen[node]:
            seen[node] = 1
            added += 1
            seen_count += 1
            if seen_count == target:
                return seen
        first = indptr[node]
        degree = indptr[node + 1] - first
        if degree and draw() >= RESTART_PROBABILITY:
            node = indices[first + int(draw() * degree)]
            visited += 1
            continue

        before = qualities[position]
        quality = QUALITY_MOMENTUM * before + (1 - QUALITY_MOMENTUM) * added / visited
        qualities[position] = quality
        total += quality - before
        squares += quality * quality - before * before
        added, visited = 0, 1
        walks_left -= 1
        if walks_left >= 0 and quality > QUALITY_THRESHOLD:
            node = starts[position]
            continue
        if quality < 1 / MAX_WALKS_PER_START:
            total -= quality
            squares -= quality * quality
            starts[position], qualities[position] = starts[-1], qualities[-1]
            starts.pop()
            qualities.pop()
        expected = squares / total if starts and total > 0 else 0.0
        if expected < QUALITY_THRESHOLD and len(ever_started) < n:
            fresh = int(draw() * n)
            while fresh in ever_started:
                fresh = int(draw() * n)
            ever_started.add(fresh)
            starts.append(fresh)
            qualities.append(1.0)
            total += 1.0
            squares += 1.0
        position = int(draw() * len(starts))
        node = starts[position]
        walks_left = int(qualities[position] * MAX_WALKS_PER_START + 0.5)


def _uniform_numbers(seed: int) -> Callable[[], float]:
    def numbers() -> Iterator[float]:
        random = np.random.default_rng([seed, 0x5257])
        while True:
            yield from random.random(RANDOM_BLOCK).tolist()

    return numbers().__next__
