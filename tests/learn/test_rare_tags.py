"""The long tail, beside a report that looks at one article after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.learn.metrics import evaluate
from tagsage.learn.rare_tags import propensities, propensity_scored_precision, tail_report


def test_a_tag_on_one_article_has_the_propensity_one_over_log_n():
    found = propensities(np.array([1]), 1000)
    assert found.tolist() == pytest.approx([1 / math.log(1000)])


def test_propensities_worked_out_by_hand():
    # C = (ln 100 - 1) 2^0.5 = 5.0985: 1 / (1 + C / 1), 1 / (1 + C / 2), 1 / (1 + C / 10).
    found = propensities(np.array([0, 3, 99]), 100, a=0.5, b=1)
    assert found.tolist() == pytest.approx([0.16398, 0.28175, 0.66232], abs=1e-5)


def test_of_hardly_any_articles_every_propensity_is_1():
    for articles in (1, 2):
        assert propensities(np.array([0, 1, 2]), articles).tolist() == [1, 1, 1]


@given(articles=st.integers(1, 10**7), a=st.floats(0.1, 2), b=st.floats(0.1, 5))
def test_propensities_grow_with_support_and_are_shares(articles, a, b):
    found = propensities(np.arange(0, 1000, 7), articles, a=a, b=b)
    assert (found > 0).all()
    assert (found <= 1).all()
    assert (np.diff(found) >= 0).all()


# Worked by hand: the second tag is so rare that it counts four times.
PROPENSITY = np.array([1.0, 0.25, 0.5])
P = np.array([[0.9, 0.6, 0.1], [0.2, 0.8, 0.8], [0.3, 0.3, 0.3]], dtype=np.float32)
Y = np.array([[True, True, False], [False, False, True], [False, False, False]])


def test_propensity_scored_precision_of_a_worked_example():
    found = propensity_scored_precision(P, Y, PROPENSITY, ks=(1, 2))
    # First places: a is right (1), b is wrong; the best would be b (4) and c (2).
    # Two places: a, b (1 + 4) and b, c (2); nothing better is possible.
    assert found == pytest.approx({"psp_at_1": 1 / 6, "psp_at_2": 1})


def test_propensity_scored_precision_is_0_when_no_article_has_a_tag():
    nothing = np.zeros((2, 3), dtype=bool)
    assert propensity_scored_precision(P[:2], nothing, PROPENSITY, ks=(1,)) == {"psp_at_1": 0}


def test_tags_without_a_score_have_no_place():
    scores = np.array([[0.0, 0.0, 0.4]])
    truth = np.array([[True, True, False]])
    assert propensity_scored_precision(scores, truth, PROPENSITY, ks=(3,)) == {"psp_at_3": 0}


def test_equal_propensities_give_precision_over_the_best_possible_one():
    random = np.random.default_rng(0)
    scores = random.random((40, 9)).astype(np.float32)
    truth = random.random((40, 9)) < 0.7
    truth[:, :5] = True  # At least five each: five right ones are possible everywhere.
    found = propensity_scored_precision(scores, truth, np.full(9, 0.3))
    overall = evaluate(scores, truth, 0.5, list("abcdefghi")).overall
    for k in (1, 3, 5):
        assert found[f"psp_at_{k}"] == pytest.approx(overall[f"p_at_{k}"])


def ranking(scores: np.ndarray, k: int) -> list[int]:
    scored = [tag for tag in range(len(scores)) if scores[tag] > 0]
    return sorted(scored, key=lambda tag: (-scores[tag], tag))[:k]


def slow_psp(scores: np.ndarray, truth: np.ndarray, weight: np.ndarray, k: int) -> float:
    """Rank article after article; the best ranking has the heaviest right tags first."""
    gained = best = 0.0
    for own_scores, own_truth in zip(scores, truth, strict=True):
        gained += sum(weight[tag] for tag in ranking(own_scores, k) if own_truth[tag])
        best += sum(sorted(weight[own_truth], reverse=True)[:k])
    return gained / best if best else 0.0


def slow_tail(
    scores: np.ndarray, truth: np.ndarray, inside: np.ndarray, weight: np.ndarray
) -> list[float]:
    """Score the tags of one band, article after article and tag after tag."""
    recalls, gained, best = [], 0.0, 0.0
    for own_scores, own_truth in zip(scores, truth, strict=True):
        own = own_truth & inside
        if own.any():
            places = [tag for tag in ranking(own_scores, 5) if own[tag]]
            recalls.append(len(places) / own.sum())
            gained += weight[places].sum()
            best += sum(sorted(weight[own], reverse=True)[:5])
    f1 = []
    for tag in np.flatnonzero(inside & truth.any(axis=0)):
        assigned = scores[:, tag] >= np.float32(0.6)
        f1.append(2 * (assigned & truth[:, tag]).sum() / (assigned.sum() + truth[:, tag].sum()))
    pairs = truth[:, inside].sum()
    if not recalls:
        return [0, 0, 0, np.nan, np.nan, np.nan]
    return [len(f1), len(recalls), pairs, np.mean(recalls), gained / best, np.mean(f1)]


cases = {
    "seed": st.integers(0, 10_000),
    "n": st.integers(0, 15),
    "n_tags": st.integers(1, 20),
    "sparse": st.booleans(),
}


def random_case(
    seed: int, n: int, n_tags: int, sparse: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (n, n_tags)).astype(np.float32) / 5
    truth = random.random((n, n_tags)) < random.random(n_tags) * 0.6
    support = random.integers(0, 40, n_tags) // random.integers(1, 20, n_tags)
    given_as = (sp.csr_array(scores), sp.csr_array(truth)) if sparse else (scores, truth)
    return scores, truth, support, given_as


@given(**cases)
@settings(deadline=None)
def test_any_psp_is_what_ranking_one_article_after_the_other_gives(seed, n, n_tags, sparse):
    scores, truth, support, given_as = random_case(seed, n, n_tags, sparse)
    propensity = propensities(support, 50)
    found = propensity_scored_precision(*given_as, propensity)
    expected = {f"psp_at_{k}": slow_psp(scores, truth, 1 / propensity, k) for k in (1, 3, 5)}
    assert found == pytest.approx(expected)
    assert all(0 <= value <= 1 + 1e-12 for value in found.values())


@given(**cases)
@settings(deadline=None)
def test_any_tail_report_is_what_one_article_after_the_other_gives(seed, n, n_tags, sparse):
    scores, truth, support, given_as = random_case(seed, n, n_tags, sparse)
    found = tail_report(*given_as, support, 50, threshold=0.6)
    assert found["support"].tolist() == ["0", "1-2", "3-5", "6-10", "11-30", "31-100", ">100"]
    weight = 1 / propensities(support, 50)
    lows, highs = [0, 1, 3, 6, 11, 31, 101], [0, 2, 5, 10, 30, 100, 10**9]
    for index, (low, high) in enumerate(zip(lows, highs, strict=True)):
        expected = slow_tail(scores, truth, (support >= low) & (support <= high), weight)
        np.testing.assert_allclose(found.iloc[index, 1:].to_numpy(dtype=float), expected)


def test_tail_report_of_a_worked_example():
    # The tags are on 0, 2 and 40 training articles; at 0.5 article 0 gets a, b, article 1 b, c.
    found = tail_report(P, Y, np.array([0, 2, 40]), 100, threshold=0.5, limits=(0, 10))
    assert found["support"].tolist() == ["0", "1-10", ">10"]
    assert found["tags"].tolist() == [1, 1, 1]
    assert found["articles"].tolist() == [1, 1, 1]
    assert found["pairs"].tolist() == [1, 1, 1]
    assert found["recall_at_5"].tolist() == [1, 1, 1]
    assert found["psp_at_5"].tolist() == [1, 1, 1]
    assert found["macro_f1"].tolist() == pytest.approx([1, 2 / 3, 1])


def test_frequent_tags_take_places_from_rare_ones():
    # Five frequent tags stand before the rare one, which the article has.
    scores = np.array([[0.9, 0.9, 0.9, 0.9, 0.9, 0.8]])
    truth = np.array([[False] * 5 + [True]])
    support = np.array([500] * 5 + [3])
    found = tail_report(scores, truth, support, 1000, threshold=0.5).set_index("support")
    assert found.loc["3-5", ["recall_at_5", "psp_at_5", "macro_f1"]].tolist() == [0, 0, 1]
    assert found.loc[">100", ["tags", "articles"]].tolist() == [0, 0]


def test_the_matrices_given_stay_as_they_were():
    scores, truth = sp.csr_array(P), sp.csr_array(Y)
    tail_report(scores, truth, np.array([0, 2, 40]), 100, threshold=0.5)
    assert np.array_equal(scores.toarray(), P)
    assert np.array_equal(truth.toarray(), Y)
    assert truth.dtype == np.bool_


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes differ: P \(3, 3\), Y \(2, 3\), 3 tags"):
        propensity_scored_precision(P, Y[:2], PROPENSITY)
    with pytest.raises(ValueError, match=r"shapes differ: P \(3, 3\), Y \(3, 3\), 2 tags"):
        tail_report(P, Y, np.array([1, 2]), 10, threshold=0.5)
