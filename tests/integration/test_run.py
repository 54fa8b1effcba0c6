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

from tagsage.features import Articles
from tagsage.features.fitting import open_matrix
from tagsage.learn.candidate import FittedCandidate
from tagsage.registry.tagger import Tagger, read_about
from tagsage.stages.artifacts import IN_LIST_FILE, KNOWN, VECTORS_FILE
from tagsage.store.snapshot import Snapshot
from tests.integration.conftest import (
    BIN,
    SAID,
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


def scores_by_tag(predictions):
    with predictions.open(encoding="utf-8", newline="") as file:
        return {
            (row["story"], row["tag"]): (float(row["score"]), row["model_version"])
            for row in csv.DictReader(file)
        }


def assert_predictions_are_those_of_what_was_fitted(workspace):
    """Hold predicted scores to those of the candidate on the features that it was fitted on."""
    (served,) = (workspace / "artifacts").glob("tagger-*")
    made = json.loads((served / "artifact.json").read_text(encoding="utf-8"))["inputs"]
    folders = {name: workspace / "artifacts" / ref for name, ref in made["features"].items()}
    fitted = FittedCandidate.load(workspace / "artifacts" / made["model"])
    (corpus,) = (workspace / "artifacts").glob("corpus-*")
    urls = Snapshot.load(corpus).articles["url"]
    in_list = np.load(folders[KNOWN] / IN_LIST_FILE)
    fitted_on = open_matrix(folders, read_about(served)["feature_set"], in_list)
    (vectors,) = (workspace / "artifacts").glob(f"vectors-*/{VECTORS_FILE}")
    articles = Articles.of_snapshot(Snapshot.load(corpus), np.load(vectors))
    X = Tagger.load(served).features.transform(articles)
    labelled = fitted_on.articles
    assert np.array_equal(
        X.sparse_rows(labelled).toarray(), fitted_on.sparse_rows(labelled).toarray()
    )
    P = fitted.predict_proba(X, np.arange(len(urls))).astype(np.float64).round(6)
    rows, columns = (
        dict(zip(names, range(len(names)), strict=True)) for names in (urls, fitted.tags)
    )
    predicted = scores_by_tag(workspace / "predictions.csv")
    assert predicted
    assert all(
        score == P[rows[story], columns[tag]] for (story, tag), (score, _) in predicted.items()
    )


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


def test_champion_on_lists_predicts_articles_and_lists_that_come_later(small_corpus, tmp_path):
    settings = {"candidates": "text+labels+graphsage+fastrp:ovr_logistic"}
    workspace = tmp_path / "workspace"
    predictions = workspace / "predictions.csv"
    lines = small_corpus.articles.read_text(encoding="utf-8").splitlines(keepends=True)
    lists = small_corpus.lists.read_text(encoding="utf-8").splitlines(keepends=True)
    smaller = SmallCorpus(tmp_path / "fewer.csv", tmp_path / "fewer-lists.csv")
    smaller.articles.write_text("".join(lines[:-200]), encoding="utf-8")
    late = [line.partition(",")[0] for line in lines[-200:]]
    smaller.lists.write_text(
        "".join(line for line in lists if line.rstrip().rpartition(",")[2] not in late),
        encoding="utf-8",
    )
    first = run_in_process(*run_arguments(smaller, workspace, **settings))
    assert first.returncode == 0, first.stderr
    # No candidate reads only the text.
    assert len((workspace / "gains.csv").read_text(encoding="utf-8").splitlines()) == 1
    page = (workspace / "report.html").read_text(encoding="utf-8")
    assert "This comparison needs a candidate that reads only the text" in page
    assert_predictions_are_those_of_what_was_fitted(workspace)
    # With more articles, and a list of its own making, the graph is another.
    grown = SmallCorpus(small_corpus.articles, tmp_path / "more-lists.csv")
    more = [f"a new list,{story}\n" for story in late[:20]]
    grown.lists.write_text("".join([*lists, *more]), encoding="utf-8")
    third = run_in_process(*run_arguments(grown, workspace, **settings, promote="never"))
    assert third.returncode == 0, third.stderr
    assert "cannot be used" not in third.stderr
    scores = scores_by_tag(predictions)
    # The first version, which got to know tonight's lists: the second is the run's own winner.
    assert {version for _, version in scores.values()} == {"3"}
    stories = {story for story, _ in scores}
    assert stories == articles_without_tags(grown)
    assert stories & set(late)


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
