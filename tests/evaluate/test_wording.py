"""Sentences on differences."""

from __future__ import annotations

import doctest
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.evaluate import wording
from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.systems import METRICS, System
from tagsage.evaluate.wording import METRIC_NAMES, difference_sentence


@pytest.mark.parametrize(
    ("metric", "numbers", "sentence"),
    [
        ("macro_f1", (0.08, 0.069, 0.091), "a beats b by 8.0 macro-F1 points [6.9, 9.1]"),
        ("micro_f1", (-0.08, -0.091, -0.069), "a falls behind b by 8.0 micro-F1 points [6.9, 9.1]"),
        (
            "p_at_5",
            (0.003, -0.004, 0.01),
            "a and b do not differ clearly in P@5: +0.3 points [-0.4, 1.0]",
        ),
        (
            "lrap",
            (-0.003, -0.01, 0.004),
            "a and b do not differ clearly in LRAP: -0.3 points [-1.0, 0.4]",
        ),
        ("lrap", (0, 0, 0), "a and b do not differ clearly in LRAP: 0.0 points [0.0, 0.0]"),
        # What is told decides: this interval begins above 0, but not as far as anybody can see.
        (
            "lrap",
            (0.001, 0.0004, 0.002),
            "a and b do not differ clearly in LRAP: +0.1 points [0.0, 0.2]",
        ),
        (
            "lrap",
            (-0.0004, -0.0004, -0.0003),
            "a and b do not differ clearly in LRAP: 0.0 points [0.0, 0.0]",
        ),
        ("lrap", (0.001, 0.0006, 0.002), "a beats b by 0.1 LRAP points [0.1, 0.2]"),
    ],
)
def test_difference_sentence_says_who_is_ahead_and_by_how_much(metric, numbers, sentence):
    value, low, high = numbers
    assert difference_sentence("a", "b", metric, value=value, low=low, high=high) == sentence


fractions = st.floats(-1, 1)


@given(numbers=st.tuples(fractions, fractions, fractions).map(sorted))
def test_no_sentence_shows_a_clear_difference_with_an_interval_that_holds_0(numbers):
    low, value, high = numbers
    text = difference_sentence("a", "b", "lrap", value=value, low=low, high=high)
    shown = [float(number) for number in re.findall(r"-?\d+\.\d", text.partition("[")[2])]
    assert len(shown) == 2
    assert "-0.0" not in text
    if "beats" in text or "falls behind" in text:
        assert min(shown) > 0
    else:
        assert shown[0] <= 0 <= shown[1]


@given(numbers=st.tuples(fractions, fractions, fractions).map(sorted))
def test_sentences_of_both_directions_agree(numbers):
    low, value, high = numbers
    one = difference_sentence("a", "b", "lrap", value=value, low=low, high=high)
    other = difference_sentence("b", "a", "lrap", value=-value, low=-high, high=-low)
    assert ("beats" in one) == ("falls behind" in other)
    if "beats" in one:
        assert other == one.replace("a beats b", "b falls behind a")


def test_examples_of_the_docstring_are_true():
    assert doctest.testmod(wording) == (0, 3)


def test_every_metric_that_is_compared_has_a_name():
    assert set(METRIC_NAMES) == set(METRICS)


def test_a_line_of_the_bootstrap_gives_a_sentence():
    Y = np.eye(6, dtype=bool)
    systems = {
        "right": System.of(Y.astype(np.float32), Y, 0.5),
        "wrong": System.of(np.roll(Y, 1, axis=1).astype(np.float32), Y, 0.5),
    }
    frame = paired_bootstrap(Y, systems, pairs=[("right", "wrong")], resamples=20, seed=0)
    line = frame[frame["baseline"].notna()].iloc[0]
    columns = ["system", "baseline", "metric", "value", "low", "high"]
    sentence = difference_sentence(**line[columns].to_dict())
    assert sentence == "right beats wrong by 100.0 micro-F1 points [100.0, 100.0]"


@pytest.mark.parametrize(
    "numbers", [(0.1, 0.2, 0.0), (math.nan, 0.0, 0.1), (0.1, math.nan, 0.2), (0.1, 0.0, math.nan)]
)
def test_numbers_that_are_no_interval_are_refused(numbers):
    value, low, high = numbers
    with pytest.raises(ValueError, match="is no difference with an interval"):
        difference_sentence("a", "b", "lrap", value=value, low=low, high=high)
