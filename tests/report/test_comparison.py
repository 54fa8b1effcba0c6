from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tagsage.report.comparison import comparison_pictures, gain_lines, slice_lines
from tagsage.report.data import Comparison, ReportData
from tagsage.report.html import render_report

METRICS = ("micro_f1", "macro_f1", "p_at_5", "lrap")
TEXT, GRAPH = "text:mlp", "text+lists:<script>alert(1)</script>"


@pytest.fixture
def comparison() -> Comparison:
    gains = pd.DataFrame([
        {
            "scenario": scenario,
            "metric": metric,
            "text": 0.4,
            "graph": 0.484,
            "gain": 0.084,
            "spread": spread,
            "splits": splits,
            "low": low,
            "high": 0.091,
        }
        for scenario, spread, splits, low in (
            ("transductive", 0.004, 3, 0.069),
            ("time", np.nan, 1, np.nan),
            ("share", np.nan, 1, np.nan),
        )
        for metric in METRICS
    ])
    per_tag = pd.DataFrame({
        "tag": ["a", "b"],
        "support": [4, 8],
        "f1": [0.5, 0.25],
        "average_precision": [0.5, 0.75],
    })
    intervals = pd.DataFrame([
        {
            "candidate": GRAPH,
            "baseline": baseline,
            "metric": metric,
            "value": 0.08,
            "low": 0.07,
            "high": 0.09,
            "level": 0.95,
            "articles": 9,
            "resamples": 200,
        }
        for baseline in (None, TEXT)
        for metric in METRICS
    ])
    slices = pd.DataFrame([
        {
            "slice_kind": "list_degree",
            "slice": name,
            "articles": n,
            "tags": 2,
            "micro_f1": score,
            "macro_f1": score,
            "p_at_5": score,
            "lrap": score,
            "candidate": candidate,
        }
        for name, n in (("0", 5), ("1", 0), (">10", 7))
        for candidate, score in ((TEXT, 0.25), (GRAPH, 0.5))
    ])
    curve = pd.DataFrame({"threshold": [0.5], "precision": [0.5], "recall": [0.5]})
    bins = {"low": [0.0], "high": [0.1], "predicted": [0.05], "observed": [0.04], "pairs": [9]}
    return Comparison(
        text=TEXT,
        graph=GRAPH,
        sentences=["Lists help <b>a lot</b>."],
        gains=gains,
        intervals=intervals,
        slices=slices,
        study=pd.DataFrame({
            "candidate": ["text:label_powerset"],
            "accuracy": [0.111],
            "macro_precision": [0.222],
            "weighted_precision": [0.333],
        }),
        curves={GRAPH: curve, TEXT: curve},
        per_tag={GRAPH: per_tag, TEXT: per_tag},
        reliability=pd.DataFrame(bins),
        calibration_errors={"ece": 0.001, "ece_top_5": 0.017},
        learning=pd.DataFrame(),
        not_measured={"inductive": "graphsage is not made anew"},
    )


def test_gain_lines_have_a_cell_for_each_metric_and_leave_the_learning_curve_out(comparison):
    lines = gain_lines(comparison.gains)
    assert [line["scenario"] for line in lines] == [
        "Articles in the graph (transductive)",
        "Later articles, earlier labels (time)",
    ]
    assert set(lines[0]["cells"]) == set(METRICS)
    assert lines[0]["splits"] == 3
    assert gain_lines(comparison.gains.iloc[:0]) == []


def test_slice_lines_hold_both_candidates_and_leave_empty_slices_out(comparison):
    (table,) = slice_lines(comparison.slices, comparison)
    assert table["kind"] == "Lists that hold the article"
    assert [(line["slice"], line["articles"]) for line in table["lines"]] == [("0", 5), (">10", 7)]
    assert table["lines"][0]["text"]["micro_f1"] == pytest.approx(0.25)
    assert table["lines"][0]["graph"]["micro_f1"] == pytest.approx(0.5)
    assert slice_lines(comparison.slices.iloc[:0], comparison) == []


def test_a_learning_curve_is_drawn_where_there_is_one(comparison):
    assert len(comparison_pictures(comparison)) == 4
    learning = pd.DataFrame({
        "candidate": [GRAPH, GRAPH],
        "share": [0.5, 1.0],
        "macro_f1": [0.4, 0.5],
    })
    more = dataclasses.replace(comparison, learning=learning)
    assert len(comparison_pictures(more)) == 5


def test_report_shows_the_comparison_as_text_whatever_its_names(
    run: ReportData, comparison, tmp_path
):
    render_report(dataclasses.replace(run, comparison=comparison), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "Lists help &lt;b&gt;a lot&lt;/b&gt;." in page
    assert "<strong>+8.4</strong> [+6.9, +9.1] ± 0.4" in page
    assert "inductive: not measured, graphsage is not made anew." in page
    assert ".001 over all pairs" in page
    assert ".017 over the five best" in page
    assert ".222" in page


def test_report_of_a_run_without_a_comparison_says_so(run: ReportData, tmp_path):
    render_report(run, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "It takes a candidate on text and one with lists to tell." in page


def test_leaderboard_shows_the_interval_of_a_score_below_it(run: ReportData, comparison, tmp_path):
    board = run.leaderboard.assign(candidate=[GRAPH, *run.leaderboard["candidate"][1:]])
    told = dataclasses.replace(run, comparison=comparison, leaderboard=board)
    render_report(told, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # That of the score, and not that of the difference to text; only where there is one.
    assert page.count('<span class="interval">.070–.090</span>') == len(METRICS)
    assert "Below a score" in page
    render_report(run, tmp_path / "report.html")
    assert "Below a score" not in (tmp_path / "report.html").read_text(encoding="utf-8")
