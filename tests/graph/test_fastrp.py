"""FastRP: hand-worked numbers, a slow second implementation, and GDS itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.fastrp import fastrp_levels, mix_levels, projection_matrix
from tagsage.neo4j_connection import open_driver
from tests.graph.conftest import fastrp


def weighted_graph(n: int = 9) -> tuple[sp.csr_array, np.ndarray]:
    """Return a directed weighted graph whose last two nodes are alone, and vectors; one is zero."""
    random = np.random.default_rng(0)
    dense = random.random((n, n)) * (random.random((n, n)) < 0.35)
    np.fill_diagonal(dense, 0)
    dense[-2:] = 0
    dense[:, -2:] = 0
    vectors = random.normal(size=(n, 5)).astype(np.float32)
    vectors[-1] = 0
    return sp.csr_array(dense.astype(np.float32)), vectors


def test_a_sixth_of_the_projection_is_positive_and_a_sixth_negative() -> None:
    projection = projection_matrix(300, 200, seed=42)
    assert projection.shape == (300, 200)
    assert projection.dtype == np.float32
    value = math.sqrt(3 / 200)
    np.testing.assert_allclose(np.unique(projection), [-value, 0, value], rtol=1e-6)
    assert (projection > 0).mean() == pytest.approx(1 / 6, abs=0.01)
    assert (projection < 0).mean() == pytest.approx(1 / 6, abs=0.01)
    assert np.array_equal(projection, projection_matrix(300, 200, seed=42))
    assert not np.array_equal(projection, projection_matrix(300, 200, seed=43))


def test_three_articles_give_the_numbers_worked_by_hand() -> None:
    # The projection swaps the two numbers of a vector and doubles the first.
    swap = np.array([[0, 2], [1, 0]], dtype=np.float32)
    graph = sp.csr_array(np.array([[0, 0.5, 0.25], [0.5, 0, 0], [0, 0, 0]], dtype=np.float32))
    vectors = np.array([[1, 3], [2, 0], [0, 4]], dtype=np.float32)
    levels = fastrp_levels(graph, vectors, swap)
    found = mix_levels(levels[0], graph, levels)
    # Projected: (3, 2), (0, 4), (4, 0).
    # 1st means: (0.5 (0, 4) + 0.25 (4, 0)) / 2 = (0.5, 1);  0.5 (3, 2) / 1 = (1.5, 1);  (0, 0).
    # 2nd means: 0.5 (1.5, 1) / 2 = (0.375, 0.25);           0.5 (0.5, 1) = (0.25, 0.5);  (0, 0).
    a, b = 1 / math.sqrt(13), 1 / math.sqrt(5)
    expected = [[3 * a + b + 3 * a, 2 * a + 2 * b + 2 * a], [3 * a + b, 1 + 2 * a + 2 * b], [1, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_any_graph_gives_the_numbers_of_the_formula() -> None:
    graph, vectors = weighted_graph(40)
    averages = graph.toarray().astype(float)
    averages /= np.maximum((averages > 0).sum(axis=1, keepdims=True), 1)
    level = vectors.astype(float) @ projection_matrix(5, 12, seed=7)
    expected = np.zeros_like(level)
    for _ in range(3):
        lengths = np.linalg.norm(level, axis=1, keepdims=True)
        expected += level / np.where(lengths > 0, lengths, 1)
        level = averages @ level
    found = fastrp(graph, vectors, dimensions=12, seed=7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Without neighbours, its own part alone; without a vector either, nothing.
    assert np.linalg.norm(found[-2]) == pytest.approx(1, rel=1e-5)
    assert not found[-1].any()


def cosines(embeddings: np.ndarray) -> np.ndarray:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), k=1)]


@pytest.mark.neo4j
def test_articles_are_as_near_to_each_other_as_in_gds(neo4j_connection) -> None:
    from graphdatascience import GraphDataScience

    graph, vectors = weighted_graph(14)
    # GDS's matrix is another draw, so that cosines agree as far as projections keep them.
    vectors = vectors[:-1]
    graph = sp.csr_array(graph[:-1][:, :-1])
    coo = graph.tocoo()
    pairs = zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True)
    with open_driver(neo4j_connection) as driver, driver.session() as session:
        ids = session.run(
            "UNWIND $rows AS row CREATE (a:Article {index: row.index, vector: row.vector}) "
            "RETURN id(a) AS id ORDER BY a.index",
            rows=[{"index": i, "vector": row} for i, row in enumerate(vectors.tolist())],
        ).value("id")
        session.run(
            "UNWIND $pairs AS pair MATCH (a:Article {index: pair[0]}), (b:Article {index: pair[1]})"
            " CREATE (a)-[:SIMILAR {score: pair[2]}]->(b)",
            pairs=[list(pair) for pair in pairs],
        ).consume()
    dimensions = 4096
    with GraphDataScience(
        neo4j_connection.uri, auth=neo4j_connection.auth, arrow=False, show_progress=False
    ) as gds:
        projected = gds.graph.project.native(
            "fastrp-test",
            {"Article": {"properties": ["vector"]}},
            {"SIMILAR": {"properties": ["score"]}},
        )[0]
        streamed = gds.fast_rp.stream(
            projected,
            embedding_dimension=dimensions,
            iteration_weights=[1.0, 1.0],
            node_self_influence=1.0,
            property_ratio=1.0,
            feature_properties=["vector"],
            relationship_weight_property="score",
            random_seed=42,
        )
    theirs = np.array(streamed.set_index("nodeId").loc[ids, "embedding"].tolist())
    ours = fastrp(graph, vectors, dimensions=dimensions, seed=42)
    np.testing.assert_allclose(
        np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1), rtol=0.05
    )
    np.testing.assert_allclose(cosines(ours), cosines(theirs), atol=0.12)
    # Without neighbours' second average they would be further apart.
    levels = fastrp_levels(graph, vectors, projection_matrix(5, dimensions, 42))
    fewer = mix_levels(levels[0], graph, levels[:1])
    assert (
        np.abs(cosines(fewer) - cosines(theirs)).mean()
        > 2 * np.abs(cosines(ours) - cosines(theirs)).mean()
    )
