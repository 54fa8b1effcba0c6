"""How long a registered model takes to tag one article."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from tagsage.learn.labels import Labels
from tagsage.registry.tagger import read_about
from tagsage.registry.tracking import Tracking
from tagsage.registry.versions import load_version
from tagsage.store.snapshot import Snapshot

REQUESTS = 30
# What is compiled or read at the first requests is not what a request takes.
WARMING_REQUESTS = 3


def measure_latency(
    tracking: Tracking, name: str, version: str, tagger: Path, snapshot: Snapshot, labels: Labels
) -> float | None:
    """Time requests with the texts and lists of one test article each.

    `tagger` is the folder that the version was registered from. Returns the median in ms; None for
    the embedder openai, where each request would be paid for, and its server's time be measured.
    """
    about = read_about(tagger)
    if about["embedder"] == "openai":
        return None
    model = load_version(tracking, name, version)
    # A model of precomputed vectors gets some.
    vector = {"vector": [0.5] * about["dimensions"]} if about["needs_given_vectors"] else {}
    times = []
    for request in _requests(snapshot, labels):
        started = time.perf_counter()
        model.predict([request | vector])
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[WARMING_REQUESTS:])


def _requests(snapshot: Snapshot, labels: Labels) -> list[dict[str, Any]]:
    rows = np.resize(labels.test_rows, REQUESTS + WARMING_REQUESTS)
    articles = snapshot.articles.iloc[rows]
    return [
        {"title": str(title), "subtitle": str(subtitle), "lists": lists}
        for title, subtitle, lists in zip(
            articles["title"],
            articles["subtitle"],
            snapshot.list_names(snapshot.incidence()[rows]),
            strict=True,
        )
    ]
