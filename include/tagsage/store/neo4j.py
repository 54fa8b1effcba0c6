"""The store on a Neo4j server; :mod:`tagsage.store.neo4j_schema` draws what it keeps there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from neo4j import ManagedTransaction

from tagsage.corpus.model import Corpus
from tagsage.neo4j_connection import Neo4jConnection
from tagsage.store import neo4j_corpus, neo4j_vectors
from tagsage.store.base import ArticleStore, LoadReport
from tagsage.store.neo4j_database import Neo4jDatabase
from tagsage.store.neo4j_predictions import TagRelationships
from tagsage.store.predictions import Maker, WriteReport
from tagsage.store.snapshot import Snapshot


class Neo4jStore(ArticleStore):
    """Articles, lists, predictions, suggestions and vectors in one Neo4j database (5.26 or newer).

    What ends by a lost connection, a restart of the server or a deadlock is tried again by itself.

    Parameters
    ----------
    connection : Neo4jConnection
        Where the server is; the database is made ready when it is empty.

    Raises
    ------
    TagsageError
        When the server is away or refuses us, or the database is not ours or a newer version's.
    """

    keeps_vectors = True

    def __init__(self, connection: Neo4jConnection) -> None:
        self._database = Neo4jDatabase(connection)
        self._predictions = TagRelationships(self._database, "predictions")
        self._suggestions = TagRelationships(self._database, "suggestions")

    def close(self) -> None:
        """Close the driver; may be called twice."""
        self._database.close()

    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else; see the base class."""
        return neo4j_corpus.load_corpus(self._database, corpus)

    def snapshot(self) -> Snapshot:
        """Read the whole corpus; see the base class."""
        return neo4j_corpus.read_snapshot(self._database)

    def write_predictions(
        self, predictions: pd.DataFrame, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Store the predictions that differ; see the base class."""
        return self._predictions.write(predictions, Maker(run_id, model_version))

    def restore_predictions(self, predictions: pd.DataFrame) -> WriteReport:
        """Store what another store gave; see the base class."""
        return self._predictions.write(predictions, None)

    def read_predictions(self) -> pd.DataFrame:
        """Read the predictions; see the base class."""
        return self._predictions.read()

    def write_suggestions(
        self, suggestions: pd.DataFrame, *, run_id: str, model_version: str
    ) -> WriteReport:
        """Store the suggestions that differ; see the base class."""
        return self._suggestions.write(suggestions.assign(assigned=1), Maker(run_id, model_version))

    def restore_suggestions(self, suggestions: pd.DataFrame) -> WriteReport:
        """Store what another store gave; see the base class."""
        return self._suggestions.write(suggestions.assign(assigned=1), None)

    def read_suggestions(self) -> pd.DataFrame:
        """Read the suggestions; see the base class."""
        return self._suggestions.read().drop(columns="assigned")

    def counts(self) -> dict[str, int]:
        """Return how much there is of everything; see the base class."""
        kinds = {"predictions": self._predictions, "suggestions": self._suggestions}

        def count(tx: ManagedTransaction) -> dict[str, int] | None:
            newest = [kind.newest(tx) for kind in kinds.values()]
            counts = neo4j_corpus.read_counts(tx)
            counts |= {name: kind.count(tx) for name, kind in kinds.items()}
            return counts if [kind.newest(tx) for kind in kinds.values()] == newest else None

        while (counts := self._database.transact(count)) is None:
            continue
        return counts

    def write_vectors(
        self, name: str, keys: Sequence[str], vectors: npt.NDArray[np.floating], *, digest: str
    ) -> bool:
        """Write one vector an article; see the base class."""
        return neo4j_vectors.write_vectors(self._database, name, keys, vectors, digest=digest)

    def read_vectors(
        self, name: str, keys: Sequence[str], *, out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Read one vector an article; see the base class."""
        return neo4j_vectors.read_vectors(self._database, name, keys, out)
