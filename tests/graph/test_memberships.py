from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.memberships import (
    ListFactors,
    MembershipsConfig,
    factorise_memberships,
)


def incidence_of(rows: list[list[float]]) -> sp.csr_array:
    return sp.csr_array(np.array(rows, dtype=np.float32))


def slow_embeddings(incidence: np.ndarray, config: MembershipsConfig) -> np.ndarray:
    """M V by numpy's dense SVD, list by list and article by article."""
    n, n_lists = incidence.shape
    in_lists = sum(1 for row in incidence if row.any())
    weights = []
    for place in range(n_lists):
        size = incidence[:, place].sum()
        weights.append(np.log(in_lists / size) ** config.rarity_power if size else 0)
    M = np.zeros((n, n_lists))
    for article in range(n):
        row = incidence[article] * weights
        length = np.linalg.norm(row)
        if length:
            M[article] = row / length
    _, values, Vt = np.linalg.svd(M, full_matrices=False)
    V = Vt[: config.dimensions].T
    V[:, values[: config.dimensions] < 1e-3 * values[0]] = 0
    V *= np.where(V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])] < 0, -1, 1)
    return M @ V


def test_embeddings_of_a_worked_example():
    # Two lists of two articles each, of four: both weigh log(2) ** 0.5, so rows are unit vectors
    # of the lists, which are orthogonal.
    incidence = incidence_of([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]])
    embeddings, factors = factorise_memberships(incidence, MembershipsConfig(dimensions=2))
    assert embeddings.dtype == np.float32
    assert np.allclose(np.linalg.norm(embeddings[[0, 2]], axis=1), 1, atol=1e-6)
    assert np.allclose(embeddings[0], embeddings[1])
    assert embeddings[0] @ embeddings[2] == pytest.approx(0, abs=1e-6)
    assert embeddings[4].tolist() == [0, 0]
    assert factors.weights == pytest.approx([np.log(2) ** 0.5] * 2)


@pytest.mark.parametrize("rarity_power", [0.0, 0.5, 1.0])
def test_embeddings_are_those_of_a_dense_svd(rarity_power):
    rng = np.random.default_rng(0)
    dense = (rng.random((60, 20)) < 0.12).astype(np.float32)
    # Spread, so that no two singular values are near each other.
    dense[:30, 0] = 1
    dense[20:45, 1] = 1
    config = MembershipsConfig(dimensions=5, rarity_power=rarity_power)
    embeddings, _ = factorise_memberships(sp.csr_array(dense), config)
    expected = slow_embeddings(dense, config)
    # What counts are distances between articles: singular vectors of near values may mix.
    assert np.allclose(embeddings @ embeddings.T, expected @ expected.T, atol=2e-3)


def test_articles_whose_lists_hold_the_same_articles_are_near_though_they_share_none():
    # Lists 0 and 1 have the articles 0 to 9 in common; 10 is in 0 alone, 11 in 1 alone; list 2
    # holds others.
    rows = [[1, 1, 0]] * 10 + [[1, 0, 0], [0, 1, 0]] + [[0, 0, 1]] * 12
    embeddings, _ = factorise_memberships(incidence_of(rows), MembershipsConfig(dimensions=2))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert unit[10] @ unit[11] > 0.99
    assert abs(unit[10] @ unit[12]) < 0.01


def test_an_article_of_the_corpus_is_embedded_as_a_new_one_in_the_same_lists(tmp_path):
    rng = np.random.default_rng(1)
    incidence = sp.csr_array((rng.random((40, 12)) < 0.2).astype(np.float32))
    embeddings, factors = factorise_memberships(incidence, MembershipsConfig(dimensions=6))
    factors.save(tmp_path / "factors")
    again = ListFactors.load(tmp_path / "factors")
    assert again.config == factors.config
    assert np.allclose(again.embed(incidence[[3, 7]]), embeddings[[3, 7]])
    some = again.of(np.array([5, 2])).embed(incidence[:, [5, 2]])
    only = incidence.toarray()
    only[:, [place for place in range(12) if place not in {2, 5}]] = 0
    assert np.allclose(some, factors.embed(sp.csr_array(only)), atol=1e-6)
    with pytest.raises(TagsageError, match=r"holds no factors of lists; make them again\.$"):
        ListFactors.load(tmp_path)


def test_there_are_no_more_dimensions_than_lists_or_articles_in_lists():
    incidence = incidence_of([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    embeddings, _ = factorise_memberships(incidence, MembershipsConfig(dimensions=8))
    assert embeddings.shape == (3, 2)
    assert np.isfinite(embeddings).all()


@pytest.mark.parametrize("shape", [(3, 2), (3, 0)])
def test_no_membership_gives_zeros(shape):
    embeddings, factors = factorise_memberships(
        sp.csr_array(shape, dtype=np.float32), MembershipsConfig()
    )
    assert embeddings.shape == (3, 1)
    assert not embeddings.any()
    assert factors.factors.shape == (shape[1], 1)


def test_a_list_of_all_articles_says_nothing_unless_all_lists_weigh_alike():
    incidence = incidence_of([[1], [1]])
    for power, expected in ((0.5, 0), (0.0, 1)):
        embeddings, _ = factorise_memberships(incidence, MembershipsConfig(rarity_power=power))
        assert embeddings.ravel().tolist() == [expected] * 2


def test_same_seed_same_embeddings_written_where_told():
    rng = np.random.default_rng(2)
    incidence = sp.csr_array((rng.random((50, 30)) < 0.1).astype(np.float32))
    config = MembershipsConfig(dimensions=4)
    first, _ = factorise_memberships(incidence, config)
    place = np.zeros((50, 4), dtype=np.float32)
    again, _ = factorise_memberships(incidence, config, out=lambda k: place)
    assert again is place
    assert np.array_equal(first, again)


@pytest.mark.parametrize("wrong", [{"dimensions": 0}, {"rarity_power": -1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(TagsageError, match="memberships: dimensions must be at least 1"):
        MembershipsConfig(**wrong)
