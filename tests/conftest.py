"""The order of the files; a real Neo4j with GDS and a real Postgres for tests that need them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from hypothesis import HealthCheck, settings

from scripts.neo4j_server import Neo4jServer, free_port
from tagsage.neo4j_connection import Neo4jConnection, open_driver

if TYPE_CHECKING:
    from neo4j import Driver

# The files that take longest, the longest first: a worker that began one of them last would leave
# the others idle. One that mostly waits stands between two that use all cores.
LONGEST = (
    "tests/integration/test_compose.py",
    "tests/integration/test_scheduler.py",
    "tests/integration/test_run.py",
    "tests/integration/test_openai_run.py",
    "tests/integration/test_dag.py",
    "tests/graph/test_gds_engine.py",
    "tests/integration/test_promotion.py",
    "tests/integration/test_neo4j_run.py",
    "tests/integration/test_bad_input.py",
    "tests/integration/test_predictions.py",
    "tests/integration/test_readme.py",
    "tests/store/test_neo4j.py",
    "tests/store/test_store_contract.py",
    "tests/graph/test_engine_contract.py",
    "tests/harvest/test_crawl.py",
)
# A machine that is busy is slow, and nothing is wrong with the test.
settings.register_profile(
    "busy", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

PASSWORD = "password-of-the-tests"
# Servers of tests live for seconds: what Java's second compiler makes of them costs twice the
# start, and nothing runs long enough to have use of it.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)


def pytest_collection_modifyitems(config, items):
    """Put the longest files first where several workers share the tests."""
    if not hasattr(config, "workerinput"):
        return
    root = Path(__file__).resolve().parents[1]
    places = {root / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory) -> Iterator[Neo4jServer]:
    """One server for the whole session; tests that break it start their own."""
    home = tmp_path_factory.mktemp("neo4j")
    server = Neo4jServer(
        home, port=free_port(), password=PASSWORD, heap_mb=3072, java_options=SHORT_LIVED
    )
    with server:
        yield server


def connection_to(server: Neo4jServer) -> Neo4jConnection:
    """Return the connection to a server of the tests."""
    return Neo4jConnection(server.uri, "neo4j" if server.password else "", server.password)


@pytest.fixture
def neo4j_connection(neo4j_server) -> Neo4jConnection:
    """Return the connection to the server, its database and its graph catalog emptied."""
    connection = connection_to(neo4j_server)
    with open_driver(connection) as driver:
        empty(driver)
    return connection


def empty(driver: Driver) -> None:
    """Remove all nodes, projected graphs and models; constraints take long to make anew."""
    with driver.session() as session:
        session.run(
            "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS"
        ).consume()
        session.run("CALL gds.graph.list() YIELD graphName CALL gds.graph.drop(graphName) "
                    "YIELD graphName AS dropped RETURN dropped").consume()  # fmt: skip
        session.run("CALL gds.model.list() YIELD modelName CALL gds.model.drop(modelName) "
                    "YIELD modelName AS dropped RETURN dropped").consume()  # fmt: skip


def postgres_programs():
    """Return the folder of Postgres' programs: on the path, or where Debian has them."""
    found = shutil.which("initdb")
    return Path(found).parent if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[None]:
    """Start a Postgres that trusts this machine; the store finds it by the variables."""
    port, programs = free_port(), postgres_programs()
    # Postgres refuses to be root, and pytest's folders are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="tagsage-postgres-"))
    as_nobody = []
    if os.getuid() == 0:
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    initdb = [*as_nobody, programs / "initdb", "--pgdata", folder / "data", "--no-sync"]
    initdb += ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    subprocess.run(initdb, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    server = [*as_nobody, programs / "pg_ctl", "--pgdata", folder / "data", "--wait", "--silent"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    log = ["--log", folder / "log", "--options", options]
    subprocess.run([*server, *log, "start"], cwd=folder, check=True)
    variables = {"HOST": "127.0.0.1", "PORT": port, "USER": "postgres", "DATABASE": "postgres"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"PG{name}", str(value))
        yield
    subprocess.run([*server, "--mode=immediate", "stop"], cwd=folder, check=True)
    shutil.rmtree(folder)


@pytest.fixture
def postgres(postgres_server) -> None:
    """Empty the Postgres database."""
    empty_postgres()


def empty_postgres() -> None:
    """Remove all tables."""
    with closing(psycopg2.connect("")) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
