"""Predictions, what is new in them, and suggestions, run after run in one workspace."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import load_model

from tagsage import stages
from tagsage.app.published import published as pages_data
from tagsage.app.runs import read_home
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.features import Articles
from tagsage.features.fitting import open_matrix
from tagsage.learn.candidate import FittedCandidate
from tagsage.pipeline import run_pipeline
from tagsage.registry.tagger import Tagger, read_about
from tagsage.stages.artifacts import IN_LIST_FILE, KNOWN, VECTORS_FILE
from tagsage.store.database import sqlite_url
from tagsage.store.open import open_store
from tagsage.store.snapshot import Snapshot
from tests.integration.conftest import SETTINGS, SmallCorpus

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GRAPH = "text+lists+labels+graphsage+fastrp:ovr_logistic"
QUICK = {
    "candidates": GRAPH,
    "fastrp_dimensions": "16",
    "scenarios": "",
    "suggest_min_score": "0.5",
}


class Runs:
    """Runs in one workspace; what the stage predict was called with can be called again."""

    def __init__(self, workspace, patch):
        self.workspace = workspace
        self.calls = []
        predict = stages.predict

        def recorded(*arguments):
            self.calls.append(arguments)
            return predict(*arguments)

        patch.setattr(stages, "predict", recorded)
        self.predict = predict

    def run(self, corpus, **settings):
        self.corpus = corpus
        return run_pipeline({
            **SETTINGS,
            **QUICK,
            "articles": str(corpus.articles),
            "lists": str(corpus.lists),
            "workspace": str(self.workspace),
            **settings,
        })

    def again(self, **settings):
        """Run the last run's stage predict again, as a cleared task does."""
        token, *others = self.calls[-1]
        return self.predict({**token, "settings": token["settings"] | settings}, *others)

    def table(self, name):
        return pd.read_csv(self.workspace / name, keep_default_na=False, na_values=[""])

    @property
    def metrics(self):
        return json.loads((self.workspace / "metrics.json").read_text(encoding="utf-8"))

    def stored(self):
        with open_store("sqlite", sqlite_path=self.workspace / "tagsage.db") as store:
            return store.read_predictions(), store.read_suggestions(), store.snapshot()


@pytest.fixture(scope="module")
def runs(small_corpus, tmp_path_factory):
    """Return a workspace with one run; each test goes on in it."""
    with pytest.MonkeyPatch.context() as patch:
        # Each test may point MLflow elsewhere.
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # None of the runs is a trial.
        patch.setenv("TAGSAGE_CANDIDATES", QUICK["candidates"])
        found = Runs(tmp_path_factory.mktemp("predictions") / "workspace", patch)
        found.run(small_corpus)
        yield found


def edited(corpus, folder, change):
    """Return a corpus whose articles are `change`\\ d, row by row; None leaves one out."""
    articles = folder / "edited.csv"
    with (
        corpus.articles.open(encoding="utf-8", newline="") as source,
        articles.open("w", encoding="utf-8", newline="") as file,
    ):
        reader = csv.DictReader(source)
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(row for number, old in enumerate(reader) if (row := change(number, old)))
    return SmallCorpus(articles, corpus.lists)


def first_line(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return next(csv.reader(opened))


def small_list(file):
    """Return the name of a list of two articles."""
    with file.open(encoding="utf-8", newline="") as opened:
        sizes = Counter(row["list"] for row in csv.DictReader(opened))
    return min(name for name, size in sizes.items() if size == 2)


def own_tags(snapshot):
    return dict(zip(snapshot.articles["url"], map(tuple, snapshot.articles["tags"]), strict=True))


def request_of(snapshot, story):
    """Return an article of the corpus as a request has it."""
    (row,) = (snapshot.articles["url"] == story).to_numpy().nonzero()[0]
    article = snapshot.articles.iloc[row]
    texts = {name: article[name] for name in ("title", "subtitle", "author")}
    (lists,) = snapshot.list_names(snapshot.incidence()[[row]])
    return {**texts, "story": story, "lists": list(lists)}


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
    X, labelled = Tagger.load(served).features.transform(articles), fitted_on.articles
    assert np.array_equal(
        X.sparse_rows(labelled).toarray(), fitted_on.sparse_rows(labelled).toarray()
    )
    P = fitted.predict_proba(X, np.arange(len(urls))).astype(np.float64).round(6)
    predicted = pd.read_csv(workspace / "predictions.csv", keep_default_na=False)
    rows = pd.Index(urls).get_indexer(predicted["story"])
    columns = pd.Index(fitted.tags).get_indexer(predicted["tag"])
    assert len(predicted) > 0
    assert np.array_equal(predicted["score"], P[rows, columns])


def test_a_second_run_writes_and_tells_only_what_changed(small_corpus, tmp_path, runs, monkeypatch):
    first = runs.table("predictions.csv")
    parquet = pd.read_parquet(runs.workspace / "predictions.parquet")
    assert parquet.columns.tolist() == [*first.columns, "run_id"]
    assert len(parquet) == len(first)
    assert len(set(parquet["run_id"])) == 1
    stored, _, snapshot = runs.stored()
    tags = own_tags(snapshot)
    assert not any(tags[story] for story in first["story"])
    assert_predictions_are_those_of_what_was_fitted(runs.workspace)
    # No candidate reads only the text.
    assert runs.table("gains.csv").empty
    page = (runs.workspace / "report.html").read_text(encoding="utf-8")
    assert "This comparison needs a candidate that reads only the text" in page
    # Nothing to compare with yet.
    assert not (runs.workspace / "changes.csv").exists()
    assert runs.metrics["changes"] is None
    assert runs.metrics["predictions_written"]["added"] == len(first)
    assert "no earlier predictions" in page

    untagged = sorted(set(first["story"]))
    gone, newly_tagged, retitled = untagged[0], untagged[1], untagged[2]

    def change(_, row):
        if row["story"] == gone:
            return None
        if row["story"] == newly_tagged:
            return {**row, "tags": '["implemented-in::c"]'}
        if row["story"] == retitled:
            return {**row, "title": "Python library for parsing XML", "subtitle": "XML"}
        return row

    # And an article comes, in the list of another, and in a new one.
    late = {"title": "A puzzle game for the terminal", "subtitle": "in C", "author": "Ann"}
    story = "https://packages.example/late"
    grown = edited(small_corpus, tmp_path, change)
    with grown.articles.open("a", encoding="utf-8", newline="") as file:
        row = {"story": story, "date": "2026-11-01", "tags": "[]", **late}
        csv.DictWriter(file, first_line(grown.articles)).writerow(row)
    lists = tmp_path / "lists.csv"
    smallest = small_list(small_corpus.lists)
    members = f"{smallest},{story}\nnew,{story}\nnew,{untagged[3]}\nnew,{untagged[4]}\n"
    lists.write_text(small_corpus.lists.read_text(encoding="utf-8") + members, encoding="utf-8")
    grown = SmallCorpus(grown.articles, lists)
    runs.run(grown)
    assert runs.metrics["compared"] == "finalists"
    assert "embedder" in runs.metrics["reused"]
    third = runs.table("predictions.csv")
    # The champion of the first run knows this run's lists, as a version of its own.
    refreshed = runs.metrics["predictions"]["version"]
    assert runs.metrics["model_version"] != refreshed != "1"
    assert runs.metrics["predictions"]["candidate"] == GRAPH
    # Somebody serves the champion as the docs say, and asks it.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs.workspace / 'mlflow.db'}")
    served = load_model("models:/tagsage@champion")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    changes = runs.table("changes.csv")
    assert changes.columns.tolist() == [
        *("story", "tag", "change", "score_before", "score", "assigned_before", "assigned"),
    ]
    both = first.merge(third, on=["story", "tag"], how="outer", suffixes=("_before", ""))
    differs = both[
        both["score"].isna()
        | both["score_before"].isna()
        | (both["assigned"] != both["assigned_before"])
        | ((both["score"] - both["score_before"]).abs() >= 0.05)
    ]
    assert len(changes) == len(differs) > 0
    assert {gone, newly_tagged} <= set(changes["story"][changes["change"] == "removed"])
    told = runs.metrics["changes"]
    assert told["articles_gone"] == 2
    assert told["articles_new"] == 1
    # The champion says of what came later what it says to anybody who asks.
    (answer,) = served.predict([{**late, "story": story, "lists": [smallest, "new"]}])["top"]
    of_late = third[third["story"] == story].set_index("tag")["score"]
    # Six digits are written.
    assert of_late.to_dict() == {item["tag"]: round(item["score"], 6) for item in answer}
    # And of an article that it knows, once it is told which.
    of_known = third[third["story"] == untagged[3]].set_index("tag")["score"]
    snapshot = runs.stored()[2]
    (answer,) = served.predict([request_of(snapshot, untagged[3])])["top"]
    assert of_known.to_dict() == {item["tag"]: round(item["score"], 6) for item in answer}
    kept = both.dropna()
    same = kept["score"].eq(kept["score_before"]) & kept["assigned"].eq(kept["assigned_before"])
    written = runs.metrics["predictions_written"]
    # The graph is another one: only what is in no list has all its scores still.
    assert written["unchanged"] == same.sum() > 0
    assert written["added"] + written["changed"] + written["unchanged"] == len(third)

    # The store says the same, and the articles' own tags are as they came.
    stored, _, snapshot = runs.stored()
    columns = ["story", "tag", "score", "assigned"]
    assert (
        stored[columns].sort_values(columns).to_numpy().tolist()
        == third[columns].sort_values(columns).to_numpy().tolist()
    )
    assert stored["run_id"].nunique() >= 2
    assert own_tags(snapshot)[newly_tagged] == ("implemented-in::c",)

    # A task that is run again compares with the run before, not with its own run.
    runs.again()
    assert runs.table("changes.csv").equals(changes)
    assert runs.table("predictions.csv").equals(third)

    # Without MLflow there is no champion to ask: one sentence, and nothing is lost.
    away = tmp_path / "away.db"
    away.write_bytes(b"no database" * 1000)
    with pytest.raises(TagsageError, match=r"MLflow at .* did not do what was asked .*check that"):
        runs.again(mlflow_tracking_uri=f"sqlite:///{away}")
    assert runs.table("predictions.csv").equals(third)
    assert runs.stored()[0].equals(stored)
    runs.again()
    assert runs.table("changes.csv").equals(changes)

    # To a champion that was refreshed, the same corpus brings nothing new.
    published = (runs.workspace / "predictions.csv").read_bytes()
    runs.run(grown, compare="all")
    assert (runs.workspace / "predictions.csv").read_bytes() == published
    assert runs.metrics["predictions"]["version"] == refreshed
    assert {"corpus", "embedder"} <= set(runs.metrics["reused"])

    # A run that need not compare all ends at once.
    finished, calls = runs.metrics["run_id"], len(runs.calls)
    ended = runs.run(grown)["run_id"]
    assert len(runs.calls) == calls
    assert (runs.metrics["run_id"], runs.metrics["nothing_new_since"]) == (ended, finished)
    assert (runs.workspace / "predictions.csv").read_bytes() == published
    assert runs.table("changes.csv").empty
    assert runs.metrics["changes"].keys() == told.keys()
    assert not any(runs.metrics["changes"].values())
    # Not when a person has removed a result.
    (runs.workspace / "predictions.csv").unlink()
    runs.run(grown)
    assert (runs.workspace / "predictions.csv").read_bytes() == published


def test_suggestions_are_missing_tags(runs):
    suggested = runs.table("suggestions.csv")
    assert suggested.columns.tolist() == ["story", "tag", "score", "model_version"]
    assert len(suggested) == runs.metrics["suggestions"]["tags"] > 0
    assert (suggested["score"] >= float(QUICK["suggest_min_score"])).all()
    _, stored, snapshot = runs.stored()
    tags = own_tags(snapshot)
    assert all(tags[row.story] for row in suggested.itertuples())
    assert not any(row.tag in tags[row.story] for row in suggested.itertuples())
    assert not set(suggested["story"]) & set(runs.table("predictions.csv")["story"])
    assert len(stored) == len(suggested)
    assert "run_id" in pd.read_parquet(runs.workspace / "suggestions.parquet").columns


def test_when_the_champion_is_damaged_nobody_takes_its_place(runs):
    names = ("predictions.csv", "predictions.parquet", "suggestions.csv")
    before = {name: (runs.workspace / name).read_bytes() for name in names}
    predicted, suggested, _ = runs.stored()
    files = list((runs.workspace / "mlartifacts").rglob("candidate.json"))
    assert files
    kept = {file: file.read_bytes() for file in files}
    for file in files:
        file.write_text("{", encoding="utf-8")
    said = r"were changed or are gone, so version \d cannot be used .*`tagsage model rollback`"
    with pytest.raises(NonRetryableError, match=said):
        runs.run(runs.corpus, promote="never", seed="7")
    assert {name: (runs.workspace / name).read_bytes() for name in names} == before
    assert runs.stored()[0].equals(predicted)
    assert runs.stored()[1].equals(suggested)
    assert runs.metrics["predicted_by"] == "nobody"
    report = (runs.workspace / "report.html").read_text("utf-8")
    assert re.search(said, report[: report.index("writes the tags")])
    with pages_data(sqlite_url(runs.workspace / "tagsage.db")) as connection:
        assert re.search(said, read_home(connection).run["unusable"])
    # What MLflow calls a failed run is continued, and ends well, once the champion can be used.
    for file, content in kept.items():
        file.write_bytes(content)
    runs.run(runs.corpus, promote="never", seed="7")
    assert (runs.workspace / "predictions.csv").read_bytes() == before["predictions.csv"]
    assert runs.metrics["predicted_by"] == "champion"
    assert "cannot be used" not in (runs.workspace / "report.html").read_text("utf-8")
