"""The Neo4j store: its model as others see it, nodes of others, vectors, kills, broken servers."""

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from scripts.neo4j_server import Neo4jServer, free_port
from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection, open_driver
from tagsage.progress import track
from tagsage.store import neo4j as neo4j_room
from tagsage.store.neo4j import Neo4jStore
from tests.conftest import SHORT_LIVED
from tests.store.test_store_contract import expected, facts, predictions

pytestmark = pytest.mark.neo4j


@pytest.fixture
def cypher(neo4j_connection):
    """Ask the database what others see; rows as lists."""
    with open_driver(neo4j_connection) as driver, driver.session() as session:
        yield lambda text, **values: session.run(text, values).values()


@pytest.fixture
def store(neo4j_connection):
    with Neo4jStore(neo4j_connection) as store:
        yield store


def test_the_graph_is_the_studys(store, cypher, make_corpus):
    articles = {"0": ("Bee", ["x", "y"]), "1": ("", ["y"])}
    store.load(make_corpus(articles, [("l", "0"), ("l", "stub")]))
    store.write_predictions(predictions(2), run_id="run-1", model_version="7")
    assert cypher("""
        MATCH (w:Author)-[:WROTE]->(a:Article)-[:IN_LIST]->(l:List)
        RETURN w.name, a.key, a.url, a.title, a.subtitle, toString(a.date), a.is_stub, l.name
        ORDER BY a.key
    """) == [
        ["Ann", "a.example/0", "https://a.example/0", "Bee", "", "2020-01-02T00:00:00Z", False,
         "l"],
        ["Unknown", "a.example/stub", "https://a.example/stub", "", "", "1990-01-01T00:00:00Z",
         True, "l"],
    ]  # fmt: skip
    assert cypher("""
        MATCH (a:Article)-[h:HAS_TAG]->(t:Tag) RETURN a.key, h.position, t.name ORDER BY a.key, 2
    """) == [["a.example/0", 0, "x"], ["a.example/0", 1, "y"], ["a.example/1", 0, "y"]]
    assert cypher("""
        MATCH (a:Article)-[p:PREDICTED_TAG]->(t:Tag)
        RETURN a.key, t.name, p.score, p.assigned, p.model_version, p.run_id ORDER BY p.score
    """) == [
        ["a.example/0", "x", 0.0, False, "7", "run-1"],
        ["a.example/0", "ü 🐝", pytest.approx(0.9), True, "7", "run-1"],
    ]


def test_what_the_corpus_no_longer_has_leaves_nothing_behind(store, cypher, make_corpus):
    store.load(make_corpus({"0": ("A", ["x"]), "1": ("B", ["y"])}, [("l", "0"), ("m", "1")]))
    store.write_predictions(predictions(3), run_id="run-1", model_version="1")
    store.load(make_corpus({"1": ("B", ["z"])}, [("l", "1")], "fewer"))
    assert cypher("MATCH (t:Tag) RETURN t.name ORDER BY t.name") == [["x"], ["z"]]
    assert cypher("MATCH (l:List) RETURN l.name") == [["l"]]
    store.write_predictions(predictions(0), run_id="run-2", model_version="1")
    assert cypher("MATCH (t:Tag) RETURN t.name") == [["z"]]
    nothing = make_corpus({"1": ("B", [])}, [("l", "1")], "none")
    store.load(replace(nothing, articles=nothing.articles[:0], memberships=nothing.memberships[:0]))
    assert cypher("MATCH (n) WHERE NOT n:TagsageStore RETURN n") == []


def test_target_tags_have_a_label_which_those_that_fall_below_lose(store, cypher, make_corpus):
    store.load(make_corpus({"0": ("A", ["x", "y"]), "1": ("B", ["y", "z"])}))
    targets = "MATCH (t:Target) RETURN t.name, labels(t) ORDER BY t.name"
    store.mark_targets(["x", "y"])
    assert cypher(targets) == [["x", ["Tag", "Target"]], ["y", ["Tag", "Target"]]]
    store.mark_targets(["y", "z"])
    assert [name for name, _ in cypher(targets)] == ["y", "z"]
    # Later loads find the nodes, and those of tags that leave the corpus go.
    store.load(make_corpus({"0": ("A", ["x", "y"]), "2": ("C", ["y"])}, [], "other"))
    assert cypher("MATCH (t:Tag) RETURN t.name ORDER BY t.name") == [["x"], ["y"]]
    assert [name for name, _ in cypher(targets)] == ["y"]
    store.mark_targets([])
    assert cypher(targets) == []


def test_nodes_of_others_are_left_alone(store, cypher, make_corpus):
    store.load(make_corpus({"0": ("A", ["x"])}, [("l", "0")]))
    cypher("""
        MATCH (a:Article) SET a.mine = 7
        CREATE (:Person {name: 'Ann', key: 'a.example/0'})-[:READ]->(a), (:Person {name: 'Bo'})
    """)
    store.load(make_corpus({"0": ("Changed", ["y"])}, [("l", "0")], "changed"))
    assert cypher("MATCH (a:Article) RETURN a.title, a.mine") == [["Changed", 7]]
    assert cypher("MATCH (:Person)-[r:READ]->(:Article) RETURN count(r)") == [[1]]
    store.load(make_corpus({"1": ("New", [])}, [], "new"))
    assert cypher("MATCH (p:Person) RETURN p.name ORDER BY p.name") == [["Ann"], ["Bo"]]


def test_what_was_doubled_or_removed_by_hand_is_mended_by_the_next_load(store, cypher, make_corpus):
    corpus = make_corpus({"0": ("A", ["x", "y"]), "1": ("B", [])}, [("l", "0"), ("l", "1")])
    store.load(corpus)
    cypher("MATCH (a:Article {key: 'a.example/0'})-[h:HAS_TAG]->() DELETE h")
    cypher("MATCH (a:Article {key: 'a.example/1'}) CREATE (:Author {name: 'X'})-[:WROTE]->(a)")
    cypher("MATCH (a:Article {key: 'a.example/1'})-[m:IN_LIST]->() DELETE m")
    report = store.load(corpus)
    assert (report.added, report.updated, report.memberships_added) == (0, 2, 1)
    assert facts(store.snapshot()) == expected(corpus)
    assert cypher("MATCH (w:Author) RETURN w.name") == [["Ann"]]


def test_a_database_with_such_nodes_of_others_is_refused(neo4j_connection, cypher):
    cypher("CREATE (:Article {title: 'theirs'})")
    with pytest.raises(TagsageError, match=r"Nodes of others .* name a database of its own"):
        Neo4jStore(neo4j_connection)
    assert cypher("MATCH (n) RETURN n.title") == [["theirs"]]


def test_constraints_are_made_once_also_by_several_at_once(neo4j_connection, cypher):
    for (name,) in cypher("SHOW CONSTRAINTS YIELD name"):
        cypher(f"DROP CONSTRAINT `{name}`")
    with ThreadPoolExecutor(3) as pool:
        for store in [*pool.map(Neo4jStore, [neo4j_connection] * 3)]:
            store.close()
    found = cypher("SHOW CONSTRAINTS YIELD labelsOrTypes, properties RETURN labelsOrTypes[0]")
    labels = {label for (label,) in found}
    assert labels == {"Article", "Author", "List", "Tag", "TagsageStore"}
    assert cypher("MATCH (s:TagsageStore) RETURN count(s)") == [[1]]


def test_a_database_that_is_emptied_while_in_use_is_told(store, cypher, make_corpus):
    cypher("MATCH (n) DETACH DELETE n")
    for use in (store.snapshot, lambda: store.load(make_corpus({"a": ("A", [])}))):
        with pytest.raises(TagsageError, match="was emptied while it was in use; run again"):
            use()


def test_a_name_that_cannot_be_indexed_is_refused_with_its_beginning(store, make_corpus):
    corpus = make_corpus({"0": ("A", ["🐝" * 2500])})
    with pytest.raises(TagsageError, match=r"cannot index a tag of more than 8,000 bytes, .*🐝🐝"):
        store.load(corpus)
    assert store.counts()["articles"] == 0


def test_a_set_that_others_wrote_meanwhile_is_not_replaced(
    neo4j_connection, store, cypher, make_corpus, monkeypatch
):
    store.load(make_corpus({str(i): ("A", []) for i in range(5)}))

    def overtake(items, *_):
        monkeypatch.setattr(neo4j_room, "track", track)
        with Neo4jStore(neo4j_connection) as second:
            second.write_predictions(predictions(5), run_id="second", model_version="2")
        return items

    monkeypatch.setattr(neo4j_room, "track", overtake)
    with pytest.raises(TagsageError, match=r"Another run wrote its predictions to .* meanwhile"):
        store.write_predictions(predictions(9), run_id="first", model_version="1")
    assert set(store.read_predictions()["run_id"]) == {"second"}
    store.write_predictions(predictions(3, 0.05), run_id="third", model_version="3")
    assert cypher("MATCH ()-[p:PREDICTED_TAG]->() RETURN DISTINCT p.run_id") == [["third"]]


# -- vectors ---------------------------------------------------------------------------------

KEYS = [f"a.example/{i}" for i in range(5)]


def vectors(n=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)


@pytest.fixture
def stocked(store, make_corpus):
    store.load(make_corpus({str(i): ("A", []) for i in range(5)}))
    return store


def stored_vectors(cypher):
    rows = cypher("MATCH (a:Article) WHERE a.v IS NOT NULL RETURN a.v ORDER BY a.key")
    return np.array([row[0] for row in rows], dtype=np.float32)


def test_vectors_are_written_once_and_replaced_by_others(stocked, cypher, monkeypatch):
    monkeypatch.setattr(neo4j_room, "VECTOR_BYTES", 60)
    assert stocked.write_vectors("v", KEYS, vectors(), digest="d1")
    np.testing.assert_array_equal(stored_vectors(cypher), vectors())
    assert not stocked.write_vectors("v", KEYS, vectors(), digest="d1")
    assert stocked.write_vectors("v", KEYS[:3], vectors(3, 1), digest="d2")
    np.testing.assert_array_equal(stored_vectors(cypher), vectors(3, 1))


@pytest.mark.parametrize(
    "harm",
    ["MATCH (a:Article) WITH a LIMIT 1 SET a.v = [1]", "MATCH (s:TagsageStore) REMOVE s.v"],
)
def test_vectors_that_someone_changed_or_that_are_not_whole_are_written_again(
    stocked, cypher, harm
):
    stocked.write_vectors("v", KEYS, vectors(), digest="d1")
    cypher(harm)
    assert stocked.write_vectors("v", KEYS, vectors(), digest="d1")
    np.testing.assert_array_equal(stored_vectors(cypher), vectors())


def test_vectors_of_an_unknown_article_are_refused(stocked):
    with pytest.raises(TagsageError, match="articles that have vectors v are not in"):
        stocked.write_vectors("v", [*KEYS[:4], "nobody"], vectors(), digest="d")


def test_gds_projects_the_vectors_as_they_are(stocked, cypher):
    stocked.write_vectors("v", KEYS, vectors(), digest="d1")
    cypher("CALL gds.graph.project('g', {Article: {properties: 'v'}}, '*') YIELD nodeCount")
    rows = cypher("""
        CALL gds.graph.nodeProperty.stream('g', 'v') YIELD nodeId, propertyValue
        MATCH (a) WHERE id(a) = nodeId RETURN propertyValue ORDER BY a.key
    """)
    np.testing.assert_array_equal(np.array([row[0] for row in rows], np.float32), vectors())


# -- kills and faults ------------------------------------------------------------------------

KILLED = """
    import os, signal, sys
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.neo4j_connection import resolve_connection
    from tagsage.store import neo4j
    from tagsage.store.neo4j_database import Neo4jDatabase
    neo4j.ARTICLES = neo4j.PAIRS = 20
    left, rows = int(sys.argv[1]), Neo4jDatabase.rows
    def counted(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows(*arguments, **options)
    with neo4j.Neo4jStore(resolve_connection()) as store:
        Neo4jDatabase.rows = counted
        store.load(read_csv_corpus(*sys.argv[2:4], max_rejected_share=0))
"""


@pytest.mark.parametrize("queries", [4, 14])
def test_a_killed_load_is_noticed_and_run_again(
    neo4j_server, neo4j_connection, monkeypatch, make_corpus, write_corpus, some_articles, queries
):
    old, new = some_articles(60, 1), some_articles(60, 2)
    for name, value in neo4j_server.environment.items():
        monkeypatch.setenv(name, value)
    with Neo4jStore(neo4j_connection) as store:
        store.load(make_corpus(*old, "old"))
        arguments = [str(queries), *write_corpus(*new, "new")]
        command = [sys.executable, "-c", textwrap.dedent(KILLED), *arguments]
        assert subprocess.run(command, check=False).returncode == -9
        with pytest.raises(TagsageError, match=r"did not end; .*load the corpus again"):
            store.snapshot()
        corpus = make_corpus(*new, "new")
        store.load(corpus)
        assert facts(store.snapshot()) == expected(corpus)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a server of this module, to be broken."""
    home = tmp_path_factory.mktemp("broken")
    server = Neo4jServer(
        home, port=free_port(), heap_mb=512, with_gds=False, java_options=SHORT_LIVED
    )
    with server:
        yield server


@pytest.mark.slow
def test_a_server_that_crashes_and_comes_back_is_waited_for(
    server, make_corpus, some_articles, monkeypatch
):
    corpus = make_corpus(*some_articles(30))
    monkeypatch.setattr(neo4j_room, "ARTICLES", 15)

    def crash_once(items, *_):
        monkeypatch.setattr(neo4j_room, "track", track)
        first, *others = items
        yield first
        server.kill()
        starter = threading.Thread(target=server.start)
        starter.start()
        yield from others
        starter.join()

    with Neo4jStore(Neo4jConnection(server.uri)) as store:
        monkeypatch.setattr(neo4j_room, "track", crash_once)
        report = store.load(corpus)
        assert report.memberships_added == len(corpus.memberships)
        assert facts(store.snapshot()) == expected(corpus)
