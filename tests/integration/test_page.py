"""The pages in a real Airflow: mounted, in its navigation, behind its login and permissions."""

from __future__ import annotations

import json
import subprocess

import pandas as pd
import pytest

from tagsage.app.published import published
from tagsage.app.runs import read_home
from tagsage.app.tags import list_tags
from tagsage.store.database import sqlite_url
from tests.app.conftest import fill
from tests.integration.conftest import BIN, environment, make_variables

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ASK = """
import json, sys
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import delete
import tagsage_page

app = create_app(apps="core")
mounted = next(route.app for route in app.routes if route.path == "/tagsage")
guarded = tagsage_page.make_app()
paths = [route.path.replace("{path:path}", "any/where") for route in guarded.routes]
assert all(isinstance(route, APIRoute) for route in guarded.routes)
paths += ["/search?q=graph", "/article?key=host.example/graphs", "/tag?name=python"]
with create_session() as session:
    for number in (1, 2):
        session.add(DagRun(dag_id="retrain", run_id=f"run-{number}", run_type="manual",
                           state="failed" if number == 2 else "success"))
answers = {}
for who in ("nobody", "forged", "no role", "viewer"):
    client = TestClient(app)
    if who == "forged":
        client.cookies.set("_token", "eyJhbGciOiJIUzUxMiJ9.e30.x")
    elif who != "nobody":
        user = SimpleAuthManagerUser(username="x", role=None if who == "no role" else who)
        client.cookies.set("_token", get_auth_manager().generate_jwt(user))
    answers[who] = {
        f"{method} {path}": client.request(method, f"/tagsage{path}").status_code
        for path in paths
        for method in ("GET", "POST")
    }
    if who == "viewer":
        home = client.get("/tagsage/").text
        plugins = client.get("/api/v2/plugins").json()["plugins"]
# Other tests use this database, too.
with create_session() as session:
    session.execute(delete(DagRun).where(DagRun.run_id.in_(["run-1", "run-2"])))
heavy = ("pandas", "jax", "mlflow", "matplotlib", "sklearn")
print(json.dumps({
    "answers": answers,
    "home": home,
    "plugin": next(one for one in plugins if one["name"] == "tagsage_page"),
    "mounted": type(mounted).__name__,
    "heavy": [name for name in heavy if name in sys.modules],
}))
"""


@pytest.fixture(scope="module")
def asked(airflow_home, tmp_path_factory):
    """Ask Airflow's own app for every address, as four people."""
    workspace = tmp_path_factory.mktemp("workspace")
    fill(sqlite_url(workspace / "tagsage.db"), workspace)
    (workspace / "report.html").write_text("<!doctype html>", encoding="utf-8")
    done = subprocess.run(
        [str(BIN / "python"), "-c", ASK],
        env={
            **environment(),
            **make_variables(AIRFLOW_HOME=str(airflow_home), TAGSAGE_WORKSPACE=str(workspace)),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_without_a_session_or_the_right_to_read_the_dag_no_address_answers(asked):
    assert len(asked["answers"]["nobody"]) > 20
    assert set(asked["answers"]["nobody"].values()) == {401}
    # Airflow's own middleware refuses what it did not sign.
    assert set(asked["answers"]["forged"].values()) == {403}
    assert set(asked["answers"]["no role"].values()) == {403}


def test_who_may_read_the_dag_sees_every_page_and_can_send_nothing(asked):
    answers = asked["answers"]["viewer"]
    assert {status for name, status in answers.items() if name.startswith("POST")} == {405}
    read = {name: status for name, status in answers.items() if name.startswith("GET")}
    # These three want parameters, or are the one that nothing answers to.
    odd = {"GET /article": 422, "GET /tag": 422, "GET /any/where": 404}
    assert {name: status for name, status in read.items() if status != 200} == odd


def test_first_page_knows_the_latest_run_of_airflow(asked):
    assert "run-2" in asked["home"]
    assert "run-1" not in asked["home"]
    assert "Failed" in asked["home"]


def test_airflow_links_to_the_pages_and_imports_nothing_heavy_for_them(asked):
    view = asked["plugin"]["external_views"][0]
    assert (view["name"], view["href"], view["destination"]) == ("tagsage", "/tagsage/", "nav")
    assert asked["mounted"] == "Pages"
    assert asked["heavy"] == []


def test_a_run_publishes_what_it_predicted(finished_run):
    predictions = pd.read_csv(finished_run / "predictions.csv", keep_default_na=False)
    board = pd.read_csv(finished_run / "leaderboard.csv")
    with published(sqlite_url(finished_run / "tagsage.db")) as connection:
        home = read_home(connection)
        learned = list_tags(connection)
        assigned = connection.exec_driver_sql("SELECT sum(n_assigned) FROM tags").scalar_one()
        without = connection.exec_driver_sql(
            "SELECT count(*) FROM predictions WHERE threshold IS NULL"
        ).scalar_one()
    assert (assigned, without) == (predictions["assigned"].sum(), 0)
    assert [row["candidate"] for row in home.run["leaderboard"]] == board["candidate"].tolist()
    assert home.run["predicted"]["articles"] == predictions["story"].nunique()
    assert home.run["mlflow"]["run"]
    assert all(line.f1 is not None for line in learned.tags)
    assert [line["winner"] for line in home.runs] == [board["candidate"][0]]
