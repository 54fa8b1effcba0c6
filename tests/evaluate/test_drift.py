from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.evaluate.drift import (
    histogram_stability_index,
    jensen_shannon_distance,
    population_stability_index,
    share_unknown,
)

HISTOGRAMS = st.dictionaries(st.integers(0, 2000), st.integers(1, 10_000), min_size=1, max_size=60)
WORDS = st.dictionaries(st.text(max_size=8), st.integers(1, 10_000), min_size=1, max_size=40)


def test_psi_of_worked_examples():
    # Shares .2 .3 .5 -> .3 .3 .4: (.3-.2) ln(.3/.2) + 0 + (.4-.5) ln(.4/.5)
    expected = 0.1 * math.log(1.5) - 0.1 * math.log(0.8)
    assert population_stability_index([20, 30, 50], [60, 60, 80]) == pytest.approx(expected)
    # An empty bin counts as one in ten thousand.
    expected = (1e-4 - 0.5) * math.log(1e-4 / 0.5) + (1 - 0.5) * math.log(1 / 0.5)
    assert population_stability_index([1, 1], [0, 7]) == pytest.approx(expected)
    assert population_stability_index([0, 0], [0, 0]) == 0


def test_whole_numbers_are_binned_by_the_deciles_of_the_reference():
    reference = dict.fromkeys(range(1, 11), 10)
    # All of the second half moved to 1: bins 1 to 10 hold .6 .1 .1 .1 .1 0 0 0 0 0.
    moved = {1: 60, 2: 10, 3: 10, 4: 10, 5: 10}
    expected = 0.5 * math.log(6) + 5 * (1e-4 - 0.1) * math.log(1e-3)
    assert histogram_stability_index(reference, moved) == pytest.approx(expected)


def test_a_value_that_fills_several_bins_makes_one():
    # Nine of ten lists hold one article: two bins, 1 and 2 to 5.
    index = histogram_stability_index({1: 90, 5: 10}, {1: 45, 3: 5, 7: 0})
    assert index == pytest.approx(0)
    assert histogram_stability_index({1: 90, 5: 10}, {1: 50, 4: 50}) == pytest.approx(
        population_stability_index([90, 10], [50, 50])
    )


def test_values_beyond_the_reference_have_bins_of_their_own():
    # Everything goes from one bin to another: twice (1 - 1e-4) ln(1 / 1e-4).
    moved = 2 * (1 - 1e-4) * math.log(1e4)
    assert histogram_stability_index({1: 1000}, {30: 1000}) == pytest.approx(moved)
    assert histogram_stability_index({30: 1000}, {1: 1000}) == pytest.approx(moved)
    assert histogram_stability_index({1: 1000}, {1: 7}) == pytest.approx(0)
    # A tenth goes beyond the highest value: .9 -> .8 at 1, .1 stays in 2 to 5, 1e-4 -> .1 above.
    expected = (0.8 - 0.9) * math.log(0.8 / 0.9) + (0.1 - 1e-4) * math.log(0.1 / 1e-4)
    found = histogram_stability_index({1: 90, 5: 10}, {1: 80, 5: 10, 6: 10})
    assert found == pytest.approx(expected)


def test_a_histogram_of_nothing_can_be_compared():
    assert histogram_stability_index({}, {}) == 0
    assert histogram_stability_index({}, {3: 4}) == pytest.approx((1 - 1e-4) * math.log(1 / 1e-4))


@given(HISTOGRAMS, HISTOGRAMS, st.integers(2, 20))
def test_psi_is_never_negative_and_nothing_for_the_same_shares(reference, counts, factor):
    assert histogram_stability_index(reference, counts) >= 0
    same = {value: factor * count for value, count in reference.items()}
    assert histogram_stability_index(reference, same) == pytest.approx(0, abs=1e-9)


def entropy(*shares: float) -> float:
    return -sum(share * math.log2(share) for share in shares if share)


def test_distance_of_a_worked_example():
    # Shares (.5, .5, 0) and (0, .5, .5); their mean is (.25, .5, .25).
    divergence = entropy(0.25, 0.5, 0.25) - (entropy(0.5, 0.5) + entropy(0.5, 0.5)) / 2
    found = jensen_shannon_distance({"a": 1, "b": 1}, {"b": 3, "c": 3}, totals=(2, 6), top=9)
    assert divergence == pytest.approx(0.5)
    assert found == pytest.approx(math.sqrt(divergence))


def test_what_is_not_among_the_most_frequent_counts_as_one_word():
    # (.5, .5 others) and (.25, .75 others)
    mean = entropy(0.375, 0.625)
    divergence = mean - (entropy(0.5, 0.5) + entropy(0.25, 0.75)) / 2
    found = jensen_shannon_distance(
        {"a": 5, "b": 2, "c": 1}, {"a": 5, "x": 4, "y": 3}, totals=(10, 20), top=1
    )
    assert found == pytest.approx(math.sqrt(divergence))


def test_nothing_in_common_is_the_distance_one():
    assert jensen_shannon_distance({"a": 2}, {"b": 9}, totals=(2, 9), top=5) == pytest.approx(1)
    assert jensen_shannon_distance({}, {"b": 9}, totals=(0, 9), top=5) == 1
    assert jensen_shannon_distance({}, {}, totals=(0, 0), top=5) == 0


@given(WORDS, WORDS, st.integers(1, 50), st.integers(2, 9))
def test_distance_is_symmetric_bounded_and_nothing_for_the_same_shares(one, other, top, factor):
    totals = (sum(one.values()), sum(other.values()))
    there = jensen_shannon_distance(one, other, totals=totals, top=top)
    back = jensen_shannon_distance(other, one, totals=totals[::-1], top=top)
    assert 0 <= there <= 1 + 1e-12
    assert there == pytest.approx(back, abs=1e-9)
    same = {word: factor * count for word, count in one.items()}
    totals = (totals[0], factor * totals[0])
    assert jensen_shannon_distance(one, same, totals=totals, top=top) == pytest.approx(0, abs=1e-6)


def test_share_of_unknown_words():
    counts = {"graph": 6, "neuf": 2}
    # 6 known of 10; the two that were not kept count as unknown.
    assert share_unknown({"graph": 1}, counts, total=10) == pytest.approx(0.4)
    assert share_unknown({"graph": 1}, {}, total=0) == 0
