"""`tagsage run` as a user runs it: results, failures in one sentence, kills."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import time
from collections import Counter

import pytest

from tagsage.registry.tracking import open_tracking
from tests.integration.conftest import (
    BIN,
    SAID,
    environment,
    run_arguments,
    run_in_process,
    run_tagsage,
    scores_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HEADER = "story,title,subtitle,date,author,tags\n"


def articles_without_tags(corpus):
    with corpus.articles.open(encoding="utf-8", newline="") as file:
        return {row["story"] for row in csv.DictReader(file) if json.loads(row["tags"]) == []}


def test_run_leaves_the_results_of_the_contract(small_corpus, finished_run):
    names = {file.name for file in finished_run.iterdir()}
    assert {
        "predictions.csv",
        "leaderboard.csv",
        "metrics.json",
        "report.html",
        "quarantine",
    } <= names
    with (finished_run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == ["story", "tag", "score", "assigned", "model_version"]
        rows = list(reader)
    stories = articles_without_tags(small_corpus)
    assert {row["story"] for row in rows} == stories
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    tags_each = min(20, metrics["target_tags"])
    lines = Counter(row["story"] for row in rows)
    assert min(lines.values()) == tags_each
    # Lines beyond the best are of assigned tags.
    assigned = Counter(row["story"] for row in rows if row["assigned"] == "1")
    assert all(count <= tags_each or assigned[story] for story, count in lines.items())
    assert {row["assigned"] for row in rows} <= {"0", "1"}
    assert all(0 <= float(row["score"]) <= 1 for row in rows)
    board = scores_of(finished_run / "leaderboard.csv")
    assert len(board) == 4
    assert [float(row["micro_f1"]) for row in board] == sorted(
        (float(row["micro_f1"]) for row in board), reverse=True
    )


def test_show_prints_the_leaderboard_and_where_the_files_are(finished_run):
    shown = run_in_process("show", "--workspace", finished_run, COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    assert "text+lists:mlp" in shown.stdout
    assert str(finished_run / "report.html") in shown.stdout


def test_champion_tags_a_new_title_in_a_clean_process(finished_run):
    tagged = run_tagsage(
        "tag", "Python library for parsing XML", "--workspace", finished_run, COLUMNS="120"
    )
    assert tagged.returncode == 0, tagged.stderr
    assert "::" in tagged.stdout


def test_a_title_with_its_story_and_all_that_the_corpus_says_of_it_gets_the_nightly_scores(
    small_corpus, finished_run
):
    with (finished_run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with small_corpus.lists.open(encoding="utf-8", newline="") as file:
        lists_of = {}
        for membership in csv.DictReader(file):
            lists_of.setdefault(membership["article"], []).append(membership["list"])
    story = next(row["story"] for row in rows if len(lists_of.get(row["story"], ())) > 1)
    with small_corpus.articles.open(encoding="utf-8", newline="") as file:
        article = next(row for row in csv.DictReader(file) if row["story"] == story)
    tagged = run_in_process(
        *("tag", article["title"], "--subtitle", article["subtitle"]),
        *("--author", article["author"], "--story", story),
        *(part for name in lists_of[story] for part in ("--list", name)),
        *("--top", "20", "--workspace", finished_run),
        COLUMNS="200",
    )
    assert tagged.returncode == 0, tagged.stderr
    nightly = [row for row in rows if row["story"] == story][:20]
    assert len(nightly) > 2
    for row in nightly:
        shown = next(line for line in tagged.stdout.splitlines() if f" {row['tag']} " in line)
        assert f"{float(row['score']):.3f}" in shown


def read_stages(log, count):
    """Read what a run says until so many of its stages are done; return it."""
    said = []
    while count and (line := log.readline()):
        said.append(line)
        count -= "✓" in line
    return "".join(said)


@pytest.fixture(scope="module")
def often_killed_run(small_corpus, finished_run, tmp_path_factory):
    """Return the workspace of a run that was killed again and again, and then left alone.

    It is killed while it imports its libraries, then ever later in the run.
    """
    workspace = tmp_path_factory.mktemp("killed")
    moments = random.Random(29)
    command = [str(BIN / "tagsage"), *run_arguments(small_corpus, workspace)]
    # After so many stages and a part of the next: by the clock, who is fast would be done.
    all_stages = (finished_run / SAID).read_text(encoding="utf-8").count("✓")
    for stages in (0, *sorted(moments.sample(range(1, all_stages - 2), 2))):
        with subprocess.Popen(
            command, cwd="/", env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            said = read_stages(process.stderr, stages)
            time.sleep(moments.uniform(0, 0.3 if stages else 2))
            process.kill()
        assert process.returncode == -signal.SIGKILL, said
    done = run_tagsage(*run_arguments(small_corpus, workspace))
    assert done.returncode == 0, done.stderr
    return workspace


def test_run_killed_again_and_again_ends_like_an_undisturbed_one(often_killed_run, finished_run):
    assert scores_of(often_killed_run / "leaderboard.csv") == scores_of(
        finished_run / "leaderboard.csv"
    )
    predictions = (often_killed_run / "predictions.csv").read_text(encoding="utf-8")
    assert predictions == (finished_run / "predictions.csv").read_text(encoding="utf-8")
    assert mlflow_runs(often_killed_run) == {"parents": 1, "children": 4}


def test_the_same_corpus_again_changes_no_prediction(small_corpus, finished_run, often_killed_run):
    workspace = often_killed_run
    published = (workspace / "predictions.csv").read_bytes()
    second = run_in_process(*run_arguments(small_corpus, workspace, promote="never"))
    assert second.returncode == 0, second.stderr
    assert "Not promoted" in second.stderr
    assert scores_of(workspace / "leaderboard.csv") == scores_of(finished_run / "leaderboard.csv")
    assert (workspace / "predictions.csv").read_bytes() == published
    assert (workspace / "changes.csv").read_text(encoding="utf-8").count("\n") == 1
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["predicted_by"], metrics["promoted"]) == ("champion", False)
    assert metrics["checks"]["compared_with"]
    assert metrics["checks"]["failed"] == []


def mlflow_runs(workspace):
    """Count the runs in a workspace's MLflow."""
    tracking = open_tracking("", experiment="tagsage", folder=workspace)
    runs = tracking.client.search_runs([tracking.experiment_id])
    children = sum("mlflow.parentRunId" in run.data.tags for run in runs)
    return {"parents": len(runs) - children, "children": children}
