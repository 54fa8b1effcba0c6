"""A server that is killed, restarted, read-only or short of memory; a client that is killed."""

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from scripts.neo4j_server import Neo4jServer, free_port
from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection
from tagsage.progress import track
from tagsage.store import neo4j_corpus, neo4j_vectors
from tagsage.store.neo4j import Neo4jStore
from tests.conftest import SHORT_LIVED
from tests.store.test_store_contract import expected, facts

pytestmark = pytest.mark.neo4j

KILLED = """
    import os, signal, sys
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.neo4j_connection import resolve_connection
    from tagsage.store import neo4j_corpus
    from tagsage.store.neo4j import Neo4jStore
    from tagsage.store.neo4j_database import LoadLock
    neo4j_corpus.BATCH = neo4j_corpus.NODES = 20
    left = int(sys.argv[1])
    batch = LoadLock.batch
    def counted(self, work):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(self, work)
    LoadLock.batch = counted
    with Neo4jStore(resolve_connection()) as store:
        store.load(read_csv_corpus(*sys.argv[2:4], max_rejected_share=0))
"""


@pytest.mark.parametrize("batches", [3, 11])
def test_a_load_that_is_killed_and_run_again_ends_like_an_undisturbed_one(
    neo4j_connection, monkeypatch, make_corpus, write_corpus, some_articles, batches
):
    old, new = some_articles(60, 1), some_articles(60, 2)
    monkeypatch.setenv("NEO4J_URI", neo4j_connection.uri)
    monkeypatch.setenv("NEO4J_USERNAME", neo4j_connection.username)
    monkeypatch.setenv("NEO4J_PASSWORD", neo4j_connection.password)
    with Neo4jStore(neo4j_connection) as store:
        store.load(make_corpus(*old, "old"))
        arguments = [str(batches), *write_corpus(*new, "new")]
        command = [sys.executable, "-c", textwrap.dedent(KILLED), *arguments]
        assert subprocess.run(command, check=False).returncode == -9
        with pytest.raises(TagsageError, match="was interrupted; load the corpus again"):
            store.snapshot()
        corpus = make_corpus(*new, "new")
        store.load(corpus)
        assert facts(store.snapshot()) == expected(corpus)
        names = store._database.transact(
            lambda tx: tx.run("MATCH (n:Tag) RETURN n.name ORDER BY n.name").value()
        )
        assert names == sorted({tag for _, tags in new[0].values() for tag in tags})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a server of this module, to be broken."""
    server = Neo4jServer(
        tmp_path_factory.mktemp("broken"),
        port=free_port(),
        heap_mb=512,
        with_gds=False,
        java_options=SHORT_LIVED,
    )
    with server:
        yield server


def restarted(server, items):
    """Yield the items; kill the server after the first and start it while the second is done."""
    items = iter(items)
    yield next(items)
    server.kill()
    starter = threading.Thread(target=server.start)
    starter.start()
    yield from items
    starter.join()


@pytest.mark.slow
def test_a_server_that_crashes_and_comes_back_is_waited_for(
    server, make_corpus, some_articles, monkeypatch
):
    corpus = make_corpus(*some_articles(30))
    keys = corpus.articles["key"].tolist()
    vectors = np.random.default_rng(0).standard_normal((len(keys), 4)).astype(np.float32)
    monkeypatch.setattr(neo4j_corpus, "BATCH", 15)
    monkeypatch.setattr(neo4j_vectors, "BATCH_BYTES", 9 * 4 * 20)

    def crash_once(module):
        def tracked(items, *rest):
            monkeypatch.setattr(module, "track", track)
            return restarted(server, track(items, *rest))

        monkeypatch.setattr(module, "track", tracked)

    with Neo4jStore(Neo4jConnection(server.uri)) as store:
        crash_once(neo4j_corpus)
        report = store.load(corpus)
        assert (report.added, report.memberships_added) == (len(keys), len(corpus.memberships))
        assert facts(store.snapshot()) == expected(corpus)
        assert store.load(corpus).added == 0
        crash_once(neo4j_vectors)
        assert store.write_vectors("lsaEmbedding", keys, vectors, digest="d")
        np.testing.assert_array_equal(store.read_vectors("lsaEmbedding", keys), vectors)


@pytest.mark.slow
def test_a_read_only_database_is_read_and_its_refusal_told(server, make_corpus):
    corpus = make_corpus({"a": ("A", [])}, [("l", "a")])
    with Neo4jStore(Neo4jConnection(server.uri)) as store:
        store.load(corpus)
    server.settings = {"server.databases.default_to_read_only": "true"}
    server.restart()
    with Neo4jStore(Neo4jConnection(server.uri)) as store:
        assert facts(store.snapshot()) == expected(corpus)
        assert store.counts()["articles"] == 1
        for write in (
            lambda: store.load(make_corpus({"b": ("B", [])}, [], "other")),
            lambda: store.write_vectors("x", ["a.example/a"], np.ones((1, 2)), digest="d"),
        ):
            with pytest.raises(TagsageError, match="is read-only; open it for writing"):
                write()
        assert facts(store.snapshot()) == expected(corpus)
    # Little memory a transaction: batches fit all the same, one monstrous article is told.
    server.settings = {"db.memory.transaction.max": "16m"}
    server.restart()
    with Neo4jStore(Neo4jConnection(server.uri)) as store:
        articles = {f"{i:x}": ("T" * 3000, ["x"]) for i in range(2000)}
        corpus = make_corpus(articles, [("l", key) for key in articles], "many")
        report = store.load(corpus)
        assert report.added + report.updated == 2000
        vectors = np.ones((2000, 1536), dtype=np.float32)
        assert store.write_vectors("x", corpus.articles["key"].tolist(), vectors, digest="d")
        huge = make_corpus({"a": ("x" * 4_000_000, [])}, [], "huge")
        huge.articles.loc[0, "title"] = "x" * 40_000_000
        with pytest.raises(TagsageError, match=r"ran out of memory: .* give it more"):
            store.load(huge)
