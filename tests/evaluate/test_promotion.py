"""The rule of promotion and its guards, by cases worked by hand."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tagsage.evaluate import promotion_guards
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.evaluate.promotion import Decision, Gain, Guard, decide
from tagsage.evaluate.promotion_guards import (
    Pair,
    compare_with_champion,
    guard_assigned,
    guard_calibration,
    guard_most,
    guard_slices,
    measure_gain,
)
from tagsage.evaluate.slices import article_slices, tag_slices
from tagsage.features import article_ids
from tagsage.learn.labels import Labels
from tagsage.settings import Settings
from tagsage.settings.promotion import PromotionSettings

LIMITS = PromotionSettings(promote_min_articles=10)
ALWAYS, NEVER = PromotionSettings(promote="always"), PromotionSettings(promote="never")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    few = functools.partial(promotion_guards.paired_bootstrap, resamples=300)
    monkeypatch.setattr(promotion_guards, "paired_bootstrap", few)


def sparse(assigned):
    return sp.csr_array(np.asarray(assigned, dtype=np.float64))


def paired(Y, challenger, champion) -> Pair:
    return Pair(Y, sparse(challenger), sparse(champion))


def frozen(tags, test, assigned) -> FrozenTest:
    return FrozenTest(tags, article_ids(test), article_ids([]), sparse(assigned), {}, 0.2, 42)


def compared(Y, assigned, articles, tags, champion, **settings):
    """Compare a challenger with the champion; all articles are in no list and have two words."""
    everything = np.arange(len(Y))
    return compare_with_champion(
        SimpleNamespace(results=SimpleNamespace(assigned=sparse(assigned))),
        Labels(tags, everything, Y, everything, everything, everything),
        champion,
        version="3",
        ids=article_ids(articles),
        texts=["a b"] * len(Y),
        list_degree=np.zeros(len(Y), dtype=int),
        settings=Settings(**settings),
    )


def gain(low: float, *, value: float = 0.1, high: float = 0.2) -> Gain:
    return Gain(0.7, 0.6, value, low, high, 2000, 50)


def decided(**changes) -> Decision:
    given = {
        "challenger_version": "2",
        "champion_version": "1",
        "settings": LIMITS,
        "gain": gain(0.01),
        **changes,
    }
    return decide(**given)


@pytest.mark.parametrize(
    ("low", "margin", "promoted"),
    [
        (0.0001, 0.0, True),
        (0.0, 0.0, False),
        (-0.0001, 0.0, False),
        (0.02, 0.02, False),
        (0.03, 0.02, True),
        (0.0, -0.005, True),
        (-0.004, -0.005, True),
        (-0.006, -0.005, False),
    ],
)
def test_lower_end_of_the_gain_has_to_lie_above_the_margin(low, margin, promoted):
    decision = decided(gain=gain(low), settings=PromotionSettings(promote_margin=margin))
    assert decision.promoted is promoted
    assert decision.reason.startswith("Promoted: " if promoted else "Not promoted: ")
    assert "0.7000 against the champion's 0.6000 (version 1)" in decision.reason
    assert f"[{low:+.4f}, +0.2000]" in decision.reason
    assert f"the margin {margin:g}." in decision.reason
    assert (decision.challenger_micro_f1, decision.champion_micro_f1) == (0.7, 0.6)


BY_HAND = "`tagsage model promote 2` makes version 2 champion all the same."
BROKEN = Guard("latency", 1234.5, 1000.0, 12.0, passed=False, about="ms")
FIRST = {"champion_version": "", "gain": None}
LOST = {"gain": None, "not_comparable": "its test is lost"}
PINNED = {"pinned": "version 1 is pinned by ann"}


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (FIRST, "Promoted: there was no champion yet."),
        (LOST, f"Not promoted: its test is lost; {BY_HAND}"),
        ({**LOST, "settings": ALWAYS}, "Promoted: the setting promote is always."),
        ({"trial": True, "settings": ALWAYS}, "Promoted: the setting promote is always."),
        (
            {"gain": gain(-0.5), "guards": [BROKEN], "settings": ALWAYS},
            "Promoted: the setting promote is always. Broken guards: latency 1234 is more than "
            "1000 (ms).",
        ),
        ({"settings": NEVER}, "Not promoted: the setting promote is never."),
        (PINNED, "Not promoted: version 1 is pinned by ann."),
        ({**PINNED, "settings": ALWAYS}, "Not promoted: version 1 is pinned by ann."),
        ({"guards": [BROKEN]}, "Not promoted: latency 1234 is more than 1000 (ms)."),
        ({**FIRST, "guards": [BROKEN]}, "Not promoted: latency 1234 is more than 1000 (ms)."),
    ],
)
def test_decision_says_what_it_goes_by(case, reason):
    # The challenger's own score is the better one.
    decision = decided(scores=(0.983, 0.966), **case)
    assert decision.reason == reason
    assert decision.promoted is reason.startswith("Promoted: ")
    own = "gain" in case and case["gain"] is None
    scores = (decision.challenger_micro_f1, decision.champion_micro_f1)
    assert scores == ((0.983, 0.966) if own else (0.7, 0.6))


@pytest.mark.parametrize("champion", ["1", ""])
def test_trial_is_not_promoted_by_the_rule_however_good_it_is(champion):
    decision = decided(trial=True, champion_version=champion)
    assert not decision.promoted
    assert decision.reason.startswith("Not promoted: this run is a trial, ")
    assert decision.reason.endswith(BY_HAND)


def test_broken_guard_of_a_worse_challenger_is_told_beside_the_gain():
    decision = decided(gain=gain(-0.1), guards=[Guard("size", 1.0, 2.0, None, passed=True), BROKEN])
    assert "is not surely above the margin 0. Broken guards: latency 1234" in decision.reason
    assert [check["passed"] for check in decision.checks] == [True, False]


def labels(n: int, tags: int = 4, seed: int = 0) -> np.ndarray:
    Y = np.random.default_rng(seed).random((n, tags)) < 0.4
    Y[:, 0] |= ~Y.any(axis=1)
    return Y


def with_errors(Y: np.ndarray, share: float, seed: int) -> np.ndarray:
    return Y ^ (np.random.default_rng(seed).random(Y.shape) < share)


def test_gain_of_a_better_a_worse_and_an_equal_challenger():
    Y = labels(400)
    good, bad = with_errors(Y, 0.05, 1), with_errors(Y, 0.3, 2)
    better = measure_gain(paired(Y, good, bad), seed=0)
    worse = measure_gain(paired(Y, bad, good), seed=0)
    equal = measure_gain(paired(Y, good, good), seed=0)
    assert better.low > 0.1
    assert (worse.value, worse.low) == (-better.value, pytest.approx(-better.high))
    assert (equal.value, equal.low, equal.high) == (0, 0, 0)
    assert (equal.articles, equal.tags) == (400, 4)
    hits, pairs = 2 * (good & Y).sum(), good.sum() + Y.sum()
    assert better.challenger == pytest.approx(hits / pairs)


def test_gain_is_measured_with_this_runs_truth_on_what_both_have():
    current = np.array([[True, False], [False, True], [True, True]])
    # The champion was tested on b, c and others; it knows y and x, and a tag of its own.
    kept = frozen(["own", "x", "y"], ["c", "b", "z"], [[1, 1, 1], [0, 1, 0], [1, 1, 1]])
    mine = [[1, 0], [0, 1], [0, 1]]
    found = compared(current, mine, "abc", ["x", "y"], kept, promote_min_articles=2).gain
    assert (found.articles, found.tags) == (2, 2)
    # True of b and c are y; x, y. The challenger says y; y, the champion x; x, y.
    assert found.challenger == pytest.approx(4 / 5)
    assert found.champion == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("champion_tags", "least", "why_not"),
    [
        (8, 10, ""),
        (
            9,
            10,
            "of the champion's 9 target tags (version 3) only 4 are target tags now, fewer than "
            "half",
        ),
        (
            4,
            100,
            "this run's test articles and the champion's (version 3) have only 41 in common, fewer "
            "than the 100 that promote_min_articles asks for",
        ),
        (None, 10, "what the champion (version 3) assigned is not in MLflow"),
    ],
)
def test_two_are_not_compared_on_few_tags_or_few_articles(champion_tags, least, why_not):
    Y = labels(41)
    articles, tags = [f"a{row}" for row in range(41)], ["t0", "t1", "t2", "t3"]
    champion = None
    if champion_tags:
        own = [f"t{n}" for n in range(champion_tags)]
        champion = frozen(own, articles, np.zeros((41, champion_tags)))
    found = compared(Y, Y, articles, tags, champion, promote_min_articles=least)
    assert found.why_not == why_not
    assert (found.gain is None) == bool(why_not)
    names = [] if why_not else ["largest drop on a slice", "drop of articles with a tag"]
    assert [guard.name for guard in found.guards] == names


def slices_of(Y, degrees):
    articles = article_slices(list_degree=np.asarray(degrees), texts=["a b"] * len(Y), Y=Y)
    return articles, tag_slices(np.full(Y.shape[1], 500), 100)


def test_drop_on_one_slice_is_found_though_the_whole_is_better():
    Y = labels(600)
    cold = np.arange(600) < 120
    champion = with_errors(Y, 0.2, 1)
    challenger = np.where(cold[:, None], with_errors(Y, 0.5, 2), with_errors(Y, 0.02, 3))
    pair = paired(Y, challenger, champion)
    assert measure_gain(pair, seed=0).low > 0
    slices = slices_of(Y, np.where(cold, 0, 5))
    check = guard_slices(
        pair, *slices, settings=PromotionSettings(promote_min_articles=100), seed=0
    )
    assert not check.passed
    assert check.value is not None
    assert check.value > 0.1
    assert check.about.startswith("micro-F1 on list_degree 0, 120 articles; interval 0.")
    lax = PromotionSettings(promote_min_articles=100, promote_max_slice_drop=0.9)
    assert guard_slices(pair, *slices, settings=lax, seed=0).passed


def test_slices_too_small_to_judge_are_not_judged():
    Y = labels(30)
    check = guard_slices(
        paired(Y, ~Y, Y),
        *slices_of(Y, [0] * 30),
        settings=PromotionSettings(promote_min_articles=31),
        seed=0,
    )
    assert check.passed
    assert check.value is None
    assert check.about == "not measured: no slice has 31 articles"


def test_slices_of_two_that_are_equally_good_give_no_alarm_by_chance():
    """Ten pairs of equally good candidates on 9 slices: many have one that looks worse."""
    alarms, looks_worse = 0, 0
    for seed in range(10):
        Y = labels(300, seed=seed)
        pair = paired(Y, with_errors(Y, 0.2, seed + 100), with_errors(Y, 0.2, seed + 200))
        degrees = np.random.default_rng(seed).integers(0, 12, 300)
        check = guard_slices(
            pair,
            *slices_of(Y, degrees),
            settings=PromotionSettings(promote_min_articles=20),
            seed=0,
        )
        alarms += not check.passed
        looks_worse += (check.value or 0) > 0.02
    assert looks_worse > 3
    assert alarms <= 1


@pytest.mark.parametrize(("drop", "passed"), [(-30, True), (10, True), (11, False)])
def test_drop_of_articles_with_a_tag_is_held_to_its_limit(drop, passed):
    Y = np.ones((100, 2), dtype=bool)
    challenger, champion = (np.arange(100)[:, None] < n for n in (60 - drop, 60))
    check = guard_assigned(paired(Y, challenger & Y, champion & Y), settings=LIMITS)
    assert check.passed is passed
    assert check.value == pytest.approx(drop / 100)
    assert check.about == f"{60 - drop}.0% of the articles get a tag, of the champion 60.0%"


def test_calibration_allows_for_what_chance_makes_of_few_pairs():
    # One bin of 50 pairs at 0.5: by chance off by sqrt(2 * 0.25 / (pi * 50)) = 0.0564.
    bins = pd.DataFrame({"predicted": [0.5], "observed": [0.6], "pairs": [50]})
    options = {"articles": 10, "champion": 0.03, "settings": LIMITS}
    near = guard_calibration(0.1, bins, **options)
    assert near.passed
    assert near.about == f"ece_top_5; {math.sqrt(0.5 / (math.pi * 50)):.4f} of it may be chance"
    assert (near.value, near.champion, near.limit) == (0.1, 0.03, 0.05)
    assert not guard_calibration(0.11, bins, **options).passed
    assert not guard_calibration(0.1, bins.assign(pairs=50_000), **options).passed
    few = guard_calibration(0.9, bins, **{**options, "articles": 9})
    assert (few.passed, few.value) == (True, None)


def test_number_is_held_to_its_limit_and_one_that_was_not_measured_passes():
    assert guard_most("latency", 5.0, 5.0, about="ms").passed
    assert not guard_most("latency", 5.1, 5.0, about="ms").passed
    assert guard_most("latency", None, 5.0, about="not measured").passed
