"""The rule of promotion and its guards, by cases worked by hand."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tagsage.evaluate import promotion_guards
from tagsage.evaluate.fresh_evidence import FreshEvidence
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.evaluate.promotion import (
    Decision,
    Evidence,
    Gain,
    Guard,
    chance_of_look,
    decide,
)
from tagsage.evaluate.promotion_guards import (
    Pair,
    compare_with_champion,
    guard_assigned,
    guard_calibration,
    guard_macro,
    guard_most,
    guard_slices,
    measure_changes,
    measure_gain,
)
from tagsage.evaluate.slices import article_slices, tag_slices
from tagsage.features import article_ids
from tagsage.learn.labels import Labels
from tagsage.settings import Settings
from tagsage.settings.promotion import PromotionSettings

LIMITS = PromotionSettings(promote_min_articles=10)
NOBODY = article_ids([])
ALWAYS, NEVER = PromotionSettings(promote="always"), PromotionSettings(promote="never")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    few = functools.partial(promotion_guards.paired_bootstrap, resamples=300)
    monkeypatch.setattr(promotion_guards, "paired_bootstrap", few)


def sparse(assigned):
    return sp.csr_array(np.asarray(assigned, dtype=np.float64))


def paired(Y, challenger, champion) -> Pair:
    return Pair(Y, sparse(challenger), sparse(champion), np.arange(len(Y)))


def frozen(tags, test, assigned) -> FrozenTest:
    return FrozenTest(tags, article_ids(test), NOBODY, NOBODY, sparse(assigned), {}, 0.2, 42)


def compared(Y, assigned, articles, tags, champion, *, best=("", None), look=1, **settings):
    """Compare a challenger with the champion; all articles are in no list and have two words."""
    everything = np.arange(len(Y))
    return compare_with_champion(
        SimpleNamespace(results=SimpleNamespace(assigned=sparse(assigned))),
        Labels(tags, everything, Y, everything, everything, everything),
        champion,
        version="3",
        look=look,
        best=best,
        ids=article_ids(articles),
        texts=["a b"] * len(Y),
        list_degree=np.zeros(len(Y), dtype=int),
        settings=Settings(**settings),
    )


def gain(low: float, *, value: float = 0.1, high: float = 0.2) -> Gain:
    return Gain(0.7, 0.6, value, low, high, 2000, 50, 3)


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
    assert f"above the margin {margin:g}, at look 3 at this test." in decision.reason
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
    assert "is not surely above the margin 0, at look 3 at this test. Broken" in decision.reason
    assert [check["passed"] for check in decision.checks] == [True, False]


def labels(n: int, tags: int = 4, seed: int = 0) -> np.ndarray:
    Y = np.random.default_rng(seed).random((n, tags)) < 0.4
    Y[:, 0] |= ~Y.any(axis=1)
    return Y


def with_errors(Y: np.ndarray, share: float, seed: int) -> np.ndarray:
    return Y ^ (np.random.default_rng(seed).random(Y.shape) < share)


def gain_of(pair: Pair, look: int = 1) -> Gain:
    changes = measure_changes(pair, seed=0)
    return measure_gain(pair, changes["micro_f1"], look=look, alpha=0.05)


def test_gain_of_a_better_a_worse_and_an_equal_challenger():
    Y = labels(400)
    good, bad = with_errors(Y, 0.05, 1), with_errors(Y, 0.3, 2)
    better, worse, equal = (
        gain_of(paired(Y, *both)) for both in ((good, bad), (bad, good), (good, good))
    )
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
    assert bool(found.guards) == (not why_not)


def slices_of(Y, degrees):
    articles = article_slices(list_degree=np.asarray(degrees), texts=["a b"] * len(Y), Y=Y)
    return articles, tag_slices(np.full(Y.shape[1], 500), 100)


def slice_guard(pair: Pair, degrees, **settings) -> Guard:
    return guard_slices(
        pair,
        measure_changes(pair, seed=0)["micro_f1"],
        *slices_of(pair.Y, degrees),
        settings=PromotionSettings(**settings),
        seed=0,
    )


def test_drop_on_one_slice_is_found_though_the_whole_is_better():
    Y = labels(600)
    cold = np.arange(600) < 120
    champion = with_errors(Y, 0.2, 1)
    challenger = np.where(cold[:, None], with_errors(Y, 0.5, 2), with_errors(Y, 0.02, 3))
    pair = paired(Y, challenger, champion)
    assert gain_of(pair).low > 0
    degrees = np.where(cold, 0, 5)
    check = slice_guard(pair, degrees)
    assert not check.passed
    assert check.value > 0.2
    assert check.about.startswith("micro-F1 on list_degree 0, 120 articles; ")
    assert slice_guard(pair, degrees, promote_max_slice_drop=0.9).passed
    # In slices of too few articles nothing is measured, but the whole always is.
    whole = slice_guard(pair, degrees, promote_min_articles=601)
    assert whole.passed
    assert whole.about.startswith("micro-F1 on all articles, 600 articles; ")


def test_slice_has_to_show_that_it_dropped_no_further_and_small_ones_have_a_wider_limit():
    """A drop that may be larger than the limit breaks the guard, however small it was measured."""
    Y = labels(4000)
    champion = with_errors(Y, 0.1, 1)
    small, large = (
        slice_guard(paired(Y[:n], with_errors(champion, share, 2)[:n], champion[:n]), [0] * n)
        for n, share in ((200, 0.1), (4000, 0.02))
    )
    # On 4,000 articles a drop of 5 points can be told from none: that is the limit.
    assert (large.limit, large.passed) == (0.05, True)
    assert large.value > 0
    assert small.limit > 0.05
    strict = slice_guard(
        paired(Y, with_errors(champion, 0.02, 2), champion),
        [0] * 4000,
        promote_max_slice_drop=0.001,
    )
    assert not strict.passed


def share_that_passes(drop: float, *, pairs: int = 20) -> float:
    """Return how often a slice of 300 articles passes whose challenger errs more by `drop`."""
    passed = 0
    for seed in range(pairs):
        Y = labels(300, seed=seed)
        champion = with_errors(Y, 0.15, seed + 100)
        challenger = with_errors(Y, 0.15 + drop, seed + 200)
        pair = paired(Y, challenger, champion)
        passed += slice_guard(pair, [0] * 300, promote_min_articles=300).passed
    return passed / pairs


def test_guard_of_a_small_slice_lets_equals_pass_and_stops_what_it_can_show():
    assert share_that_passes(0.0) >= 0.85
    assert share_that_passes(0.1) <= 0.1


def test_drop_of_macro_f1_must_be_ruled_out():
    Y = labels(2000, tags=3)
    Y[:, 2] = np.arange(2000) % 100 == 0
    champion = with_errors(Y, 0.05, 1)
    challenger = with_errors(Y, 0.04, 2)
    challenger[:, 2] = False
    changes = measure_changes(paired(Y, challenger, champion), seed=0)
    # The rare tag is hardly seen in micro-F1.
    assert changes["micro_f1"].low > 0
    check = guard_macro(changes["macro_f1"], settings=LIMITS)
    assert not check.passed
    assert check.value > -changes["macro_f1"].value > 0.02
    same = measure_changes(paired(Y, champion, champion), seed=0)
    assert guard_macro(same["macro_f1"], settings=LIMITS).passed


def test_challenger_is_held_to_the_best_champion_ever():
    Y = labels(400)
    articles, tags = [f"a{row}" for row in range(400)], ["t0", "t1", "t2", "t3"]
    mine, now, once = (with_errors(Y, share, 1) for share in (0.10, 0.101, 0.02))
    champion, best = (frozen(tags, articles, assigned) for assigned in (now, once))
    found = compared(Y, mine, articles, tags, champion, best=("2", best))
    floor = found.guards[0]
    assert (floor.name, floor.passed) == ("drop from the best champion", False)
    assert floor.value == pytest.approx(f1(Y, once) - f1(Y, mine), abs=1e-6)
    assert found.best_version == "2"
    # The champion itself may be the best; so it is where the other can't be compared with.
    for other in (("2", champion), ("2", frozen(tags, ["z"], [[1, 1, 1, 1]])), ("", None)):
        found = compared(Y, mine, articles, tags, best, best=other)
        assert found.best_version == "3"
        assert found.guards[0].value == pytest.approx(f1(Y, once) - f1(Y, mine), abs=1e-6)


def f1(Y, assigned) -> float:
    return 2 * (Y & assigned).sum() / (Y.sum() + assigned.sum())


def test_chances_of_all_looks_add_up_to_half_of_alpha():
    chances = [chance_of_look(look, 0.05) for look in range(1, 20_001)]
    assert chances[:2] == pytest.approx([0.0151982, 0.0037995], rel=1e-4)
    assert 0.024998 < sum(chances) < 0.025


def test_later_looks_ask_for_more():
    Y = labels(400)
    pair = paired(Y, with_errors(Y, 0.10, 1), with_errors(Y, 0.13, 2))
    first, tenth = gain_of(pair), gain_of(pair, look=10)
    assert first.low > 0 > tenth.low
    assert first.value == tenth.value
    # The interval of look 10 is that of the chance 0.05 / 2 * 6 / (10 pi)².
    errors = (tenth.value - tenth.low) / measure_changes(pair, seed=0)["micro_f1"].standard_error
    assert math.erfc(errors / math.sqrt(2)) / 2 == pytest.approx(0.05 / 2 * 6 / (10 * math.pi) ** 2)


def evidence(e_value: float, **changes) -> Evidence:
    fresh = FreshEvidence([math.log(e_value)], articles=70, observations=60, gain=0.0123)
    return Evidence(**{"champion": "1", "looks": 3, "fresh": fresh, "best_version": "1", **changes})


@pytest.mark.parametrize(
    ("low", "e_value", "guards", "promoted"),
    [
        (-0.01, 39.9, (), False),
        (-0.01, 40.1, (), True),
        (0.01, 0.2, (), True),
        (0.01, 100, (), True),
        (-0.01, 100, (BROKEN,), False),
        (0.01, 100, (BROKEN,), False),
    ],
)
def test_one_of_the_two_tests_is_enough_and_no_guard_may_break(low, e_value, guards, promoted):
    decision = decided(gain=gain(low), evidence=evidence(e_value), guards=guards)
    assert decision.promoted is promoted
    if not guards:
        assert (
            "on 70 articles tagged since its promotion the winners' F1 is +0.0123 above it, "
            f"evidence {e_value:.3g} of the 40 needed."
        ) in decision.reason


def test_smaller_alpha_asks_for_more_fresh_evidence():
    cautious = PromotionSettings(promote_alpha=0.025)
    for e_value, promoted in ((79, False), (81, True)):
        decision = decided(gain=gain(-0.01), evidence=evidence(e_value), settings=cautious)
        assert decision.promoted is promoted


def test_next_run_goes_on_from_the_decision_of_the_last():
    kept = decided(gain=gain(-0.01), evidence=evidence(5.0))
    kept = Decision(**json.loads(json.dumps(asdict(kept))))
    again = Evidence.of(kept, champion="1")
    assert again == evidence(5.0)
    # Another champion starts anew; what is remembered is the best.
    assert Evidence.of(kept, champion="2") == Evidence("2", best_version="1")
    # Rolled back: the decision that promoted over it is no evidence any more.
    promoting = decided(gain=gain(0.01), evidence=evidence(5.0))
    assert Evidence.of(promoting, champion="1") == Evidence("1", best_version="1")
    assert Evidence.of(None, champion="1") == Evidence("1")
    assert Evidence.of(decided(**FIRST), champion="2") == Evidence("2")


@pytest.mark.parametrize(("drop", "passed"), [(-30, True), (10, True), (11, False)])
def test_drop_of_articles_with_a_tag_is_held_to_its_limit(drop, passed):
    Y = np.ones((100, 2), dtype=bool)
    challenger, champion = (np.arange(100)[:, None] < n for n in (60 - drop, 60))
    check = guard_assigned(paired(Y, challenger & Y, champion & Y), settings=LIMITS)
    assert check.passed is passed
    assert check.value == pytest.approx(drop / 100)
    assert check.about == f"{60 - drop}.0% of the articles get a tag, of the champion 60.0%"


def test_calibration_allows_for_what_chance_makes_of_few_pairs():
    # One bin of 50 pairs at 0.5: by chance off by sqrt(2 * 0.25 / (pi * 50)) = 0.0564, and twice
    # sqrt(0.25 / 50 * (1 - 2 / pi)) = 0.0426.
    bins = pd.DataFrame({"predicted": [0.5], "observed": [0.6], "pairs": [50]})
    options = {"champion": 0.03, "settings": LIMITS}
    near = guard_calibration(0.191, bins, **options)
    assert near.passed
    assert near.limit == pytest.approx(0.05 + 0.0564 + 2 * 0.0426, abs=2e-4)
    assert (near.value, near.champion) == (0.191, 0.03)
    assert not guard_calibration(0.192, bins, **options).passed
    assert not guard_calibration(0.1, bins.assign(pairs=50_000), **options).passed


def test_number_is_held_to_its_limit():
    assert guard_most("latency", 5.0, 5.0, about="ms").passed
    assert not guard_most("latency", 5.1, 5.0, about="ms").passed
    assert not guard_most("latency", math.nan, 5.0, about="ms").passed
