"""What a run leaves for those notifications."""

from __future__ import annotations

import json

import pytest

from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.stages.notifications import METRICS, read_summary, record_summary
from tagsage.workspace import Workspace
from tests.report.test_summary import METRICS as RUN


@pytest.fixture
def report(tmp_path):
    """Return what tells a run and publishes its metrics, and gives what was told."""
    settings = Settings(workspace=str(tmp_path / "ws"))

    def told(run_id, articles, **changed):
        run = RunContext(run_id, settings)
        metrics = RUN | {"run_id": run_id, "corpus": {"articles": articles, "lists": 1}} | changed
        record_summary(run, metrics, "report.html")
        run.workspace.write_json(METRICS, metrics)
        return read_summary(settings.workspace, run_id)[0]["details"]

    return told


def test_a_run_that_is_told_again_is_compared_with_the_run_before(report):
    first = report("one", 10)
    assert "Since the run before" not in " ".join(first)
    second = report("two", 13)
    assert any("Since the run before: +3 articles in the corpus" in line for line in second)
    assert report("two", 13) == second
    # Also when a later run has been published meanwhile.
    report("three", 20)
    assert report("two", 13) == second
    assert report("one", 10) == first


def test_a_trial_is_no_run_to_compare_with(report):
    report("one", 10, trial=True)
    assert not any("Since the run before" in line for line in report("two", 13))


@pytest.mark.parametrize("content", ["{", "[1]", json.dumps({"run_id": "zero"})])
def test_earlier_metrics_that_cannot_be_read_leave_a_run_without_changes(report, tmp_path, content):
    Workspace(str(tmp_path / "ws")).claim()
    (tmp_path / "ws" / METRICS).write_text(content, encoding="utf-8")
    for _ in range(2):
        assert not any("Since the run" in line for line in report("one", 10))
