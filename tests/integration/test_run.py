"""`tagsage run` as a user runs it: results, failures in one sentence, kills."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import time
from collections import Counter

import numpy as np
import pytest

from tagsage.learn.candidate import FittedCandidate
from tagsage.stages.common import matrix_of
from tagsage.store.snapshot import Snapshot
from tests.integration.conftest import (
    BIN,
    SAID,
    SETTINGS,
    SmallCorpus,
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
    shown = run_tagsage("show", "--workspace", finished_run, COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    assert "text+lists:mlp" in shown.stdout
    assert str(finished_run / "report.html") in shown.stdout


def test_champion_tags_a_new_title_in_a_clean_process(finished_run):
    tagged = run_tagsage(
        "tag", "Python library for parsing XML", "--workspace", finished_run, COLUMNS="120"
    )
    assert tagged.returncode == 0, tagged.stderr
    assert "::" in tagged.stdout


def read_stages(log, count):
    """Read what a run says until so many of its stages are done; return it."""
    said = []
    while count and (line := log.readline()):
        said.append(line)
        count -= "✓" in line
    return "".join(said)


def test_run_killed_again_and_again_ends_like_an_undisturbed_one(
    small_corpus, finished_run, tmp_path
):
    """Kills while it imports its libraries, then ever later in the night, then none."""
    moments = random.Random(29)
    command = [str(BIN / "tagsage"), *run_arguments(small_corpus, tmp_path)]
    # After so many stages and a part of the next: by the clock, who is fast would be done.
    all_stages = (finished_run / SAID).read_text(encoding="utf-8").count("✓")
    for stages in (0, *sorted(moments.sample(range(1, all_stages - 2), 6))):
        with subprocess.Popen(
            command, cwd="/", env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            said = read_stages(process.stderr, stages)
            time.sleep(moments.uniform(0, 0.3 if stages else 2))
            process.kill()
        assert process.returncode == -signal.SIGKILL, said
    done = run_tagsage(*run_arguments(small_corpus, tmp_path))
    assert done.returncode == 0, done.stderr
    assert scores_of(tmp_path / "leaderboard.csv") == scores_of(finished_run / "leaderboard.csv")
    predictions = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert predictions == (finished_run / "predictions.csv").read_text(encoding="utf-8")
    assert mlflow_runs(tmp_path) == {"parents": 1, "children": 4}


def scores_by_tag(predictions):
    with predictions.open(encoding="utf-8", newline="") as file:
        return {
            (row["story"], row["tag"]): (float(row["score"]), row["model_version"])
            for row in csv.DictReader(file)
        }


def furthest_from_what_was_fitted(workspace):
    """Return how far predicted scores are from those of the candidate and features of the night."""
    (served,) = (workspace / "artifacts").glob("served-*")
    made = json.loads((served / "artifact.json").read_text(encoding="utf-8"))["inputs"]
    blocks = json.loads((served / "featuriser.json").read_text(encoding="utf-8"))["blocks"]
    folders = {name: workspace / "artifacts" / ref for name, ref in made["features"].items()}
    fitted = FittedCandidate.load(workspace / "artifacts" / made["model"])
    urls = Snapshot.load(workspace / "artifacts" / made["corpus"]).articles["url"]
    P = fitted.predict_proba(matrix_of(folders, "+".join(blocks)), np.arange(len(urls)))
    rows, columns = (
        dict(zip(names, range(len(names)), strict=True)) for names in (urls, fitted.tags)
    )
    predicted = scores_by_tag(workspace / "predictions.csv")
    assert predicted
    return max(
        abs(score - P[rows[story], columns[tag]]) for (story, tag), (score, _) in predicted.items()
    )


def test_nights_after_the_first(small_corpus, finished_run, tmp_path):
    """The same corpus again, then without promotion, then another corpus, in one workspace."""
    first = run_in_process(*run_arguments(small_corpus, tmp_path))
    assert first.returncode == 0, first.stderr
    assert scores_of(tmp_path / "leaderboard.csv") == scores_of(finished_run / "leaderboard.csv")
    published = (tmp_path / "predictions.csv").read_bytes()

    # In another process, as on another night: the champion comes from its files.
    second = run_tagsage(*run_arguments(small_corpus, tmp_path, promote="false"))
    assert second.returncode == 0, second.stderr
    assert "Not promoted" in second.stderr
    assert scores_of(tmp_path / "leaderboard.csv") == scores_of(finished_run / "leaderboard.csv")
    assert (tmp_path / "predictions.csv").read_bytes() == published
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["predicted_by"], metrics["promoted"]) == ("champion", False)

    other = SmallCorpus(tmp_path / "other.csv", small_corpus.lists)
    text = small_corpus.articles.read_text(encoding="utf-8")
    other.articles.write_text(text.replace("::", " of "), encoding="utf-8")
    configured = {"TAGSAGE_CANDIDATES": SETTINGS["candidates"]}
    third = run_in_process(*run_arguments(other, tmp_path), **configured)
    assert third.returncode == 0, third.stderr
    # No tag is one of the champion's: it stays.
    assert "target tags (version 1) only 0 are target tags tonight" in third.stderr
    assert all("::" in tag for _, tag in scores_by_tag(tmp_path / "predictions.csv"))


def test_champion_with_a_graph_of_its_own_predicts_in_no_other(small_corpus, tmp_path):
    settings = {"candidates": "text+graphsage:ovr_logistic"}
    predictions = tmp_path / "predictions.csv"
    first = run_in_process(*run_arguments(small_corpus, tmp_path, **settings))
    assert first.returncode == 0, first.stderr
    published = predictions.read_bytes()
    assert furthest_from_what_was_fitted(tmp_path) < 1e-5
    # In the graph that it was trained on it says what it said.
    second = run_in_process(*run_arguments(small_corpus, tmp_path, **settings, promote="false"))
    assert second.returncode == 0, second.stderr
    assert predictions.read_bytes() == published
    # With one article less the graph is another.
    other = SmallCorpus(tmp_path / "other.csv", small_corpus.lists)
    lines = small_corpus.articles.read_text(encoding="utf-8").splitlines(keepends=True)
    other.articles.write_text("".join(lines[:-1]), encoding="utf-8")
    third = run_in_process(*run_arguments(other, tmp_path, **settings, promote="false"))
    assert third.returncode == 1
    assert "so version 1 cannot be used and the predictions stay" in third.stderr
    assert "The champion uses graphsage" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert predictions.read_bytes() == published


def test_run_with_fastrp_tags_a_new_title(small_corpus, tmp_path):
    settings = {"candidates": "fastrp:mlp,text+fastrp:mlp", "fastrp_dimensions": "32"}
    first = run_in_process(*run_arguments(small_corpus, tmp_path, **settings))
    assert first.returncode == 0, first.stderr
    assert "No candidate uses graphsage: left out" in first.stderr
    board = scores_of(tmp_path / "leaderboard.csv")
    assert sorted(row["candidate"] for row in board) == ["fastrp:mlp", "text+fastrp:mlp"]
    assert all(float(row["micro_f1"]) > 0.2 for row in board)
    tagged = run_in_process("tag", "Python library for parsing XML", "--workspace", tmp_path)
    assert tagged.returncode == 0, tagged.stderr
    assert "::" in tagged.stdout


def test_champion_that_knows_labels_predicts_on_later_nights_what_it_predicted_before(
    small_corpus, tmp_path
):
    settings = {"candidates": "text+labels:ovr_logistic,text+lists+labels+authors:mlp"}
    first = run_in_process(*run_arguments(small_corpus, tmp_path, **settings))
    assert first.returncode == 0, first.stderr
    board = scores_of(tmp_path / "leaderboard.csv")
    assert len(board) == 2
    assert all(float(row["micro_f1"]) > 0.2 for row in board)
    published = (tmp_path / "predictions.csv").read_bytes()
    # The served model keeps its lists' means in half precision.
    assert furthest_from_what_was_fitted(tmp_path) < 0.01

    second = run_in_process(*run_arguments(small_corpus, tmp_path, **settings, promote="false"))
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "predictions.csv").read_bytes() == published
    tagged = run_in_process("tag", "Python library for parsing XML", "--workspace", tmp_path)
    assert tagged.returncode == 0, tagged.stderr
    assert "::" in tagged.stdout


def mlflow_runs(workspace):
    """Count the runs in a workspace's MLflow, in a process of its own."""
    code = (
        "import sys, json, mlflow\n"
        "client = mlflow.MlflowClient(tracking_uri=sys.argv[1])\n"
        "ids = [e.experiment_id for e in client.search_experiments()]\n"
        "runs = client.search_runs(ids)\n"
        "children = [r for r in runs if 'mlflow.parentRunId' in r.data.tags]\n"
        "print(json.dumps({'parents': len(runs) - len(children), 'children': len(children)}))\n"
    )
    done = subprocess.run(
        [str(BIN / "python"), "-c", code, f"sqlite:///{workspace / 'mlflow.db'}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    return json.loads(done.stdout)
