"""The engine on a server: what the server refuses, keeps too long, or holds by mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neo4j.exceptions import Neo4jError

from scripts.neo4j_server import Neo4jServer, free_port
from tagsage.errors import TagsageError
from tagsage.graph.csr import save_csr
from tagsage.graph.gds import GdsEngine
from tagsage.graph.gds_server import gds_sentence
from tagsage.neo4j_connection import Neo4jConnection, open_driver
from tests.conftest import SHORT_LIVED, connection_to
from tests.graph.conftest import PROPERTY, Corpus, fill_database, random_corpus, settings_of


@pytest.fixture
def corpus(neo4j_connection: Neo4jConnection, tmp_path: Path) -> Corpus:
    """Return a small corpus that the database holds, with an engine there."""
    members, vectors = random_corpus()
    fill_database(neo4j_connection, members, vectors)
    return Corpus(GdsEngine(neo4j_connection, owner="0a1b"), tmp_path, members, vectors)


def ask(connection: Neo4jConnection, query: str, **parameters: Any) -> list[Any]:
    with open_driver(connection) as driver:
        return driver.execute_query(query, parameters).records


def in_catalog(connection: Neo4jConnection) -> set[str]:
    """Return the names of the graphs and models on the server."""
    graphs = ask(connection, "CALL gds.graph.list() YIELD graphName")
    models = ask(connection, "CALL gds.model.list() YIELD modelName")
    return {row[0] for row in [*graphs, *models]}


def project_by_hand(connection: Neo4jConnection, *names: str) -> None:
    for name in names:
        ask(connection, "CALL gds.graph.project($name, 'Article', 'IN_LIST')", name=name)


def train_by_hand(connection: Neo4jConnection, *names: str) -> None:
    ask(
        connection,
        "CALL gds.graph.project('by hand', {Article: {properties: [$property]}, List: {}}, "
        "'IN_LIST')",
        property=PROPERTY,
    )
    for name in names:
        ask(
            connection,
            "CALL gds.beta.graphSage.train('by hand', {modelName: $name, nodeLabels: ['Article'], "
            "featureProperties: [$property], embeddingDimension: 2, maxIterations: 1})",
            name=name,
            property=PROPERTY,
        )
    ask(connection, "CALL gds.graph.drop('by hand')")


# -- what is refused -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "java.lang.IllegalStateException: Procedure was blocked since minimum estimated memory "
            "(5 GiB) exceeds current free memory (1 GiB).",
            r"too little memory for the graph: Procedure was blocked .*heap\.max_size",
        ),
        ("java.lang.OutOfMemoryError: Java heap space", r"too little memory .*similarity_top_k"),
        ("java.lang.IllegalArgumentException: no such property", r"could not do this: no such"),
    ],
)
def test_what_a_procedure_says_becomes_one_sentence(said: str, expected: str) -> None:
    error = Neo4jError._hydrate_neo4j(
        code="Neo.ClientError.Procedure.ProcedureCallFailed",
        message=f"Failed to invoke procedure `gds.it`: Caused by: {said}",
    )
    sentence = gds_sentence(Neo4jConnection("bolt://host:1"), error)
    assert sentence is not None
    with pytest.raises(TagsageError, match=f"host:1.* {expected}"):
        raise TagsageError(sentence)
    assert sentence.endswith(".")


@pytest.mark.neo4j
def test_a_server_without_gds_is_refused_in_one_sentence(tmp_path: Path) -> None:
    bare = Neo4jServer(
        tmp_path / "home", port=free_port(), heap_mb=512, with_gds=False, java_options=SHORT_LIVED
    )
    with (
        bare as server,
        pytest.raises(TagsageError, match=r"has no Graph Data Science; install the plugin"),
    ):
        GdsEngine(connection_to(server), owner="0a1b").teardown()


@pytest.mark.neo4j
@pytest.mark.parametrize(
    "change",
    [
        "CREATE (:Article {key: 'another'})",
        "MATCH (a:Article) WITH a LIMIT 1 SET a.key = 'another'",
        "MATCH ()-[m:IN_LIST]->() WITH m LIMIT 1 DELETE m",
    ],
)
def test_another_corpus_in_the_database_is_refused(corpus: Corpus, change: str) -> None:
    ask(corpus.engine._connection, change)
    with pytest.raises(TagsageError, match="is not this run's corpus any more; run again"):
        corpus.study()
    assert in_catalog(corpus.engine._connection) == set()


@pytest.mark.neo4j
@pytest.mark.parametrize("value", ["null", "[1.0]"])
def test_a_vector_that_cannot_be_used_stops_the_training(corpus: Corpus, value: str) -> None:
    connection = corpus.engine._connection
    ask(connection, f"MATCH (a:Article) WITH a LIMIT 1 SET a.{PROPERTY} = {value}")
    with pytest.raises(TagsageError, match=r"Graph Data Science at .* could not do this"):
        corpus.study(sample_ratio=1.0)
    assert in_catalog(connection) == set()


@pytest.mark.neo4j
def test_a_learning_rate_that_leads_nowhere_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TagsageError, match=r"GraphSAGE.*(learning_rate|debug\.log)"):
        corpus.study(graphsage_learning_rate=1e200, graphsage_epochs=3)
    assert in_catalog(corpus.engine._connection) == set()


# -- what is in the catalog ----------------------------------------------------------------------
@pytest.mark.neo4j
def test_what_killed_runs_left_is_dropped_and_what_is_not_ours_stays(corpus: Corpus) -> None:
    connection = corpus.engine._connection
    strangers = {"tagsage-ffff-r0", "someone's", "someone's model"}
    project_by_hand(connection, "tagsage-0a1b-r0", "tagsage-ffff-r0", "someone's")
    train_by_hand(connection, "tagsage-0a1b-r0-graphsage", "someone's model")
    with corpus.opened() as graph:
        graph.similarity()
        graph.sample(0)
        ours = {graph.name, f"{graph.name}-sample"}
        assert in_catalog(connection) == strangers | ours
        # Another workspace at the same time.
        other = Corpus(GdsEngine(connection, owner="eeee"), corpus.folder, *random_corpus())
        assert other.study()[0]["trained"] is True
        assert in_catalog(connection) == strangers | ours
    assert in_catalog(connection) == strangers
    project_by_hand(connection, "tagsage-0a1b-r0")
    corpus.engine.teardown()
    corpus.engine.teardown()
    assert in_catalog(connection) == strangers


@pytest.mark.neo4j
def test_a_full_model_catalog_is_told_in_one_sentence(corpus: Corpus) -> None:
    train_by_hand(corpus.engine._connection, "one", "two", "three")
    with pytest.raises(TagsageError, match=r"keeps no more models: .*gds\.model\.drop"):
        corpus.study()


@pytest.mark.neo4j
def test_two_studies_with_the_same_seed_sample_and_learn_the_same(corpus: Corpus) -> None:
    first, embeddings = corpus.study()
    embeddings = np.array(embeddings)
    again, repeated = corpus.study()
    np.testing.assert_allclose(again["epoch_losses"], first["epoch_losses"], rtol=1e-6)
    np.testing.assert_allclose(repeated, embeddings, atol=1e-5)


# -- servers and tasks that die ------------------------------------------------------------------
TRAINING = """
import json, sys
from pathlib import Path
import numpy as np
from tagsage.errors import TagsageError
from tagsage.graph import compute, gds
from tagsage.graph.csr import load_csr
from tagsage.neo4j_connection import resolve_connection
from tagsage.settings import Settings
gds.TOLERANCE = 0.0
engine = gds.GdsEngine(resolve_connection(), owner="0a1b")
folder, settings, where = Path(sys.argv[1]), Settings(**json.loads(sys.argv[2])), sys.argv[3]
vectors = np.load(folder / "vectors.npy")
try:
    compute.compute_graph(
        engine, folder, load_csr(folder / "members"), vectors, settings, **json.loads(where)
    )
except TagsageError as error:
    sys.exit(str(error))
"""


def start_training(connection: Neo4jConnection, corpus: Corpus) -> subprocess.Popen[str]:
    """Start an endless training in a process of its own; return when the server is at it."""
    environment = {
        **os.environ,
        "NEO4J_URI": connection.uri,
        "NEO4J_USERNAME": connection.username,
        "NEO4J_PASSWORD": connection.password,
    }
    save_csr(corpus.folder / "members", corpus.members)
    np.save(corpus.folder / "vectors.npy", corpus.vectors)
    settings = settings_of(graphsage_epochs=100_000).model_dump_json(exclude_unset=True)
    task = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(corpus.folder), settings, json.dumps(corpus.where)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "GraphSageTrain" not in tasks_of(connection):
        assert task.poll() is None, ended(task)
        time.sleep(0.05)
    return task


def tasks_of(connection: Neo4jConnection) -> set[str]:
    return {row[0] for row in ask(connection, "CALL gds.listProgress() YIELD taskName")}


def ended(task: subprocess.Popen[str]) -> str:
    return task.communicate(timeout=120)[1]


@pytest.mark.neo4j
@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_is_told_and_the_next_try_heals(tmp_path: Path) -> None:
    server = Neo4jServer(
        tmp_path / "home", port=free_port(), heap_mb=1024, java_options=SHORT_LIVED
    )
    with server:
        connection = connection_to(server)
        corpus = Corpus(GdsEngine(connection, owner="0a1b"), tmp_path, *random_corpus())
        fill_database(connection, corpus.members, corpus.vectors)
        task = start_training(connection, corpus)
        server.kill()
        assert "does not answer" in ended(task)
        with pytest.raises(TagsageError, match="does not answer"):
            corpus.engine.teardown()
        server.start()
        assert corpus.study()[0]["trained"] is True
        assert in_catalog(connection) == set()


@pytest.mark.neo4j
@pytest.mark.slow
def test_a_task_killed_while_it_trains_can_be_run_again_and_leaves_nothing(
    corpus: Corpus,
) -> None:
    connection = corpus.engine._connection
    task = start_training(connection, corpus)
    task.kill()
    ended(task)
    assert corpus.study()[0]["trained"] is True
    # The server notices late that nobody waits, and may keep the model all the same.
    while "GraphSageTrain" in tasks_of(connection):
        time.sleep(0.05)
    corpus.engine.teardown()
    assert in_catalog(connection) == set()
