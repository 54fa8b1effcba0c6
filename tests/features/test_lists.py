"""Propagation of vectors over lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tagsage.features import KnownArticles
from tagsage.features.lists import Hop
from tests.features.corpora import NO_TAGS, articles_in, features, fit

# The means of lists are kept in half precision.
HALF = {"rtol": 2e-3, "atol": 4e-3}


def propagate(
    dense: np.ndarray,
    vectors: np.ndarray,
    *,
    hops: int = 1,
    hidden: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Fit the block on a corpus, and make its features of the same."""
    articles = articles_in(np.asarray(dense), np.asarray(vectors, dtype=np.float32))
    known = KnownArticles.of(articles, *NO_TAGS, hidden=hidden)
    block = fit("lists", articles, known, lists_hops=hops)
    return features(block, known.mark(articles))


def oracle(dense: np.ndarray, vectors: np.ndarray, hops: int) -> list[np.ndarray]:
    """Propagate one article and one list at a time, in double precision."""
    current = vectors.astype(float)
    results = []
    for _ in range(hops):
        following = np.zeros_like(current)
        for article in range(len(dense)):
            means = []
            for name in np.flatnonzero(dense[article]):
                members = np.flatnonzero(dense[:, name])
                known = [m for m in members if current[m].any()]
                if known:
                    means.append(current[known].mean(axis=0))
            if means:
                following[article] = np.mean(means, axis=0)
        results.append(following)
        current = following
    return results


def test_four_articles_have_the_vectors_worked_out_by_hand() -> None:
    # list a: 0, 1; list b: 1, 2; list c: 0, 1, 2; article 3 is in no list.
    dense = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 0]])
    vectors = np.array([[6.0], [12.0], [24.0], [7.0]])
    # means: a 9, b 18, c 14
    (alike,) = propagate(dense, vectors)
    expected = [(9 + 14) / 2, (9 + 18 + 14) / 3, (18 + 14) / 2, 0]
    np.testing.assert_allclose(alike[:, 0], expected, rtol=1e-6)
    one, two = propagate(dense, vectors, hops=2)
    (again,) = propagate(dense, one)
    assert np.array_equal(two, again)


def test_a_zero_vector_counts_in_no_mean_but_gets_one() -> None:
    # Article 1 is a stub; the list of 2 and 3 holds only stubs.
    dense = np.array([[1, 0], [1, 0], [1, 1], [0, 1]])
    vectors = np.array([[1.0, 2.0], [0, 0], [0, 0], [0, 0]])
    one, two = propagate(dense, vectors, hops=2)
    assert one.tolist() == [[1, 2], [1, 2], [1, 2], [0, 0]]
    np.testing.assert_allclose(two, [[1, 2]] * 4, rtol=1e-6)


@given(
    n=st.integers(1, 12),
    n_lists=st.integers(0, 6),
    hops=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_any_corpus_gives_the_vectors_of_the_slow_propagation(
    n: int, n_lists: int, hops: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    dense = (random.random((n, n_lists)) < 0.4).astype(np.float32)
    vectors = (random.normal(size=(n, 5)) * (random.random((n, 1)) < 0.7)).astype(np.float32)
    found = propagate(dense, vectors, hops=hops)
    for result, expected in zip(found, oracle(dense, vectors, hops), strict=True):
        np.testing.assert_allclose(result, expected, **HALF)


def test_members_added_after_the_fit_have_the_means_worked_out_by_hand() -> None:
    # List 0: mean (3, 1) of two articles; list 1: mean (0, 4) of one.
    means = np.array([[3, 1], [0, 4]], dtype=np.float16)
    hop = Hop(means, np.array([2, 1], dtype=np.float32))
    members = articles_in(np.array([[1, 1], [1, 0], [0, 0]])).members
    own = np.array([[6, 0], [0, 0], [1, 1]], dtype=np.float32)
    counted = np.ones(3, dtype=bool)
    assert hop.propagate(members, counted, own).tolist() == [[1.5, 2.5], [3, 1], [0, 0]]
    # (2 (3, 1) + (6, 0)) / 3 = (4, 2/3) and ((0, 4) + (6, 0)) / 2 = (3, 2).
    added = hop.propagate(members, ~counted, own)
    np.testing.assert_allclose(added, [[3.5, 4 / 3], [3, 1], [0, 0]], rtol=1e-6)
    # Joined the second list alone after the fit.
    joined = hop.propagate(members, np.array([True, False, True]), own)
    np.testing.assert_allclose(joined[0], [(3 + 3) / 2, (1 + 2) / 2], rtol=1e-6)


def test_a_list_that_nobody_else_is_in_says_nothing_of_an_article_that_came_later() -> None:
    dense = np.array([[1, 0], [1, 1]])
    (found,) = propagate(dense, np.array([[2.0], [4.0]]), hidden=np.array([1]))
    # Of the first list (2 + 4) / 2, and nothing of the second.
    assert found.ravel().tolist() == [2, 3]
