"""The DAG with vectors from a server by the Batch API, run by `airflow dags test`."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from scripts.openai_server import OpenAiServer
from tests.integration.conftest import BIN, environment, make_variables
from tests.integration.test_dag import settings_of
from tests.integration.test_openai_run import (
    MODEL,
    check_vectors,
    shown_pieces,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEY = "sk-proj-Bv3airflowT8rLk6YwHs1"
POLL_S = 2


@pytest.fixture(scope="module")
def server():
    # A batch takes its time, and brings some of its lines as errors.
    with OpenAiServer(api_key=KEY, batch_s=5, lost_lines=0.4) as running:
        yield running


def by_connection(server) -> dict[str, str]:
    """Return the variables for Airflow's connection to the server, and a key not to be used."""
    connection = {"conn_type": "openai", "password": KEY, "host": server.base_url}
    return {
        "AIRFLOW_CONN_OPENAI_DEFAULT": json.dumps(connection),
        "OPENAI_API_KEY": "sk-of-the-environment",
    }


def run_dag(small_corpus, home: Path, workspace: Path, variables: dict[str, str], **settings):
    """Run the DAG with the variables that lead to a server; return what it printed."""
    ours = {
        **{
            "embedder": "openai",
            "openai_model": MODEL,
            "candidates": "text:ovr_logistic",
            "scenarios": "",
        },
        **{"openai_poll_s": str(POLL_S), "openai_prices": f"{MODEL}=0.02"},
        **settings,
    }
    done = subprocess.run(
        [str(BIN / "airflow"), "dags", "test", "retrain"],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(home), TAGSAGE_WORKSPACE=str(workspace)),
            **settings_of(small_corpus),
            **{f"TAGSAGE_{name.upper()}": value for name, value in ours.items()},
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def states(home: Path) -> dict[str, list[str]]:
    """Return the states of the tasks of the latest run, by task."""
    with closing(sqlite3.connect(home / "airflow.db")) as books:
        rows = books.execute(
            "SELECT task_id, state FROM task_instance WHERE run_id = "
            "(SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1) ORDER BY map_index"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for task, state in rows:
        found.setdefault(task, []).append(state)
    return found


def test_dag_awaits_batches_without_a_worker_and_sends_online_what_they_do_not_bring(
    small_corpus, airflow_home, server, tmp_path
):
    code, said = run_dag(
        small_corpus, airflow_home, tmp_path, by_connection(server),
        openai_dimensions="24", openai_mode="batch",
    )  # fmt: skip
    assert code == 0, said[-3000:]
    check_vectors(tmp_path, 24)
    seen = states(airflow_home)
    assert seen["embed.await_job"] == ["success"]
    with closing(sqlite3.connect(airflow_home / "airflow.db")) as books:
        (looks,) = books.execute(
            "SELECT count(*) FROM task_reschedule JOIN task_instance ON ti_id = task_instance.id "
            "WHERE task_id = 'embed.await_job'"
        ).fetchone()
    assert looks >= 1
    assert {kind for kind, _ in server.charges} == {"batch", "online"}
    assert "the ceiling is $5" in said
    assert shown_pieces(KEY, said, tmp_path, airflow_home) == []
