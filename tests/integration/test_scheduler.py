"""On a real scheduler: a run with the Batch API triggered in the browser, and a harvest's runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import urllib.request
from contextlib import closing

import pytest

from scripts.medium_server import MediumServer
from scripts.openai_server import OpenAiServer
from tests.integration.conftest import copied_home, messages_in, notifying, serving
from tests.integration.page_checks import (
    check_closed_to_strangers,
    check_hostile_texts_are_inert,
    check_pages_of_a_run,
    follow_to_the_form,
    open_from_airflow,
)
from tests.integration.test_openai_run import MODEL, check_vectors, shown_pieces

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.browser]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ENDED = {"success", "failed"}
KEY = "sk-proj-Bv3airflowT8rLk6YwHs1"
DIMENSIONS = 24
# A run has some twenty tasks, and each of them is a process of Airflow that starts.
WITHIN_S = 1500


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

    def trigger(self, dag, **conf):
        self.call(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})

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
        return waited_for(lambda: [run for run in self.runs(dag) if run["state"] in ENDED], count)[
            0
        ]


def waited_for(find, count):
    """Call `find` until it returns so many; return them."""
    deadline = time.monotonic() + WITHIN_S
    while len(found := find()) < count:
        assert time.monotonic() < deadline, found
        time.sleep(1)
    return found


@pytest.fixture(scope="module")
def site():
    with MediumServer(posts=120, lists=8) as running:
        yield running


@pytest.fixture(scope="module")
def openai():
    """Start a server whose batches end when a test says so, and bring some lines as errors."""
    with OpenAiServer(api_key=KEY, batch_s=3600, lost_lines=0.4) as running:
        yield running


@pytest.fixture(scope="module")
def served(site, openai, prepared_home, tmp_path_factory):
    """Serve Airflow and MLflow; its runs harvest all of the site but a list."""
    folder = tmp_path_factory.mktemp("scheduler")
    copied_home(prepared_home, folder / "airflow")
    settings = {
        "corpus": "harvest",
        "harvest_seeds": " ".join(site.seeds()[1:]),
        "harvest_contact": "owner@example.org",
        "harvest_consent": "true",
        "harvest_delay_s": "0",
        "harvest_schedule": "never",
        # By the clock only in leap years.
        "schedule": "0 0 29 2 *",
        "candidates": "words:linear,words+list_ids+author_ids:linear",
        "scenarios": "",
        "assign_min_tags": "1",
        "min_tag_articles": "3",
        "embedder": "openai",
        "openai_mode": "batch",
        "openai_model": MODEL,
        "openai_dimensions": str(DIMENSIONS),
        "openai_request_texts": "10",
        "openai_poll_s": "2",
        "openai_prices": f"{MODEL}=0.02",
    }
    variables = {f"TAGSAGE_{name.upper()}": value for name, value in settings.items()}
    messages = notifying(folder / "messages", success="sent", failure="failed")
    connection = {"conn_type": "openai", "password": KEY, "host": openai.base_url}
    variables |= {
        "AIRFLOW_CONN_OPENAI_DEFAULT": json.dumps(connection),
        "OPENAI_API_KEY": "sk-of-the-environment",
    }
    with serving(folder, **variables, **messages) as found:
        yield {**found, "folder": folder, "messages": folder / "messages"}


@pytest.fixture(scope="module")
def airflow(served):
    return Airflow(served)


@pytest.mark.timeout(3000)
def test_a_run_triggered_in_the_browser_ends_well_and_is_shown(served, airflow, openai):
    from playwright.sync_api import expect, sync_playwright

    executable = next(path for name in BROWSERS if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        page.set_default_timeout(120_000)
        page.goto(served["airflow"])
        page.fill("input[name=username]", served["user"])
        page.fill("input[name=password]", served["password"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        check_closed_to_strangers(served["airflow"])
        pages = open_from_airflow(page)
        form = follow_to_the_form(pages, "Open retrain in Airflow")
        form.close()
        page.goto(f"{served['airflow']}/dags/retrain")
        page.get_by_role("button", name="Trigger").first.click()
        dialog = page.get_by_role("dialog")
        for section in ("What to read", "How", "What to compare", "GraphSAGE", "What follows"):
            expect(dialog.get_by_text(section, exact=True)).to_be_visible()
        dialog.get_by_role("button", name="Trigger").click()
        expect(dialog).to_be_hidden(timeout=180_000)
        # A page on a run under way draws itself anew all the time, at the cost of the run.
        page.goto("about:blank")
        waited_for(lambda: [path for path, _ in openai.requests if path.startswith("batches/")], 1)
        for batch in openai.batches.values():
            batch["ends"] = 0
        run = airflow.ended("retrain", 1)
        assert (run["state"], run["run_type"]) == ("success", "manual")
        page.goto(f"{served['airflow']}/dags/retrain/runs")
        expect(page.get_by_text("Success").first).to_be_visible(timeout=120_000)
        check_pages_of_a_run(pages, served["workspace"])
        check_hostile_texts_are_inert(pages, served["workspace"])
        browser.close()
    report = (served["workspace"] / "report.html").read_text(encoding="utf-8")
    assert "Harvest before this run: done: requests " in report
    # The DAG processor sends the message.
    (message,) = waited_for(lambda: messages_in(served["messages"] / "sent"), 1)
    assert ", the best of 2 candidates, reaches micro-F1 " in message["text"]
    assert f"Airflow: {served['airflow']}/dags/retrain/runs/manual__" in message["text"]
    assert f"MLflow: {served['mlflow']}/#/experiments/" in message["text"]
    with urllib.request.urlopen(f"{served['mlflow']}/health", timeout=10) as answer:
        assert answer.status == 200


def test_a_batch_is_awaited_without_a_worker_and_what_it_does_not_bring_is_sent_online(
    served, airflow, openai
):
    check_vectors(served["workspace"], DIMENSIONS)
    assert {kind for kind, _ in openai.charges} == {"batch", "online"}
    with closing(sqlite3.connect(served["folder"] / "airflow" / "airflow.db")) as database:
        (looks,) = database.execute(
            "SELECT count(*) FROM task_reschedule JOIN task_instance ON ti_id = task_instance.id "
            "WHERE task_id = 'embed.await_job'"
        ).fetchone()
    assert looks >= 1
    (run,) = airflow.runs("retrain")
    said = " ".join(line["event"] for line in airflow.log(run, "embed.submit_jobs"))
    assert "the ceiling is $5" in said
    assert shown_pieces(KEY, said, served["folder"]) == []


@pytest.mark.timeout(3000)
def test_a_field_that_the_form_lacks_fails_the_run_in_its_first_task(served, airflow):
    before = len(airflow.runs("retrain"))
    airflow.trigger("retrain", embedder="precomputed")
    run = airflow.ended("retrain", before + 1)
    assert run["state"] == "failed"
    said = airflow.log(run, "start")
    assert said[-1]["event"].startswith("embedder cannot be set from the form; leave it out")
    assert not any(line.get("error_detail") for line in said)
    (message,) = waited_for(lambda: messages_in(served["messages"] / "failed"), 1)
    assert message["text"].startswith(
        "retrain failed in start: embedder cannot be set from the form; leave it out"
    )


@pytest.mark.timeout(3000)
def test_a_harvest_starts_a_retrain_only_when_something_has_changed(airflow, site):
    # The run triggered in the browser has harvested the same seeds.
    before = len(airflow.runs("retrain"))
    asked = len(site.log)
    airflow.trigger("harvest")
    run = airflow.ended("harvest", 1)
    assert airflow.tasks(run)["announce"] == "skipped"
    assert len(airflow.runs("retrain")) == before
    assert len(site.log) == asked

    airflow.trigger("harvest", harvest_seeds=" ".join(site.seeds()))
    run = airflow.ended("harvest", 2)
    assert airflow.tasks(run) == dict.fromkeys(("start", "harvest_seeds", "announce"), "success")
    latest = waited_for(lambda: airflow.runs("retrain"), before + 1)[0]
    assert latest["run_type"] == "asset_triggered"
