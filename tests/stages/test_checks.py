"""Which run a corpus is compared with, and what a failed check stops."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from tagsage import stages
from tagsage.errors import NonRetryableError
from tagsage.run_context import RunContext
from tagsage.stages.backends import open_store
from tagsage.stages.checks import PROFILE, checks_of, keep_profile


@pytest.fixture
def begin(tmp_path):
    """Read and check a corpus of some titles under a run's id."""

    def run(run_id: str, titles: str, *, date: str = "2024-01-01", **settings) -> RunContext:
        with (tmp_path / "articles.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["story", "title", "date", "author", "tags"])
            for place, title in enumerate(titles.split()):
                url = f"https://articles.example/{place}"
                writer.writerow([url, title, date, "Ann", '["ml"]'])
        (tmp_path / "lists.csv").write_text("list,article\n", encoding="utf-8")
        files = {name: str(tmp_path / f"{name}.csv") for name in ("articles", "lists")}
        workspace = str(tmp_path / "workspace")
        token = stages.start(run_id, {**files, "workspace": workspace, **settings})
        stages.load_corpus(token)
        return RunContext.of(token)

    return run


def compared_with(run: RunContext) -> str:
    checked = checks_of(run)
    assert checked is not None
    return checked.compared_with


def test_a_run_is_compared_with_the_last_that_was_finished(begin):
    first = begin("first", "graph list")
    assert compared_with(first) == ""
    # It has not finished: there is still nothing to compare with.
    second = begin("second", "graph list model")
    assert compared_with(second) == ""
    keep_profile(second)
    assert compared_with(begin("third", "graph list model")) == "second"


def test_a_run_run_again_is_compared_with_the_one_before_it(begin):
    for run_id in ("first", "second", "third"):
        keep_profile(begin(run_id, "graph list"))
    assert compared_with(begin("third", "graph list tree")) == "second"
    again = begin("second", "graph list tree")
    assert compared_with(again) == "first"
    # It ends after the third but began before it.
    keep_profile(again)
    kept = again.workspace.read_json(PROFILE)
    assert (kept["run_id"], sorted(kept["profile"]["words"])) == ("third", ["graph", "list"])
    assert compared_with(begin("first", "graph list")) == ""
    assert compared_with(begin("fourth", "graph list")) == "third"


def test_a_stopped_run_stops_again_and_passes_with_warn(begin):
    keep_profile(begin("first", "graph list model"))
    for _ in range(2):
        with pytest.raises(
            NonRetryableError, match=r"'graph', 'list', 'model' before, 'baum'"
        ) as raised:
            begin("second", "baum liste modell", checks="stop")
    assert "checks=warn" in str(raised.value)
    assert begin("second", "baum liste modell").workspace.read_json(PROFILE)["run_id"] == "first"


def test_dates_that_cannot_be_read_fail_a_check_that_says_which_and_what_can(begin):
    checked = checks_of(begin("first", "graph list", date="12/31/2025"))
    assert checked is not None
    (sentence,) = checked.failed
    for part in ("date in articles.csv", "2 of 2", "'12/31/2025'", "2025-12-31", "since 1970"):
        assert part in sentence
    with pytest.raises(NonRetryableError, match="12/31/2025"):
        begin("second", "graph list", date="12/31/2025", checks="stop")


def kept_in_store(run: RunContext) -> tuple[list[str], list[list[str]]]:
    with open_store(run) as store:
        predicted = store.read_predictions()[["story", "tag"]]
        return store.snapshot().articles["title"].tolist(), predicted.to_numpy().tolist()


def test_a_stopped_run_leaves_the_store_as_it_was(begin):
    run = begin("first", "graph list")
    keep_profile(run)
    last = "https://articles.example/1"
    predictions = pd.DataFrame([{"story": last, "tag": "ml", "score": 0.5, "assigned": True}])
    with open_store(run) as store:
        store.write_predictions(predictions, run_id="first", model_version="1")
    before = (["graph", "list"], [[last, "ml"]])
    assert kept_in_store(run) == before
    # The export is cut off: half of the articles are gone.
    with pytest.raises(NonRetryableError, match="articles: 2 before, 1 this run"):
        begin("second", "graph", checks="stop")
    assert kept_in_store(run) == before
    assert kept_in_store(begin("second", "graph", checks="warn")) == (["graph"], [])


def test_without_checks_nothing_is_kept(begin):
    run = begin("first", "graph list", checks="off")
    keep_profile(run)
    assert checks_of(run) is None
    assert run.workspace.read_json(PROFILE) is None
