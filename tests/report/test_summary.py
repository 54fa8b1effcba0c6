from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tagsage.report.summary import harmless, summarise, summarise_failure

METRICS = {
    "run_id": "scheduled__2026-11-22",
    "trial": False,
    "winner": "text+lists:mlp",
    "model_version": "3",
    "promoted": True,
    "promotion_reason": "text+lists:mlp gains 0.012 micro-F1 over the champion",
    "candidates": {"text+lists:mlp": {"micro_f1": 0.6764}, "text:mlp": {"micro_f1": 0.637}},
    "predictions": {
        "articles": 41_679,
        "assigned": 40_100,
        "tags": 52_000,
        "version": "3",
        "candidate": "text+lists:mlp",
        "by": "champion",
    },
    "changes": {"articles_newly_tagged": 130, "tags_gained": 1_204, "tags_lost": 1},
    "corpus": {"articles": 63_436, "lists": 20_203},
    "quarantine": {"rows": 1, "counts": []},
    "cost": {"Dollars": "$0.1235"},
    "checks": {"compared_with": "x", "checks": [], "failed": ["lists: 10 before, 3 this run"]},
    "seconds": {"corpus-1": 12.0, "winner-2": 290.0},
}


def test_a_run_in_one_sentence_and_what_follows_it():
    earlier = {
        **METRICS,
        "winner": "text:mlp",
        "corpus": {"articles": 63_400, "lists": 20_300},
        "predictions": {**METRICS["predictions"], "assigned": 40_000},
    }
    summary = summarise(METRICS, earlier)
    assert summary.sentence == (
        "text+lists:mlp, the best of 2 candidates, reaches micro-F1 0.676 and is the new champion "
        "(version 3); 40,100 of 41,679 articles without tags got 52,000 tags "
        "from text+lists:mlp (version 3)."
    )
    assert summary.details == [
        "text+lists:mlp gains 0.012 micro-F1 over the champion.",
        "Since the run before: the best was text:mlp, micro-F1 was 0.637, "
        "+36 articles in the corpus, -97 lists, +100 articles with predicted tags, "
        "130 articles newly tagged, 1,204 predicted tags gained, 1 predicted tag lost.",
        "Check of the corpus failed: lists: 10 before, 3 this run.",
        "1 row in quarantine.",
        "The vectors cost $0.1235.",
        "5 min 02 s of work.",
    ]


def test_a_kept_champion_predicts_and_what_is_empty_is_not_mentioned():
    run = {
        **METRICS,
        "trial": True,
        "promoted": False,
        "candidates": {"text+lists:mlp": {"micro_f1": 0.6764}},
        "predictions": {**METRICS["predictions"], "version": "2", "candidate": "text:mlp"},
        "quarantine": {"rows": 0, "counts": []},
        "cost": {},
        "changes": None,
        "checks": None,
    }
    summary = summarise(run, run)
    assert summary.sentence.startswith("A trial: text+lists:mlp, the only candidate, ")
    assert "did not become champion (version 3)" in summary.sentence
    assert summary.sentence.endswith("from text:mlp (version 2).")
    assert len(summary.details) == 2
    nothing = {**run, "predictions": {**METRICS["predictions"], "articles": 0, "assigned": 0}}
    assert summarise(nothing).sentence.endswith("; every article had tags already.")


def test_a_failure_names_its_task_and_hides_secrets():
    tasks = [
        {"task": "start", "error": "Login failed: http://ann:hush@mlflow:5000 said no."},
        {"task": "report", "error": "disk\nfull"},
    ]
    summary = summarise_failure(tasks, dag_id="retrain")
    assert summary.sentence == (
        "retrain failed in start: Login failed: http://***@mlflow:5000 said no."
    )
    assert summary.details == ["report failed too: disk full"]
    bare = summarise_failure([], dag_id="harvest", reason="task_failure")
    assert bare.sentence == "harvest failed: task_failure; no task has left a message."


@given(st.text(st.characters(), max_size=700))
def test_any_text_becomes_one_harmless_line(text):
    line = harmless(text)
    assert len(line) <= 500
    assert not re.search(r"[<>\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", line)
    assert line == " ".join(line.split())
    assert harmless(line) == line
