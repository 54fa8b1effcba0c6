"""The connection to Neo4j: where it comes from, and what its failures say."""

import socket

import pytest

from scripts.neo4j_server import Neo4jServer, ServerError, free_port
from tagsage import neo4j_connection
from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection, open_driver, resolve_connection

SECRET = "s3cret-of-this-test"


@pytest.fixture(autouse=True)
def no_connection_from_outside(monkeypatch):
    monkeypatch.setattr(neo4j_connection, "_provider", None)
    for name in ("URI", "USERNAME", "PASSWORD", "DATABASE"):
        monkeypatch.delenv(f"NEO4J_{name}", raising=False)


def test_connection_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NEO4J_URI", "neo4j+s://db.example:7688")
    monkeypatch.setenv("NEO4J_USERNAME", "me")
    monkeypatch.setenv("NEO4J_PASSWORD", SECRET)
    found = resolve_connection()
    assert found == Neo4jConnection("neo4j+s://db.example:7688", "me", SECRET, "neo4j")
    assert found.auth == ("me", SECRET)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://h:7474", "must be one of bolt"),
        ("localhost:7687", "must be one of bolt"),
        ("bolt://", "must be one of bolt"),
        (f"x://a:{SECRET}@h", "must be one of bolt"),
        (f"bolt://me:{SECRET}@h:7687", "holds credentials"),
    ],
)
def test_uri_that_no_driver_takes_or_with_credentials_is_refused_without_being_shown(uri, why):
    with pytest.raises(TagsageError, match=why) as caught:
        Neo4jConnection(uri)
    assert SECRET not in str(caught.value)


def test_password_is_in_no_text_form():
    connection = Neo4jConnection("bolt://h:7687", "me", SECRET)
    assert SECRET not in f"{connection} {connection!r}"


def test_server_that_is_away_is_one_sentence():
    connection = Neo4jConnection(f"bolt://127.0.0.1:{free_port()}", "neo4j", SECRET)
    with (
        pytest.raises(
            TagsageError, match=r"does not answer \(ServiceUnavailable\); start it"
        ) as it,
        open_driver(connection),
    ):
        pass
    assert SECRET not in str(it.value)


@pytest.mark.neo4j
def test_wrong_password_is_one_sentence(neo4j_server):
    connection = Neo4jConnection(neo4j_server.uri, "neo4j", SECRET)
    with (
        pytest.raises(TagsageError, match="refused the user 'neo4j' or the password") as it,
        open_driver(connection),
    ):
        pass
    assert SECRET not in str(it.value)


@pytest.mark.neo4j
def test_database_that_is_not_there_is_named(neo4j_server):
    connection = Neo4jConnection(neo4j_server.uri, "neo4j", neo4j_server.password, "nowhere")
    with pytest.raises(TagsageError, match="has no database 'nowhere'"), open_driver(connection):
        pass


@pytest.mark.neo4j
def test_server_that_cannot_start_says_why(tmp_path):
    server = Neo4jServer(tmp_path, port=free_port(), settings={"no.such.setting": "1"})
    with pytest.raises(ServerError, match=r"Neo4j did not start: .*no\.such\.setting"):
        server.start()


def test_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"already listens on port {port}"):
            Neo4jServer(tmp_path, port=port).start()
