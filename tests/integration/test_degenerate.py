"""Corpora in which hardly anything can be learned: the run ends well, and says what there is."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from tests.integration.conftest import SETTINGS, run_in_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WORDS = ("graph", "list", "model", "run", "tag", "text", "tree", "wave")
CANDIDATES = "text:ovr_logistic,text+lists+memberships+labels:ovr_logistic,text:mlp"


def write_corpus(folder: Path, tags, *, lists: bool = True) -> list[str]:
    """Write 60 articles, every fifth without tags, and lists of six; return the run's arguments."""
    draw = random.Random(0)
    urls = [f"https://articles.example/{place}" for place in range(60)]
    with (folder / "articles.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["story", "title", "date", "author", "tags"])
        for place, url in enumerate(urls):
            own = [] if place % 5 == 0 else tags(place)
            title = " ".join(draw.choices(WORDS, k=5))
            writer.writerow([url, title, "2024-01-01", "Ann", json.dumps(own)])
    with (folder / "lists.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["list", "article"])
        if lists:
            writer.writerows((f"list {place % 10}", url) for place, url in enumerate(urls))
    settings = {
        **SETTINGS,
        "min_tag_articles": "3",
        "lsa_dimensions": "4",
        "memberships_dimensions": "4",
        "candidates": CANDIDATES,
    }
    pairs = (f"{name}={value}" for name, value in settings.items())
    return [
        *("run", "--articles", str(folder / "articles.csv")),
        *("--lists", str(folder / "lists.csv"), "--workspace", str(folder / "workspace")),
        *(part for pair in pairs for part in ("--set", pair)),
    ]


def finished(folder: Path, arguments: list[str]) -> dict[str, object]:
    done = run_in_process(*arguments)
    assert done.returncode == 0, done.stderr
    workspace = folder / "workspace"
    assert (workspace / "report.html").is_file()
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["candidates"].keys() == set(CANDIDATES.split(","))
    with (workspace / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert len({row["story"] for row in csv.DictReader(file)}) == 12
    return metrics


def test_without_a_single_list_lists_add_nothing_and_take_nothing(tmp_path):
    metrics = finished(
        tmp_path, write_corpus(tmp_path, lambda place: ["ab"[place % 2]], lists=False)
    )
    scores = metrics["candidates"]
    # All articles are in no list: the fallback predicts, which is the candidate on text.
    text, graph = (scores[name] for name in CANDIDATES.split(",")[:2])
    for metric in ("micro_f1", "macro_f1", "p_at_5", "lrap"):
        assert graph[metric] == text[metric]


def test_one_target_tag_is_learned(tmp_path):
    metrics = finished(tmp_path, write_corpus(tmp_path, lambda _: ["only"]))
    assert metrics["target_tags"] == 1
    assert all(scores["accuracy"] == 1 for scores in metrics["candidates"].values())


def test_all_articles_with_the_same_tags_get_them(tmp_path):
    metrics = finished(tmp_path, write_corpus(tmp_path, lambda _: ["a", "b", "c"]))
    assert metrics["target_tags"] == 3
    assert all(scores["micro_f1"] == 1 for scores in metrics["candidates"].values())


def test_tags_on_so_few_articles_that_a_part_may_have_none(tmp_path):
    # Each on four articles of 48: the part that tunes has hardly one of each.
    metrics = finished(tmp_path, write_corpus(tmp_path, lambda place: [f"tag {place // 5}"]))
    assert metrics["target_tags"] == 12
    for scores in metrics["candidates"].values():
        assert 0 <= scores["micro_f1"] <= 1
        assert 0 <= scores["ece"] <= 1
