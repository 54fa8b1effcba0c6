"""The best two candidates compared in every scenario, from end to end."""

from __future__ import annotations

import csv
import json

import pytest

from tests.integration.conftest import GRAPH, SAID

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def table(file) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_every_scenario_is_evaluated_for_its_candidates(compared_run):
    rows = table(compared_run / "scenarios.csv")
    said = [(row["scenario"], row["role"], row["seed"], row["share"]) for row in rows]
    assert sorted(said) == sorted([
        ("transductive", "text", "42", ""),
        ("transductive", "graph", "42", ""),
        ("cold_start", "graph", "42", ""),
        ("inductive", "graph", "42", ""),
        ("transductive", "text", "43", ""),
        ("transductive", "graph", "43", ""),
        ("cold_start", "graph", "43", ""),
        ("inductive", "graph", "43", ""),
        ("grouped", "text", "42", ""),
        ("grouped", "graph", "42", ""),
        ("share", "text", "42", "0.5"),
        ("share", "graph", "42", "0.5"),
    ])
    assert {row["candidate"] for row in rows if row["role"] == "graph"} == {GRAPH}
    for row in rows:
        assert 0 < float(row["micro_f1"]) <= 1
        assert float(row["test_articles"]) > 50


def test_gains_are_means_over_splits_with_their_spread(compared_run):
    rows = table(compared_run / "scenarios.csv")
    by = {(row["scenario"], row["role"], row["seed"]): float(row["macro_f1"]) for row in rows}
    lines = {(row["scenario"], row["metric"]): row for row in table(compared_run / "gains.csv")}
    plain = lines["transductive", "macro_f1"]
    differences = [
        by["transductive", "graph", seed] - by["transductive", "text", seed]
        for seed in ("42", "43")
    ]
    assert float(plain["gain"]) == pytest.approx(sum(differences) / 2)
    assert float(plain["spread"]) == pytest.approx(abs(differences[0] - differences[1]) / 2**0.5)
    assert plain["splits"] == "2"
    assert float(plain["low"]) < float(plain["high"])
    # Text is the same whether an article comes later or is in no list.
    later = lines["inductive", "macro_f1"]
    expected = by["inductive", "graph", "42"] - by["transductive", "text", "42"]
    other = by["inductive", "graph", "43"] - by["transductive", "text", "43"]
    assert float(later["gain"]) == pytest.approx((expected + other) / 2)


def test_what_cannot_be_measured_is_reported_with_its_reason(compared_run):
    findings = json.loads((compared_run / "metrics.json").read_text(encoding="utf-8"))["findings"]
    reason = "the tagged articles have no dates to tell earlier from later ones"
    assert findings["not_measured"] == {"time": reason}
    assert findings["best"] == {"text": "text:ovr_logistic", "graph": GRAPH}
    page = (compared_run / "report.html").read_text(encoding="utf-8")
    assert f"time: not measured, {reason}." in page


def test_sentences_are_printed_logged_and_shown(compared_run):
    said = (compared_run / SAID).read_text(encoding="utf-8")
    findings = json.loads((compared_run / "metrics.json").read_text(encoding="utf-8"))["findings"]
    assert len(findings["sentences"]) == 7
    page = (compared_run / "report.html").read_text(encoding="utf-8")
    for sentence in (*findings["sentences"], findings["winner"]["sentence"]):
        assert sentence in page
        # Printed to the width of the terminal: it may break anywhere.
        assert "".join(sentence.split()) in "".join(said.split())
    assert "micro-F1" in findings["sentences"][0]


def test_slices_of_both_candidates_add_up(compared_run):
    rows = table(compared_run / "slices.csv")
    assert {row["candidate"] for row in rows} == {"text:ovr_logistic", GRAPH}
    of_lists = [
        int(row["articles"])
        for row in rows
        if row["candidate"] == GRAPH and row["slice_kind"] == "list_degree"
    ]
    metrics = json.loads((compared_run / "metrics.json").read_text(encoding="utf-8"))
    assert sum(of_lists) == metrics["split"]["test_articles"]
