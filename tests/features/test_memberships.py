"""The truncated SVD of the memberships."""

from __future__ import annotations

import numpy as np
import pytest

from tagsage.features import KnownArticles
from tagsage.features.memberships import Memberships
from tests.features.corpora import NO_TAGS, articles_in, features, fit


def factorise(
    dense: np.ndarray, k: int = 256, hidden: np.ndarray | None = None
) -> tuple[np.ndarray, Memberships]:
    """Fit the block on a corpus; return its embeddings of the same, and the block."""
    articles = articles_in(np.asarray(dense))
    known = KnownArticles.of(articles, *NO_TAGS, hidden=hidden)
    block = fit("memberships", articles, known, memberships_dimensions=k)
    (embeddings,) = features(block, known.mark(articles))
    return embeddings, block


def slow_embeddings(dense: np.ndarray, k: int) -> np.ndarray:
    """M V by numpy's dense SVD, list by list and article by article."""
    n, n_lists = dense.shape
    in_lists = sum(1 for row in dense if row.any())
    weights = []
    for place in range(n_lists):
        size = dense[:, place].sum()
        weights.append(np.log(in_lists / size) ** 0.5 if size else 0)
    M = np.zeros((n, n_lists))
    for article in range(n):
        row = dense[article] * weights
        length = np.linalg.norm(row)
        if length:
            M[article] = row / length
    _, values, Vt = np.linalg.svd(M, full_matrices=False)
    V = Vt[:k].T
    V[:, values[:k] < 1e-3 * values[0]] = 0
    V *= np.where(V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])] < 0, -1, 1)
    return M @ V


def test_embeddings_of_a_worked_example():
    # Two lists of two articles each, of four: both weigh log(2) ** 0.5, so rows are unit vectors
    # of the lists, which are orthogonal.
    embeddings, block = factorise([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]], k=2)
    np.testing.assert_allclose(np.linalg.norm(embeddings[[0, 2]], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embeddings[0], embeddings[1])
    assert embeddings[0] @ embeddings[2] == pytest.approx(0, abs=1e-6)
    assert embeddings[4].tolist() == [0, 0]
    assert block.weights == pytest.approx([np.log(2) ** 0.5] * 2)


def test_embeddings_are_those_of_a_dense_svd():
    dense = (np.random.default_rng(0).random((60, 20)) < 0.12).astype(np.float32)
    # Spread, so that no two singular values are near each other.
    dense[:30, 0] = 1
    dense[20:45, 1] = 1
    embeddings, _ = factorise(dense, k=5)
    expected = slow_embeddings(dense, 5)
    # What counts are distances between articles: singular vectors of near values may mix.
    np.testing.assert_allclose(embeddings @ embeddings.T, expected @ expected.T, atol=2e-3)


def test_articles_whose_lists_hold_the_same_articles_are_near_though_they_share_none():
    # Lists 0 and 1 have the articles 0 to 9 in common; 10 is in 0 alone, 11 in 1 alone; list 2
    # holds others.
    rows = [[1, 1, 0]] * 10 + [[1, 0, 0], [0, 1, 0]] + [[0, 0, 1]] * 12
    embeddings, _ = factorise(rows, k=2)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert unit[10] @ unit[11] > 0.99
    assert abs(unit[10] @ unit[12]) < 0.01


def test_there_are_no_more_dimensions_than_lists_or_articles_in_lists():
    embeddings, _ = factorise([[1, 1, 1], [1, 1, 0], [0, 0, 0]], k=8)
    assert embeddings.shape == (3, 2)
    assert np.isfinite(embeddings).all()


@pytest.mark.parametrize("dense", [np.zeros((3, 2)), np.zeros((3, 0)), np.ones((3, 1))])
def test_no_membership_and_a_list_of_all_articles_give_zeros(dense):
    embeddings, block = factorise(dense)
    assert embeddings.tolist() == [[0], [0], [0]]
    assert block.factors.shape == (dense.shape[1], 1)
