"""The DAG as Airflow sees it: parsed, run by `airflow dags test`, and triggered in the UI."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from scripts.neo4j_server import free_ports
from tests.integration.conftest import (
    BIN,
    ROOT,
    SETTINGS,
    environment,
    scores_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GROUPS = {
    "start",
    "ingest.load_corpus",
    "embed.plan_vectors",
    "embed.vector_batches",
    "embed.embed_batch",
    "embed.online_batches",
    "embed.embed_online",
    "embed.submit_jobs",
    "embed.job.await_job",
    "embed.job.take_job",
    "embed.collect_vectors",
    "embed.store_vectors",
    "graph.project",
    "graph.similarity",
    "graph.components",
    "graph.sample",
    "graph.graphsage",
    "graph.fastrp",
    "graph.propagate_lists",
    "compare.split",
    "compare.features",
    "compare.candidate_names",
    "compare.fit_candidate",
    "compare.leaderboard",
    "promote",
    "predict",
    "eda",
    "report",
    "teardown",
}


def make_variables(**extra):
    """Return the environment that the Makefile gives Airflow, with `extra` over it."""
    printed = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "variables"],
        input="include Makefile\nvariables:\n\t@env\n",
        cwd=ROOT,
        env=environment(**extra),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    pairs = (line.partition("=") for line in printed.splitlines() if "=" in line)
    return {
        name: value for name, _, value in pairs if name.startswith(("AIRFLOW", "MLFLOW", "TAGSAGE"))
    }


def test_dag_parses_with_its_tasks_pool_and_limits_and_without_heavy_imports(airflow_home):
    code = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
dag = bag.dags["retrain"]
heavy = [name for name in ("jax", "sklearn", "pandas", "mlflow") if name in sys.modules]
print(json.dumps({
    "dags": sorted(bag.dags),
    "tasks": {t.task_id: [t.pool, t.retries, t.execution_timeout is not None] for t in dag.tasks},
    "params": sorted(dag.params),
    "catchup": dag.catchup,
    "max_active_runs": dag.max_active_runs,
    "schedule": dag.schedule,
    "doc": dag.doc_md,
    "heavy": heavy,
}))
"""
    done = subprocess.run(
        [str(BIN / "python"), "-c", code, str(ROOT / "dags")],
        env={**environment(), **make_variables(AIRFLOW_HOME=str(airflow_home))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["dags"] == ["retrain"]
    assert set(seen["tasks"]) == GROUPS
    assert seen["heavy"] == []
    assert (seen["catchup"], seen["max_active_runs"]) == (False, 1)
    assert seen["schedule"] == "0 2 * * *"
    assert all(timeout for _, _, timeout in seen["tasks"].values())
    assert seen["tasks"]["compare.fit_candidate"][:2] == ["tagsage_cpu", 2]
    # What waits for a server leaves the CPU to others.
    for task in ("embed_online", "submit_jobs", "job.await_job", "job.take_job"):
        assert seen["tasks"][f"embed.{task}"][0] == "default_pool"
    assert {"corpus", "store", "engine", "embedder", "candidates", "seed", "promote"} <= set(
        seen["params"]
    )
    assert "If it fails" in seen["doc"]


def test_embedder_of_make_run_becomes_the_setting():
    assert make_variables(EMBEDDER="openai")["TAGSAGE_EMBEDDER"] == "openai"
    assert "TAGSAGE_EMBEDDER" not in make_variables()


def settings_of(small_corpus):
    """Return the small settings as the environment that becomes the form's defaults."""
    values = {
        **SETTINGS,
        "articles": str(small_corpus.articles),
        "lists": str(small_corpus.lists),
        # A first start shortly after the hour of the schedule would begin a run of its own.
        "schedule": "never",
    }
    return {f"TAGSAGE_{name.upper()}": value for name, value in values.items()}


def test_dags_test_gives_the_leaderboard_of_the_command_line(
    small_corpus, finished_run, airflow_home, tmp_path
):
    done = subprocess.run(
        [str(BIN / "airflow"), "dags", "test", "retrain"],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(airflow_home), TAGSAGE_WORKSPACE=str(tmp_path)),
            **settings_of(small_corpus),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert scores_of(tmp_path / "leaderboard.csv") == scores_of(finished_run / "leaderboard.csv")
    predictions = (tmp_path / "predictions.csv").read_bytes()
    assert predictions == (finished_run / "predictions.csv").read_bytes()


@pytest.fixture
def served(small_corpus, tmp_path):
    """Run `make up` on free ports; yield what it printed: URLs, user, password."""
    airflow_port, mlflow_port = free_ports(2)
    log = tmp_path / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", "up"],
            cwd=ROOT,
            env=environment(
                AIRFLOW_HOME=str(tmp_path / "airflow"),
                AIRFLOW_PORT=str(airflow_port),
                MLFLOW_PORT=str(mlflow_port),
                TAGSAGE_WORKSPACE=str(tmp_path / "workspace"),
                **settings_of(small_corpus),
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 240
        while "MLflow   http" not in (said := log.read_text(encoding="utf-8")):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(1)
        found = re.search(r"Airflow  (\S+)   log in as (\S+) with password (\S+)", said)
        assert found, said
        yield {
            "airflow": found[1],
            "user": found[2],
            "password": found[3],
            "mlflow": f"http://127.0.0.1:{mlflow_port}",
            "workspace": tmp_path / "workspace",
        }
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=90)
    assert "Stopping" in log.read_text(encoding="utf-8")
    for port in (airflow_port, mlflow_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived make up"


@pytest.mark.browser
@pytest.mark.timeout(900)
def test_run_triggered_in_the_ui_gives_the_leaderboard_of_the_command_line(
    served, finished_run, tmp_path
):
    from playwright.sync_api import expect, sync_playwright

    browsers = ("chromium", "chromium-browser", "google-chrome")
    executable = next(path for name in browsers if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(served["airflow"])
        page.fill("input[name=username]", served["user"])
        page.fill("input[name=password]", served["password"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        page.goto(f"{served['airflow']}/dags/retrain")
        page.get_by_role("button", name="Trigger").first.click()
        dialog = page.get_by_role("dialog")
        for section in (
            *("What to read", "How", "OpenAI", "What to compare", "GraphSAGE", "What follows"),
        ):
            expect(dialog.get_by_text(section, exact=True)).to_be_visible()
        dialog.get_by_role("button", name="Trigger").click()
        expect(dialog).to_be_hidden(timeout=60_000)
        deadline = time.monotonic() + 600
        report = served["workspace"] / "report.html"
        while not report.exists():
            assert time.monotonic() < deadline, "the run did not finish"
            time.sleep(2)
        page.goto(f"{served['airflow']}/dags/retrain/runs")
        expect(page.get_by_text("Success").first).to_be_visible(timeout=120_000)
        browser.close()
    board = scores_of(served["workspace"] / "leaderboard.csv")
    assert board == scores_of(finished_run / "leaderboard.csv")
    with urllib.request.urlopen(f"{served['mlflow']}/health", timeout=10) as answer:
        assert answer.status == 200
