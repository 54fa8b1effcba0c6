"""Scores of rare tags, beside those of one article after the other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.graph.labels import LabelsConfig, list_labels, propagate_labels
from tagsage.learn import rare_tag_scores
from tagsage.learn.rare_tag_scores import (
    OwnTags,
    cooccurrence_scores,
    neighbour_tag_scores,
    tag_frequencies,
)

# Lists: a = 0, 1, 2; b = 2, 3; c = 4 alone; d is empty. Article 5 is in no list.
INCIDENCE = sp.csr_array(
    np.array(
        [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
        dtype=np.float32,
    )
)
ROWS = np.array([4, 0, 1, 3])
TAGS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=bool)


def own_tags(rows: np.ndarray, tags: np.ndarray, n: int) -> OwnTags:
    """Lay the tags of labelled articles out over all n articles."""
    counted, laid_out = np.zeros(n, dtype=bool), np.zeros((n, tags.shape[1]), dtype=bool)
    counted[rows], laid_out[rows] = True, tags
    return OwnTags(counted, sp.csr_array(laid_out))


def test_six_articles_have_the_scores_worked_out_by_hand():
    lists = list_labels(INCIDENCE, ROWS, sp.csr_array(TAGS), LabelsConfig(prior_weight=2))
    found = neighbour_tag_scores(lists, INCIDENCE, own=own_tags(ROWS, TAGS, 6))
    expected = [
        [1 / 3, 1 / 3],  # a without 0 holds 1, which has both
        [1 / 3, 0],
        [(2 / 4 + 0) / 2, (1 / 4 + 1 / 3) / 2],  # a holds 0 and 1, b holds 3
        [0, 0],  # b without 3 holds no labelled article, c without 4 neither
        [0, 0],
        [0, 0],
    ]
    np.testing.assert_allclose(found.toarray(), expected, atol=2e-6)
    assert found.dtype == np.float32
    assert found.nnz == 5


def test_articles_keep_the_best_tags_and_of_equal_ones_the_lower():
    lists = list_labels(INCIDENCE, ROWS, sp.csr_array(TAGS), LabelsConfig(prior_weight=2))
    found = neighbour_tag_scores(lists, INCIDENCE[:3], own=own_tags(ROWS[1:3], TAGS[1:3], 3), k=1)
    assert found.indices.tolist() == [0, 0, 1]


def oracle(
    dense: np.ndarray, rows: np.ndarray, tags: np.ndarray, config: LabelsConfig
) -> np.ndarray:
    """Score one article at a time, as if it had no tags."""
    scores = np.zeros((len(dense), tags.shape[1]))
    for article in range(len(dense)):
        weights, found = [], []
        for name in np.flatnonzero(dense[article]):
            labelled = [
                own
                for row, own in zip(rows, tags, strict=True)
                if row != article and dense[row, name]
            ]
            if len(labelled) + config.prior_weight > 0:
                weights.append(dense[:, name].sum() ** -config.size_discount)
                total = np.sum(labelled, axis=0) if labelled else np.zeros(tags.shape[1])
                found.append(total / (len(labelled) + config.prior_weight))
        if weights:
            scores[article] = np.average(found, axis=0, weights=weights)
    return scores


CORPORA = {
    "n": st.integers(1, 12),
    "n_lists": st.integers(0, 6),
    "seed": st.integers(0, 10_000),
    "config": st.builds(LabelsConfig, st.sampled_from([0, 0.5, 10]), st.sampled_from([0, 0.5, 1])),
}


def random_corpus(
    n: int, n_lists: int, seed: int
) -> tuple[sp.csr_array, np.ndarray, np.ndarray, np.random.Generator]:
    random = np.random.default_rng(seed)
    incidence = sp.csr_array((random.random((n, n_lists)) < 0.4).astype(np.float32))
    rows = random.permutation(n)[: random.integers(0, n + 1)]
    return incidence, rows, random.random((len(rows), 5)) < 0.3, random


@given(**CORPORA, products=st.sampled_from([1, 200, 10**6]))
@settings(deadline=None)
def test_any_corpus_gives_the_scores_of_one_article_at_a_time(n, n_lists, seed, config, products):
    incidence, rows, tags, _ = random_corpus(n, n_lists, seed)
    lists = list_labels(incidence, rows, sp.csr_array(tags), config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rare_tag_scores, "BLOCK_PRODUCTS", products)
        found = neighbour_tag_scores(lists, incidence, own=own_tags(rows, tags, n))
    np.testing.assert_allclose(
        found.toarray(), oracle(incidence.toarray(), rows, tags, config), atol=2e-6
    )
    assert (found.data > 0).all()


@given(**CORPORA)
@settings(deadline=None)
def test_own_tags_change_not_one_bit_of_an_articles_row(n, n_lists, seed, config):
    incidence, rows, tags, random = random_corpus(n, n_lists, seed)

    def scored(labels: np.ndarray) -> sp.csr_array:
        lists = list_labels(incidence, rows, sp.csr_array(labels), config)
        return neighbour_tag_scores(lists, incidence, own=own_tags(rows, labels, n)).toarray()

    before = scored(tags)
    for place, row in enumerate(rows):
        changed = tags.copy()
        changed[place] ^= random.random(5) < 0.7
        assert np.array_equal(before[row], scored(changed)[row])


@given(**CORPORA)
@settings(deadline=None)
def test_without_a_prior_scores_are_the_shares_that_propagation_gives(n, n_lists, seed, config):
    incidence, rows, tags, _ = random_corpus(n, n_lists, seed)
    config = LabelsConfig(0, config.size_discount)
    lists = list_labels(incidence, rows, sp.csr_array(tags), config)
    found = neighbour_tag_scores(lists, incidence, own=own_tags(rows, tags, n))
    shares = propagate_labels(incidence, rows, tags, config).shares
    np.testing.assert_allclose(found.toarray(), shares, atol=2e-6)


def test_articles_that_are_not_counted_need_no_own_tags():
    lists = list_labels(INCIDENCE, ROWS, sp.csr_array(TAGS), LabelsConfig(prior_weight=2))
    nobody = OwnTags(np.zeros(2, dtype=bool), sp.csr_array((2, 2), dtype=bool))
    one, other = (neighbour_tag_scores(lists, INCIDENCE[[2, 5]], own=own) for own in (None, nobody))
    assert np.array_equal(one.toarray(), other.toarray())
    assert one.toarray()[0].tolist() == pytest.approx([1 / 4, 7 / 24], abs=2e-6)


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 2)])
def test_without_articles_or_lists_there_are_no_scores(shape):
    incidence = sp.csr_array(shape, dtype=np.float32)
    no_tags = sp.csr_array((0, 4), dtype=bool)
    lists = list_labels(incidence, np.zeros(0, dtype=np.int64), no_tags, LabelsConfig())
    found = neighbour_tag_scores(lists, incidence)
    assert (found.shape, found.nnz) == ((shape[0], 4), 0)


# Frequent tag f is on three articles, g on one, h on none; the rare ones are r and s.
FREQUENT = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], dtype=bool)
RARE = sp.csr_array(np.array([[1, 0], [0, 1], [1, 0]], dtype=bool))


def test_frequencies_of_rare_tags_among_articles_with_a_frequent_one():
    found = tag_frequencies(FREQUENT, RARE).toarray()
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [0, 1], [0, 0]])


def test_cooccurrence_scores_worked_out_by_hand():
    P = np.array([[0.6, 0.2, 0.9], [0.0, 0.4, 0.04], [0.01, 0.0, 0.0], [0.0, 0.0, 0.7]])
    found = cooccurrence_scores(P.astype(np.float32), tag_frequencies(FREQUENT, RARE))
    expected = [
        [0.6 * 2 / 3 / 1.7, (0.6 * 1 / 3 + 0.2) / 1.7],
        [0, 1],  # h is too unlikely to count
        [0, 0],
        [0, 0],  # h is likely, but comes with no rare tag
    ]
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    assert (found.dtype, found.nnz) == (np.float32, 3)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 8),
    m=st.integers(0, 8),
    k=st.integers(1, 6),
    products=st.sampled_from([1, 200, 10**6]),
)
@settings(deadline=None)
def test_any_cooccurrence_scores_are_means_over_likely_tags(seed, n, m, k, products):
    random = np.random.default_rng(seed)
    P = (random.random((n, 4)) ** 3).astype(np.float32)
    frequent, rare = random.random((m, 4)) < 0.4, random.random((m, 6)) < 0.3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rare_tag_scores, "BLOCK_PRODUCTS", products)
        frequencies = tag_frequencies(frequent, sp.csr_array(rare))
        found = cooccurrence_scores(P, frequencies, k=k, min_probability=0.2).toarray()
    for article, own in enumerate(P):
        likely = np.flatnonzero(own >= 0.2)
        expected = np.zeros(6)
        for tag in range(6):
            shares = [
                (frequent[:, f] & rare[:, tag]).sum() / max(frequent[:, f].sum(), 1) for f in likely
            ]
            expected[tag] = np.average(shares, weights=own[likely]) if len(likely) else 0
        # What was cut off is no better than what is left, and nothing else changed.
        kept = found[article] > 0
        np.testing.assert_allclose(found[article][kept], expected[kept], atol=2e-6)
        assert kept.sum() == min(k, (expected > 0).sum())
        assert expected[~kept].max(initial=0) <= expected[kept].min(initial=1) + 1e-6


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"Y_frequent \(2, 3\), Y_rare \(3, 2\)"):
        tag_frequencies(FREQUENT[:2], RARE)
    with pytest.raises(ValueError, match=r"P \(1, 2\), frequencies \(3, 2\)"):
        cooccurrence_scores(np.zeros((1, 2), dtype=np.float32), tag_frequencies(FREQUENT, RARE))
