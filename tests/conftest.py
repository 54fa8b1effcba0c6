"""A real Neo4j with GDS for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from scripts.neo4j_server import Neo4jServer, free_port
from tagsage.neo4j_connection import Neo4jConnection, open_driver

if TYPE_CHECKING:
    from neo4j import Driver

PASSWORD = "password-of-the-tests"
# Servers of tests live for seconds: what Java's second compiler makes of them costs twice the
# start, and nothing runs long enough to have use of it.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)


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
