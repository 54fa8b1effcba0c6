from __future__ import annotations

import math

import pytest

from tagsage.errors import TagsageError
from tagsage.learn import costs
from tagsage.learn.classifiers import CLASSIFIERS
from tagsage.learn.costs import (
    FORMULAS,
    Cost,
    Formula,
    Sizes,
    estimate_cost,
    fit_sizes,
    reason_to_leave_out,
    term,
)

SIZES = {"rows": 17_000, "features": 256, "tags": 100, "label_sets": 3400}


@pytest.fixture(params=CLASSIFIERS)
def name(request) -> str:
    return request.param


def test_term_is_the_product_of_the_sizes_it_names():
    sizes = Sizes(rows=5, features=3, tags=2, label_sets=7)
    assert term("", sizes) == 1
    assert term("rows rows tags", sizes) == 50
    assert term("features label_sets", sizes) == 21
    assert term("columns", sizes) == 5


def test_cost_is_the_time_of_both_fits_and_the_memory_of_the_larger(monkeypatch):
    formula = Formula({"": 1.0, "rows features": 0.5}, {"rows": 8.0, "tags": 100.0})
    monkeypatch.setattr(costs, "FORMULAS", {"mlp": formula})
    cost = estimate_cost("mlp", rows=200, features=4, tags=3, label_sets=9)
    # 85% of 200 rows are 170: 1 + 0.5 · 170 · 4 and 1 + 0.5 · 200 · 4.
    assert cost == Cost(seconds=pytest.approx(742), bytes=1900, classifier="mlp")


def test_fits_are_those_of_a_part_and_of_all_rows():
    part, whole = fit_sizes(100, 2, 3, 4)
    assert part == Sizes(pytest.approx(85), 2, 3, 4)
    assert whole == Sizes(100, 2, 3, 4)


def test_every_classifier_has_a_formula_of_sizes_that_exist(name):
    assert set(FORMULAS) == set(CLASSIFIERS)
    for part in FORMULAS[name]:
        assert all(set(one.split()) <= {*Sizes._fields, "columns"} for one in part)
        assert all(0 <= coefficient < math.inf for coefficient in part.values())


@pytest.mark.parametrize("size", SIZES)
def test_cost_never_falls_with_size(name, size):
    cost = estimate_cost(name, **SIZES)
    larger = estimate_cost(name, **{**SIZES, size: 10 * SIZES[size]})
    assert 0 < cost.seconds <= larger.seconds
    assert 0 < cost.bytes <= larger.bytes
    assert cost.classifier == name


def test_cost_grows_with_rows_as_the_method_does():
    def grows(name):
        many = {**SIZES, "rows": 10_000_000}
        twice = {**SIZES, "rows": 20_000_000}
        return estimate_cost(name, **twice).seconds / estimate_cost(name, **many).seconds

    assert grows("mlknn") == pytest.approx(4, rel=0.01)
    for linear in set(CLASSIFIERS) - {"mlknn"}:
        assert grows(linear) == pytest.approx(2, rel=0.01)


def test_cost_of_an_unknown_classifier_is_refused():
    with pytest.raises(TagsageError, match=r"^There is no classifier 'svm'; choose one of linear"):
        estimate_cost("svm", **SIZES)


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        (Cost(95 * 60, 10, "boosting"), "95 minutes, more than candidate_max_minutes=30"),
        (Cost(10, 12_000_000_000, "boosting"), "12 GB of memory, more than candidate_max_gb=8"),
        (Cost(1801, 10, "boosting"), "31 minutes, more than candidate_max_minutes=30"),
        (Cost(10, 8_010_000_000, "boosting"), "8.1 GB of memory, more than candidate_max_gb=8"),
        (
            Cost(1e6, 9e9, "boosting"),
            "16667 minutes, more than candidate_max_minutes=30, and 9 GB of memory, "
            "more than candidate_max_gb=8",
        ),
    ],
)
def test_reason_names_what_is_too_much_and_the_limit(cost, reason):
    told = reason_to_leave_out(cost, max_minutes=30, max_gb=8)
    assert told == f"boosting would take about {reason}"


def test_reason_counts_a_single_minute_in_the_singular():
    told = reason_to_leave_out(Cost(58, 10, "mlp"), max_minutes=0.5, max_gb=8)
    assert told == "mlp would take about 1 minute, more than candidate_max_minutes=0.5"


@pytest.mark.parametrize("limit", [30, math.inf])
def test_there_is_no_reason_to_leave_out_what_just_fits(limit):
    assert not reason_to_leave_out(Cost(1800, 8_000_000_000, "mlp"), max_minutes=limit, max_gb=8)
