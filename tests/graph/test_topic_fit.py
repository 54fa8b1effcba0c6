"""An article's fit to the topics of its lists."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph import topic_fit as room
from tagsage.graph.list_vectors import ListVectors
from tagsage.graph.lists import propagate_lists
from tagsage.graph.topic_fit import topic_fit


def cosine(x: np.ndarray, z: np.ndarray) -> float:
    norms = np.linalg.norm(x) * np.linalg.norm(z)
    return float(x @ z / norms) if norms else 0.0


def oracle(dense: np.ndarray, vectors: np.ndarray, sharpness: float) -> np.ndarray:
    """Fit one membership at a time, in double precision."""
    fit = []
    for article, name in zip(*np.nonzero(dense), strict=True):
        others = [m for m in np.flatnonzero(dense[:, name]) if m != article and vectors[m].any()]
        topic = vectors[others].mean(axis=0) if others else np.zeros(vectors.shape[1])
        fit.append(np.exp(sharpness * cosine(vectors[article], topic)))
    return np.array(fit)


def test_three_articles_in_two_lists_fit_as_worked_out_by_hand():
    # List 0 holds all three, list 1 the first two.
    incidence = sp.csr_array(np.array([[1, 1], [1, 1], [1, 0]], dtype=np.float32))
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    lists = ListVectors.of(incidence, vectors, 0)
    fit = lists.fit(incidence, vectors, 2.0, inside=True)
    # The others of list 0 are (1, 0) and (0, 1) for the first two: cos 45°; at right angles to the
    # third. In list 1 the other is the same.
    half = np.exp(2 * np.sqrt(0.5))
    assert fit == pytest.approx([half, np.exp(2), half, np.exp(2), 1])
    # To one that is in no mean, list 1 is (1, 0) as it stands.
    assert lists.fit(incidence[:1], vectors[:1], 2.0) == pytest.approx([
        np.exp(2 * 2 / np.sqrt(5)),
        np.exp(2),
    ])
    assert lists.fit(incidence, vectors, 0.0) is None


@given(
    n=st.integers(1, 12),
    n_lists=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    numbers=st.sampled_from([1, 24, 10**6]),
    sharpness=st.sampled_from([0.5, 3.0]),
)
@settings(deadline=None)
def test_any_corpus_fits_as_by_the_slow_way(n, n_lists, seed, numbers, sharpness):
    random = np.random.default_rng(seed)
    dense = (random.random((n, n_lists)) < 0.5).astype(np.float32)
    # Whole numbers: a mean without an article that leaves nothing is then exactly 0.
    vectors = random.integers(-3, 4, size=(n, 4)) * (random.random((n, 1)) < 0.7)
    vectors = vectors.astype(np.float32)
    incidence = sp.csr_array(dense)
    lists = ListVectors.of(incidence, vectors, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_NUMBERS", numbers)
        # Sums are exact, means are not: means of powers of two alone would be.
        totals = lists.means * np.maximum(lists.known, 1)[:, None]
        fit = topic_fit(
            incidence,
            vectors,
            np.rint(totals) / np.maximum(lists.known, 1)[:, None],
            lists.known,
            sharpness,
            inside=True,
        )
    expected = oracle(dense, vectors, sharpness)
    exact = np.abs(np.log(expected)) > 1e-3
    np.testing.assert_allclose(fit[exact], expected[exact], rtol=1e-3)


def test_the_sharper_the_more_counts_the_list_that_an_article_fits_in():
    # Article 0 is like 1, its company in list 0, and not like 2, its company in list 1.
    incidence = sp.csr_array(np.array([[1, 1], [1, 0], [0, 1]], dtype=np.float32))
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    means = np.array([[1, 0], [0.5, 0.5]])
    for sharpness in (0.0, 1.0, 10.0):
        (one,) = propagate_lists(incidence, vectors, hops=1, topic_sharpness=sharpness)
        weight = np.exp(sharpness)
        expected = (weight * means[0] + means[1]) / (weight + 1)
        np.testing.assert_allclose(one[0], expected, rtol=1e-5)
        np.testing.assert_allclose(one[1:], means, rtol=1e-5)


def test_an_article_that_is_added_gets_what_it_would_have_got_in_the_lists():
    random = np.random.default_rng(1)
    incidence = sp.csr_array((random.random((40, 5)) < 0.5).astype(np.float32))
    vectors = random.normal(size=(40, 6)).astype(np.float32)
    (whole,) = propagate_lists(incidence, vectors, hops=1, topic_sharpness=3.0)
    others = incidence.tolil()
    others[7] = 0
    lists = ListVectors.of(others.tocsr(), vectors, 0)
    members, own = incidence[[7]], vectors[[7]]
    made = lists.propagate(members, own, lists.fit(members, own, 3.0))
    np.testing.assert_allclose(made[0], whole[7], rtol=1e-4)


def test_a_sharpness_below_0_is_refused():
    with pytest.raises(TagsageError, match="topic_sharpness must be at least 0, not -1"):
        propagate_lists(sp.csr_array((2, 1)), np.ones((2, 2), np.float32), topic_sharpness=-1)
