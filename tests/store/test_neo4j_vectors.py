"""Vectors as properties of articles: float32, whole or not, and as GDS projects them."""

import numpy as np
import pytest

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import open_driver
from tagsage.store import neo4j_vectors
from tagsage.store.neo4j import Neo4jStore
from tagsage.store.sqlite import SqliteStore

pytestmark = pytest.mark.neo4j

KEYS = [f"a.example/{i}" for i in range(5)]
NAME = "lsaEmbedding"


@pytest.fixture
def cypher(neo4j_connection):
    with open_driver(neo4j_connection) as driver, driver.session() as session:
        yield lambda text, **values: session.run(text, values).values()


@pytest.fixture
def store(neo4j_connection, make_corpus, monkeypatch):
    """Return a store of five articles; batches are of two vectors with three numbers."""
    monkeypatch.setattr(neo4j_vectors, "BATCH_BYTES", 60)
    with Neo4jStore(neo4j_connection) as store:
        store.load(make_corpus({str(i): (f"T{i}", []) for i in range(5)}, [("l", "0"), ("l", "1")]))
        yield store


def vectors(n=5, seed=0, kind=np.float32):
    return np.random.default_rng(seed).standard_normal((n, 3)).astype(kind)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_vectors_come_back_in_the_order_asked_for(store, kind, tmp_path):
    written = vectors(kind=kind)
    written[2] = 0
    assert store.write_vectors(NAME, KEYS, written, digest="d1")
    read = store.read_vectors(NAME, KEYS)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, written.astype(np.float32))
    out = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, (3, 3))
    assert store.read_vectors(NAME, [KEYS[4], KEYS[0], KEYS[4]], out=out) is out
    np.testing.assert_array_equal(out, written[[4, 0, 4]].astype(np.float32))


def test_the_same_vectors_are_not_written_twice_and_others_replace_them(store, cypher):
    assert store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    mark = [9.0, 9.0, 9.0]
    cypher("MATCH (a:Article {key: $key}) SET a.lsaEmbedding = $mark", key=KEYS[0], mark=mark)
    assert not store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    assert cypher("MATCH (a:Article {key: $key}) RETURN a.lsaEmbedding", key=KEYS[0]) == [[mark]]
    assert store.write_vectors(NAME, KEYS[:3], vectors(3, 1), digest="d2")
    np.testing.assert_array_equal(store.read_vectors(NAME, KEYS[:3]), vectors(3, 1))
    assert cypher("MATCH (a:Article) WHERE a.lsaEmbedding IS NOT NULL RETURN count(a)") == [[3]]
    assert cypher("MATCH (v:VectorSet) RETURN v.name, v.digest, v.dimensions, v.complete") == [
        [NAME, "d2", 3, True]
    ]
    assert store.write_vectors("givenEmbedding", KEYS, vectors(5, 2), digest="d2")
    np.testing.assert_array_equal(store.read_vectors(NAME, KEYS[:3]), vectors(3, 1))


@pytest.mark.parametrize("harm", ["REMOVE a.lsaEmbedding", "SET a.lsaEmbedding = [1.0]"])
def test_vectors_that_someone_removed_or_cut_are_written_again(store, cypher, harm):
    store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    cypher(f"MATCH (a:Article {{key: $key}}) {harm}", key=KEYS[1])
    assert store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    np.testing.assert_array_equal(store.read_vectors(NAME, KEYS), vectors())


def test_a_load_that_adds_or_removes_articles_makes_the_vectors_incomplete(store, make_corpus):
    store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    store.load(make_corpus({str(i): ("new title", []) for i in range(5)}, [], "same keys"))
    assert not store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    for number in (4, 5):
        store.load(make_corpus({str(i): (f"T{i}", []) for i in range(number)}, [], f"{number}"))
    with pytest.raises(TagsageError, match=r"The vectors lsaEmbedding in .* are not whole; write"):
        store.read_vectors(NAME, KEYS)
    assert store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    np.testing.assert_array_equal(store.read_vectors(NAME, KEYS), vectors())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_a_vector_that_is_not_finite_is_refused_before_anything_is_written(store, cypher, bad):
    written = vectors(kind=np.float64)
    written[3, 1] = bad
    with pytest.raises(ValueError, match=r"of a.example/3 holds a number that is not finite"):
        store.write_vectors(NAME, KEYS, written, digest="d1")
    assert cypher("MATCH (v:VectorSet) RETURN v") == []


@pytest.mark.parametrize(
    ("name", "keys", "matrix", "message"),
    [
        ("a-b", KEYS, vectors(), "'a-b' cannot be the name of a vector property"),
        ("x`) DELETE a //", KEYS, vectors(), "cannot be the name"),
        ("title", KEYS, vectors(), "'title' cannot be the name"),
        (NAME, KEYS[:4], vectors(), r"of shape \(5, 3\), not \[4, d\]"),
        (NAME, KEYS, vectors()[:, :0], "with d at least 1"),
        (NAME, KEYS, vectors()[:, 0], r"of shape \(5,\)"),
        (NAME, KEYS, vectors().astype(int), "vectors are int64, not float"),
        (NAME, [*KEYS[:4], KEYS[0]], vectors(), "key is not unique"),
    ],
)
def test_arguments_that_cannot_be_are_refused(store, name, keys, matrix, message):
    with pytest.raises(ValueError, match=message):
        store.write_vectors(name, keys, matrix, digest="d")


def test_an_unknown_article_is_told(store):
    with pytest.raises(TagsageError, match=r"article nobody and 0 more .* are not in the database"):
        store.write_vectors(NAME, [*KEYS[:4], "nobody"], vectors(), digest="d")
    with pytest.raises(TagsageError, match="are not whole"):
        store.read_vectors(NAME, KEYS)


@pytest.mark.parametrize("change", ["= [1.0, 2.0]", "= 'text'", "= [0.0, 1.0, 0.0/0.0]", "= null",
                                    "= ['1', '2', '3']"])  # fmt: skip
def test_vectors_that_others_broke_are_told_with_one_article_and_the_count(store, cypher, change):
    store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    cypher(f"MATCH (a:Article) WHERE a.key IN $keys SET a.{NAME} {change}", keys=[KEYS[1], KEYS[4]])
    message = "2 articles in .*, the first is a.example/1, have no vector lsaEmbedding of 3 finite"
    with pytest.raises(TagsageError, match=message):
        store.read_vectors(NAME, KEYS)
    with pytest.raises(ValueError, match=r"out is float32 \(5, 2\), not float32 \(5, 3\)"):
        store.read_vectors(NAME, KEYS, out=np.empty((5, 2), dtype=np.float32))


def test_vectors_that_another_program_wrote_are_read(store, cypher):
    cypher("MATCH (a:Article) SET a.graphSAGE = [toFloat(right(a.key, 1)), 0.5]")
    read = store.read_vectors("graphSAGE", KEYS)
    np.testing.assert_array_equal(read, [[i, 0.5] for i in range(5)])
    with pytest.raises(TagsageError, match=r"article a.example/0 in .* has no vector nothing"):
        store.read_vectors("nothing", KEYS)
    assert store.read_vectors("nothing", []).shape == (0, 0)


def test_of_two_writers_the_one_that_began_later_stays(neo4j_connection, store, monkeypatch):
    from tagsage.progress import track

    def overtake(items, *_):
        monkeypatch.setattr(neo4j_vectors, "track", track)
        yield next(iter(items))
        with Neo4jStore(neo4j_connection) as other:
            other.write_vectors(NAME, KEYS, vectors(5, 1), digest="d2")
        yield from items

    monkeypatch.setattr(neo4j_vectors, "track", overtake)
    with pytest.raises(TagsageError, match="Another process has written the vectors lsaEmbedding"):
        store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    np.testing.assert_array_equal(store.read_vectors(NAME, KEYS), vectors(5, 1))


def test_gds_projects_the_vectors_as_they_are(store, cypher):
    store.write_vectors(NAME, KEYS, vectors(), digest="d1")
    cypher("""
        CALL gds.graph.project('vectors', {Article: {properties: 'lsaEmbedding'}}, '*')
        YIELD nodeCount RETURN nodeCount
    """)
    streamed = cypher("""
        CALL gds.graph.nodeProperty.stream('vectors', 'lsaEmbedding') YIELD nodeId, propertyValue
        RETURN gds.util.asNode(nodeId).key AS key, propertyValue ORDER BY key
    """)
    cypher("CALL gds.graph.drop('vectors') YIELD graphName RETURN graphName")
    assert [key for key, _ in streamed] == KEYS
    np.testing.assert_array_equal(np.array([row for _, row in streamed], np.float32), vectors())


def test_sqlite_keeps_no_vectors(tmp_path):
    with SqliteStore(tmp_path / "a.db") as store:
        assert not store.keeps_vectors
        with pytest.raises(NotImplementedError, match="SqliteStore keeps no vectors"):
            store.write_vectors(NAME, KEYS, vectors(), digest="d")
        with pytest.raises(NotImplementedError, match="SqliteStore keeps no vectors"):
            store.read_vectors(NAME, KEYS)
