"""Which candidates a run compares: all of them, or the finalists of an earlier run."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from tagsage.learn.labels import Labels
from tagsage.run_context import RunContext
from tagsage.stages import start
from tagsage.stages.artifacts import IDS_FILE
from tagsage.stages.candidates import chosen_before, compared, wanted_blocks, what_was_compared
from tagsage.stages.checks import CHECKED
from tagsage.stages.earlier_run import FINISHED, keep_run
from tagsage.workspace import Workspace

CANDIDATES = ["words:linear", "text:mlp", "words+labels:linear", "lists:mlp"]
RANKING = [{"candidate": CANDIDATES[place]} for place in (2, 3, 1, 0)]


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Return a function that starts a run with settings of its own."""
    monkeypatch.setenv("TAGSAGE_CANDIDATES", ",".join(CANDIDATES))

    def begun(run_id: str, **settings: str) -> RunContext:
        return RunContext.of(start(run_id, {"workspace": str(tmp_path), **settings}))

    return begun


def finish(run: RunContext) -> None:
    keep_run(run, version="", compared=what_was_compared(run, RANKING))


def changed(run: RunContext, **values: str) -> None:
    """Change what the last finished run has kept."""
    workspace = Workspace(run.settings.workspace)
    workspace.write_json(FINISHED, {**workspace.read_json(FINISHED), **values})


def test_after_a_run_that_compared_all_its_best_on_text_and_with_lists_are_compared(begin):
    first = begin("first")
    assert compared(first)["candidates"] == CANDIDATES
    assert compared(first)["why"] == "the first run"
    finish(first)
    second = begin("second")
    assert compared(second)["candidates"] == ["text:mlp", "words+labels:linear"]
    assert wanted_blocks(second) == {"text", "words", "labels"}
    finish(second)
    # They stay the finalists of the run that compared all.
    assert compared(begin("third"))["candidates"] == compared(second)["candidates"]


def test_a_week_later_all_are_compared(begin):
    first = begin("first")
    finish(first)
    for days, what in ((6, "finalists"), (7, "all")):
        began = first.started - timedelta(days=days) + timedelta(minutes=5)
        changed(first, compared_all=began.isoformat())
        assert compared(begin(f"{days} days"))["what"] == what


@pytest.mark.parametrize("settings", [{"compare": "all"}, {"min_tag_articles": "7"}])
def test_all_are_compared_on_demand_and_after_other_settings(begin, settings):
    finish(begin("first"))
    second = begin("second", **settings)
    assert compared(second)["candidates"] == CANDIDATES
    # Other files are no other settings.
    other = {"articles": "elsewhere.csv", "lists": "there.csv", "corpus": "csv"}
    finish(begin("third", **other))
    assert compared(begin("fourth", **other | {"articles": "tonight.csv"}))["what"] == "finalists"


def test_all_are_compared_when_the_corpus_has_drifted(begin):
    finish(begin("first"))
    for name, check, what in (
        ("drifted", {"before": "3 in the mean", "passed": False}, "all"),
        # Such a check fails in every run alike.
        ("bad dates", {"before": "", "passed": False}, "finalists"),
        ("well", {"before": "3 in the mean", "passed": True}, "finalists"),
    ):
        run = begin(name)
        made = run.artifact("checks", {"of": name}, lambda _, c=check: {"checks": [c]}, code=())
        run.record(CHECKED, made.ref)
        assert compared(run)["what"] == what


def test_a_run_that_runs_again_compares_the_same(begin):
    first = begin("first")
    finish(first)
    second = begin("second")
    names = compared(second)["candidates"]
    changed(first, recipe="another")
    assert compared(begin("second"))["candidates"] == names


def made_split(run: RunContext, ids: list[int], test: list[int], tags: list[str]) -> str:
    """Make a split of articles; the ids in `test` are its test part."""
    rows = np.arange(len(ids))
    is_test = np.isin(ids, test)

    def build(folder):
        labels = Labels(
            tags, rows, np.zeros((len(ids), len(tags)), bool), rows[~is_test], rows[is_test], rows
        )
        labels.save(folder)
        np.save(folder / IDS_FILE, np.array(ids, dtype=np.uint64))

    return run.artifact("split", {"of": [ids, test, tags]}, build, code=()).ref


def test_what_was_chosen_is_taken_over_unless_an_article_of_the_test_part_was_fitted_on(begin):
    first = begin("first")
    made_split(first, [1, 2, 3, 4], [2], ["a", "b"])
    candidate = first.artifact("candidate", {}, lambda _: {"like": ""}, code=(), label="text:mlp")
    finish(first)
    second = begin("second")
    for ids, test, tags, taken in (
        # Articles 5 and 6 are new, 4 is gone.
        ([1, 2, 3, 5, 6], [2, 5], ["a", "b"], candidate.ref),
        ([1, 2, 3, 5, 6], [2, 3], ["a", "b"], ""),
        ([1, 2, 3, 5, 6], [2, 5], ["a", "c"], ""),
        # The same split: whatever was taken over last time, here nothing.
        ([1, 2, 3, 4], [2], ["a", "b"], ""),
    ):
        split = made_split(second, ids, test, tags)
        assert chosen_before(second, split, "text:mlp") == taken
        assert chosen_before(second, split, "words:linear") == ""
        assert chosen_before(begin("all", compare="all"), split, "text:mlp") == ""
