"""Airflow's connections as the stages see them."""

from __future__ import annotations

import json
import subprocess

import pytest

from tagsage.openai_connection import RETRIES
from tests.integration.conftest import BIN, environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def printed(code, airflow_home, *arguments, **variables):
    """Run code in a process of its own and return the JSON of its last line."""
    done = subprocess.run(
        [str(BIN / "python"), "-c", code, *arguments],
        env={**environment(), "AIRFLOW_HOME": str(airflow_home), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


NEO4J = """
import json, os, sys
from tagsage.airflow.connections import with_connections

def stage():
    from tagsage.neo4j_connection import resolve_connection
    found = resolve_connection()
    return [found.uri, found.username, found.password, found.database, found.encrypted]

seen = [with_connections(stage)()]
os.environ["AIRFLOW_CONN_NEO4J_DEFAULT"] = sys.argv[1]
print(json.dumps([*seen, with_connections(stage)()]))
"""


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
    uri = "bolt://of-the-environment:7687"
    assert printed(NEO4J, airflow_home, json.dumps(connection), NEO4J_URI=uri) == [
        [uri, "", "", "neo4j", False],
        ["neo4j+s://graph.example:7690", "me", "p@ss/word", "articles", False],
    ]


OPENAI = """
import json, os, sys
from tagsage.airflow.connections import with_connections

def stage():
    from tagsage.openai_connection import resolve_openai_connection
    found = resolve_openai_connection()
    with found.client(timeout_s=5) as client:
        workload = type(client.workload_identity).__name__
        return [found.api_key, str(client.base_url), client.organization, client.max_retries,
                workload, repr(found)]

seen = []
for connection in json.loads(sys.argv[1]):
    os.environ.pop("AIRFLOW_CONN_OPENAI_DEFAULT", None)
    if connection is not None:
        os.environ["AIRFLOW_CONN_OPENAI_DEFAULT"] = json.dumps(connection)
    try:
        seen.append(with_connections(stage)())
    except SystemExit as error:
        seen.append(str(error))
print(json.dumps(seen))
"""


def test_openai_connection_of_airflow_is_read_as_the_hook_reads_it(airflow_home):
    def connection(password=None, host=None, **extra):
        return {"conn_type": "openai", "password": password, "host": host, "extra": extra}

    identity = {
        "auth_type": "workload_identity",
        "workload_identity_provider": "kubernetes",
        "identity_provider_id": "provider",
        "service_account_id": "account",
    }
    connections = [
        None,
        connection("key-of-airflow"),
        connection("key-of-airflow", "http://of-airflow:2/v1"),
        connection(
            "not-this",
            "http://nor-this:3/v1",
            openai_client_kwargs={
                **{"api_key": "key-in-extra", "base_url": "http://in-extra:4/v1/"},
                **{"organization": "org-1", "max_retries": 9},
            },
        ),
        connection(host="http://of-ollama:5/v1"),
        connection("not-this", **identity),
        connection("secret-of-airflow", auth_type="magic"),
    ]
    seen = printed(
        OPENAI,
        airflow_home,
        json.dumps(connections),
        OPENAI_API_KEY="key-of-the-environment",
        OPENAI_BASE_URL="http://of-the-environment:1/v1",
    )
    environments = "http://of-the-environment:1/v1/"
    assert [found[:5] for found in seen[:-1]] == [
        ["key-of-the-environment", environments, None, RETRIES, "NoneType"],
        ["key-of-airflow", environments, None, RETRIES, "NoneType"],
        ["key-of-airflow", "http://of-airflow:2/v1/", None, RETRIES, "NoneType"],
        ["key-in-extra", "http://in-extra:4/v1/", "org-1", 9, "NoneType"],
        # The environment's key is not for the server that the connection names.
        ["", "http://of-ollama:5/v1/", None, RETRIES, "NoneType"],
        ["", environments, None, RETRIES, "dict"],
    ]
    assert not any("key-" in found[5] for found in seen[:-1])
    assert seen[-1] == (
        "The Airflow connection openai_default is set up wrongly: Unsupported auth_type 'magic' "
        "for OpenAI connection 'openai_default'; expected 'api_key' or 'workload_identity'."
    )


SPARK = """
import json, os, sys
from tagsage.airflow.connections import with_connections

def stage():
    from tagsage.spark_connection import resolve_spark_address
    return resolve_spark_address()

seen = [with_connections(stage)()]
for connection in json.loads(sys.argv[1]):
    os.environ["AIRFLOW_CONN_SPARK_DEFAULT"] = connection
    seen.append(with_connections(stage)())
print(json.dumps(seen))
"""


def test_spark_connection_of_airflow_names_the_master(airflow_home):
    connections = [
        json.dumps({"conn_type": "spark", "host": "spark://of-airflow", "port": 7077}),
        "spark://of-a-uri:7078",
        json.dumps({"conn_type": "spark", "host": "yarn"}),
        json.dumps({"conn_type": "spark", "host": "sc://connect.example/;token=t", "port": None}),
    ]
    seen = printed(SPARK, airflow_home, json.dumps(connections), SPARK_MASTER="local[3]")
    assert seen == [
        "local[3]",
        "spark://of-airflow:7077",
        "spark://of-a-uri:7078",
        "yarn",
        "sc://connect.example/;token=t",
    ]


FAILURES = """
import json
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.airflow.connections import with_connections
from tagsage.airflow.tasks import DEFAULT_ARGS

def stage(kind):
    raise kind("It failed.")

seen = []
for kind in (TagsageError, NonRetryableError, RuntimeError):
    try:
        with_connections(stage)(kind)
    except BaseException as error:
        decision = DEFAULT_ARGS["retry_policy"].evaluate(error, 1, 2)
        seen.append([isinstance(error, SystemExit), str(error), decision.action.value])
print(json.dumps(seen))
"""


def test_our_errors_exit_with_their_sentence_and_are_retried_where_that_can_help(airflow_home):
    assert printed(FAILURES, airflow_home) == [
        [True, "It failed.", "default"],
        [True, "It failed.", "fail"],
        [False, "It failed.", "default"],
    ]
