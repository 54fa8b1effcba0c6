"""The comparison from end to end: what is asked of the best two candidates, and what is told."""

from __future__ import annotations

import csv
import json

import pytest

from tests.integration.conftest import run_arguments, run_in_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GRAPH = "text+lists+memberships+labels+authors:ovr_logistic"
ASKED = {
    "candidates": f"text:ovr_logistic,{GRAPH}",
    "splits": "2",
    "learning_shares": ".5",
    "memberships_dimensions": "16",
    "bootstrap_resamples": "200",
}


def table(file) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def asked(small_corpus, tmp_path_factory):
    """Return the workspace of a run in which everything is asked, and what it printed."""
    workspace = tmp_path_factory.mktemp("asked")
    done = run_in_process(*run_arguments(small_corpus, workspace, **ASKED))
    assert done.returncode == 0, done.stderr
    return workspace, done


def test_every_question_is_answered_for_the_candidates_that_it_asks(asked):
    rows = table(asked[0] / "questions.csv")
    said = [(row["question"], row["role"], row["seed"], row["share"]) for row in rows]
    assert sorted(said) == sorted([
        ("transductive", "text", "42", ""),
        ("transductive", "graph", "42", ""),
        ("cold_start", "graph", "42", ""),
        ("inductive", "graph", "42", ""),
        ("transductive", "text", "43", ""),
        ("transductive", "graph", "43", ""),
        ("cold_start", "graph", "43", ""),
        ("inductive", "graph", "43", ""),
        ("share", "text", "42", "0.5"),
        ("share", "graph", "42", "0.5"),
    ])
    assert {row["candidate"] for row in rows if row["role"] == "graph"} == {GRAPH}
    for row in rows:
        assert 0 < float(row["micro_f1"]) <= 1
        assert float(row["test_articles"]) > 50


def test_gains_are_means_over_splits_with_their_spread(asked):
    rows = table(asked[0] / "questions.csv")
    by = {(row["question"], row["role"], row["seed"]): float(row["macro_f1"]) for row in rows}
    lines = {(row["question"], row["metric"]): row for row in table(asked[0] / "gains.csv")}
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


def test_what_cannot_be_measured_is_told_with_its_reason(asked):
    findings = json.loads((asked[0] / "metrics.json").read_text(encoding="utf-8"))["findings"]
    reason = "the tagged articles have no dates to tell earlier from later ones"
    assert findings["not_measured"] == {"time": reason}
    assert findings["finalists"] == {"text": "text:ovr_logistic", "graph": GRAPH}
    page = (asked[0] / "report.html").read_text(encoding="utf-8")
    assert f"time: not measured, {reason}." in page


def test_sentences_are_printed_logged_and_shown(asked):
    workspace, done = asked
    findings = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))["findings"]
    assert len(findings["sentences"]) == 5
    page = (workspace / "report.html").read_text(encoding="utf-8")
    for sentence in findings["sentences"]:
        assert sentence in page
        # Printed to the width of the terminal: it may break anywhere.
        assert "".join(sentence.split()) in "".join(done.stdout.split())
    assert "micro-F1" in findings["sentences"][0]


def test_slices_of_both_candidates_add_up(asked):
    rows = table(asked[0] / "slices.csv")
    assert {row["candidate"] for row in rows} == {"text:ovr_logistic", GRAPH}
    of_lists = [
        int(row["articles"])
        for row in rows
        if row["candidate"] == GRAPH and row["slice_kind"] == "list_degree"
    ]
    metrics = json.loads((asked[0] / "metrics.json").read_text(encoding="utf-8"))
    assert sum(of_lists) == metrics["split"]["test_articles"]


def test_a_run_without_a_candidate_on_text_has_nothing_to_compare(small_corpus, tmp_path):
    arguments = run_arguments(small_corpus, tmp_path, candidates="lists:ovr_logistic")
    done = run_in_process(*arguments)
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "gains.csv") == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "It takes a candidate on text and one with lists to tell." in page


def test_a_candidate_that_would_take_too_long_is_left_out_with_the_reason(small_corpus, tmp_path):
    limits = {"candidate_max_minutes": "0.02"}
    candidates = "text:ovr_logistic,text:boosting"
    done = run_in_process(*run_arguments(small_corpus, tmp_path, candidates=candidates, **limits))
    assert done.returncode == 0, done.stderr
    assert [row["candidate"] for row in table(tmp_path / "leaderboard.csv")] == [
        "text:ovr_logistic"
    ]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "text:boosting was left out: boosting would take about" in page
    assert "more than candidate_max_minutes=0.02." in page


def test_a_run_of_which_every_candidate_is_left_out_says_what_to_raise(small_corpus, tmp_path):
    limits = {"candidates": "text:ovr_logistic", "candidate_max_gb": "0.0001"}
    done = run_in_process(*run_arguments(small_corpus, tmp_path, **limits))
    assert done.returncode == 1
    assert "No candidate is left: text:ovr_logistic: ovr_logistic would take" in done.stderr
    assert "Raise candidate_max_minutes or candidate_max_gb" in done.stderr
