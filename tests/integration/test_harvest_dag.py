"""What the DAG `harvest` brings, `retrain` takes up: on a real scheduler, by the asset."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from scripts.medium_server import MediumServer
from tests.integration.conftest import SETTINGS, copied_home, messages_in, notifying, serving

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ENDED = {"success", "failed"}
# A run has some fifty tasks, and each of them is a process of Airflow that starts.
WITHIN_S = 900


class Airflow:
    """Airflow's REST API, logged in."""

    def __init__(self, served):
        self.url = served["airflow"]
        login = {"username": served["user"], "password": served["password"]}
        self.token = ""
        self.token = self.call("/auth/token", login)["access_token"]

    def call(self, path, body=None):
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def log(self, run, task):
        """Return the lines of a task's log that Airflow's page shows, outside of its groups."""
        name = urllib.request.pathname2url(run["dag_run_id"])
        path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{name}/taskInstances/{task}/logs/1"
        shown, groups = [], 0
        for line in self.call(path)["content"]:
            if "::group::" in line["event"]:
                groups += 1
            elif "::endgroup::" in line["event"]:
                groups = max(0, groups - 1)
            elif not groups:
                shown.append(line)
        return shown

    def runs(self, dag):
        return self.call(f"/api/v2/dags/{dag}/dagRuns?order_by=-run_after&limit=10")["dag_runs"]

    def tasks(self, run):
        name = urllib.request.pathname2url(run["dag_run_id"])
        path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{name}/taskInstances?limit=100"
        return {each["task_id"]: each["state"] for each in self.call(path)["task_instances"]}

    def ended(self, dag, count):
        """Wait until that many runs of a DAG have ended; return the latest."""
        deadline = time.monotonic() + WITHIN_S
        while len(runs := [run for run in self.runs(dag) if run["state"] in ENDED]) < count:
            assert time.monotonic() < deadline, f"{dag}: {self.runs(dag)}"
            time.sleep(1)
        return runs[0]


def sent(file, count):
    """Wait until so many messages were sent; return them."""
    deadline = time.monotonic() + WITHIN_S
    while len(found := messages_in(file)) < count:
        assert time.monotonic() < deadline, f"{file}: {found}"
        time.sleep(1)
    return found


def settings_for(site):
    values = {
        **SETTINGS,
        "corpus": "harvest",
        "harvest_seeds": " ".join(site.seeds()),
        "harvest_contact": "owner@example.org",
        "harvest_consent": "true",
        "harvest_delay_s": "0",
        "harvest_schedule": "never",
        # By the clock only in leap years.
        "schedule": "0 0 29 2 *",
        "candidates": "text:ovr_logistic",
        "min_tag_articles": "3",
        "lsa_dimensions": "8",
    }
    return {f"TAGSAGE_{name.upper()}": value for name, value in values.items()}


@pytest.mark.timeout(2000)
def test_retrain_takes_up_what_was_harvested_and_nothing_when_nothing_changed(
    prepared_home, tmp_path
):
    copied_home(prepared_home, tmp_path / "airflow")
    messages = tmp_path / "messages"
    with (
        MediumServer(posts=120, lists=8) as site,
        serving(
            tmp_path,
            **settings_for(site),
            **notifying(messages, success="told", failure="failed"),
        ) as served,
    ):
        airflow = Airflow(served)
        assert airflow.runs("retrain") == []
        airflow.call("/api/v2/dags/harvest/dagRuns", {"logical_date": None})
        run = airflow.ended("harvest", 1)
        assert airflow.tasks(run) == dict.fromkeys(
            ("start", "harvest_seeds", "announce"), "success"
        )
        run = airflow.ended("retrain", 1)
        assert (run["state"], run["run_type"]) == ("success", "asset_triggered")
        report = (served["workspace"] / "report.html").read_text(encoding="utf-8")
        assert "Harvest before this run: done: requests 0 " in report
        asked = len(site.log)
        airflow.call("/api/v2/dags/harvest/dagRuns", {"logical_date": None})
        run = airflow.ended("harvest", 2)
        assert airflow.tasks(run)["announce"] == "skipped"
        assert len(airflow.runs("retrain")) == 1
        assert len(site.log) == asked

        # The run was told of, by the DAG processor; harvests that end well are not.
        (told,) = sent(messages / "told", 1)
        assert told["text"].startswith("text:ovr_logistic, the only candidate, reaches micro-F1 ")
        assert f"Airflow: {served['airflow']}/dags/retrain/runs/asset_triggered__" in told["text"]
        assert f"MLflow: {served['mlflow']}/#/experiments/" in told["text"]
        conf = {"embedder": "none"}
        airflow.call("/api/v2/dags/retrain/dagRuns", {"logical_date": None, "conf": conf})
        run = airflow.ended("retrain", 2)
        assert run["state"] == "failed"
        said = airflow.log(run, "start")
        assert said[-1]["event"].startswith("embedder cannot be set from the form; leave it out")
        assert not any(line.get("error_detail") for line in said)
        (told,) = sent(messages / "failed", 1)
        assert told["text"].startswith(
            "retrain failed in start: embedder cannot be set from the form; leave it out"
        )
