"""Which run's predictions a run compares with."""

from __future__ import annotations

import pandas as pd
import pytest

from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.stages.changes import CHANGES, CHANGES_FILE, predictions_before, publish_changes


class Snapshot:
    """As much of a snapshot as the comparison looks at; two articles of one address."""

    articles = pd.DataFrame({"url": ["a", "a", "b"], "title": ["<b>A</b>", "again", "B"]})


@pytest.fixture
def run(tmp_path):
    settings = Settings(workspace=str(tmp_path / "ws"))
    return lambda run_id: RunContext(run_id, settings)


def predicted(run, *rows):
    """Make an artifact of predictions (story, tag, score, assigned)."""
    frame = pd.DataFrame(rows, columns=["story", "tag", "score", "assigned"])

    def build(folder):
        frame.assign(key=frame["story"]).to_parquet(folder / "predictions.parquet")
        return {}

    return run.artifact("predictions", {"rows": frame.to_json()}, build, code=("store",))


def compared(run, artifact):
    """Do what the stage predict does, and return the ref of the changes."""
    publish_changes(run, predictions_before(run), artifact, Snapshot())
    return run.recorded(CHANGES)


def test_a_run_compares_with_the_one_before_also_when_it_is_run_again(run):
    first, second, third = run("one"), run("two"), run("three")
    published = first.workspace.root / CHANGES_FILE
    assert compared(first, predicted(first, ("a", "x", 0.9, 1))) == ""
    assert not published.exists()
    for _ in range(2):
        ref = compared(second, predicted(second, ("a", "x", 0.4, 0), ("b", "y", 0.8, 1)))
        summary = second.workspace.open(ref).summary
        assert (summary["counts"]["tags_gained"], summary["counts"]["tags_lost"]) == (1, 1)
    assert len(pd.read_csv(published)) == 2
    assert summary["examples"] == [
        {"title": "<b>A</b>", "url": "a", "gained": [], "lost": ["x"]},
        {"title": "B", "url": "b", "gained": ["y"], "lost": []},
    ]
    # The first run again, though it is not the newest any more, compares with nothing as before.
    assert compared(first, predicted(first, ("a", "x", 0.9, 1))) == ""
    assert not published.exists()
    ref = compared(third, predicted(third, ("a", "x", 0.9, 1)))
    assert third.workspace.open(ref).summary["counts"]["tags_gained"] == 0


def test_predictions_that_were_removed_are_not_compared_with(run):
    first, second = run("one"), run("two")
    compared(first, predicted(first, ("a", "x", 0.9, 1)))
    first.workspace.prune([])
    assert compared(second, predicted(second, ("b", "y", 0.8, 1))) == ""
