from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.learn.thresholds import (
    Thresholds,
    best_micro_f1,
    expected_f1_threshold,
    tag_thresholds,
)
from tagsage.settings.predictions import PredictionSettings


def f1_at(P, Y, threshold) -> float:
    assigned = threshold <= P
    return 2 * (assigned & Y).sum() / (assigned.sum() + Y.sum())


@pytest.mark.parametrize(
    ("P", "Y", "threshold", "f1"),
    [
        # Cuts: .9: 2*1/(1+3); .8: 2*1/(2+3); .7: 2*2/(3+3); .4: 2*3/(4+3) is best; .1 less.
        ([0.9, 0.8, 0.7, 0.4, 0.1, 0.1], [1, 0, 1, 1, 0, 0], 0.4, 6 / 7),
        # Equal scores are assigned together.
        ([0.5, 0.5, 0.2], [0, 1, 0], 0.5, 2 / 3),
        # Cut .9: 2*1/(1+2); cut .1: 2*2/(4+2).
        ([0.9, 0.4, 0.3, 0.1], [1, 0, 0, 1], 0.9, 2 / 3),
        ([1, 1], [0, 0], 0.5, 0),
        ([0, 0], [1, 1], 0.5, 0),
        ([], [], 0.5, 0),
    ],
    ids=["best", "ties", "equally good", "nothing right", "no hope", "no articles"],
)
def test_the_best_micro_f1_of_worked_examples(P, Y, threshold, f1):
    found = best_micro_f1(np.array([P], dtype=np.float32), np.array([Y], dtype=bool))
    assert found == (np.float32(threshold), pytest.approx(f1))


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_the_best_micro_f1_is_that_of_the_best_of_all_scores(pairs):
    P = np.array([[score for score, _ in pairs]], dtype=np.float32)
    Y = np.array([[truth for _, truth in pairs]])
    # A threshold of 0 would assign every tag to every article: it is none.
    scores = P[0][P[0] > 0]
    if Y.any() and len(scores):
        best = max(f1_at(P, Y, score) for score in scores)
        threshold, f1 = best_micro_f1(P, Y)
        assert f1_at(P, Y, np.float32(threshold)) == f1 == best


def test_expected_f1_threshold_of_a_worked_example():
    # Sorted .9 .6 .1, together 1.6. Expected F1: 1.8 / 2.6, 3 / 3.6, 3.2 / 4.6.
    assert expected_f1_threshold(np.array([0.1, 0.9, 0.6])) == pytest.approx(0.6)
    # One sure article: 2 / 2.02; both: 2.04 / 3.02.
    assert expected_f1_threshold(np.array([0.02, 1.0])) == pytest.approx(1)
    # Without articles or hope, a half.
    assert [expected_f1_threshold(np.zeros(n)) for n in (0, 3)] == [0.5, 0.5]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12))
def test_expected_f1_threshold_is_as_good_as_the_best_of_all_cuts(p):
    p = np.array(p, dtype=np.float64)

    def expected_f1(threshold: float) -> float:
        chosen = p[p >= threshold]
        return 2 * chosen.sum() / (len(chosen) + p.sum())

    if p.sum() > 0:
        best = max(expected_f1(t) for t in p)
        assert expected_f1(expected_f1_threshold(p)) == pytest.approx(best)


def test_tag_thresholds_of_a_worked_example():
    P = np.array([[0.9, 0.0], [0.6, 0.0], [0.1, 0.0]], dtype=np.float32)
    # The first tag: own .6, 1.6 articles expected; the second expects none.
    found = tag_thresholds(P, 0.3)
    weight = 0.7 * 1.6 / 11.6
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([0.3 ** (1 - weight) * 0.6**weight, 0.3])
    assert tag_thresholds(P[:0], 0.3).tolist() == pytest.approx([0.3, 0.3])


P = np.array([[0.9, 0.4, 0.2], [0.1, 0.3, 0.2], [0.8, 0.7, 0.6]], dtype=np.float32)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [[1, 0, 1], [0, 0, 1], [1, 1, 1]]),
        ({"max_tags": 1}, [[1, 0, 0], [0, 0, 0], [1, 0, 0]]),
        ({"min_tags": 2}, [[1, 1, 1], [0, 1, 1], [1, 1, 1]]),
        ({"max_tags": 2, "min_tags": 1}, [[1, 0, 0], [0, 1, 1], [1, 1, 0]]),
    ],
)
def test_tags_are_assigned_by_thresholds_and_limits(limits, expected):
    thresholds = Thresholds(0.5, np.array([0.5, 0.5, 0.2], dtype=np.float32), **limits)
    again = Thresholds.from_json(json.loads(json.dumps(thresholds.to_json())))
    for some in (thresholds, again):
        assert np.array_equal(some.assign(P), np.array(expected, dtype=bool))


def test_equal_probabilities_at_a_limit_go_to_the_lower_column():
    thresholds = Thresholds.constant(3, PredictionSettings(assign_min_tags=1))
    tied = np.full((1, 3), 0.4, dtype=np.float32)
    assert thresholds.assign(tied).tolist() == [[True, False, False]]


def test_thresholds_are_chosen_by_micro_f1_and_drawn_towards_each_tags_own():
    rng = np.random.default_rng(0)
    scores = rng.random((200, 3)).astype(np.float32) ** 3
    Y = rng.random((200, 3)) < scores
    settings = PredictionSettings(assign_max_tags=2, assign_min_tags=1)
    chosen = Thresholds.choose(scores, Y, settings)
    assert chosen.common == best_micro_f1(scores, Y)[0]
    assert np.array_equal(chosen.per_tag, tag_thresholds(scores, chosen.common))
    assert (chosen.max_tags, chosen.min_tags) == (2, 1)
