"""`tagsage run` with the store neo4j and the engine gds, on a real server."""

from __future__ import annotations

import csv
import re

import pytest

from tagsage.neo4j_connection import open_driver
from tests.integration.conftest import ROOT, SETTINGS, run_arguments, run_in_process, scores_of

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.neo4j]

CANDIDATES = "text:ovr_logistic,text+graphsage:ovr_logistic,text+fastrp:ovr_logistic"
ON_NEO4J = {"store": "neo4j", "engine": "gds", "candidates": CANDIDATES, "scenarios": ""}


@pytest.fixture
def neo4j_named(neo4j_server, neo4j_connection, monkeypatch):
    """Name the server in the environment, as a user does; yield the connection to it."""
    for name, value in neo4j_server.environment.items():
        monkeypatch.setenv(name, value)
    return neo4j_connection


def ask(connection, query, **parameters):
    with open_driver(connection) as driver:
        records = driver.execute_query(query, parameters).records
    return [dict(record) for record in records]


def assert_nothing_is_left_in_the_catalog(connection):
    assert ask(connection, "CALL gds.graph.list() YIELD graphName RETURN graphName") == []
    assert ask(connection, "CALL gds.model.list() YIELD modelName RETURN modelName") == []


def predictions_of(workspace):
    with (workspace / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return {(row["story"], row["tag"]): row for row in csv.DictReader(file)}


def test_a_run_with_gds_leaves_its_predictions_in_neo4j_and_nothing_in_the_catalog(
    small_corpus, neo4j_named, neo4j_server, tmp_path
):
    done = run_in_process(*run_arguments(small_corpus, tmp_path, **ON_NEO4J))
    assert done.returncode == 0, done.stderr
    assert_nothing_is_left_in_the_catalog(neo4j_named)
    board = scores_of(tmp_path / "leaderboard.csv")
    assert {row["candidate"] for row in board} == {*CANDIDATES.split(",")}

    (counts,) = ask(
        neo4j_named,
        "MATCH (a:Article) WITH count(a) AS articles, count(a.lsaEmbedding) AS vectors, "
        "count(a.graphSAGE) AS embeddings, collect(DISTINCT size(a.graphSAGE)) AS sizes "
        "RETURN articles, vectors, embeddings, sizes",
    )
    assert counts["articles"] == counts["vectors"] == counts["embeddings"] > 2000
    assert counts["sizes"] == [int(SETTINGS["graphsage_dimensions"])]
    written = ask(
        neo4j_named,
        "MATCH (a:Article)-[p:PREDICTED_TAG]->(t:Tag) "
        "RETURN a.url AS story, t.name AS tag, p.assigned AS assigned, p.model_version AS version",
    )
    published = predictions_of(tmp_path)
    assert {(row["story"], row["tag"]) for row in written} == published.keys()
    assert len(written) == len(published)
    for row in written:
        expected = published[row["story"], row["tag"]]
        assert row["version"] == expected["model_version"]
        assert row["assigned"] is (expected["assigned"] == "1")
    (example,) = re.findall(r"```cypher\n(.*?)```", (ROOT / "docs/neo4j.md").read_text(), re.DOTALL)
    likeliest = max(
        (row for row in published.values() if row["assigned"] == "1"),
        key=lambda row: float(row["score"]),
    )
    asked = ask(neo4j_named, example.replace("'search'", "$tag"), tag=likeliest["tag"])
    assert asked[0]["p.score"] == pytest.approx(float(likeliest["score"]))

    for file in tmp_path.rglob("*"):
        assert file.is_dir() or neo4j_server.password.encode() not in file.read_bytes(), file
