"""The Neo4j store: its model as others see it, what is not its own, awkward texts, locks."""

import threading
import time
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import open_driver
from tagsage.store import neo4j_database, neo4j_schema
from tagsage.store.neo4j import Neo4jStore
from tagsage.store.neo4j_database import Rows, batches
from tagsage.store.predictions import WriteReport
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
    assert cypher("MATCH (p:PredictionSet) RETURN count(p)") == [[1]]
    nothing = make_corpus({"1": ("B", [])}, [("l", "1")], "none")
    store.load(replace(nothing, articles=nothing.articles[:0], memberships=nothing.memberships[:0]))
    assert cypher("MATCH (n) WHERE NOT n:TagsageStore AND NOT n:PredictionSet RETURN n") == []


def test_a_database_of_the_first_schema_keeps_its_newest_predictions(
    store, cypher, make_corpus, neo4j_connection
):
    """Every night wrote all of them then, in a position each."""
    store.load(make_corpus({"0": ("A", []), "1": ("B", ["own"])}, [("l", "0")]))
    cypher("""
        MATCH (s:TagsageStore) SET s.schema = 1, s.sets = 3
        CREATE (:PredictionSet {
            number: 2, run_id: 'r', model_version: '7', complete: true, written: 1
        })
        CREATE (:PredictionSet {number: 3, run_id: 'killed', model_version: '8', complete: false})
        WITH s UNWIND [[1, 0.25], [2, 0.5], [3, 0.75]] AS row
        MATCH (a:Article {key: 'a.example/0'}) MERGE (t:Tag {name: 'x'})
        CREATE (a)-[:PREDICTED_TAG {
            score: row[1], assigned: true, set_number: row[0], position: 0, run_id: 'r',
            model_version: '7'
        }]->(t)
    """)
    with Neo4jStore(neo4j_connection) as newer:
        read = newer.read_predictions()
        assert read.to_numpy().tolist() == [["https://a.example/0", "x", 0.5, 1, "7", "r"]]
        assert newer.snapshot().articles["tags"].tolist() == [[], ["own"]]
        report = newer.write_predictions(
            read[["story", "tag", "score", "assigned"]], run_id="next", model_version="9"
        )
        assert report == WriteReport(unchanged=1)
    assert cypher("MATCH ()-[p:PREDICTED_TAG]->() RETURN p.set_number, p.position") == [[2, None]]
    assert cypher("MATCH (s:TagsageStore) RETURN s.schema") == [[2]]
    assert cypher("MATCH (p:PredictionSet) RETURN p.number ORDER BY p.number") == [[2], [4]]


AWKWARD = {
    "cypher": ("'}) MATCH (n) DETACH DELETE n //", ["`; DROP", "$x", "\\u0027"]),
    "texts": ("שלום\nعربي 🐝\r\t\\", ["é", "e\u0301", "", " "]),
    "long": ("x" * 300_000, ["t" * 9000, "🐝" * 2500, "t" * 8001]),
    "k" * 9000: ("long key", ["t" * 9000]),
}


def test_awkward_texts_are_kept_as_they_are(store, make_corpus):
    corpus = make_corpus(AWKWARD, [("l" * 20_000, "long"), ("l" * 20_001, "long"), ("'", "cypher")])
    corpus.articles.loc[0, "subtitle"] = "nul \0 within"
    corpus.articles.loc[0, "author"] = "a" * 10_000
    corpus.articles.loc[1, "author"] = ""
    corpus.articles.loc[2, "date"] = pd.Timestamp("1066-10-14 05:06:07")
    for _ in range(2):
        store.load(corpus)
        assert facts(store.snapshot()) == expected(corpus)
    assert store.load(corpus).updated == 0
    url = corpus.articles["url"][3]
    assert len(url) > 9000
    frame = predictions(2).assign(story=url, tag=["t" * 9000, "ß" * 9000])
    store.write_predictions(frame, run_id="r", model_version="1")
    read = store.read_predictions()
    assert read["story"].tolist() == [url, url]
    assert read["tag"].tolist() == frame["tag"].tolist()[::-1]  # best first


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


def test_a_database_of_a_newer_version_is_refused(neo4j_connection, store, monkeypatch):
    monkeypatch.setattr(neo4j_schema, "VERSION", 0)
    with pytest.raises(TagsageError, match=r"A newer tagsage made .* \(schema 2, .* knows 0\)"):
        Neo4jStore(neo4j_connection)


def test_constraints_are_made_once_also_by_several_at_once(neo4j_connection, cypher):
    for (name,) in cypher("SHOW CONSTRAINTS YIELD name"):
        cypher(f"DROP CONSTRAINT `{name}`")
    faults = []

    def open_it():
        try:
            Neo4jStore(neo4j_connection).close()
        except TagsageError as error:
            faults.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    found = cypher("SHOW CONSTRAINTS YIELD labelsOrTypes, properties RETURN labelsOrTypes[0]")
    assert sorted(label for (label,) in found) == sorted(neo4j_schema.UNIQUE)
    assert cypher("MATCH (s:TagsageStore) RETURN count(s)") == [[1]]


def test_an_unknown_user_or_password_or_database_is_told(neo4j_connection):
    with pytest.raises(TagsageError, match=r"refused the user 'neo4j' or the password") as told:
        Neo4jStore(replace(neo4j_connection, password="wrong-secret"))
    assert "wrong-secret" not in str(told.value)
    with pytest.raises(TagsageError, match="has no database 'nowhere'; name another"):
        Neo4jStore(replace(neo4j_connection, database="nowhere"))


def test_a_server_that_is_away_is_told_at_once():
    from scripts.neo4j_server import free_port
    from tagsage.neo4j_connection import Neo4jConnection

    with pytest.raises(TagsageError, match=r"does not answer .*; start it, or set NEO4J_URI"):
        Neo4jStore(Neo4jConnection(f"bolt://127.0.0.1:{free_port()}"))


def test_a_database_that_is_emptied_while_in_use_is_told(store, cypher, make_corpus):
    cypher("MATCH (n) DETACH DELETE n")
    for use in (store.snapshot, lambda: store.load(make_corpus({"a": ("A", [])}))):
        with pytest.raises(TagsageError, match="was emptied while it was in use; run again"):
            use()


# -- one load at a time --------------------------------------------------------------------


def test_a_second_load_and_a_snapshot_wait_for_the_first(
    neo4j_connection, store, make_corpus, monkeypatch
):
    first, second = make_corpus({"a": ("A", [])}), make_corpus({"b": ("B", [])}, [], "second")
    done = []

    def load_second():
        with Neo4jStore(neo4j_connection) as other:
            other.load(second)
            done.append("second")

    def read():
        with Neo4jStore(neo4j_connection) as other:
            done.append(facts(other.snapshot())[0][0]["key"])

    threads = [threading.Thread(target=one) for one in (read, load_second)]
    with store._database.loading() as lock:
        with monkeypatch.context() as patch:
            patch.setattr(neo4j_database, "LOAD_S", 0.2)
            with (
                Neo4jStore(neo4j_connection) as impatient,
                pytest.raises(TagsageError, match=r"loading into .* for more than 0\.2 s; try ag"),
            ):
                impatient.load(second)
        for thread in threads:
            thread.start()
        time.sleep(0.5)  # they could, if they did not wait
        assert done == []
        lock.end()
    for thread in threads:
        thread.join()
    assert "second" in done
    store.load(first)
    assert store.snapshot().articles["key"].tolist() == ["a.example/a"]


def test_an_interrupted_load_is_told_until_it_is_run_again(
    neo4j_connection, store, make_corpus, monkeypatch
):
    corpus = make_corpus({"a": ("A", [])}, [("l", "a")])

    def fail(*_):
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr("tagsage.store.neo4j_corpus._write_lists", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            store.load(corpus)
    with Neo4jStore(neo4j_connection) as other:
        with pytest.raises(TagsageError, match="was interrupted; load the corpus again"):
            other.snapshot()
        assert other.load(corpus).memberships_added == 1
        assert facts(other.snapshot()) == expected(corpus)


def test_a_load_that_was_taken_for_dead_cannot_mix_with_the_one_in_its_place(
    neo4j_connection, store, make_corpus, monkeypatch
):
    mine, other = make_corpus({"a": ("A", [])}), make_corpus({"b": ("B", [])}, [], "second")
    from tagsage.progress import track

    def overtake(items, *_):
        monkeypatch.setattr("tagsage.store.neo4j_corpus.track", track)
        # As after a restart of the server: what shows that the first lives is gone.
        with Neo4jStore(neo4j_connection) as second:
            second._database.transact(
                lambda tx: tx.run(
                    "SHOW TRANSACTIONS YIELD transactionId AS id, metaData "
                    "WHERE metaData.tagsage_load IS NOT NULL "
                    "TERMINATE TRANSACTIONS id YIELD message RETURN message"
                ).consume()
            )
            second.load(other)
        yield from items

    monkeypatch.setattr("tagsage.store.neo4j_corpus.track", overtake)
    with pytest.raises(TagsageError, match=r"Another process has begun to load into .* meanwhile"):
        store.load(mine)
    assert store.snapshot().articles["key"].tolist() == ["a.example/b"]


def test_readers_read_again_when_a_load_began_meanwhile(
    neo4j_connection, store, make_corpus, monkeypatch
):
    store.load(make_corpus({"a": ("A", [])}, [("l", "a")]))
    read_pairs = "tagsage.store.neo4j_corpus._read_pairs"
    from tagsage.store.neo4j_corpus import _read_pairs

    def slow(tx):
        monkeypatch.setattr(read_pairs, _read_pairs)
        with Neo4jStore(neo4j_connection) as other:
            other.load(make_corpus({"b": ("B", [])}, [("m", "b")], "second"))
        return _read_pairs(tx)

    monkeypatch.setattr(read_pairs, slow)
    articles, members = facts(store.snapshot())
    assert [article["key"] for article in articles] == ["a.example/b"]
    assert members == [("m", "a.example/b")]


# -- small parts ---------------------------------------------------------------------------


def test_batches_hold_all_rows_once_and_are_not_too_heavy():
    import numpy as np

    for seed in range(20):
        chance = np.random.default_rng(seed)
        sizes = chance.integers(0, 20, chance.integers(0, 40))
        cuts = batches(sizes, rows=5, total=30)
        assert np.array_equal(
            np.concatenate([np.arange(len(sizes))[cut] for cut in cuts] or [np.arange(0)]),
            np.arange(len(sizes)),
        )
        for cut in cuts:
            assert 1 <= len(sizes[cut]) <= 5
            assert sizes[cut].sum() <= 30 or len(sizes[cut]) == 1
        for left, right in pairwise(cuts):
            both = sizes[left].sum() + sizes[right][0]
            assert both > 30 or len(sizes[left]) == 5


def test_parameters_are_not_spelt_out_for_the_log():
    assert repr({"rows": Rows([1.5, "secret"])}) == "{'rows': <2 rows>}"
