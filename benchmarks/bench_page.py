"""The store and the pages: how long a run takes to publish, and the pages to answer.

The corpus is the given one; the predictions are drawn, as many as a run leaves (20 tags an
untagged article), because a run would take minutes. Every page is asked for through its app,
in one process, by the kinds of requests that people make: *rare* and *common* words, beginnings of
one to three letters, articles drawn at random and those in most lists, tags drawn at random and
the most frequent. Nothing is cached between requests but by the system.
"""

from __future__ import annotations

import gc
import itertools
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from sqlalchemy import insert

from benchmarks.runner import MB, measure
from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.learn.labels import label_corpus
from tagsage.store.base import snapshot_of
from tagsage.store.copy import corpus_of
from tagsage.store.database import sqlite_url
from tagsage.store.publish import Publication, publish
from tagsage.store.snapshot import Snapshot
from tagsage.store.sql import SqlStore
from tagsage.store.tables import RUNS as RUNS_TABLE

SEED = 42
MIN_TAG_ARTICLES = 100
TOP_TAGS = 20
STORE_FILE = "tagsage.db"
RUNS = 60
REQUESTS = 300

Addresses = Iterator[tuple[str, dict[str, str]]]


def main(corpus: str) -> str:
    """Fill a store, ask for pages, and return the tables."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        prepared = measure(partial(prepare, corpus, folder))
        built = measure(partial(build, folder))
        size = (folder / STORE_FILE).stat().st_size / MB
        lines = [
            f"{prepared.result}",
            "",
            f"Loaded, written and published in {built.seconds:.1f} s: {size:.0f} MB in a file, "
            f"{built.extra_mb:.0f} MB of memory "
            "beside the corpus.",
            "",
            f"{REQUESTS} requests a row, one after the other, in milliseconds:",
            "",
            "| page | p50 | p95 | max |",
            "|---|---|---|---|",
        ]
        for page, times in measure(partial(ask, folder)).result.items():
            p50, p95, longest = (1000 * np.quantile(times, share) for share in (0.5, 0.95, 1.0))
            lines.append(f"| {page} | {p50:.1f} | {p95:.1f} | {longest:.1f} |")
    return "\n".join(lines)


def prepare(corpus: str, folder: Path) -> str:
    """Freeze the corpus and draw predictions; returns a sentence about them."""
    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    read = read_csv_corpus(*source, max_rejected_share=1.0)
    snapshot = snapshot_of(read)
    snapshot.save(folder / "corpus")
    labels = label_corpus(
        snapshot.articles["tags"].tolist(),
        min_tag_articles=MIN_TAG_ARTICLES,
        test_share=0.2,
        seed=SEED,
    )
    random = np.random.default_rng(SEED)
    untagged = snapshot.articles["url"][snapshot.articles["tags"].map(len) == 0].to_numpy()
    k = min(TOP_TAGS, len(labels.tags))
    often = labels.Y.sum(axis=0) + random.random((len(untagged), 1)) * labels.Y.sum()
    best = np.argsort(-often * random.random((len(untagged), len(labels.tags))), axis=1)[:, :k]
    scores = -np.sort(-(random.random((len(untagged), k)) ** 4), axis=1)
    pd.DataFrame({
        "story": np.repeat(untagged, k),
        "tag": np.array(labels.tags)[best.ravel()],
        "score": scores.ravel(),
        "assigned": (scores.ravel() > 0.4).astype("int8"),
        "threshold": 0.4,
    }).to_parquet(folder / "predictions.parquet", index=False)
    pd.Series(labels.tags).to_csv(folder / "tags.csv", index=False, header=False)
    return (
        f"{len(snapshot.articles):,} articles, {len(snapshot.lists):,} lists, "
        f"{len(snapshot.article_index):,} memberships, "
        f"{len(labels.tags)} target tags, {len(untagged) * k:,} drawn predictions."
    )


def build(folder: Path) -> None:
    """Do with a new store what a run does."""
    tags = pd.read_csv(folder / "tags.csv", header=None, keep_default_na=False, dtype=str)[0]
    scores = {"micro_f1": 0.6, "macro_f1": 0.5, "p_at_5": 0.3, "lrap": 0.7}
    run = {
        "run_id": "benchmark",
        "started": "1 November 2026, 02:00 UTC",
        "version": "0",
        "promoted": True,
        "reason": "Drawn.",
        "leaderboard": [{"candidate": f"text:{n}", **scores} for n in range(8)],
        "split": {"test_articles": 1},
        "predicted": {
            "articles": 1,
            "assigned": 1,
            "tags": 1,
            "version": "1",
            "candidate": "text:1",
        },
        "counts": {"articles": 1, "lists": 1, "memberships": 1, "target_tags": len(tags)},
        "mlflow": {},
    }
    runs = [
        {
            "run_id": f"run {n}",
            "at": f"2026-{n // 28 + 1:02d}-{n % 28 + 1:02d}T02:00+00:00",
            "started": f"run {n}",
            "winner": "text:mlp",
            "promoted": n % 7 == 0,
            "scores": {"text:mlp": scores},
        }
        for n in range(RUNS)
    ]
    per_tag = pd.DataFrame({"tag": tags, "f1": 0.5, "precision": 0.6, "recall": 0.4})
    with SqlStore(sqlite_url(folder / STORE_FILE)) as store:
        store.load(corpus_of(Snapshot.load(folder / "corpus")))
        predictions = pd.read_parquet(folder / "predictions.parquet")
        store.write_predictions(predictions, run_id="benchmark", model_version="1")
        with store.database.writing() as connection:
            rows = [
                {"run_id": one["run_id"], "at": one["at"], "entry": json.dumps(one)} for one in runs
            ]
            connection.execute(insert(RUNS_TABLE), rows)
        publish(store, Publication(run, tags.tolist(), per_tag))


def ask(folder: Path) -> dict[str, list[float]]:
    """Ask for every page many times; returns the seconds of each request."""
    from fastapi.testclient import TestClient

    from tagsage.app.app import Surroundings, make_app

    def everybody() -> None:
        """Let everybody in."""

    app = make_app(
        Surroundings(
            guard=everybody,
            workspace=lambda: folder,
            database=lambda: sqlite_url(folder / STORE_FILE),
            last_run=lambda: None,
            mlflow_url=lambda: "",
        )
    )
    client = TestClient(app)
    client.get("/")
    # What this process holds to draw addresses from is none of the server's: a full collection of
    # Python's garbage would look through it in the middle of a request.
    gc.collect()
    gc.freeze()
    times = {}
    for page, addresses in _pages(folder).items():
        times[page] = []
        for path, parameters in itertools.islice(addresses(), REQUESTS):
            started = time.perf_counter()
            answer = client.get(path, params=parameters)
            times[page].append(time.perf_counter() - started)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} {parameters}: {answer.status_code} {answer.text}")
    return times


def _pages(folder: Path) -> dict[str, Callable[[], Addresses]]:
    snapshot = Snapshot.load(folder / "corpus")
    articles = snapshot.articles[~snapshot.articles["is_stub"]]
    tags = pd.read_csv(folder / "tags.csv", header=None, keep_default_na=False, dtype=str)[0]
    often = articles["tags"].explode().value_counts()
    frequent = [tag for tag in often.index if tag in set(tags)]
    words = articles["title"].str.findall(r"\w{4,}").explode().dropna().str.lower().value_counts()
    in_lists = np.bincount(snapshot.article_index, minlength=len(snapshot.articles))
    listed = snapshot.articles["key"].to_numpy()[np.argsort(-in_lists)]
    states = ("all", "untagged", "tagged")

    def drawn(values: pd.Series | np.ndarray | list[str]) -> Iterator[str]:
        random = np.random.default_rng(SEED)
        while True:
            yield str(values[int(random.integers(len(values)))])

    def searches(values: pd.Index | list[str], **more: str) -> Addresses:
        random = np.random.default_rng(SEED)
        for word in drawn(list(values)):
            yield "/search", {"q": word, "state": states[random.integers(3)], **more}

    common = words.index[:200]
    letters = sorted({word[:length] for word in common for length in (1, 2, 3)})
    return {
        "/": lambda: itertools.repeat(("/", {})),
        "/search, a rare word": lambda: searches(words.index[-5000:]),
        "/search, a common word": lambda: searches(common),
        "/search, one to three letters": lambda: searches(letters),
        "/search, letters and a tag": lambda: searches(letters, tag=frequent[0]),
        "/search, a tag": lambda: searches([""], tag=frequent[1]),
        "/search, page 100": lambda: searches([""], page="100"),
        "/article, at random": lambda: (
            ("/article", {"key": key}) for key in drawn(articles["key"].to_numpy())
        ),
        "/article, in most lists": lambda: (("/article", {"key": key}) for key in listed),
        "/tags": lambda: itertools.cycle([
            ("/tags", {"order": order, "kind": kind})
            for order in ("name", "f1", "articles", "assigned")
            for kind in ("learned", "all")
        ]),
        "/tag, at random": lambda: (("/tag", {"name": tag}) for tag in drawn(tags.to_numpy())),
        "/tag, the most frequent, pages": lambda: (
            ("/tag", {"name": frequent[0], "page": str(page % 500 + 1)})
            for page in itertools.count()
        ),
    }
