"""Airflow's Neo4j connection as the stages see it."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.integration.conftest import BIN, ROOT, environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CODE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from tagsage_connections import with_connections

def stage(suffix):
    from tagsage.neo4j_connection import resolve_connection
    found = resolve_connection()
    return [found.uri, found.username, found.password, found.database, found.encrypted, suffix]

wrapped = with_connections(stage)
assert wrapped.__name__ == "stage"
print(json.dumps(wrapped("done")))
"""


def seen_by_a_stage(airflow_home, **variables):
    done = subprocess.run(
        [str(BIN / "python"), "-c", CODE, str(ROOT / "plugins")],
        env={
            **environment(),
            "AIRFLOW_HOME": str(airflow_home),
            "NEO4J_URI": "bolt://of-the-environment:7687",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_connection_of_airflow_comes_before_the_environment(airflow_home):
    connection = {
        "conn_type": "neo4j",
        "host": "graph.example",
        "port": 7690,
        "login": "me",
        "password": "p@ss/word",
        "schema": "articles",
        "extra": {"neo4j_scheme": True, "certs_trusted_ca": True},
    }
    seen = seen_by_a_stage(airflow_home, AIRFLOW_CONN_NEO4J_DEFAULT=json.dumps(connection))
    assert seen == ["neo4j+s://graph.example:7690", "me", "p@ss/word", "articles", False, "done"]


def test_without_a_connection_in_airflow_the_environment_is_asked(airflow_home):
    seen = seen_by_a_stage(airflow_home)
    assert seen == ["bolt://of-the-environment:7687", "", "", "neo4j", False, "done"]
