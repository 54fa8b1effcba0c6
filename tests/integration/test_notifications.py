"""Notifications: the notifiers that the settings name, with hostile words."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.integration.conftest import (
    BIN,
    environment,
    messages_in,
    notifying,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def callbacks(code, airflow_home, tmp_path, *arguments, **variables):
    """Run code with Airflow's callbacks in a process of its own; return what it wrote."""
    done = subprocess.run(
        [str(BIN / "python"), "-c", code, *arguments],
        env={
            **environment(),
            "AIRFLOW_HOME": str(airflow_home),
            "AIRFLOW__API__BASE_URL": "https://airflow.example/a/",
            **notifying(tmp_path / "messages", success="ended", failure="failed"),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


FAIL = """
import json, logging, sys
from types import SimpleNamespace
from airflow.sdk import DAG
from tagsage.settings import Settings
from tagsage.airflow.notifications import notifications, on_failure
logging.basicConfig(level=logging.ERROR, stream=sys.stderr, force=True)
logging.getLogger("tagsage.airflow.notifications").disabled = False
defaults = Settings.resolve({"workspace": sys.argv[1]})
dag = DAG("retrain")
context = {"dag": dag, "run_id": "manual__2026-11-22T02:00:00+00:00", "reason": "task_failure"}
for task, error in json.loads(sys.argv[2]):
    ti = SimpleNamespace(dag_id="retrain", run_id=context["run_id"], task_id=task, map_index=-1)
    for callback in on_failure(defaults)["on_failure_callback"]:
        callback({**context, "ti": ti, "exception": RuntimeError(error) if error else None})
for _ in range(2):
    notifications(defaults)["on_failure_callback"](context)
"""


def test_hostile_words_and_secrets_do_no_harm(airflow_home, tmp_path):
    hostile = (
        "<script>alert(1)</script> {{ dag.dag_id }} <!channel> @everyone \u202egnp.exe\n"
        "neo4j://ann:hush@db:7687 token=hush Bearer hush.hush sk-hushhushhush " + "x" * 10_000
    )
    failures = json.dumps([["graph", hostile], ["predict", ""]])
    workspace = str(tmp_path / "workspace")
    _, log = callbacks(FAIL, airflow_home, tmp_path, workspace, failures)
    first, again = messages_in(tmp_path / "messages" / "failed")
    for text in (*first.values(), log):
        assert not any(bad in text for bad in ("hush", "<script", "\u202e", "@everyone"))
    lines = first["text"].splitlines()
    assert lines[0].startswith("retrain failed in graph: ‹script›alert(1)‹/script› ")
    # The text is no template.
    assert "{{ dag.dag_id }}" in lines[0]
    assert len(lines[0]) == 500
    assert lines[1].startswith("predict failed too: it ended without a message")
    assert "<li>predict failed too: " in first["html"]
    # An error is reported once.
    assert again["text"].splitlines()[0] == (
        "retrain failed: task_failure; no task has left a message."
    )
    assert "RuntimeError: the chat is away, password=***" in log


def test_a_workspace_that_is_away_costs_no_notification(airflow_home, tmp_path):
    workspace = tmp_path / "workspace"
    workspace.write_text("no folder", encoding="utf-8")
    failures = json.dumps([["predict", "no room"]])
    _, log = callbacks(FAIL, airflow_home, tmp_path, str(workspace), failures)
    messages = messages_in(tmp_path / "messages" / "failed")
    assert [message["text"].splitlines()[0] for message in messages] == 2 * [
        "The run manual__2026-11-22T02:00:00+00:00 of retrain failed."
    ]
    assert "The failure of predict was not recorded" in log
    assert "The workspace cannot be read" in log


END = """
import sys
from airflow.sdk import DAG
from tagsage.settings import Settings
from tagsage.workspace import Workspace
from tagsage.airflow.notifications import notifications
summary = {"sentence": "It ended.", "details": [], "report": f"{sys.argv[1]}/report.html"}
Workspace(sys.argv[1]).write_json("runs/run/summary.json", summary)
notify = notifications(Settings.resolve({"workspace": sys.argv[1]}))["on_success_callback"]
notify({"dag": DAG("retrain"), "run_id": "run"})
"""


def test_a_run_that_ended_well_links_to_its_report(airflow_home, tmp_path):
    workspace = str(tmp_path / "workspace")
    callbacks(END, airflow_home, tmp_path, workspace)
    (message,) = messages_in(tmp_path / "messages" / "ended")
    assert message["text"].splitlines() == [
        "It ended.",
        "Report on the pages: https://airflow.example/a/tagsage/report",
        f"Report: {workspace}/report.html",
        "Airflow: https://airflow.example/a/dags/retrain/runs/run",
    ]


CHECK = """
import json, sys
from tagsage.errors import TagsageError
from tagsage.settings import Settings
from tagsage.airflow.notifications import notifications
for value in json.loads(sys.argv[1]):
    try:
        notifications(Settings.resolve({"notify_on_failure": value}))
        print("taken")
    except TagsageError as error:
        print(error)
"""


def test_a_wrong_notifier_is_refused_in_one_sentence_without_its_arguments(airflow_home, tmp_path):
    variable = "TAGSAGE_NOTIFY_ON_FAILURE"
    values = {
        '{"notifier": "file_notifier.FileNotifier", "arguments": {"name": "x"}}': "taken",
        '{"hush': f"{variable} must be JSON like",
        '{"notifier": "no.such.Notifier"}': "No module named 'no'",
        '{"notifier": "pathlib.Path"}': "should be a subclass of BaseNotifier",
        '{"notifier": "file_notifier.FileNotifier", "password": "hush"}': "Extra inputs",
        '{"notifier": "file_notifier.FileNotifier", "arguments": {"room": "hush"}}': (
            f"{variable}: FileNotifier does not take these arguments"
        ),
    }
    shown, _ = callbacks(CHECK, airflow_home, tmp_path, json.dumps(list(values)))
    sentences = shown.splitlines()[-len(values) :]
    for sentence, expected in zip(sentences, values.values(), strict=True):
        assert expected in sentence
        assert "hush" not in sentence
