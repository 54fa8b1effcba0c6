"""The benchmark of costs measures what it says, and finds the coefficients again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bench_costs
from benchmarks.runner import MB, Measure
from tagsage.learn import costs
from tagsage.learn.costs import Formula, Sizes, estimate_cost


def test_drawn_data_have_the_size_asked_for_and_tags_of_different_frequency():
    X, Y, rows = bench_costs.draw(1000, 8, 5)
    assert X.shape == (1000, 8)
    assert np.linalg.norm(X.rows(rows), axis=1) == pytest.approx(np.ones(1000), abs=1e-6)
    assert Y.sum(axis=0).tolist() == pytest.approx([6, 10.7, 19, 33.7, 60], abs=1)


def test_best_coefficients_are_those_that_made_the_measurements(monkeypatch):
    formula = Formula({"": 2.0, "rows tags": 3e-4}, {"features": 1000.0, "tags": 20.0})
    for module in (costs, bench_costs):
        monkeypatch.setattr(module, "FORMULAS", {"mlp": formula})
    measured = []
    for sizes in (Sizes(100, 4, 3, 9), Sizes(900, 70, 3, 9), Sizes(500, 9, 60, 9)):
        cost = estimate_cost("mlp", **sizes._asdict())
        case = bench_costs.Case("any", sizes, lambda: None)
        measured.append((case, Measure(0.0, cost.seconds, cost.bytes / MB, 0.0)))
    text = bench_costs.coefficients("mlp", measured)
    assert text == f"`Formula({formula.seconds}, {formula.bytes})`"


def test_best_coefficients_are_never_negative():
    found = bench_costs.best({"rows": [1, 2, 3], "": [1, 1, 1]}, [1, 3, 5], [1, 1, 1])
    assert found[""] == 0
    assert found["rows"] > 0


def test_measurements_of_more_weight_count_more():
    def coefficient(weights):
        return bench_costs.best({"rows": [1, 1]}, [1, 2], weights)["rows"]

    # Relative errors c - 1 and c/2 - 1: the least squares are at c = (w + v/2) / (w + v/4).
    assert coefficient([1, 1]) == pytest.approx(1.2)
    assert coefficient([1, 8]) == pytest.approx(5 / 3, abs=0.05)


def test_a_small_run_prints_measured_beside_estimated_and_says_what_it_left_out(monkeypatch):
    monkeypatch.setattr(bench_costs, "measure", lambda call: Measure(call(), 1.0, 2.0, 1.0))
    small = bench_costs.case(lambda: bench_costs.draw(200, 4, 3), "drawn")
    assert small.name.startswith("drawn: 200 × 4, 3 tags, ")
    huge = bench_costs.Case("huge", Sizes(10**9, 10**3, 10**3, 10**6), small.load)
    printed = bench_costs.tables("mlknn", [small, huge])
    lines = printed.splitlines()
    assert lines[0] == "### mlknn"
    assert "CPU s | estimated s | estimated MiB |" in lines[2]
    assert lines[4].startswith("| drawn: 200 × 4, 3 tags")
    assert lines[6].startswith("huge: mlknn would take about ")
    assert len(lines) == 7
