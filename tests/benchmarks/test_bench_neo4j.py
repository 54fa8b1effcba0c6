"""The benchmark of the Neo4j store measures what it says, and says when it cannot."""

import sys

import pytest

from benchmarks import bench_neo4j
from benchmarks.runner import Measure
from tagsage.neo4j_connection import Neo4jConnection, open_driver


@pytest.mark.neo4j
@pytest.mark.slow
def test_a_small_run_prints_three_tables_and_leaves_the_database_empty(
    neo4j_server, tmp_path, monkeypatch
):
    monkeypatch.setenv(bench_neo4j.USER, "neo4j")
    monkeypatch.setenv(bench_neo4j.PASSWORD, neo4j_server.password)
    # In this process, where what is left out for the plain way must come back.
    monkeypatch.setitem(sys.modules, "neo4j._rust", sys.modules.get("neo4j._rust"))
    monkeypatch.setattr(bench_neo4j, "measure", lambda call: Measure(call(), 1.0, 2.0, 1.0))
    pid = neo4j_server.process.pid
    printed = bench_neo4j.tables(neo4j_server.uri, pid, tmp_path, articles=30, dimensions=4)
    assert printed.startswith("30 articles with 4 numbers each; driver ")
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("|")]
    names = [row[0].strip("| ") for row in rows]
    assert names == ["", "---", "plain", "tagsage"] * 3
    assert int(rows[-1][-1].strip(" |").replace(",", "")) > 100
    connection = Neo4jConnection(neo4j_server.uri, "neo4j", neo4j_server.password)
    with open_driver(connection) as driver:
        assert driver.execute_query("MATCH (n) RETURN count(n)")[0][0][0] == 0


def test_without_java_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(bench_neo4j, "missing_tools", lambda: ["Java 17 or newer", "Maven"])
    assert bench_neo4j.main("unused") == (
        "Left out: it starts Neo4j, which needs Java 17 or newer and Maven on this machine."
    )
