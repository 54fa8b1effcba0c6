from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tagsage.evaluate import metrics
from tagsage.evaluate.metrics import (
    evaluate,
    expected_calibration_error,
    precision_recall,
    propensity_scored_precision,
    reliability,
    tag_propensity,
)

# Worked by hand: three articles, three tags.
P = np.array([[0.9, 0.6, 0.1], [0.2, 0.8, 0.8], [0.3, 0.3, 0.3]], dtype=np.float32)
Y = np.array([[True, False, True], [False, False, True], [False, False, False]])
TAGS = ["a", "b", "c"]


def test_evaluate_of_a_worked_example():
    scores = evaluate(P, Y, P >= 0.5, TAGS)
    # Assigned: article 0 a, b; article 1 b, c. Right: a, c. Relevant: a, c, c.
    expected = {
        "micro_precision": 2 / 4,
        "micro_recall": 2 / 3,
        "micro_f1": 4 / 7,
        "macro_precision": (1 + 0 + 1) / 3,
        "macro_recall": (1 + 0 + 1 / 2) / 3,
        "macro_f1": (1 + 0 + 2 / 3) / 3,
        "weighted_precision": 1.0,
        "weighted_recall": (1 + 2 * 1 / 2) / 3,
        "weighted_f1": (1 + 2 * 2 / 3) / 3,
        "accuracy": 1 / 3,
        "hamming_loss": 3 / 9,
        # Article 2 has no right tag, and no tag is assigned to it.
        "micro_f1_targets": 4 / 7,
        "macro_f1_targets": (1 + 0 + 2 / 3) / 3,
        "p_at_1": (1 + 0) / 2,  # article 1: b before c, as the lower column
        "p_at_3": (2 / 3 + 1 / 3) / 2,
        "p_at_5": (2 / 3 + 1 / 3) / 2,  # of three tags at most three
        "r_at_5": (1 + 1) / 2,
        # Article 0: a at rank 1, c at rank 3: (1 + 2/3) / 2. Article 1: c tied, rank 2: 1/2.
        "lrap": (5 / 6 + 1 / 2) / 2,
        "coverage_error": (3 + 2) / 2,
        "share_assigned": 2 / 3,
        "test_articles": 3,
        "articles_without_tag": 1,
    }
    assert scores.overall == pytest.approx(expected)
    table = scores.per_tag
    assert table["tag"].tolist() == TAGS
    assert table["precision"].tolist() == [1, 0, 1]
    assert table["recall"].tolist() == [1, 0, 0.5]
    assert table["f1"].tolist() == pytest.approx([1, 0, 2 / 3])
    assert table["support"].tolist() == [1, 0, 2]
    assert table["predicted"].tolist() == [1, 2, 1]
    # c: article 1 first (1/1), then article 2 (wrong), then article 0 (2/3).
    assert table["average_precision"].tolist() == pytest.approx([1, 0, (1 + 2 / 3) / 2])


def test_a_tag_assigned_to_an_article_without_right_tags_is_wrong_among_all_articles_alone():
    overall = evaluate(P, Y, P >= 0.3, TAGS).overall
    # Assigned: article 0 a, b; article 1 b, c; article 2 all three. Right: a, c of three.
    assert overall["micro_f1"] == pytest.approx(2 * 2 / (7 + 3))
    assert overall["macro_f1"] == pytest.approx((2 / 3 + 0 + 2 / 4) / 3)
    assert overall["micro_f1_targets"] == pytest.approx(2 * 2 / (4 + 3))
    assert overall["macro_f1_targets"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    nobody = evaluate(P, np.zeros_like(Y), P >= 0.3, TAGS).overall
    assert (nobody["micro_f1"], nobody["p_at_5"], nobody["lrap"]) == (0, 0, 0)


def random_case(seed: int, n: int = 60, n_tags: int = 7):
    rng = np.random.default_rng(seed)
    # Few different values, so that ties abound.
    scores = rng.integers(0, 6, (n, n_tags)).astype(np.float32) / 5
    truth = rng.random((n, n_tags)) < rng.random(n_tags) * 0.6
    truth[:, 3] = False
    return scores, truth


@pytest.mark.parametrize("seed", range(4))
def test_evaluate_agrees_with_scikit_learn(seed, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_NUMBERS", 100)  # several blocks
    scores, truth = random_case(seed)
    assigned = scores >= np.float32(0.6)
    found = evaluate(scores, truth, assigned, list("abcdefg"))
    overall = found.overall
    for average in ("micro", "macro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(
            truth, assigned, average=average, zero_division=0
        )
        assert overall[f"{average}_precision"] == pytest.approx(p)
        assert overall[f"{average}_recall"] == pytest.approx(r)
        assert overall[f"{average}_f1"] == pytest.approx(f)
    assert overall["accuracy"] == pytest.approx(sk.accuracy_score(truth, assigned))
    assert overall["hamming_loss"] == pytest.approx(sk.hamming_loss(truth, assigned))
    # Here rankings are those of articles with right tags.
    ranked = truth[truth.any(axis=1)], scores[truth.any(axis=1)]
    assert overall["lrap"] == pytest.approx(sk.label_ranking_average_precision_score(*ranked))
    assert overall["coverage_error"] == pytest.approx(sk.coverage_error(*ranked))
    micro = sk.f1_score(ranked[0], assigned[truth.any(axis=1)], average="micro")
    assert overall["micro_f1_targets"] == pytest.approx(micro)
    # scikit-learn warns of a tag without articles; here its average precision is 0.
    with_articles = truth.any(axis=0)
    expected = np.zeros(7)
    expected[with_articles] = sk.average_precision_score(
        truth[:, with_articles], scores[:, with_articles], average=None
    )
    assert found.per_tag["average_precision"].tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_rankings_agree_with_counting_article_by_article(seed, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_NUMBERS", 100)
    scores, truth = random_case(seed)
    propensity = np.random.default_rng(seed).uniform(0.1, 1, 7)
    assigned = scores >= np.float32(0.6)
    overall = evaluate(scores, truth, assigned, list("abcdefg"), propensity=propensity).overall
    found = {"p_at_1": [], "p_at_3": [], "p_at_5": [], "r_at_5": []}
    gained = best = 0.0
    for own_scores, own_truth in zip(scores, truth, strict=True):
        if not own_truth.any():
            continue
        ranking = sorted(range(7), key=lambda tag: (-own_scores[tag], tag))
        for k in (1, 3, 5):
            right = sum(own_truth[tag] for tag in ranking[:k])
            found[f"p_at_{k}"].append(right / k)
        found["r_at_5"].append(right / own_truth.sum())
        gained += sum(1 / propensity[tag] for tag in ranking[:5] if own_truth[tag])
        best += sum(sorted((1 / propensity[own_truth]).tolist())[-5:])
    for name, values in found.items():
        assert overall[name] == pytest.approx(np.mean(values))
    assert overall["psp_at_5"] == pytest.approx(gained / best)


def test_propensity_of_a_worked_example():
    # 20 training articles; tags on 10 and on 1 of them. C = (ln 20 - 1) 2.5^.55 = 3.3035.
    Y_train = np.zeros((20, 2), dtype=bool)
    Y_train[:10, 0], Y_train[0, 1] = True, True
    C = (math.log(20) - 1) * 2.5**0.55
    assert pytest.approx(3.3035, abs=1e-4) == C
    expected = [1 / (1 + C * 11.5**-0.55), 1 / (1 + C * 2.5**-0.55)]
    assert tag_propensity(Y_train).tolist() == pytest.approx(expected)
    assert expected == pytest.approx([0.5370, 0.3338], abs=1e-4)


def test_propensity_scored_precision_of_a_worked_example():
    propensity = np.array([0.5, 0.25, 0.2])  # a right tag counts 2, 4, 5
    # The two best of article 0 are a (right) and b; of article 1 b, c (right); article 2 has none.
    # Found 2 + 5; at best article 0 has c and a, 5 + 2, and article 1 has c, 5.
    assert propensity_scored_precision(P, Y, propensity, k=2) == pytest.approx(7 / 12)
    assert propensity_scored_precision(P, Y, propensity) == 1
    assert propensity_scored_precision(P, np.zeros_like(Y), propensity) == 0
    overall = evaluate(P, Y, P >= 0.5, TAGS, propensity=propensity).overall
    assert overall["psp_at_5"] == 1


def test_precision_recall_of_a_worked_example():
    scores = np.array([[1.0, 0.75], [0.5, 0.25]], dtype=np.float32)
    found = precision_recall(scores, np.array([[False, True], [False, True]]))
    # At 1.0 nothing right is found yet: the curve begins with the first right pair.
    assert found["threshold"].tolist() == [0.75, 0.25]
    assert found["precision"].tolist() == [1 / 2, 2 / 4]
    assert found["recall"].tolist() == [1 / 2, 1]
    zeros = precision_recall(np.array([[-0.0, 0.5]], np.float32), np.array([[True, True]]))
    assert zeros["threshold"].tolist() == [0.5, 0.0]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 12),
    n_tags=st.integers(1, 6),
    points=st.integers(2, 9),
)
def test_any_point_has_the_precision_and_recall_of_its_threshold(seed, n, n_tags, points):
    random = np.random.default_rng(seed)
    scores = (random.integers(0, 9, (n, n_tags)) / random.integers(8, 12)).astype(np.float32)
    truth = random.random((n, n_tags)) < 0.3
    found = precision_recall(scores, truth, points=points)
    assert len(found) <= points
    assert found["threshold"].is_monotonic_decreasing
    for line in found.itertuples():
        assigned = np.float32(line.threshold) <= scores
        assert line.precision == pytest.approx((assigned & truth).sum() / assigned.sum())
        assert line.recall == pytest.approx((assigned & truth).sum() / truth.sum())
    if truth.any():
        assert found["recall"].iloc[-1] == 1
    else:
        assert found.empty


def test_reliability_of_a_worked_example():
    P = np.array([[0.05, 0.06, 0.95], [0.05, 0.5, 1.0]], dtype=np.float32)
    Y = np.array([[False, True, True], [False, False, True]])
    bins = reliability(P, Y)
    assert bins["pairs"].tolist() == [3, 1, 2]
    assert bins["low"].tolist() == pytest.approx([0, 7 / 15, 14 / 15])
    assert bins["high"].tolist() == pytest.approx([1 / 15, 8 / 15, 1])
    assert bins["predicted"].tolist() == pytest.approx([0.16 / 3, 0.5, 0.975])
    assert bins["observed"].tolist() == pytest.approx([1 / 3, 0, 1])
    error = (3 * (1 / 3 - 0.16 / 3) + 0.5 + 2 * 0.025) / 6
    assert expected_calibration_error(bins) == pytest.approx(error)


def test_reliability_of_the_best_tags_leaves_the_others_out():
    P = np.array([[0.1, 0.9, 0.5]], dtype=np.float32)
    bins = reliability(P, np.array([[True, True, False]]), top_k=2)
    assert bins["pairs"].sum() == 2
    assert bins["observed"].tolist() == [0, 1]
    assert expected_calibration_error(bins[:0]) == 0


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60))
def test_expected_calibration_error_agrees_with_a_loop_over_pairs(pairs):
    P = np.array([[p] for p, _ in pairs], dtype=np.float32)
    Y = np.array([[right] for _, right in pairs])
    gaps: dict[int, float] = {}
    for p, right in zip(P.ravel(), Y.ravel(), strict=True):
        place = min(int(p * 15), 14)
        gaps[place] = gaps.get(place, 0) + float(p) - float(right)
    expected = sum(abs(gap) for gap in gaps.values()) / len(pairs)
    bins = reliability(P, Y)
    assert expected_calibration_error(bins) == pytest.approx(expected, abs=1e-6)
