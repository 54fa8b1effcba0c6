"""Both graph engines on small corpora, the server's database filled by plain Cypher."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.compute import EMBEDDINGS_FILE, compute_graph
from tagsage.graph.engine import ArticleGraph, GraphEngine
from tagsage.graph.fastrp import fastrp_levels, mix_levels, projection_matrix
from tagsage.graph.gds import SIMILAR, GdsEngine, GdsGraph
from tagsage.graph.local import LocalEngine
from tagsage.neo4j_connection import Neo4jConnection, open_driver
from tagsage.settings import Settings
from tests.conftest import connection_to, empty

PROPERTY = "givenEmbedding"


def settings_of(**changes: Any) -> Settings:
    """Return settings for a small graph."""
    small = {
        "graphsage_dimensions": 8,
        "graphsage_sample_sizes": "3,3",
        "graphsage_epochs": 2,
        "graphsage_batch_size": 5,
        "sample_ratio": 0.5,
    }
    return Settings(**{**small, **changes})


def fastrp(graph: sp.csr_array, vectors: np.ndarray, *, dimensions: int, seed: int) -> np.ndarray:
    """Embed every node of a graph."""
    levels = fastrp_levels(graph, vectors, projection_matrix(vectors.shape[1], dimensions, seed))
    return mix_levels(levels[0], graph, levels)


def keys_of(articles: int) -> list[str]:
    return [f"https://example.com/{i}" for i in range(articles)]


def members_of(lists_of: list[set[int]], n_lists: int) -> sp.csr_array:
    dense = np.zeros((len(lists_of), n_lists), dtype=np.float32)
    for article, lists in enumerate(lists_of):
        dense[article, sorted(lists)] = 1
    return sp.csr_array(dense)


def random_corpus(articles: int = 40, lists: int = 12) -> tuple[sp.csr_array, np.ndarray]:
    random = np.random.default_rng(0)
    dense = (random.random((articles, lists)) < 0.15).astype(np.float32)
    return sp.csr_array(dense), random.normal(size=(articles, 6)).astype(np.float32)


def fill_database(
    connection: Neo4jConnection,
    members: sp.csr_array,
    vectors: np.ndarray,
    *,
    shuffled: bool = True,
) -> None:
    """Put a corpus in place of what the database holds; ids are in another order than indices."""
    articles = [
        {
            "key": key,
            "vector": vectors[i].tolist(),
            "lists": members.indices[members.indptr[i] : members.indptr[i + 1]].tolist(),
        }
        for i, key in enumerate(keys_of(members.shape[0]))
    ]
    if shuffled:
        np.random.default_rng(1).shuffle(articles)
    with open_driver(connection) as driver:
        empty(driver)
        driver.execute_query(
            "UNWIND range(0, $lists - 1) AS number CREATE (:List {name: toString(number)})",
            lists=members.shape[1],
        )
        driver.execute_query(
            "UNWIND $articles AS row CREATE (a:Article {key: row.key}) "
            f"SET a.{PROPERTY} = row.vector WITH a, row UNWIND row.lists AS number "
            "MATCH (l:List {name: toString(number)}) CREATE (a)-[:IN_LIST]->(l)",
            articles=articles,
        )


def pairs_in(graph: ArticleGraph) -> dict[tuple[int, int], float]:
    """Return who is joined to whom in a graph, and how similar they are."""
    if isinstance(graph, GdsGraph):
        frame = graph.gds.graph.relationships.stream(
            graph.graph, relationship_types=[SIMILAR], relationship_properties=["score"]
        )
        rows = graph.index_of(frame["sourceNodeId"]), graph.index_of(frame["targetNodeId"])
        scores = frame["score"]
    else:
        coo = graph.neighbours.tocoo()
        rows, scores = (coo.row, coo.col), coo.data
    pairs = zip(rows[0].tolist(), rows[1].tolist(), strict=True)
    return {pair: round(float(score), 6) for pair, score in zip(pairs, scores, strict=True)}


class Corpus:
    """A corpus and an engine to open its graph with."""

    def __init__(self, engine: GraphEngine, folder: Path, members: sp.csr_array, vectors: Any):
        self.engine, self.folder, self.members, self.vectors = engine, folder, members, vectors
        self.where = {"keys": keys_of(members.shape[0]), "vector_property": PROPERTY}

    @contextmanager
    def opened(self, **settings: Any) -> Generator[ArticleGraph]:
        chosen = settings_of(**settings)
        with self.engine.open(
            self.members, self.vectors, chosen, folder=self.folder, **self.where
        ) as graph:
            yield graph

    def study(self, **settings: Any) -> tuple[dict[str, Any], np.ndarray]:
        chosen = settings_of(**settings)
        done = compute_graph(
            self.engine, self.folder, self.members, self.vectors, chosen, **self.where
        )
        return done, np.load(self.folder / EMBEDDINGS_FILE)


MakeCorpus = Callable[..., Corpus]


def corpus_maker(
    base: Path, connection: Neo4jConnection | None, *, shuffled: bool = True
) -> MakeCorpus:
    """Return a function that puts a corpus in place and returns it with an engine."""
    made = 0

    def make(members: sp.csr_array, vectors: np.ndarray) -> Corpus:
        nonlocal made
        made += 1
        folder = base / f"corpus-{made}"
        folder.mkdir()
        if connection is None:
            return Corpus(LocalEngine(), folder, members, vectors)
        fill_database(connection, members, vectors, shuffled=shuffled)
        return Corpus(GdsEngine(connection, owner="0a1b"), folder, members, vectors)

    return make


ENGINES = ["local", pytest.param("gds", marks=pytest.mark.neo4j)]


@pytest.fixture(scope="module", params=ENGINES)
def make_corpus(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[MakeCorpus]:
    """Make corpora with either engine, one after the other."""
    connection = None
    if request.param == "gds":
        connection = connection_to(request.getfixturevalue("neo4j_server"))
    yield corpus_maker(tmp_path_factory.mktemp(request.param), connection)
    if connection is not None:
        with open_driver(connection) as driver:
            empty(driver)
