"""A small store, with hostile texts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import URL

from tagsage.corpus.model import Corpus
from tagsage.store.database import sqlite_url
from tagsage.store.publish import Publication, publish
from tagsage.store.sql import SqlStore

HOSTILE = "<script>alert(1)</script> \"quoted\" 'single' <img src=x onerror=alert(2)>"
REVERSED = "abc\u202edlrow\u202c\u0000\u0007\u2066 end"
HOSTILE_TAG = '"><svg onload=alert(3)>'
HOSTILE_LIST = "</script><script>alert(4)</script>"
LONG = "long " + "x" * 10_000
JAVASCRIPT = "javascript:alert(5)"

# key, title, subtitle, author, tags, is_stub
ROWS = [
    ("host.example/graphs", "Graph neural networks", "Messages pass", "Ann", ["python"], False),
    ("host.example/graphics", "Graphics with Python", "", "Bob", ["python", "art"], False),
    ("host.example/naive", "Naïve Bayes, again", "A graph of it", "Ann", [], False),
    ("host.example/hostile", HOSTILE, HOSTILE, HOSTILE, [], False),
    ("host.example/reversed", REVERSED, "🎉 emoji", "Cyd", [], False),
    ("host.example/long", LONG, LONG, "Unknown", [HOSTILE_TAG], False),
    ("host.example/script", "An address that runs", "", "Unknown", [], False),
    ("host.example/stub", "", "", "Unknown", [], True),
]
# Of lists, by the numbers above: 0 is in both, 4 in none.
MEMBERS = {"reading": [0, 1, 2, 3, 7], HOSTILE_LIST: [0, 2]}

PREDICTIONS = [
    # story (a number above), tag, score, assigned, threshold; the best first
    (2, "python", 0.9, 1, 0.35),
    (2, "art", 0.2, 0, 0.25),
    (3, "art", 0.7, 1, 0.25),
    (3, HOSTILE_TAG, 0.1, 0, 0.5),
    # In no list: another score is needed.
    (4, "python", 0.4, 0, 0.45),
    (4, "art", 0.3, 0, 0.55),
]

RUN = {
    "run_id": "scheduled__<b>2</b>",
    "started": "22 November 2026, 02:00 UTC",
    "version": "0.1.0",
    "winner": "text+lists:mlp",
    "promoted": True,
    "reason": "Promoted: <i>better</i>.",
    "leaderboard": [
        {"candidate": name, "micro_f1": f1, "macro_f1": 0.4, "p_at_5": 0.3, "lrap": None}
        for name, f1 in (("text+lists:mlp", 0.667), ("text:mlp", 0.6))
    ],
    "split": {"test_articles": 20},
    "predicted": {
        "articles": 4,
        "assigned": 2,
        "tags": 2,
        "version": "7",
        "candidate": "text:mlp",
        "by": "champion",
    },
    "counts": {"articles": 7, "stubs": 1, "lists": 2, "memberships": 7, "target_tags": 3},
    "mlflow": {"experiment": "1", "run": "abc"},
}
RUNS = [
    {
        "run_id": f"run {day}",
        "at": f"2026-11-{day}T02:00+00:00",
        "started": f"{day} November 2026, 02:00 UTC",
        "winner": "text+lists:mlp",
        "promoted": day == 22,
        "scores": {
            "text:mlp": {"micro_f1": 0.5, "p_at_5": 0.25},
            "text+lists:mlp": {"micro_f1": f1, "p_at_5": 0.3},
        },
    }
    for day, f1 in ((20, 0.61), (21, 0.625), (22, 0.667))
]


def corpus() -> Corpus:
    keys, titles, subtitles, authors, tags, stubs = zip(*ROWS, strict=True)
    dates = ["2020-05-17"] * 7 + ["1990-01-01"]
    articles = pd.DataFrame({
        "key": keys,
        "url": [JAVASCRIPT if key.endswith("/script") else f"https://{key}" for key in keys],
        "title": titles,
        "subtitle": subtitles,
        "author": authors,
        "date": pd.to_datetime(dates).astype("datetime64[s]"),
        "tags": pd.Series(tags, dtype=object),
        "is_stub": stubs,
    })
    for name in ("key", "url", "title", "subtitle", "author"):
        articles[name] = articles[name].astype("str")
    pairs = [(name, keys[one]) for name in MEMBERS for one in MEMBERS[name]]
    memberships = pd.DataFrame(pairs, columns=["list", "article"], dtype="str")
    return Corpus(articles, memberships, pd.DataFrame(), {})


PER_TAG = pd.DataFrame({
    "tag": ["python", "art"],
    "f1": [0.8, 0.5],
    "precision": [0.75, 0.5],
    "recall": [0.85, 0.5],
    "support": [40, 4],
    "predicted": [44, 4],
})
TARGETS = ["python", "art", HOSTILE_TAG]


def fill(url: URL, folder: Path, *, texts: Corpus | None = None, **changed) -> None:
    """Fill a store as runs do."""
    loaded = texts or corpus()
    stories = loaded.articles["url"].tolist()
    columns = ["story", "tag", "score", "assigned", "threshold"]
    rows = [(stories[number], *rest) for number, *rest in PREDICTIONS]
    with SqlStore(url) as store:
        store.load(loaded)
        predicted = pd.DataFrame(rows, columns=columns)
        store.write_predictions(predicted, run_id="run 22", model_version="7")
        for entry in RUNS:
            given = {"facts": RUN, "target_tags": TARGETS, "scores": PER_TAG, "entry": entry}
            given |= {"explanations": explanations(folder)}
            publish(store, Publication(**(given | changed)))


def explanations(folder: Path) -> Path:
    """Why the third article is said to be about python."""
    file = folder / "explanations.parquet"
    pd.DataFrame({
        "story": ["https://host.example/naive", "https://gone.example/"],
        "tag": ["python", "python"],
        "score": [0.9, 0.9],
        "score_without_graph": [0.35, 0.1],
        "lists": json.dumps([
            {"list": HOSTILE_LIST, "size": 2, "labelled": 1, "with_tag": 1, "drop": 0.41}
        ]),
        "articles": json.dumps([
            {
                "story": "https://host.example/graphs",
                "title": "Graph neural networks",
                "lists": ["reading", HOSTILE_LIST],
            }
        ]),
        "texts": json.dumps([
            {
                "story": "https://host.example/long",
                "title": HOSTILE,
                "similarity": 0.72,
                "has_tag": False,
            }
        ]),
        "words": json.dumps([{"word": "<b>bayes</b>", "drop": 0.12}]),
        "terms": json.dumps([
            {"kind": "start", "name": "", "log_odds": -2.5},
            {"kind": "word", "name": "<b>bayes</b>", "log_odds": 4.25},
            {"kind": "others", "name": "", "log_odds": 0.447},
        ]),
    }).to_parquet(file)
    return file


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Path:
    """Return a workspace with a filled store; tests only read it."""
    folder = tmp_path_factory.mktemp("workspace")
    fill(sqlite_url(folder / "tagsage.db"), folder)
    return folder
