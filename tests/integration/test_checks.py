"""A second run with another corpus: reported, or stopped before anything is trained."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.conftest import SETTINGS, run_in_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ENGLISH = ("graph", "list", "model", "run", "tag", "text", "tree", "with", "of")
GERMAN = ("Graph", "Liste", "Modell", "Nacht", "Schlagwort", "Wortlaut", "Baum", "mit", "von")


def write_corpus(folder: Path, words: Sequence[str]) -> list[str]:
    """Write 60 articles, every fifth without tags, and lists of six; return the run's arguments."""
    draw = random.Random(0)
    urls = [f"https://articles.example/{place}" for place in range(60)]
    with (folder / "articles.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["story", "title", "date", "author", "tags"])
        for place, url in enumerate(urls):
            own = [] if place % 5 == 0 else [["ml", "law"][place % 2]]
            title = " ".join(draw.choices(words, k=6))
            writer.writerow([url, title, "2024-01-01", "Ann", json.dumps(own)])
    with (folder / "lists.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["list", "article"])
        writer.writerows((f"list {place % 10}", url) for place, url in enumerate(urls))
    settings = {
        **SETTINGS,
        "min_tag_articles": "3",
        "lsa_dimensions": "4",
        "candidates": "text:ovr_logistic",
    }
    pairs = (f"{name}={value}" for name, value in settings.items())
    return [
        *("run", "--articles", str(folder / "articles.csv")),
        *("--lists", str(folder / "lists.csv"), "--workspace", str(folder / "workspace")),
        *(part for pair in pairs for part in ("--set", pair)),
    ]


def read(workspace: Path, name: str):
    return json.loads((workspace / name).read_text(encoding="utf-8"))


def test_another_language_stops_the_run_or_is_reported(tmp_path):
    workspace = tmp_path / "workspace"
    arguments = write_corpus(tmp_path, ENGLISH)
    done = run_in_process(*arguments, "--set", "checks=stop")
    assert done.returncode == 0, done.stderr
    first = read(workspace, "metrics.json")
    # The first run has nothing to compare with; the corpus by itself is checked.
    assert first["checks"]["compared_with"] == ""
    assert {check["name"] for check in first["checks"]["checks"]} == {
        "any_text",
        "any_tags",
        "largest_list",
    }

    # The same corpus once more passes, beside the first.
    done = run_in_process(*arguments, "--set", "checks=stop")
    assert done.returncode == 0, done.stderr
    second = read(workspace, "metrics.json")
    assert second["checks"]["compared_with"] == first["run_id"]
    assert second["checks"]["failed"] == []
    report = (workspace / "report.html").read_bytes()

    write_corpus(tmp_path, GERMAN)
    done = run_in_process(*arguments, "--set", "checks=stop")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "The corpus was not trained on, because 2 of 17 checks failed" in said
    assert "most frequent words: '" in said
    assert " this run (Jensen-Shannon distance 0.943, at most 0.3)" in said
    assert "words not in the earlier vocabulary: 0.0% before, 88.9% this run" in said
    assert "run again with --set checks=warn" in said
    stopped = read(workspace, "runs/unfinished.json")["run_id"]
    # Nothing was loaded or trained, and the run before is still the one to compare with.
    stages = {file.name for file in (workspace / "runs" / stopped / "artifacts").iterdir()}
    assert stages == {"checks.json"}
    assert (workspace / "report.html").read_bytes() == report
    assert read(workspace, "profile.json")["run_id"] == second["run_id"]

    done = run_in_process(*arguments, "--set", "checks=warn")
    assert done.returncode == 0, done.stderr
    assert "check failed: most frequent words: " in " ".join(done.stderr.split())
    third = read(workspace, "metrics.json")
    assert third["checks"]["compared_with"] == second["run_id"]
    assert len(third["checks"]["failed"]) == 2
    page = (workspace / "report.html").read_text(encoding="utf-8")
    assert "Jensen-Shannon distance 0.943" in page

    done = run_in_process(*arguments, "--set", "checks=off")
    assert done.returncode == 0, done.stderr
    assert read(workspace, "metrics.json")["checks"] is None
    assert "Checks before training" not in (workspace / "report.html").read_text(encoding="utf-8")
