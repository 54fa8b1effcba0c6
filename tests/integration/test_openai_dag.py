"""The DAG with vectors from a server by the Batch API, run by `airflow dags test`."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing

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


def test_dag_awaits_batches_without_a_worker_and_sends_online_what_they_do_not_bring(
    small_corpus, airflow_home, server, tmp_path
):
    settings = {
        "embedder": "openai",
        "openai_mode": "batch",
        "openai_model": MODEL,
        "openai_dimensions": "24",
        "openai_poll_s": str(POLL_S),
        "openai_prices": f"{MODEL}=0.02",
        "candidates": "text:ovr_logistic",
        "scenarios": "",
    }
    connection = {"conn_type": "openai", "password": KEY, "host": server.base_url}
    done = subprocess.run(
        [str(BIN / "airflow"), "dags", "test", "retrain"],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(airflow_home), TAGSAGE_WORKSPACE=str(tmp_path)),
            **settings_of(small_corpus, **settings),
            "AIRFLOW_CONN_OPENAI_DEFAULT": json.dumps(connection),
            "OPENAI_API_KEY": "sk-of-the-environment",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    check_vectors(tmp_path, 24)
    with closing(sqlite3.connect(airflow_home / "airflow.db")) as database:
        states = database.execute(
            "SELECT state FROM task_instance WHERE task_id = 'embed.await_job' AND run_id = "
            "(SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1)"
        ).fetchall()
        (looks,) = database.execute(
            "SELECT count(*) FROM task_reschedule JOIN task_instance ON ti_id = task_instance.id "
            "WHERE task_id = 'embed.await_job'"
        ).fetchone()
    assert states == [("success",)]
    assert looks >= 1
    assert {kind for kind, _ in server.charges} == {"batch", "online"}
    assert "the ceiling is $5" in said
    assert shown_pieces(KEY, said, tmp_path, airflow_home) == []
