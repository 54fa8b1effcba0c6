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
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.features import article_ids
from tagsage.run_context import RunContext
from tagsage.stages.artifacts import load_labels, load_snapshot
from tagsage.stages.fresh_articles import FRESH_FILE
from tagsage.workspace import Workspace
from tests.integration.conftest import SETTINGS, SmallCorpus, run_arguments, run_in_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

QUICK = {"scenarios": "", "assign_min_tags": "1"}
# Two numbers of each text, and nothing of the lists.
WEAK = {**QUICK, "candidates": "text:ovr_logistic", "lsa_dimensions": "2"}
GOOD = {**QUICK, "candidates": "text+lists:ovr_logistic"}


@pytest.fixture(scope="module")
def smaller(small_corpus, tmp_path_factory) -> SmallCorpus:
    """Return the corpus of before a sixth of the articles came."""
    file = tmp_path_factory.mktemp("smaller") / "articles.csv"
    with small_corpus.articles.open(encoding="utf-8", newline="") as source:
        header, *rows = csv.reader(source)
    with file.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([header, *(row for n, row in enumerate(rows) if n % 6)])
    return SmallCorpus(file, small_corpus.lists)


@pytest.fixture(scope="module")
def runs(smaller, tmp_path_factory):
    """Run a weak run, a good one, and the weak one again; return workspace and metrics."""
    workspace = tmp_path_factory.mktemp("runs")
    return workspace, [run(smaller, workspace, **settings) for settings in (WEAK, GOOD, WEAK)]


def run(corpus: SmallCorpus, workspace: Path, **settings: str) -> dict:
    # A run with other candidates than the configured ones would be a trial.
    done = run_in_process(
        *run_arguments(corpus, workspace, **settings), TAGSAGE_CANDIDATES=settings["candidates"]
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
    files = {"articles": str(corpus.articles), "lists": str(corpus.lists)}
    overrides = {**SETTINGS, **settings, **files, "workspace": str(workspace)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = stages.start(run_id, overrides)
        corpus_ref = stages.load_corpus(token)
        split = stages.split(token, corpus_ref)
    return RunContext.of(token), load_snapshot(RunContext.of(token), corpus_ref), split


def client_of(workspace: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")


def aliases(workspace: Path) -> dict[str, str]:
    found = client_of(workspace).get_registered_model("tagsage").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_better_challenger_is_promoted_and_a_worse_one_refused(runs):
    workspace, (first, second, third) = runs
    assert first["promotion_reason"] == "Promoted: there was no champion yet."
    assert second["promoted"]
    assert not third["promoted"]
    gain, loss = second["promotion"]["gain"], third["promotion"]["gain"]
    assert gain["low"] > 0 > loss["high"]
    assert gain["articles"] == loss["articles"] == second["split"]["test_articles"]
    assert gain["value"] == -loss["value"]
    # The champion is compared by what it predicted for its own test articles.
    before = first["candidates"]["text:ovr_logistic"]["micro_f1"]
    after = second["candidates"]["text+lists:ovr_logistic"]["micro_f1"]
    assert (gain["champion"], gain["challenger"]) == pytest.approx((before, after))
    assert [one["predicted_by"] for one in (first, second, third)] == ["champion"] * 3
    assert third["predictions"]["version"] == "2"
    assert aliases(workspace) == {"champion": "2", "challenger": "3"}


def test_guards_are_in_metrics_report_and_mlflow(runs):
    workspace, (first, second, _) = runs
    names = [check["name"] for check in second["promotion"]["checks"]]
    # The first champion has nothing to be compared with.
    assert [check["name"] for check in first["promotion"]["checks"]] == names[4:]
    assert {"latency", "size of the model"} <= {*names}
    assert all(check["passed"] for check in second["promotion"]["checks"])
    for name in names:
        assert f'<th scope="row">{name}</th>' in second["page"]
    client = client_of(workspace)
    found = client.search_runs(
        [client.get_experiment_by_name("tagsage").experiment_id],
        f"tags.`tagsage.run_id` = '{second['run_id']}'",
    )
    (parent,) = [run for run in found if "tagsage.candidate" not in run.data.tags]
    assert parent.data.tags["tagsage.promotion.reason"] == second["promotion_reason"]
    assert parent.data.tags["tagsage.promotion.broken_guards"] == ""
    assert parent.data.metrics["promotion_low"] == second["promotion"]["gain"]["low"]
    assert parent.data.metrics["promotion_latency_limit"] == 1000
    file = client.download_artifacts(parent.info.run_id, "promotion.json")
    assert json.loads(Path(file).read_text(encoding="utf-8")) == second["promotion"]


def test_articles_that_came_later_change_nobodys_part(runs, small_corpus, monkeypatch):
    # A trial would hold out no fresh articles.
    monkeypatch.setenv("TAGSAGE_CANDIDATES", SETTINGS["candidates"])
    workspace, (_, second, _) = runs
    records = workspace / "runs" / second["run_id"] / "artifacts"
    kept = json.loads((records / "frozen_test.json").read_text(encoding="utf-8"))
    before = FrozenTest.load(workspace / "artifacts" / kept["ref"])
    grown, snapshot, split = start(workspace, small_corpus, "grown")
    labels = load_labels(grown, split)
    ids = article_ids(snapshot.articles["key"].tolist())
    train, test = ids[labels.train_rows], ids[labels.test_rows]
    assert len(ids[labels.rows]) > 1.1 * (len(before.train) + len(before.test))
    assert np.isin(before.test, ids[labels.rows]).all()
    # The champion was scored on articles that it had not learned from; so will the winner be.
    assert not np.isin(before.test, train).any()
    assert not np.isin(before.train, test).any()
    assert abs(len(test) / len(labels.rows) - 0.2) < 0.01
    # Some of the new ones are for neither part: they are fresh evidence.
    fresh, _ = np.load(grown.workspace.open(split).path / FRESH_FILE)
    assert len(fresh) > 0
    assert not np.isin(ids[fresh], np.concatenate([train, test, before.train, before.test])).any()
    # A run that runs again has the same split, whoever is champion now.
    model(workspace, "promote", "1")
    assert start(workspace, small_corpus, "grown")[2] == split
    model(workspace, "rollback")
    # Other settings of the split make a new one.
    other, _, _ = start(workspace, small_corpus, "other", seed="7")
    assert other.recorded("split").startswith(
        "A new split: the champion's (version 2) was made with seed=42 and test_share=0.2."
    )


def test_worse_challenger_gains_nothing_by_a_damaged_test_of_the_champion(runs, smaller):
    workspace, _ = runs
    version = client_of(workspace).get_model_version("tagsage", "2")
    root = client_of(workspace).get_run(version.run_id).info.artifact_uri.removeprefix("file://")
    file = Path(root, version.tags["tagsage.frozen_test"], "frozen.json")
    about = file.read_bytes()
    file.write_bytes(b"{")
    damaged = run(smaller, workspace, compare="all", **WEAK)
    file.write_bytes(about)
    assert damaged["promotion_reason"].startswith("Not promoted: ")
    assert "version 2) is damaged in MLflow" in damaged["promotion_reason"]


def test_person_rolls_back_and_pins_and_no_run_changes_it(runs, small_corpus):
    workspace, _ = runs
    why = ("--reason", "readers complained")
    assert "Version 1 is champion now; version 2 was it before." in model(
        workspace, "rollback", *why
    )
    assert "There is no champion before version 1" in refused(workspace, "rollback")
    model(workspace, "pin", *why)
    assert "run `tagsage model unpin` first." in refused(workspace, "promote", "2")
    pinned = run(small_corpus, workspace, **GOOD)
    assert pinned["promotion_reason"].startswith("Not promoted: version 1 is pinned by ")
    assert "readers complained" in pinned["promotion_reason"]
    # What would have been decided is measured all the same.
    assert pinned["promotion"]["gain"]["low"] > 0
    # The articles that came since the last run are evidence, too, and for the better one.
    fresh = pinned["promotion"]["evidence"]["fresh"]
    assert fresh["articles"] >= fresh["observations"] > 10
    assert fresh["gain"] > 0
    assert (pinned["predictions"]["version"], pinned["predicted_by"]) == ("1", "champion")
    listed = model(workspace, "list")
    assert "champion, pinned" in listed
    assert "Version 2 was replaced by version 1, by " in listed
    model(workspace, "unpin")
    assert "is not pinned; there is nothing to do." in refused(workspace, "unpin")


def test_bad_input_of_the_commands_is_an_error_of_one_sentence(runs, tmp_path):
    workspace, _ = runs
    assert "has no version '99'; `tagsage model list` shows" in refused(workspace, "promote", "99")
    assert "There is no workspace of tagsage in" in refused(tmp_path, "list")
    Workspace(str(tmp_path)).claim()
    assert "has no model 'tagsage' yet; run the retrain first" in refused(tmp_path, "list")
    (tmp_path / "mlflow.db").write_text("this is not SQLite" * 100, encoding="utf-8")
    assert "did not do what was asked" in refused(tmp_path, "rollback")
