"""FastRP: against hand-worked numbers, a slow copy of GDS's algorithm, and GDS itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph import fastrp as module
from tagsage.graph.csr import load_csr, save_csr
from tagsage.graph.fastrp import (
    FastRpConfig,
    fastrp,
    fastrp_levels,
    initial_vectors,
    mix_levels,
    projection_matrix,
)
from tagsage.graph.fastrp_random import first_number, node_streams, single_stream
from tagsage.neo4j_connection import open_driver

f32 = np.float32
MASK = 2**64 - 1

CONFIGS = [
    FastRpConfig(dimensions=12),
    FastRpConfig(dimensions=12, property_ratio=0.0, self_influence=0.0),
    FastRpConfig(
        dimensions=13,
        property_ratio=0.6,
        iteration_weights=(0.0, 1.0, 0.5, -0.25),
        self_influence=0.75,
        normalization_strength=-0.3,
        seed=7,
    ),
    FastRpConfig(
        dimensions=8, property_ratio=0.5, normalization_strength=0.5, self_influence=2.0, seed=2**40
    ),
    FastRpConfig(dimensions=6, property_ratio=0.5, iteration_weights=(), seed=0),
]


class SlowRandom:
    """GDS's generator, a number at a time."""

    def __init__(self, seed: int) -> None:
        self.v, self.w = 4101842887655102017, 1
        self.u = (seed & MASK) ^ self.v
        self.next_long()
        self.v = self.u
        self.next_long()
        self.w = self.v
        self.next_long()

    def next_long(self) -> int:
        self.u = (self.u * 2862933555777941757 + 7046029254386353087) & MASK
        self.v ^= self.v >> 17
        self.v ^= (self.v << 31) & MASK
        self.v ^= self.v >> 8
        self.w = (4294957665 * self.w + (self.w >> 32)) & MASK
        x = self.u ^ ((self.u << 21) & MASK)
        x ^= x >> 35
        x ^= (x << 4) & MASK
        return ((x + self.v) & MASK) ^ self.w

    def next_double(self) -> float:
        return ((self.next_long() >> 38) * 2**27 + (self.next_long() >> 37)) / 2**53

    def entry(self, value: np.float32) -> np.float32:
        number = self.next_double()
        if number < 1 / 6:
            return value
        return -value if number < 1 / 6 * 2 else f32(0)


def length(vector: np.ndarray) -> np.float32:
    total = f32(0)
    for value in vector:
        total += value * value
    return np.sqrt(total)


def slow_fastrp(
    graph: sp.csr_array, features: np.ndarray, config: FastRpConfig, ids: np.ndarray
) -> np.ndarray:
    """Embed as ``FastRP.java`` does: node by node, number by number, in float32."""
    n, d = graph.shape[0], config.dimensions
    own = int(d * config.property_ratio)
    seed = SlowRandom(config.seed).next_long()
    random = SlowRandom(seed)
    projection = np.zeros((features.shape[1], own), dtype=f32)
    for column in range(own):
        for row in range(len(projection)):
            projection[row, column] = random.entry(f32(math.sqrt(3)) / f32(math.sqrt(d)))
    initial = np.zeros((n, d), dtype=f32)
    neighbours = [
        list(zip(graph.indices[a:b].tolist(), graph.data[a:b].tolist(), strict=True))
        for a, b in zip(graph.indptr[:-1], graph.indptr[1:], strict=True)
    ]
    for v in range(n):
        degree = len(neighbours[v])
        scale = f32(degree ** float(f32(config.normalization_strength))) if degree else f32(1)
        value = scale * f32(math.sqrt(3)) / f32(math.sqrt(d))
        random = SlowRandom(seed ^ int(ids[v]))
        for column in range(d - own):
            initial[v, column] = random.entry(value)
        for row in range(len(projection)):
            for column in range(own):
                initial[v, d - own + column] += f32(features[v, row]) * projection[row, column]
    embeddings = np.zeros((n, d), dtype=f32)
    if config.self_influence:
        for v in range(n):
            size = length(initial[v])
            embeddings[v] += f32(config.self_influence) / (size if size > 1e-37 else 1) * initial[v]
    previous = initial
    for weight in config.iteration_weights:
        current = np.zeros((n, d), dtype=f32)
        for v in range(n):
            for target, strength in neighbours[v]:
                for column in range(d):
                    current[v, column] = f32(
                        float(previous[target, column]) * strength + float(current[v, column])
                    )
            current[v] *= f32(1) / f32(max(len(neighbours[v]), 1))
            size = length(current[v])
            embeddings[v] += (f32(1) / size if size > 0 else f32(1)) * f32(weight) * current[v]
        previous = current
    return embeddings


def weighted_graph(n: int = 9, seed: int = 0) -> tuple[sp.csr_array, np.ndarray]:
    """Return a directed weighted graph whose last two nodes are alone, and vectors; one is zero."""
    random = np.random.default_rng(seed)
    dense = random.random((n, n)) * (random.random((n, n)) < 0.35)
    np.fill_diagonal(dense, 0)
    dense[-2:] = 0
    dense[:, -2:] = 0
    features = random.normal(size=(n, 5)).astype(f32)
    features[-1] = 0
    return sp.csr_array(dense.astype(f32)), features


def test_streams_are_those_of_the_slow_generator_whatever_the_seed() -> None:
    for seed in (0, 42, 2**40, 2**63 + 5, -3):
        slow = SlowRandom(seed)
        assert first_number(seed) == slow.next_long()
        slow = SlowRandom(seed)
        drawn = single_stream(seed & MASK, 50)
        assert drawn.tolist() == [slow.next_double() for _ in range(50)]
    ids = np.array([0, 1, 77, 2**40])
    streams = np.array(list(node_streams(2**63 + 5, ids, 20)))
    for column, node in enumerate(ids.tolist()):
        slow = SlowRandom((2**63 + 5) ^ node)
        assert streams[:, column].tolist() == [slow.next_double() for _ in range(20)]


def test_a_sixth_of_the_projection_is_positive_and_a_sixth_negative() -> None:
    config = FastRpConfig(dimensions=200, property_ratio=0.5)
    projection = projection_matrix(300, config)
    assert projection.shape == (300, 100)
    assert projection.dtype == f32
    value = f32(math.sqrt(3)) / f32(math.sqrt(200))
    assert set(np.unique(projection).tolist()) == {-float(value), 0.0, float(value)}
    assert (projection > 0).mean() == pytest.approx(1 / 6, abs=0.01)
    assert (projection < 0).mean() == pytest.approx(1 / 6, abs=0.01)


def test_three_articles_give_the_numbers_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # The projection swaps the two numbers of a vector and doubles the first.
    monkeypatch.setattr(
        module, "projection_matrix", lambda inputs, config: np.array([[0, 2], [1, 0]], dtype=f32)
    )
    graph = sp.csr_array(np.array([[0, 0.5, 0.25], [0.5, 0, 0], [0, 0, 0]], dtype=f32))
    features = np.array([[1, 3], [2, 0], [0, 4]], dtype=f32)
    config = FastRpConfig(dimensions=2, iteration_weights=(1.0, 10.0), self_influence=5.0)
    found = fastrp(graph, features, config)
    # Projected: (3, 2), (0, 4), (4, 0).
    # 1st means: (0.5 (0, 4) + 0.25 (4, 0)) / 2 = (0.5, 1);  0.5 (3, 2) / 1 = (1.5, 1);  (0, 0).
    # 2nd means: 0.5 (1.5, 1) / 2 = (0.375, 0.25);           0.5 (0.5, 1) = (0.25, 0.5);  (0, 0).
    a, b = 1 / math.sqrt(13), 1 / math.sqrt(5)
    expected = [
        [5 * 3 * a + 1 * b + 10 * 3 * a, 5 * 2 * a + 2 * b + 10 * 2 * a],
        [0 + 3 * a + 10 * b, 5 + 2 * a + 10 * 2 * b],
        [5, 0],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_numbers_are_those_of_the_slow_algorithm(config: FastRpConfig) -> None:
    graph, features = weighted_graph()
    ids = np.array([5, 3, 1000, 2**33, 17, 0, 1, 2, 4])
    found = fastrp(graph, features, config, node_ids=ids)
    assert found.dtype == f32
    np.testing.assert_allclose(
        found, slow_fastrp(graph, features, config, ids), rtol=1e-5, atol=1e-6
    )


def test_by_default_nodes_are_drawn_by_their_index() -> None:
    graph, features = weighted_graph()
    np.testing.assert_array_equal(
        fastrp(graph, features, CONFIGS[2]),
        fastrp(graph, features, CONFIGS[2], node_ids=np.arange(9)),
    )


def test_blocks_and_memory_mapped_files_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, features = weighted_graph(40)
    whole = fastrp(graph, features, CONFIGS[2])
    save_csr(tmp_path, graph)
    np.save(tmp_path / "vectors.npy", features)
    out = np.lib.format.open_memmap(
        tmp_path / "out.npy", mode="w+", dtype=f32, shape=(40, CONFIGS[2].dimensions)
    )
    out[:] = 9  # What the file holds before does not count.
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 60)
    monkeypatch.setattr("tagsage.graph.arrays.ROW_BLOCK", 7)
    monkeypatch.setattr("tagsage.graph.arrays.MEMORY_NUMBERS", 10)
    vectors = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert fastrp(load_csr(tmp_path), vectors, CONFIGS[2], out=out) is out
    np.testing.assert_allclose(out, whole, rtol=1e-5, atol=1e-6)


def test_articles_without_neighbours_keep_their_own_part_alone() -> None:
    graph, features = weighted_graph()
    config = FastRpConfig(dimensions=12, self_influence=0.5)
    found = fastrp(graph, features, config)
    assert np.linalg.norm(found[-2]) == pytest.approx(0.5, rel=1e-5)
    assert not found[-1].any()  # No neighbours, and no vector either.


@pytest.mark.parametrize("config", CONFIGS)
def test_a_node_has_the_same_embedding_alone_and_among_others(config: FastRpConfig) -> None:
    graph, features = weighted_graph(40)
    whole = fastrp(graph, features, config)
    levels = fastrp_levels(graph, features, config)
    projection = projection_matrix(features.shape[1], config)
    for rows in (np.array([7]), np.array([39, 3, 3, 20, 0])):
        picked = graph[rows]
        initial = initial_vectors(features[rows], projection, rows, np.diff(picked.indptr), config)
        assert np.array_equal(mix_levels(initial, picked, levels, config), whole[rows])


def test_a_node_that_came_later_has_no_random_part_of_its_own() -> None:
    graph, features = weighted_graph()
    config = CONFIGS[2]
    random_part = config.dimensions - config.property_dimensions
    found = initial_vectors(
        features,
        projection_matrix(5, config),
        np.array([0, -1] + [-1] * 7),
        np.diff(graph.indptr),
        config,
    )
    levels = fastrp_levels(graph, features, config)
    assert np.array_equal(found[0], levels[0][0])
    assert not found[1:, :random_part].any()
    assert np.array_equal(found[:, random_part:], levels[0][:, random_part:])


@pytest.mark.parametrize("n", [0, 1])
def test_no_article_and_one_article_go_through(n: int) -> None:
    graph = sp.csr_array((n, n), dtype=f32)
    found = fastrp(graph, np.ones((n, 3), dtype=f32), CONFIGS[2])
    assert found.shape == (n, 13)
    assert np.isfinite(found).all()


def test_vectors_for_other_articles_are_refused() -> None:
    graph, features = weighted_graph()
    with pytest.raises(TagsageError, match=r"vectors of shape \(8, 5\) for 9 articles"):
        fastrp(graph, features[:8], FastRpConfig())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dimensions": 0}, "dimensions must be at least 1, not 0"),
        ({"property_ratio": 1.5}, "property_ratio must be from 0 to 1, not 1.5"),
        ({"property_ratio": math.nan}, "property_ratio must be from 0 to 1, not nan"),
        ({"self_influence": -1.0}, "self_influence must be at least 0, not -1.0"),
        ({"iteration_weights": (1.0, math.inf)}, r"iteration_weights must be numbers, not \(1.0"),
        ({"normalization_strength": math.nan}, "normalization_strength must be a number, not nan"),
        (
            {"iteration_weights": (), "self_influence": 0.0},
            "iteration_weights must not be empty when self_influence is 0",
        ),
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(TagsageError, match=f"^fastrp: {message}"):
        FastRpConfig(**wrong)


@pytest.mark.neo4j
def test_numbers_are_those_of_gds(neo4j_connection) -> None:
    from graphdatascience import GraphDataScience

    graph, features = weighted_graph(14)
    coo = graph.tocoo()
    pairs = zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True)
    with open_driver(neo4j_connection) as driver, driver.session() as session:
        # Nodes made and removed before, so that ids in the database are not 0, 1, 2, …
        session.run("UNWIND range(1, 5) AS i CREATE (:Other)").consume()
        ids = session.run(
            "UNWIND $rows AS row CREATE (a:Article {index: row.index, vector: row.vector}) "
            "RETURN id(a) AS id ORDER BY a.index",
            rows=[{"index": i, "vector": row} for i, row in enumerate(features.tolist())],
        ).value("id")
        session.run(
            "UNWIND $pairs AS pair MATCH (a:Article {index: pair[0]}), (b:Article {index: pair[1]})"
            " CREATE (a)-[:SIMILAR {score: pair[2]}]->(b)",
            pairs=[list(pair) for pair in pairs],
        ).consume()
    assert ids != list(range(14))
    with GraphDataScience(
        neo4j_connection.uri, auth=neo4j_connection.auth, arrow=False, show_progress=False
    ) as gds:
        projected = gds.graph.project.native(
            "fastrp-test",
            {"Article": {"properties": ["vector"]}},
            {"SIMILAR": {"properties": ["score"]}},
        )[0]
        assert projected.relationship_count() == graph.nnz
        for config in CONFIGS:
            streamed = gds.fast_rp.stream(
                projected,
                embedding_dimension=config.dimensions,
                iteration_weights=list(config.iteration_weights),
                normalization_strength=config.normalization_strength,
                node_self_influence=config.self_influence,
                property_ratio=config.property_ratio,
                feature_properties=["vector"],
                relationship_weight_property="score",
                random_seed=config.seed,
            )
            expected = np.array(streamed.set_index("nodeId").loc[ids, "embedding"].tolist())
            found = fastrp(graph, features, config, node_ids=np.array(ids))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=str(config))
