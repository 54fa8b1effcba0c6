"""The engine on a server: what a server forgets, refuses, keeps too long, or holds by mistake."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from neo4j.exceptions import Neo4jError

from scripts.neo4j_server import Neo4jServer, free_port
from tagsage.errors import TagsageError
from tagsage.graph.base import SampleConfig
from tagsage.graph.gds import engine as engine_module
from tagsage.graph.gds.engine import GdsEngine
from tagsage.graph.gds.memory import (
    Heap,
    graphsage_bytes,
    projection_bytes,
    refuse_if_short,
    similarity_bytes,
)
from tagsage.graph.gds.names import RunNames
from tagsage.graph.gds.server import met_another, open_gds, refuse_old
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.similarity import SimilarityConfig
from tagsage.neo4j_connection import Neo4jConnection, open_driver
from tests.conftest import SHORT_LIVED, connection_to
from tests.graph.conftest import PROPERTY, Study, fill_database, keys_of

SAGE = GraphSageConfig(dimensions=8, sample_sizes=(3, 3), epochs=2, batch_size=5)
ARTICLES, LISTS = 40, 12


def corpus() -> tuple[sp.csr_array, np.ndarray]:
    random = np.random.default_rng(0)
    dense = (random.random((ARTICLES, LISTS)) < 0.15).astype(np.float32)
    return sp.csr_array(dense), random.normal(size=(ARTICLES, 6)).astype(np.float32)


def engine_on(connection: Neo4jConnection, run_id: str = "r1", owner: str = "0a1b") -> GdsEngine:
    return GdsEngine(connection, run_id=run_id, owner=owner)


@pytest.fixture
def study(neo4j_connection: Neo4jConnection, tmp_path: Path) -> Study:
    """A small corpus in the database, and the engine."""
    incidence, vectors = corpus()
    fill_database(neo4j_connection, incidence, vectors)
    return Study(engine_on(neo4j_connection), tmp_path, incidence, vectors)


def ask(connection: Neo4jConnection, query: str, **parameters: Any) -> list[Any]:
    with open_driver(connection) as driver:
        return driver.execute_query(query, parameters).records


def graphs(connection: Neo4jConnection) -> set[str]:
    return {row[0] for row in ask(connection, "CALL gds.graph.list() YIELD graphName")}


def models(connection: Neo4jConnection) -> set[str]:
    return {row[0] for row in ask(connection, "CALL gds.model.list() YIELD modelName")}


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


# -- names ---------------------------------------------------------------------------------------
def test_names_hold_the_workspace_and_the_run_as_safe_text() -> None:
    names = RunNames("0a1b", "scheduled__2026-01-01T00:00:00+00:00")
    assert names.graph == "tagsage-0a1b-scheduled__2026-01-01T00_00_00_00_00"
    assert names.owns(names.sample)
    assert names.owns(names.model)
    assert not names.owns("tagsage-0a1b-other")
    assert names.related("tagsage-0a1b-other")
    assert not names.related("tagsage-0a1b2-other")


# -- memory --------------------------------------------------------------------------------------
def test_a_graph_that_cannot_fit_is_refused_with_the_numbers() -> None:
    refuse_if_short("It", 3_000_000_000, Heap(3_000_000_000, 4_000_000_000))
    with pytest.raises(TagsageError) as error:
        refuse_if_short("It", 5_500_000_000, Heap(3_000_000_000, 4_000_000_000))
    assert str(error.value) == (
        "It needs about 5.5 GB of Neo4j's memory, and 3.0 GB of 4.0 GB are free; set "
        "server.memory.heap.max_size to 7.5g or more in neo4j.conf, start Neo4j anew and run again."
    )


def test_the_memory_of_vectors_grows_with_their_length() -> None:
    one, more = (projection_bytes(1000, 10, 5000, d) for d in (1, 1537))
    assert more - one == 1000 * 1536 * 4
    small, large = (graphsage_bytes(10**6, 1000, d, SAGE, 4) for d in (100, 200))
    # All articles' features at once, in double precision.
    assert large - small >= 10**6 * 100 * 8


def test_the_memory_of_the_similarity_is_bounded_by_top_k_and_by_the_lists() -> None:
    sizes = np.array([3, 100])
    few, many = (similarity_bytes(sizes, 103, SimilarityConfig(top_k=k)) for k in (10, 100))
    assert 103 * 16 * 10 < few < many / 5
    without = similarity_bytes(sizes, 103, SimilarityConfig(top_k=100, max_list_size=50))
    assert without < many - 9000 * 8


@pytest.mark.neo4j
@pytest.mark.parametrize("stage", ["Projecting", "The similarity of", "GraphSAGE on"])
def test_too_little_memory_is_told_before_the_server_is_asked(
    study: Study, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        projection, _ = study.project()
        similarity, _, _ = study.similarity(projection)
        sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
        study.graphsage(similarity, sample, SAGE)

    def refuse(what: str, needed: int, heap: Heap) -> None:
        assert 0 < heap.free <= heap.max
        if what.startswith(stage):
            heap = Heap(needed - 1, heap.max)
        refuse_if_short(what, needed, heap)

    monkeypatch.setattr(engine_module.memory, "refuse_if_short", refuse)
    with pytest.raises(TagsageError, match=f"{stage} 40 articles needs about .* start Neo4j anew"):
        run()


@pytest.mark.neo4j
def test_what_no_server_has_is_refused_with_the_memory_of_this_one(study: Study) -> None:
    connection = study.engine._connection
    study.project()
    with open_gds(connection, 4) as server:
        server.refuse_if_short("It", 1_000_000)
        with pytest.raises(TagsageError, match=r"It needs about 1000\.0 GB .* of 3\.2 GB are free"):
            server.refuse_if_short("It", 10**12)


# -- versions ------------------------------------------------------------------------------------
def test_a_gds_that_is_too_old_is_refused() -> None:
    refuse_old("bolt://host:1", "2.13.0")
    refuse_old("bolt://host:1", "3.0.0-alpha01")
    with pytest.raises(
        TagsageError, match=r"Science 2\.12\.1 of Neo4j at bolt://host:1 is too old"
    ):
        refuse_old("bolt://host:1", "2.12.1")


@pytest.mark.neo4j
def test_a_server_without_gds_is_told_in_one_sentence(tmp_path: Path) -> None:
    bare = Neo4jServer(
        tmp_path / "home",
        port=free_port(),
        heap_mb=512,
        with_gds=False,
        java_options=SHORT_LIVED,
    )
    with (
        bare as server,
        pytest.raises(TagsageError, match=r"has no Graph Data Science; install the plugin"),
    ):
        engine_on(connection_to(server)).teardown()


@pytest.mark.neo4j
def test_more_workers_than_gds_allows_are_cut_to_four(study: Study) -> None:
    study.engine = GdsEngine(study.engine._connection, run_id="r1", owner="0a1b", concurrency=64)
    similarity, summary, _ = study.similarity(study.project()[0])
    assert summary["relationships"] > 0
    study.components(similarity)


def test_no_worker_is_refused() -> None:
    with pytest.raises(TagsageError, match="concurrency must be at least 1, not 0"):
        GdsEngine(Neo4jConnection("bolt://host:1"), run_id="r", owner="a", concurrency=0)


# -- what the database holds ---------------------------------------------------------------------
@pytest.mark.neo4j
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("CREATE (:Article {key: 'another'})", r"\(41 articles, \d+ memberships\) is not"),
        ("MATCH (a:Article) WITH a LIMIT 1 SET a.key = 'another'", "is not this run's corpus"),
        ("MATCH ()-[m:IN_LIST]->() WITH m LIMIT 1 DELETE m", "is not this run's corpus any more"),
    ],
)
def test_another_corpus_in_the_database_is_told(study: Study, change: str, message: str) -> None:
    connection = study.engine._connection
    projection, _ = study.project()
    ask(connection, change)
    with pytest.raises(TagsageError, match=message):
        study.project()
    with pytest.raises(TagsageError, match=message):
        study.similarity(projection)


@pytest.mark.neo4j
def test_memberships_that_moved_are_noticed_when_the_graph_is_made_again(study: Study) -> None:
    connection = study.engine._connection
    similarity, _, _ = study.similarity(study.project()[0])
    study.engine.teardown()
    ask(connection, "MATCH (a)-[m:IN_LIST]->() WITH * LIMIT 15 DELETE m CREATE (l:List) "
        "CREATE (a)-[:IN_LIST]->(l)")  # fmt: skip
    with pytest.raises(TagsageError, match="is not this run's corpus any more"):
        study.components(similarity)
    assert graphs(connection) == set()


@pytest.mark.neo4j
def test_vectors_that_cannot_be_used_are_counted_before_anything_is_projected(
    study: Study,
) -> None:
    connection = study.engine._connection
    for number, value in enumerate(["[0.0, 1.0, 2.0, 3.0, 4.0, 0.0/0.0]", "[1.0]", "null", "null"]):
        ask(
            connection,
            f"MATCH (a:Article {{key: $key}}) SET a.{PROPERTY} = {value}",
            key=keys_of(ARTICLES)[number],
        )
    with pytest.raises(TagsageError) as error:
        study.project()
    assert str(error.value) == (
        f"The property {PROPERTY} in Neo4j cannot be used: there are 2 articles without it and "
        "1 articles where it has not 6 numbers and 1 articles where it holds what is no finite "
        "number; run again from the stage that stores the vectors."
    )
    assert graphs(connection) == set()


@pytest.mark.neo4j
def test_vectors_of_another_run_are_told_before_training(study: Study) -> None:
    projection, _ = study.project()
    similarity, _, _ = study.similarity(projection)
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    vectors = np.load(study.vectors)
    np.save(study.vectors, vectors[::-1])
    with pytest.raises(TagsageError, match=rf"vectors in Neo4j \({PROPERTY}\) are not this run's"):
        study.graphsage(similarity, sample, SAGE)
    np.save(study.vectors, vectors[:, :5])
    with pytest.raises(TagsageError, match=r"40 articles where it has not 5 numbers"):
        study.graphsage(similarity, sample, SAGE)
    np.save(study.vectors, vectors[:7])
    with pytest.raises(TagsageError, match="There are 7 vectors for 40 articles of the graph"):
        study.graphsage(similarity, sample, SAGE)


@pytest.mark.neo4j
def test_a_projection_without_vectors_cannot_be_trained_on(study: Study) -> None:
    similarity, _, _ = study.similarity(study.project("")[0])
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    with pytest.raises(TagsageError, match="was projected without vectors; run again"):
        study.graphsage(similarity, sample, SAGE)


@pytest.mark.neo4j
def test_the_model_leaves_the_catalog_once_the_embeddings_are_here(study: Study) -> None:
    similarity, _, _ = study.similarity(study.project()[0])
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    _, embeddings = study.graphsage(similarity, sample, SAGE)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert models(study.engine._connection) == set()


@pytest.mark.neo4j
def test_a_learning_rate_that_leads_nowhere_is_told(study: Study) -> None:
    similarity, _, _ = study.similarity(study.project()[0])
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    config = GraphSageConfig(dimensions=8, sample_sizes=(3,), epochs=3, learning_rate=1e200)
    with pytest.raises(TagsageError, match=r"GraphSAGE.*(learning rate|debug\.log)"):
        study.graphsage(similarity, sample, config)
    study.engine.teardown()
    assert models(study.engine._connection) == set()


@pytest.mark.neo4j
def test_a_weight_that_gds_does_not_take_is_refused(study: Study, tmp_path: Path) -> None:
    similarity, _, _ = study.similarity(study.project()[0])
    with pytest.raises(TagsageError, match=r"only whole numbers as graphsage_negative_weight"):
        study.graphsage(similarity, tmp_path, GraphSageConfig(negative_weight=2.5))


# -- what is in the catalog ----------------------------------------------------------------------
@pytest.mark.neo4j
def test_leftovers_of_other_runs_are_dropped_and_named_and_strangers_stay(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    connection = study.engine._connection
    project_by_hand(
        connection,
        *("tagsage-0a1b-r0", "tagsage-0a1b-r0-sample", "tagsage-ffff-r0", "someone's", "tagsage"),
    )
    train_by_hand(connection, "tagsage-0a1b-r0-graphsage", "someone's")
    with caplog.at_level(logging.WARNING):
        study.project()
    assert graphs(connection) == {"tagsage-0a1b-r1", "tagsage-ffff-r0", "someone's", "tagsage"}
    assert models(connection) == {"someone's"}
    assert "tagsage-0a1b-r0, tagsage-0a1b-r0-sample, tagsage-0a1b-r0-graphsage" in caplog.text
    # A run that projects nothing finds them at its end.
    project_by_hand(connection, "tagsage-0a1b-r0")
    study.engine.teardown()
    assert graphs(connection) == {"tagsage-ffff-r0", "someone's", "tagsage"}


@pytest.mark.neo4j
def test_what_anyone_left_a_day_ago_is_dropped(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = study.engine._connection
    project_by_hand(connection, "tagsage-ffff-r0", "someone's")
    # As if it were a day later.
    monkeypatch.setattr(engine_module, "ABANDONED_AFTER", engine_module.timedelta(0))
    study.project()
    assert graphs(connection) == {"tagsage-0a1b-r1", "someone's"}


@pytest.mark.neo4j
def test_a_graph_of_our_name_that_is_not_ours_is_made_anew(study: Study) -> None:
    connection = study.engine._connection
    project_by_hand(connection, "tagsage-0a1b-r1", "tagsage-0a1b-r1-whole")
    projection, _ = study.project()
    config = SimilarityConfig(max_list_size=6)
    similarity, _, degrees = study.similarity(projection, config)
    study.engine.teardown()
    # Half of what the similarity needs: as an attempt that was killed leaves it.
    project_by_hand(connection, "tagsage-0a1b-r1", "tagsage-0a1b-r1-whole")
    assert np.array_equal(np.diff(study.engine.neighbours(similarity).indptr), degrees)
    assert graphs(connection) == {"tagsage-0a1b-r1"}


@pytest.mark.neo4j
def test_a_full_model_catalog_is_told_with_the_names(study: Study) -> None:
    connection = study.engine._connection
    train_by_hand(connection, "one", "two", "three")
    similarity, _, _ = study.similarity(study.project()[0])
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    with pytest.raises(TagsageError, match=r"at most 3 GraphSAGE models .* has one, three, two;"):
        study.graphsage(similarity, sample, SAGE)


@pytest.mark.neo4j
def test_teardown_leaves_nothing_and_may_be_called_again(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    connection = study.engine._connection
    similarity, _, _ = study.similarity(study.project()[0])
    study.sample(similarity, 0, SampleConfig(ratio=0.5))
    assert graphs(connection) == {"tagsage-0a1b-r1", "tagsage-0a1b-r1-sample"}
    with caplog.at_level(logging.INFO):
        study.engine.teardown()
        study.engine.teardown()
    assert graphs(connection) == models(connection) == set()
    assert "Neo4j: dropped tagsage-0a1b-r1, tagsage-0a1b-r1-sample" in caplog.text
    assert "Neo4j: dropped nothing" in caplog.text


@pytest.mark.neo4j
def test_two_workspaces_at_once_do_not_disturb_each_other(study: Study, tmp_path: Path) -> None:
    connection = study.engine._connection
    base = tmp_path / "other"
    base.mkdir()
    other = Study(engine_on(connection, owner="ffff"), base, *corpus())
    done = []
    projections = [each.project()[0] for each in (study, other)]
    folders = [
        each.similarity(projection)[0]
        for each, projection in zip((study, other), projections, strict=True)
    ]
    study.engine.teardown()
    for each, folder in zip((study, other), folders, strict=True):
        sample, _, sampled = each.sample(folder, 0, SampleConfig(ratio=0.5))
        summary, _ = each.graphsage(folder, sample, SAGE)
        done.append((sampled.tolist(), summary["epoch_losses"]))
    assert done[0] == done[1]
    other.engine.teardown()
    assert graphs(connection) == {"tagsage-0a1b-r1", "tagsage-0a1b-r1-sample"}


# -- a server that forgets -----------------------------------------------------------------------
@pytest.mark.neo4j
def test_a_server_that_forgot_everything_between_two_methods_gives_the_same_results(
    study: Study,
) -> None:
    connection = study.engine._connection
    config = SimilarityConfig(max_list_size=8)

    def run(forget: Any) -> list[Any]:
        projection, _ = study.project()
        forget()
        similarity, joined, degrees = study.similarity(projection, config)
        forget()
        components, labels = study.components(similarity)
        forget()
        sample, sampled, articles = study.sample(similarity, 0, SampleConfig(ratio=0.5))
        forget()
        learnt, _ = study.graphsage(similarity, sample, SAGE)
        return [joined, degrees, components, labels, sampled, articles, learnt]

    def forget() -> None:
        # What a restart does to the catalogs, in no time; the next but one does without tricks.
        for name in graphs(connection):
            ask(connection, "CALL gds.graph.drop($name)", name=name)

    kept, forgotten = run(lambda: None), run(forget)
    assert kept[6]["sample_redrawn"] is False
    for one, other in zip(kept, forgotten, strict=True):
        if isinstance(one, dict):
            assert one == other
        else:
            np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # Found taken at the beginning; found taken at the end; joined meanwhile; dropped meanwhile.
        ("A graph with name 'tagsage-0a1b-r1' already exists.", True),
        ("Graph name tagsage-0a1b-r1 already loaded", True),
        ("Relationship type `SIMILAR` already exists in the in-memory graph.", True),
        ("Graph with name `tagsage-0a1b-r1` does not exist on database `neo4j`.", True),
        ("The feature property 'lsaEmbedding' is not present for all requested labels", False),
    ],
)
def test_a_graph_that_another_task_made_or_dropped_meanwhile_is_recognised(
    said: str, expected: bool
) -> None:
    error = Neo4jError._hydrate_neo4j(
        code="Neo.ClientError.Procedure.ProcedureCallFailed",
        message=f"Failed to invoke procedure `gds.it`: Caused by: java.lang.Exception: {said}",
    )
    assert met_another(error) is expected
    assert met_another(ValueError(said)) is expected


@pytest.mark.neo4j
def test_two_tasks_that_find_the_graph_gone_make_it_again_side_by_side(study: Study) -> None:
    similarity, _, _ = study.similarity(study.project()[0])
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    study.engine.teardown()
    with ThreadPoolExecutor(2) as pool:
        tasks = [
            pool.submit(study.graphsage, similarity, sample, SAGE),
            pool.submit(study.components, similarity),
        ]
        summaries = [task.result()[0] for task in tasks]
    assert summaries[0]["trained"] is True
    assert summaries[1]["start_node"] == 0


@pytest.mark.neo4j
def test_a_sample_that_cannot_be_drawn_again_is_told_and_another_takes_its_place(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    similarity, _, _ = study.similarity(study.project()[0])
    sample, _, drawn = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    study.engine.teardown()
    np.save(sample / "sample.npy", np.setdiff1d(np.arange(ARTICLES), drawn).astype(np.int32))
    with caplog.at_level(logging.WARNING):
        summary, _ = study.graphsage(similarity, sample, SAGE)
    assert summary["sample_redrawn"] is True
    assert "the new one shares 0 of 20 articles with it" in caplog.text


@pytest.mark.neo4j
@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_of_training_is_told_and_the_next_try_heals(
    tmp_path: Path,
) -> None:
    incidence, vectors = corpus()
    server = Neo4jServer(
        tmp_path / "home", port=free_port(), heap_mb=1024, java_options=SHORT_LIVED
    )
    with server:
        connection = connection_to(server)
        fill_database(connection, incidence, vectors)
        study = Study(engine_on(connection), tmp_path, incidence, vectors)
        similarity, _, _ = study.similarity(study.project()[0])
        sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
        summary, _ = study.graphsage(similarity, sample, SAGE)

        task = start_training(study, connection, similarity, sample)
        server.kill()
        assert "does not answer" in ended(task)
        with pytest.raises(TagsageError, match="does not answer"):
            study.engine.teardown()
        server.start()
        again, _ = study.graphsage(similarity, sample, SAGE)
        assert again == summary
        assert again["sample_redrawn"] is False
        study.engine.teardown()
        assert graphs(connection) == models(connection) == set()


TRAINING = """
import sys
from pathlib import Path
from tagsage.errors import TagsageError
from tagsage.graph.gds.engine import GdsEngine
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.neo4j_connection import resolve_connection
engine = GdsEngine(resolve_connection(), run_id="r1", owner="0a1b")
config = GraphSageConfig(dimensions=64, sample_sizes=(3, 3), epochs=int(sys.argv[5]), tolerance=0)
try:
    engine.graphsage(*map(Path, sys.argv[1:5]), config)
except TagsageError as error:
    sys.exit(str(error))
"""


def start_training(
    study: Study, connection: Neo4jConnection, similarity: Path, sample: Path, epochs: int = 100_000
) -> subprocess.Popen[str]:
    """Start a training in a process of its own; return when the server is at it."""
    environment = {
        **os.environ,
        "NEO4J_URI": connection.uri,
        "NEO4J_USERNAME": connection.username,
        "NEO4J_PASSWORD": connection.password,
    }
    folders = map(str, (study.folder(), similarity, sample, study.vectors))
    task = subprocess.Popen(
        [sys.executable, "-c", TRAINING, *folders, str(epochs)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(connection, lambda tasks: "GraphSageTrain" in tasks, task)
    return task


def wait_for(connection: Neo4jConnection, met: Any, task: subprocess.Popen[str]) -> None:
    while not met({row[0] for row in ask(connection, "CALL gds.listProgress() YIELD taskName")}):
        assert task.poll() is None, ended(task)
        time.sleep(0.05)


def ended(task: subprocess.Popen[str]) -> str:
    return task.communicate(timeout=120)[1]


@pytest.mark.neo4j
@pytest.mark.slow
def test_a_task_killed_while_it_trains_leaves_nothing_and_can_be_run_again(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    connection = study.engine._connection
    similarity, _, _ = study.similarity(study.project()[0])
    sample, _, _ = study.sample(similarity, 0, SampleConfig(ratio=0.5))
    task = start_training(study, connection, similarity, sample)
    task.kill()
    ended(task)
    with caplog.at_level(logging.INFO):
        summary, _ = study.graphsage(similarity, sample, SAGE)
        assert summary["trained"] is True
        study.engine.teardown()
    assert graphs(connection) == models(connection) == set()
