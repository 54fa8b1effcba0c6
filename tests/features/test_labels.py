"""Propagation of tags over lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.features import Articles, KnownArticles
from tests.features.corpora import articles_in, features, fit


def propagate(
    articles: Articles, rows: np.ndarray, Y: np.ndarray, prior_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the block on a corpus, and make its features of the same."""
    known = KnownArticles.of(articles, rows, Y)
    block = fit("labels", articles, known, labels_prior_weight=prior_weight)
    shares, support = features(block, known.mark(articles))
    return shares, support


def oracle(
    dense: np.ndarray, rows: np.ndarray, Y: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Propagate to one article at a time, as if it had no tags, in double precision."""
    n, n_lists = dense.shape
    shares, support = np.zeros((n, Y.shape[1])), np.zeros((n, 1))
    for article in range(n):
        others = {row: Y[i].astype(float) for i, row in enumerate(rows) if row != article}
        prior = np.mean(list(others.values()), axis=0) if others else np.zeros(Y.shape[1])
        found, neighbours = [], 0
        for name in range(n_lists):
            if not dense[article, name]:
                continue
            tagged = [own for row, own in others.items() if dense[row, name]]
            neighbours += len(tagged)
            if len(tagged) + alpha > 0:
                found.append((np.sum(tagged, axis=0) + alpha * prior) / (len(tagged) + alpha))
        if found:
            shares[article] = np.mean(found, axis=0)
        support[article] = math.log(1 + neighbours)
    return shares, support


# Lists: a = 0, 1, 2; b = 2, 3; c = 4 alone; d is empty. Article 5 is in no list.
ARTICLES = articles_in(
    np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
)
ROWS = np.array([4, 0, 1, 3])
TAGS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=bool)


def test_six_articles_have_the_shares_worked_out_by_hand() -> None:
    shares, support = propagate(ARTICLES, ROWS, TAGS, 2)
    expected = [
        # a without 0 holds 1; the overall shares without 0 are 1/3 and 2/3.
        [(1 + 2 * 1 / 3) / 3, (1 + 2 * 2 / 3) / 3],
        [(1 + 2 * 1 / 3) / 3, (0 + 2 * 1 / 3) / 3],
        # Article 2 is not tagged: a holds 0 and 1, b holds 3, overall a half each.
        [((2 + 1) / 4 + (0 + 1) / 3) / 2, ((1 + 1) / 4 + (1 + 1) / 3) / 2],
        # b without 3 holds no tagged article, c without 4 neither: the overall shares.
        [2 / 3, 1 / 3],
        [2 / 3, 2 / 3],
        [0, 0],
    ]
    np.testing.assert_allclose(shares, expected, atol=2e-6)
    np.testing.assert_allclose(support[:, 0], np.log([2, 2, 4, 1, 1, 1]), rtol=1e-6)
    assert support.shape == (6, 1)


def test_without_a_prior_lists_without_tagged_articles_do_not_count() -> None:
    shares, support = propagate(ARTICLES, ROWS, TAGS, 0)
    np.testing.assert_allclose(shares[:3], [[1, 1], [1, 0], [0.5, 0.75]], atol=2e-6)
    assert not shares[3:].any()
    assert not support[3:].any()


@given(
    n=st.integers(1, 12),
    n_lists=st.integers(0, 6),
    seed=st.integers(0, 10_000),
    prior_weight=st.sampled_from([0, 0.5, 10]),
)
def test_any_corpus_gives_the_shares_of_the_slow_propagation(
    n: int, n_lists: int, seed: int, prior_weight: float
) -> None:
    random = np.random.default_rng(seed)
    dense = random.random((n, n_lists)) < 0.4
    rows = random.permutation(n)[: random.integers(0, n + 1)]
    Y = random.random((len(rows), 3)) < 0.4
    shares, support = propagate(articles_in(dense), rows, Y, prior_weight)
    expected = oracle(dense, rows, Y, prior_weight)
    np.testing.assert_allclose(shares, expected[0], atol=2e-6)
    np.testing.assert_allclose(support, expected[1], rtol=1e-6)


def test_tags_are_not_taken_out_of_a_list_that_was_joined_after_the_fit() -> None:
    known = KnownArticles.of(ARTICLES, ROWS, TAGS)
    block = fit("labels", ARTICLES, known, labels_prior_weight=0)
    # Article 4 joined the list a, which holds the tagged articles 0 and 1, and has left c.
    joined = articles_in(np.array([[0, 0, 0, 0]] * 4 + [[1, 0, 0, 0]] + [[0, 0, 0, 0]]))
    shares, support = features(block, known.mark(joined))
    np.testing.assert_allclose(shares[4], [1, 0.5], atol=2e-6)
    assert support[4, 0] == pytest.approx(math.log(3))
    # What it was counted with in c is taken out there alone.
    shares, support = features(block, known.mark(ARTICLES))
    assert support[4, 0] == 0
    assert not shares[4].any()
