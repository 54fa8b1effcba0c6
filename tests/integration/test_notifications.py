"""Messages to people: the notifiers that the settings name, in real runs and with hostile words."""

from __future__ import annotations

import csv
import json
import subprocess

import pytest

from tests.integration.conftest import (
    BIN,
    ROOT,
    environment,
    make_variables,
    messages_in,
    notifying,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_message_about_a_failed_run_names_the_task_and_the_reason(airflow_home, tmp_path):
    articles, lists = tmp_path / "articles.csv", tmp_path / "lists.csv"
    with articles.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["story", "title", "date", "author", "tags"])
        writer.writerow(["https://articles.example/1", "A title", "2024-01-01", "Ann", "[]"])
    lists.write_text("list,article\n", encoding="utf-8")
    messages = tmp_path / "messages"
    workspace = tmp_path / "workspace"
    done = subprocess.run(
        [str(BIN / "airflow"), "dags", "test", "retrain"],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(airflow_home), TAGSAGE_WORKSPACE=str(workspace)),
            **notifying(messages, success="told", failure="failed"),
            "TAGSAGE_ARTICLES": str(articles),
            "TAGSAGE_LISTS": str(lists),
            "TAGSAGE_CHECKS": "stop",
            "TAGSAGE_SCHEDULE": "never",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert messages_in(messages / "told") == []
    found = messages_in(messages / "failed")
    assert len(found) == 1, done.stdout[-3000:] + done.stderr[-3000:]
    first, *others = found[0]["text"].splitlines()
    assert first.startswith(
        "retrain failed in ingest.load_corpus: The corpus was not trained on, for 1 of 3 checks "
        "failed: articles with a tag: 0 of 1. "
    )
    assert any(line.startswith("Airflow: http") for line in others)
    # The task's log ends with the sentence, outside of the group that Airflow folds.
    assert "Traceback" not in done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    (at,) = (n for n, line in enumerate(lines) if "] The corpus was not trained on, for" in line)
    assert "::endgroup::" in lines[at - 1]
    assert "::endgroup::" in lines[at + 1]
    # Told of once: a run that is cleared and fails again tells what is new.
    assert [file for file in (workspace / "failures").rglob("*") if file.is_file()] == []


CODE = """
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
for task, says in json.loads(sys.argv[2]):
    ti = SimpleNamespace(dag_id="retrain", run_id=context["run_id"], task_id=task, map_index=-1)
    for callback in on_failure(defaults)["on_failure_callback"]:
        callback({**context, "ti": ti, "exception": RuntimeError(says) if says else None})
callbacks = notifications(defaults)
callbacks["on_failure_callback"](context)
callbacks["on_failure_callback"](context)
"""


def told_of(airflow_home, tmp_path, failures, **variables):
    """Let tasks fail with some words; return the messages of two runs of the callback, the log."""
    messages = tmp_path / "messages"
    done = subprocess.run(
        [
            *(str(BIN / "python"), "-c", CODE),
            *(str(tmp_path / "workspace"), json.dumps(failures)),
        ],
        env={
            **environment(),
            "AIRFLOW_HOME": str(airflow_home),
            **notifying(messages, failure="failed"),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return messages_in(messages / "failed"), done.stderr


def test_hostile_words_and_secrets_do_no_harm(airflow_home, tmp_path):
    hostile = (
        "<script>alert(1)</script> {{ dag.dag_id }} <!channel> @everyone \u202egnp.exe\n"
        "neo4j://ann:hush@db:7687 token=hush Bearer hush.hush sk-hushhushhush " + "x" * 10_000
    )
    (first, again), log = told_of(airflow_home, tmp_path, [["graph", hostile], ["predict", ""]])
    for text in (*first.values(), log):
        assert "hush" not in text
        assert "<script" not in text
        assert "\u202e" not in text
        assert "@everyone" not in text
    lines = first["text"].splitlines()
    assert lines[0].startswith("retrain failed in graph: ‹script›alert(1)‹/script› ")
    # A message is text, not a template.
    assert "{{ dag.dag_id }}" in lines[0]
    assert len(lines[0]) == 500
    assert lines[1].startswith("predict failed too: it ended without a message")
    assert "<li>predict failed too: " in first["html"]
    # What was told of is forgotten.
    assert again["text"].splitlines()[0] == (
        "retrain failed: task_failure; no task has left a message."
    )
    assert "RuntimeError: the chat is away, password=***" in log


def test_a_workspace_that_is_away_costs_no_message(airflow_home, tmp_path):
    (tmp_path / "workspace").write_text("no folder", encoding="utf-8")
    messages, log = told_of(airflow_home, tmp_path, [["predict", "no room"]])
    assert [message["text"].splitlines()[0] for message in messages] == 2 * [
        "The run manual__2026-11-22T02:00:00+00:00 of retrain failed."
    ]
    assert "The failure of predict was not recorded" in log
    assert "The workspace has nothing for a message" in log


ENDED = """
import sys
from airflow.sdk import DAG
from tagsage.settings import Settings
from tagsage.workspace import Workspace
from tagsage.airflow.notifications import notifications
defaults = Settings.resolve({"workspace": sys.argv[1]})
tell = notifications(defaults)["on_success_callback"]
for workspace in sys.argv[1:]:
    summary = {"sentence": "It ended.", "details": [], "report": f"{workspace}/report.html"}
    Workspace(workspace).write_json("runs/run/summary.json", summary)
    tell({"dag": DAG("retrain"), "run_id": "run", "params": {"workspace": workspace}})
"""


def test_a_run_that_ended_well_links_to_the_report_where_the_pages_show_it(airflow_home, tmp_path):
    mine, other = str(tmp_path / "workspace"), str(tmp_path / "other")
    done = subprocess.run(
        [str(BIN / "python"), "-c", ENDED, mine, other],
        env={
            **environment(),
            "AIRFLOW_HOME": str(airflow_home),
            "AIRFLOW__API__BASE_URL": "https://airflow.example/a/",
            **notifying(tmp_path / "messages", success="told"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here, elsewhere = (one["text"] for one in messages_in(tmp_path / "messages" / "told"))
    assert here.splitlines() == [
        "It ended.",
        "Report on the pages: https://airflow.example/a/tagsage/report",
        f"Report: {mine}/report.html",
        "Airflow: https://airflow.example/a/dags/retrain/runs/run",
    ]
    # The pages read the workspace of the environment, and no other.
    assert "pages" not in elsewhere
    assert f"Report: {other}/report.html" in elsewhere


PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps(sorted(error.splitlines()[-1] for error in bag.import_errors.values())))
"""


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("{", "notify_on_failure is not JSON"),
        (
            '{"notifier": "no.such.Notifier"}',
            "TAGSAGE_NOTIFY_ON_FAILURE names no.such.Notifier, which cannot be imported",
        ),
        (
            '{"notifier": "pathlib.Path"}',
            "TAGSAGE_NOTIFY_ON_FAILURE names pathlib.Path, which isn't a notifier of Airflow.",
        ),
        (
            '{"notifier": "file_notifier.FileNotifier", "arguments": {"room": 1}}',
            "TAGSAGE_NOTIFY_ON_FAILURE: file_notifier.FileNotifier does not take these arguments",
        ),
    ],
    ids=["no JSON", "no module", "no notifier", "other arguments"],
)
def test_a_wrong_notifier_is_an_import_error_in_one_sentence(
    airflow_home, tmp_path, value, sentence
):
    done = subprocess.run(
        [str(BIN / "python"), "-c", PARSE, str(ROOT / "dags")],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(airflow_home)),
            **notifying(tmp_path / "messages"),
            "TAGSAGE_NOTIFY_ON_FAILURE": value,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout.splitlines()[-1])
    assert len(errors) == 2
    assert all(sentence in error for error in errors), errors
