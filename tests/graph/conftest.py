"""Both graph engines on small corpora, the server's database filled by plain Cypher."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.base import (
    DEGREES_FILE,
    EMBEDDINGS_FILE,
    LABELS_FILE,
    SAMPLE_FILE,
    GraphEngine,
    SampleConfig,
)
from tagsage.graph.gds.engine import GdsEngine
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.local import LocalEngine
from tagsage.graph.similarity import SimilarityConfig
from tagsage.neo4j_connection import Neo4jConnection, open_driver
from tests.conftest import connection_to, empty

PROPERTY = "givenEmbedding"


def keys_of(articles: int) -> list[str]:
    return [f"https://example.com/{i}" for i in range(articles)]


def fill_database(
    connection: Neo4jConnection,
    incidence: sp.csr_array,
    vectors: np.ndarray | None,
    *,
    shuffled: bool = True,
) -> None:
    """Put a corpus in place of what the database holds; ids are in another order than indices."""
    articles = [
        {
            "key": key,
            "vector": None if vectors is None else vectors[i].tolist(),
            "lists": incidence.indices[incidence.indptr[i] : incidence.indptr[i + 1]].tolist(),
        }
        for i, key in enumerate(keys_of(incidence.shape[0]))
    ]
    if shuffled:
        np.random.default_rng(1).shuffle(articles)
    with open_driver(connection) as driver:
        empty(driver)
        driver.execute_query(
            "UNWIND range(0, $lists - 1) AS number CREATE (:List {name: toString(number)})",
            lists=incidence.shape[1],
        )
        driver.execute_query(
            "UNWIND $articles AS row CREATE (a:Article {key: row.key}) "
            f"SET a.{PROPERTY} = row.vector WITH a, row UNWIND row.lists AS number "
            "MATCH (l:List {name: toString(number)}) CREATE (a)-[:IN_LIST]->(l)",
            articles=articles,
        )


class Study:
    """One engine on one corpus; every method gets a folder of its own."""

    def __init__(self, engine: GraphEngine, base: Path, incidence: sp.csr_array, vectors: Any):
        self.engine = engine
        self.base = base
        self.incidence = incidence
        self.vectors = base / "vectors.npy"
        np.save(self.vectors, vectors)
        self._numbers = itertools.count()

    def folder(self) -> Path:
        folder = self.base / f"{next(self._numbers)}"
        folder.mkdir()
        return folder

    def project(self, vector_property: str = PROPERTY) -> tuple[Path, dict[str, Any]]:
        folder = self.folder()
        keys = keys_of(self.incidence.shape[0])
        return folder, self.engine.project(
            folder, self.incidence, keys=keys, vector_property=vector_property
        )

    def similarity(
        self, projection: Path, config: SimilarityConfig | None = None
    ) -> tuple[Path, dict[str, Any], np.ndarray]:
        folder = self.folder()
        summary = self.engine.similarity(folder, projection, config or SimilarityConfig())
        return folder, summary, np.load(folder / DEGREES_FILE)

    def components(self, similarity: Path) -> tuple[dict[str, Any], np.ndarray]:
        folder = self.folder()
        summary = self.engine.components(folder, similarity)
        return summary, np.load(folder / LABELS_FILE)

    def sample(
        self, similarity: Path, start: int | None, config: SampleConfig
    ) -> tuple[Path, dict[str, Any], np.ndarray]:
        folder = self.folder()
        summary = self.engine.sample(folder, similarity, start, config)
        return folder, summary, np.load(folder / SAMPLE_FILE)

    def graphsage(
        self, similarity: Path, sample: Path, config: GraphSageConfig
    ) -> tuple[dict[str, Any], np.ndarray]:
        folder = self.folder()
        summary = self.engine.graphsage(folder, similarity, sample, self.vectors, config)
        return summary, np.load(folder / EMBEDDINGS_FILE)


MakeStudy = Callable[..., Study]


def study_maker(
    kind: str, base: Path, connection: Neo4jConnection | None, *, shuffled: bool = True
) -> MakeStudy:
    """Return a function that puts a corpus in place and returns an engine on it."""
    made = 0

    def make(incidence: sp.csr_array, vectors: np.ndarray) -> Study:
        nonlocal made
        made += 1
        folder = base / f"{kind}-{made}"
        folder.mkdir()
        if connection is None:
            return Study(LocalEngine(), folder, incidence, vectors)
        fill_database(connection, incidence, vectors, shuffled=shuffled)
        engine = GdsEngine(connection, run_id=f"test {made}", owner="0a1b")
        return Study(engine, folder, incidence, vectors)

    return make


ENGINES = ["local", pytest.param("gds", marks=pytest.mark.neo4j)]


@pytest.fixture(scope="module", params=ENGINES)
def make_study(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[MakeStudy]:
    """Make studies with either engine, one after the other."""
    connection = None
    if request.param == "gds":
        connection = connection_to(request.getfixturevalue("neo4j_server"))
    yield study_maker(request.param, tmp_path_factory.mktemp(request.param), connection)
    if connection is not None:
        with open_driver(connection) as driver:
            empty(driver)
