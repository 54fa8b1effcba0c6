from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.report.summary import failure, harmless, hidden, summarise

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
    told = summarise(METRICS, earlier)
    assert told.sentence == (
        "text+lists:mlp, the best of 2 candidates, reaches micro-F1 0.676 and is the new champion "
        "(version 3); 40,100 of 41,679 articles without tags got 52,000 tags "
        "from text+lists:mlp (version 3)."
    )
    assert told.details == [
        "text+lists:mlp gains 0.012 micro-F1 over the champion.",
        "Since the run before: the best was text:mlp, micro-F1 was 0.637, "
        "+36 articles in the corpus, -97 lists, +100 articles with predicted tags, "
        "130 articles newly tagged, 1,204 predicted tags gained, 1 predicted tag lost.",
        "Check of the corpus failed: lists: 10 before, 3 this run.",
        "1 row in quarantine.",
        "The vectors cost $0.1235.",
        "5 min of work.",
    ]


def test_a_champion_that_was_kept_is_named_as_the_one_that_predicts():
    of_champion = {"version": "2", "candidate": "text:mlp", "by": "champion"}
    predictions = {"articles": 1, "assigned": 1, "tags": 1, **of_champion}
    run = {**METRICS, "promoted": False, "predictions": predictions}
    assert summarise(run).sentence.endswith(
        "reaches micro-F1 0.676 and did not become champion (version 3); 1 of 1 article without "
        "tags got 1 tag from text:mlp (version 2)."
    )
    assert summarise({**run, "trial": True}).sentence.startswith("A trial: text+lists:mlp, ")


def test_nothing_is_said_of_what_there_is_not():
    run = {
        **METRICS,
        "candidates": {"text+lists:mlp": {"micro_f1": 0.6764}},
        "predictions": {"articles": 0, "assigned": 0, "tags": 0, "version": "3", "by": "champion"},
        "quarantine": {"rows": 0, "counts": []},
        "cost": {},
        "changes": None,
        "checks": None,
    }
    told = summarise(run, run)
    assert told.sentence == (
        "text+lists:mlp, the only candidate, reaches micro-F1 0.676 and is the new champion "
        "(version 3); no article was without tags."
    )
    assert told.details == [
        "text+lists:mlp gains 0.012 micro-F1 over the champion.",
        "5 min of work.",
    ]


def test_a_failure_names_its_task_and_hides_secrets():
    tasks = [
        {"task": "start", "says": "Login failed: http://ann:hush@mlflow:5000 said no."},
        {"task": "report", "says": "disk\nfull"},
    ]
    told = failure(tasks, dag_id="retrain")
    assert told.sentence == "retrain failed in start: Login failed: http://***@mlflow:5000 said no."
    assert told.details == ["report failed too: disk full"]
    bare = failure([], dag_id="harvest", reason="task_failure")
    assert bare.sentence == "harvest failed: task_failure; no task has left a message."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hush, next", "password=***, next"),
        ("{'api_key': 'hush hush', 'x': 1}", "{'api_key': ***, 'x': 1}"),
        ("Authorization: Bearer abc.def", "Authorization: *** ***"),
        ("key sk-abcdefghij was refused", "key *** was refused"),
        ("postgresql+psycopg2://u:p@ss@host/db", "postgresql+psycopg2://***@host/db"),
        ("1,234 tokens were sent", "1,234 tokens were sent"),
        ("aws_secret_access_key=hu/sh+, x", "aws_secret_access_key=***, x"),
        ("secret_key: hush", "secret_key: ***"),
        ("{'passphrase': 'hush hush'}", "{'passphrase': ***}"),
        (r"{\"private-key\": \"hush hush\"}", r"{\"private-key\": ***}"),
        ("client_secret_value=hush", "client_secret_value=***"),
        (
            "https://s3.example/x?X-Amz-Credential=hush&X-Amz-Signature=hush&n=1",
            "https://s3.example/x?X-Amz-Credential=***&X-Amz-Signature=***&n=1",
        ),
        ("neo4j://ann:hu/sh@db:7687 is away", "neo4j://***@db:7687 is away"),
        ("redis://:hu/sh@db is away", "redis://***@db is away"),
        ("https://medium.com/@ann/a-title is cut", "https://medium.com/@ann/a-title is cut"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, expected):
    assert hidden(text) == expected


@given(st.text(st.characters(), max_size=700))
def test_any_text_becomes_one_harmless_line(text):
    line = harmless(text)
    assert len(line) <= 500
    assert not re.search(r"[<>\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", line)
    assert line == " ".join(line.split())
    assert harmless(line) == line
