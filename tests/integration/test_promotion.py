"""Runs one after the other: who becomes champion, what stops it, and what a person may do."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from tagsage import stages
from tagsage.app.published import published
from tagsage.app.runs import Home, read_home
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.features import article_ids
from tagsage.run_context import RunContext
from tagsage.stages.common import load_labels, load_snapshot
from tagsage.store.database import sqlite_url
from tagsage.workspace import Workspace
from tests.integration.conftest import SETTINGS, SmallCorpus, run_arguments, run_in_process
from tests.report.test_html import Page

pytestmark = [pytest.mark.integration, pytest.mark.slow]

QUICK = {"scenarios": "", "assign_min_tags": "1"}
# Two numbers of each text, and nothing of the lists.
WEAK = {**QUICK, "candidates": "text:ovr_logistic", "lsa_dimensions": "2"}
GOOD = {**QUICK, "candidates": "text+lists:ovr_logistic"}


@pytest.fixture(scope="module")
def smaller(small_corpus, tmp_path_factory) -> SmallCorpus:
    """Return the corpus of before a sixth of the articles came."""
    file = tmp_path_factory.mktemp("smaller") / "articles.csv"
    with (
        small_corpus.articles.open(encoding="utf-8", newline="") as source,
        file.open("w", encoding="utf-8", newline="") as target,
    ):
        rows = list(csv.reader(source))
        csv.writer(target).writerows([
            rows[0],
            *(row for n, row in enumerate(rows[1:]) if n % 6),
        ])
    return SmallCorpus(file, small_corpus.lists)


@pytest.fixture(scope="module")
def runs(smaller, tmp_path_factory):
    """Run a weak run, a good one, and the weak one again; return workspace and metrics."""
    workspace = tmp_path_factory.mktemp("runs")
    return workspace, [run(smaller, workspace, **settings) for settings in (WEAK, GOOD, WEAK)]


def run(corpus: SmallCorpus, workspace: Path, *, trial: bool = False, **settings: str) -> dict:
    configured = "text:mlp" if trial else settings["candidates"]
    done = run_in_process(
        *run_arguments(corpus, workspace, **settings), TAGSAGE_CANDIDATES=configured
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["promotion_reason"] in done.stderr
    page = (workspace / "report.html").read_text(encoding="utf-8")
    return {**metrics, "stderr": done.stderr, "page": page}


def model(workspace: Path, *arguments: str) -> str:
    done = run_in_process("model", *arguments, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(workspace: Path, *arguments: str) -> str:
    done = run_in_process("model", *arguments, "--workspace", workspace)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def start(workspace: Path, corpus: SmallCorpus, run_id: str, **settings: str):
    """Begin a run up to its split; return it, the snapshot, and the ref of the split."""
    overrides = {
        **SETTINGS,
        **settings,
        "articles": str(corpus.articles),
        "lists": str(corpus.lists),
        "workspace": str(workspace),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = stages.start(run_id, overrides)
        corpus_ref = stages.load_corpus(token)
        split = stages.split(token, corpus_ref)
    return RunContext.of(token), load_snapshot(RunContext.of(token), corpus_ref), split


def test_better_challenger_is_promoted_and_a_worse_one_refused(runs):
    _, (first, second, third) = runs
    assert first["promotion_reason"] == "Promoted: there was no champion yet."
    assert second["promoted"]
    assert "(version 1) on the same " in second["promotion_reason"]
    assert "is surely above the margin 0." in second["promotion_reason"]
    assert not third["promoted"]
    assert "is not surely above the margin 0." in third["promotion_reason"]
    gain, loss = second["promotion"]["gain"], third["promotion"]["gain"]
    assert gain["low"] > 0 > loss["high"]
    assert gain["articles"] == loss["articles"] == second["split"]["test_articles"]
    assert gain["value"] == -loss["value"]
    assert [one["predicted_by"] for one in (first, second, third)] == ["champion"] * 3
    assert third["predictions"]["version"] == "2"


def test_champion_is_compared_by_the_answers_on_its_own_test_articles(runs):
    _, (first, second, _) = runs
    before = first["candidates"]["text:ovr_logistic"]["micro_f1"]
    after = second["candidates"]["text+lists:ovr_logistic"]["micro_f1"]
    gain = second["promotion"]["gain"]
    assert (gain["champion"], gain["challenger"]) == pytest.approx((before, after))
    assert "The split is that of the champion (version 1)" in second["stderr"]
    assert "0 are new." in second["page"]


def test_guards_are_told_in_metrics_report_and_mlflow(runs):
    workspace, (first, second, _) = runs
    names = [check["name"] for check in second["promotion"]["checks"]]
    assert names == [
        "largest drop on a slice",
        "drop of articles with a tag",
        "calibration error",
        "latency",
        "size of the model",
    ]
    assert [check["name"] for check in first["promotion"]["checks"]] == names[2:]
    assert all(check["passed"] for check in second["promotion"]["checks"])
    for name in names:
        assert f'<th scope="row">{name}</th>' in second["page"]
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    runs = client.search_runs(
        [client.get_experiment_by_name("tagsage").experiment_id],
        f"tags.`tagsage.run_id` = '{second['run_id']}'",
    )
    (parent,) = [run for run in runs if "tagsage.candidate" not in run.data.tags]
    assert parent.data.tags["tagsage.promotion.reason"] == second["promotion_reason"]
    assert parent.data.tags["tagsage.promotion.broken_guards"] == ""
    assert parent.data.metrics["promotion_low"] == second["promotion"]["gain"]["low"]
    assert parent.data.metrics["promotion_latency_limit"] == 1000
    file = client.download_artifacts(parent.info.run_id, "promotion.json")
    assert json.loads(Path(file).read_text(encoding="utf-8")) == second["promotion"]


def test_articles_that_came_later_change_nobodys_part(runs, small_corpus):
    workspace, (_, second, _) = runs
    before = frozen_of(workspace, second["run_id"])
    late, snapshot, split = start(workspace, small_corpus, "grown")
    labels = load_labels(late, split)
    ids = article_ids(snapshot.articles["key"].tolist())
    train, test = ids[labels.train_rows], ids[labels.test_rows]
    assert len(ids[labels.rows]) > 1.1 * (len(before.train) + len(before.test))
    assert np.isin(before.test, ids[labels.rows]).all()
    # The champion was scored on articles that it had not learned from; so will the winner be.
    assert not np.isin(before.test, before.train).any()
    assert not np.isin(before.test, train).any()
    assert not np.isin(before.train, test).any()
    assert abs(len(test) / len(labels.rows) - 0.2) < 0.01
    told = late.recorded("split")
    assert told.startswith("The split is that of the champion (version 2): ")


def frozen_of(workspace: Path, run_id: str) -> FrozenTest:
    """Return what a run kept of its winner's test."""
    notes = workspace / "runs" / run_id / "artifacts"
    kept = json.loads((notes / "frozen_test.json").read_text(encoding="utf-8"))
    return FrozenTest.load(workspace / "artifacts" / kept["ref"])


def test_run_run_again_has_the_split_that_it_had(runs, small_corpus):
    workspace, _ = runs
    _, _, split = start(workspace, small_corpus, "grown")
    model(workspace, "promote", "1")
    assert start(workspace, small_corpus, "grown")[2] == split
    model(workspace, "rollback")


def test_other_settings_of_the_split_make_a_new_one_and_it_is_said(runs, small_corpus):
    workspace, _ = runs
    other, _, _ = start(workspace, small_corpus, "other", seed="7")
    assert other.recorded("split") == (
        "A new split: the champion's (version 2) was made with seed=42 and test_share=0.2."
    )


def test_worse_challenger_gains_nothing_by_lost_or_damaged_answers_of_the_champion(runs, smaller):
    workspace, _ = runs
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    version = client.get_model_version("tagsage", "2")
    root = client.get_run(version.run_id).info.artifact_uri.removeprefix("file://")
    folder = Path(root, version.tags["tagsage.frozen_test"])
    about = (folder / "frozen.json").read_bytes()
    (folder / "frozen.json").write_bytes(b"{")
    damaged = run(smaller, workspace, **WEAK)
    (folder / "frozen.json").write_bytes(about)
    away = folder.rename(folder.with_name("away"))
    lost = run(smaller, workspace, **WEAK)
    away.rename(folder)
    assert damaged["promotion_reason"].startswith(
        "Not promoted: what the champion (version 2) answered is damaged in MLflow; "
    )
    assert lost["promotion_reason"].startswith(
        "Not promoted: what the champion (version 2) answered is not in MLflow; "
    )


def test_run_that_has_lost_93_percent_of_its_tags_leaves_the_champion_in_place(
    runs, smaller, tmp_path
):
    workspace, _ = runs
    with smaller.articles.open(encoding="utf-8", newline="") as source:
        rows = [{**row, "tags": json.loads(row["tags"])} for row in csv.DictReader(source)]
    file, n_tags = tmp_path / "articles.csv", sum(len(row["tags"]) for row in rows)
    left = {"uitoolkit::gtk", "uitoolkit::qt"}
    for row in rows:
        row["tags"] = [tag for tag in row["tags"] if tag in left]
    assert 0 < sum(len(row["tags"]) for row in rows) < 0.07 * n_tags
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "tags": json.dumps(row["tags"])} for row in rows)
    after = run(SmallCorpus(file, smaller.lists), workspace, **GOOD)
    assert after["target_tags"] == 2
    assert not after["promoted"]
    assert after["promotion_reason"].startswith(
        "Not promoted: of the champion's 5 target tags (version 2) only 2 are target tags now, "
    )
    assert after["predictions"]["version"] == "2"
    assert "text+lists:ovr_logistic, version 2, writes the tags" in text_of(after["page"])


def test_trial_leaves_champion_challenger_history_and_leaderboard_of_the_pages(runs, smaller):
    workspace, _ = runs
    aliases, told = aliases_of(workspace), home(workspace)
    assert "trial" not in model(workspace, "list")
    suggestions = (workspace / "suggestions.csv").read_bytes()
    tried = run(smaller, workspace, trial=True, **WEAK)
    assert tried["trial"]
    assert tried["promotion_reason"].startswith("Not promoted: this run is a trial, since ")
    assert "Trial The candidates of this run are not" in text_of(tried["page"])
    assert "text+lists:ovr_logistic, version 2, writes the tags" in text_of(tried["page"])
    assert tried["predictions"]["version"] == "2"
    assert aliases_of(workspace) == aliases
    assert aliases.keys() == {"champion", "challenger"}
    now = home(workspace)
    # What was predicted is told of now.
    counts = ("articles", "assigned", "tags", "version", "candidate")
    assert all(now.run["predicted"][name] == tried["predictions"][name] for name in counts)
    for name in ("leaderboard", "winner", "reason", "run_id"):
        assert now.run[name] == told.run[name]
    assert (now.runs, now.plot) == (told.runs, told.plot)
    assert (workspace / "suggestions.csv").read_bytes() == suggestions
    assert "trial" in model(workspace, "list")
    shown = run_in_process("show", "--workspace", workspace).stdout
    assert "Leaderboard of a trial" in shown
    assert "The tags were written by text+lists:ovr_logistic (version 2)." in shown


def aliases_of(workspace: Path) -> dict[str, str]:
    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    return dict(client.get_registered_model("tagsage").aliases)


def home(workspace: Path) -> Home:
    """Return what the first of the pages tells."""
    with published(sqlite_url(workspace / "tagsage.db")) as connection:
        return read_home(connection)


def text_of(page: str) -> str:
    return Page(page).words


def test_person_rolls_back_pins_and_no_run_changes_it_until_it_is_unpinned(runs, smaller):
    workspace, _ = runs
    why = ("--reason", "readers complained")
    assert "Version 1 is champion now; version 2 was it before." in model(
        workspace, "rollback", *why
    )
    assert "There is no champion before version 1" in refused(workspace, "rollback")
    model(workspace, "pin", *why)
    assert "run `tagsage model unpin` first." in refused(workspace, "promote", "2")
    pinned = run(smaller, workspace, **GOOD)
    assert pinned["promotion_reason"].startswith("Not promoted: version 1 is pinned by ")
    assert "readers complained" in pinned["promotion_reason"]
    # What would have been decided is written down all the same.
    assert pinned["promotion"]["gain"]["low"] > 0
    assert (pinned["predictions"]["version"], pinned["predicted_by"]) == ("1", "champion")
    listed = model(workspace, "list")
    assert "champion, pinned" in listed
    assert "rollback: champion 1, by " in listed
    assert "readers complained" in listed
    model(workspace, "unpin")
    stopped = run(smaller, workspace, **GOOD, promote_max_model_mb="0.1")
    assert stopped["promotion"]["gain"]["low"] > 0
    assert stopped["promotion_reason"].startswith("Not promoted: size of the model ")
    assert stopped["promotion_reason"].endswith(" is more than 0.1 (MB on disk).")
    # As it was said before there were three choices.
    assert run(smaller, workspace, **GOOD, promote="always")["promoted"]


def test_model_that_is_asked_with_vectors_is_timed_with_vectors(tmp_path):
    urls = [f"https://articles.example/{place}" for place in range(60)]
    corpus = SmallCorpus(tmp_path / "articles.csv", tmp_path / "lists.csv")
    rows = {
        corpus.articles: [
            ("story", "title", "date", "author", "tags"),
            *((url, "A title", "", "", f'["tag {n % 3}"]') for n, url in enumerate(urls)),
        ],
        corpus.lists: [
            ("list", "article"),
            *((f"list {n % 4}", url) for n, url in enumerate(urls)),
        ],
        tmp_path / "vectors.csv": [
            ("url", "vector"),
            *((url, json.dumps([n % 3, n % 5, 1.0])) for n, url in enumerate(urls)),
        ],
    }
    for file, lines in rows.items():
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows(lines)
    given = {"embedder": "precomputed", "vectors": str(tmp_path / "vectors.csv")}
    first = run(corpus, tmp_path / "w", **{**GOOD, **given, "min_tag_articles": "3"})
    (latency,) = [check for check in first["promotion"]["checks"] if check["name"] == "latency"]
    assert latency["value"] > 0
    assert latency["about"] == "ms a request, median of 30"
    # Twelve test articles are too few to tell how far off probabilities are.
    assert first["promotion"]["checks"][0]["about"].startswith("not measured: fewer than 100")
    assert first["promoted"]
    # They are too few to compare two models on, too, though both runs have the same.
    second = run(corpus, tmp_path / "w", **{**GOOD, **given, "min_tag_articles": "3"})
    assert second["promotion_reason"].startswith(
        "Not promoted: this run's test articles and the champion's (version 1) have only 12 in "
    )


def test_bad_input_of_the_commands_is_told_in_one_sentence(runs, tmp_path):
    workspace, _ = runs
    assert "has no version '99'; `tagsage model list` shows" in refused(workspace, "promote", "99")
    assert "is pinned; there is nothing to do." in refused(workspace, "unpin")
    assert "There is no workspace of tagsage in" in refused(tmp_path, "list")
    Workspace(str(tmp_path)).claim()
    assert "has no model 'tagsage' yet; run the retrain first" in refused(tmp_path, "list")
    broken = tmp_path / "mlflow.db"
    broken.write_text("this is not SQLite" * 100, encoding="utf-8")
    assert "did not do what was asked" in refused(tmp_path, "rollback")
