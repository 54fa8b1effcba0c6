from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.list_vectors import ListVectors
from tagsage.graph.lists import propagate_lists


def random_corpus(seed: int) -> tuple[sp.csr_array, np.ndarray]:
    random = np.random.default_rng(seed)
    incidence = sp.csr_array((random.random((30, 7)) < 0.3).astype(np.float32))
    vectors = random.random((30, 5)).astype(np.float32) * (random.random((30, 1)) < 0.7)
    return incidence, vectors


def test_means_count_only_articles_of_which_something_is_known():
    incidence = sp.csr_array(np.array([[1, 0], [1, 0], [1, 1]], dtype=np.float32))
    vectors = np.array([[2, 2], [4, 0], [0, 0]], dtype=np.float32)
    lists = ListVectors.of(incidence, vectors, 1)
    assert lists.means.tolist() == [[3, 1], [0, 0]]
    assert np.allclose(lists.weights, [1 / 3, 0])
    assert lists.known.tolist() == [2, 0]


def test_means_computed_by_blocks_are_the_same(monkeypatch):
    incidence, vectors = random_corpus(0)
    whole = ListVectors.of(incidence, vectors, 0.5)
    monkeypatch.setattr("tagsage.graph.lists.BLOCK_NUMBERS", 60)
    blocks = ListVectors.of(incidence, vectors, 0.5)
    assert np.allclose(whole.means, blocks.means)
    assert np.array_equal(whole.weights, blocks.weights)


def test_propagation_of_a_worked_example():
    # List 0: mean (3, 1) of two articles; list 1: mean (0, 4) of one. Discount 0: alike.
    lists = ListVectors(
        np.array([[3, 1], [0, 4]]), np.ones(2, np.float32), np.array([2, 1], np.float32)
    )
    members = sp.csr_array(np.array([[1, 1], [1, 0], [0, 0]], dtype=np.float32))
    assert lists.propagate(members).tolist() == [[1.5, 2.5], [3, 1], [0, 0]]
    own = np.array([[6, 0], [0, 0], [1, 1]], dtype=np.float32)
    # (2 (3, 1) + (6, 0)) / 3 = (4, 2/3) and ((0, 4) + (6, 0)) / 2 = (3, 2).
    expected = [[3.5, 4 / 3], [3, 1], [0, 0]]
    assert np.allclose(lists.propagate(members, own), expected)
    assert np.allclose(lists.select(np.array([1, 0])).propagate(members[:, [1, 0]], own), expected)


@pytest.mark.parametrize("article", range(0, 30, 3))
def test_article_that_is_added_gets_what_it_would_have_got_in_the_lists(article):
    incidence, vectors = random_corpus(1)
    (whole,) = propagate_lists(incidence, vectors, hops=1)
    others = incidence.tolil()
    others[article] = 0
    lists = ListVectors.of(others.tocsr(), vectors, 0)
    made = lists.propagate(incidence[[article]], vectors[[article]])
    alone = others[:, incidence[[article]].indices].sum(axis=0) == 0
    if not alone.any():
        assert np.allclose(made[0], whole[article], atol=1e-6)
    # Without its own vector it gets the others' means.
    assert np.allclose(
        lists.propagate(incidence[[article]])[0],
        lists.propagate(incidence[[article]], np.zeros((1, 5), np.float32))[0],
    )


def test_means_of_unknown_numbers_of_articles_are_taken_as_they_are():
    incidence, vectors = random_corpus(2)
    lists = ListVectors.of(incidence, vectors, 0)
    old = ListVectors(lists.means, lists.weights, None)
    assert np.array_equal(old.propagate(incidence, vectors), lists.propagate(incidence))


@pytest.mark.parametrize("sharpness", [0.0, 3.0])
@pytest.mark.parametrize("article", [0, 1, 2, 4])
def test_article_of_the_lists_with_another_vector_gets_what_it_would_have_got(article, sharpness):
    incidence, vectors = random_corpus(2)
    vectors = vectors + np.float32(0.1)
    changed = vectors.copy()
    changed[article] = np.random.default_rng(3).random(5)
    (whole,) = propagate_lists(
        incidence, changed, hops=1, size_discount=0.5, topic_sharpness=sharpness
    )
    lists = ListVectors.of(incidence, vectors, 0.5)
    row = slice(article, article + 1)
    members, now, before = incidence[row], changed[row], vectors[row]
    fit = lists.fit(members, now, sharpness, inside=True, counted=before)
    made = lists.propagate(members, None, fit, now - before)
    assert np.allclose(made[0], whole[article], atol=1e-6)
    stale = lists.fit(members, now, sharpness, inside=True)
    assert not np.allclose(lists.propagate(members, None, stale)[0], whole[article], atol=1e-6)
