"""The engine that computes in a Neo4j server with Graph Data Science (GDS).

The database is ``(:Article {key, <vectors>})-[:IN_LIST]->(:List)``. The names of graphs and models
in the server's memory begin with the workspace's; they are dropped when the graph is closed, or,
after a kill, by the workspace's next run.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.graph.components import number_by_lowest
from tagsage.graph.engine import ArticleGraph, GraphEngine, Sample, Training
from tagsage.graph.gds_server import (
    ARTICLE,
    CHANGED,
    IN_LIST,
    LIST,
    GdsServer,
    find_articles,
    open_server,
)
from tagsage.graph.graphsage.train import (
    MAX_ITERATIONS,
    TOLERANCE,
    WORKERS,
    refuse_infinite,
    sampling_ratio,
)
from tagsage.graph.sampling import RESTART_PROBABILITY
from tagsage.neo4j_connection import Neo4jConnection

if TYPE_CHECKING:
    from graphdatascience.graph.graph_api import Graph

    from tagsage.graph.csr import Csr, FloatArray, IntArray, LongArray
    from tagsage.settings import Settings

SIMILAR, SIZE = "SIMILAR", "listSize"
# Without it, pairs that share no list would be joined.
LEAST_SIMILARITY = 1e-42
# Embeddings turned into one array at a time.
ROW_BLOCK = 2048
# Not by the client, which would make one frame of lists.
EMBEDDINGS = (
    "CALL gds.beta.graphSage.stream($graph, $settings) YIELD nodeId, embedding "
    "RETURN nodeId AS id, embedding"
)


class GdsEngine(GraphEngine):
    """Computes in a server; names there include `owner`, a short digest of the workspace."""

    def __init__(self, connection: Neo4jConnection, *, owner: str) -> None:
        self._connection = connection
        self.prefix = f"tagsage-{owner}-"

    @contextmanager
    def open(
        self,
        members: Csr,
        vectors: npt.NDArray[np.floating],
        settings: Settings,
        *,
        folder: Path,
        keys: Sequence[str],
        vector_property: str,
    ) -> Generator[GdsGraph]:
        """Project Article, List and IN_LIST with the vectors."""
        del vectors, folder
        with open_server(self._connection) as server:
            server.drop(self.prefix)
            ids = find_articles(server, keys)
            # A name of its own: a training that was killed goes on under its name for a while.
            name = f"{self.prefix}{uuid.uuid4().hex[:8]}"
            try:
                graph = server.project(name, vector_property)
                if graph.relationship_count() != members.nnz:
                    raise TagsageError(CHANGED)
                yield GdsGraph(server, name, graph, ids, vector_property, settings)
            finally:
                server.drop(name)

    def teardown(self) -> None:
        """Drop what killed runs of this workspace left on the server."""
        with open_server(self._connection) as server:
            server.drop(self.prefix)


class GdsGraph(ArticleGraph):
    """A graph in the server's memory; its names begin with `name`, `ids` are articles' node ids."""

    def __init__(
        self,
        server: GdsServer,
        name: str,
        graph: Graph,
        ids: LongArray,
        vector_property: str,
        settings: Settings,
    ) -> None:
        self.gds, self.server, self.name, self.graph = server.gds, server, name, graph
        self.ids, self.vector_property, self.settings = ids, vector_property, settings
        self._index: pd.Index[int] = pd.Index(ids)

    def similarity(self) -> LongArray:
        """Run nodeSimilarity in the projection."""
        if self.settings.similarity_max_list_size:
            self._leave_long_lists_out()
        result = self.gds.node_similarity.mutate(
            self.graph,
            SIMILAR,
            "score",
            top_k=self.settings.similarity_top_k,
            similarity_cutoff=LEAST_SIMILARITY,
            relationship_types=[IN_LIST],
            node_labels=[ARTICLE, LIST],
            **self._common,
        )
        degrees = np.zeros(len(self.ids), dtype=np.int64)
        if result.relationships_written:
            articles, leaving = self._degrees(self.graph, SIMILAR)
            degrees[articles] = leaving
        return degrees

    def components(self) -> IntArray:
        """Run WCC over SIMILAR."""
        frame = self.gds.wcc.stream(
            self.graph, relationship_types=[SIMILAR], node_labels=[ARTICLE], **self._common
        )
        component = np.empty(len(self.ids), dtype=np.int64)
        component[self.index_of(frame["nodeId"])] = frame["componentId"]
        return number_by_lowest(component)

    def sample(self, start_node: int) -> Sample:
        """Draw a sample graph by random walks with restarts; seeded, so on one worker."""
        self.sampled, _ = self.gds.graph.sample.rwr(
            self.graph,
            f"{self.name}-sample",
            start_nodes=[int(self.ids[start_node])],
            restart_probability=RESTART_PROBABILITY,
            sampling_ratio=self.settings.sample_ratio,
            relationship_types=[SIMILAR],
            node_labels=[ARTICLE],
            random_seed=self.settings.seed,
            concurrency=1,
            log_progress=False,
        )
        # A sample where nothing joins two articles has no relationship type.
        articles, degrees = self._degrees(self.sampled, "*")
        order = np.argsort(articles)
        return Sample(articles[order], int(degrees.sum()))

    def graphsage(self, articles: npt.NDArray[np.integer], out: FloatArray) -> Training:
        """Train in the sample graph and stream the embeddings; the weights stay on the server."""
        is_joined = self.sampled.relationship_count() > 0
        graph, count = (self.sampled, len(articles)) if is_joined else (self.graph, len(self.ids))
        settings, model = self.settings, f"{self.name}-graphsage"
        _, result = self.gds.graph_sage.train(
            graph,
            model,
            [self.vector_property],
            activation_function=settings.graphsage_activation.upper(),
            aggregator=settings.graphsage_aggregator.upper(),
            embedding_dimension=settings.graphsage_dimensions,
            sample_sizes=list(settings.sample_sizes()),
            search_depth=settings.graphsage_search_depth,
            epochs=settings.graphsage_epochs,
            max_iterations=MAX_ITERATIONS,
            learning_rate=settings.graphsage_learning_rate,
            batch_size=settings.graphsage_batch_size,
            batch_sampling_ratio=sampling_ratio(count, settings),
            tolerance=TOLERANCE,
            random_seed=settings.seed,
            relationship_types=[SIMILAR],
            node_labels=[ARTICLE],
            **self._common,
        )
        metrics: dict[str, Any] = result.model_info["metrics"]
        losses = [float(loss) for loss in metrics["epochLosses"]]
        for epoch, loss in enumerate(losses, start=1):
            refuse_infinite(loss, epoch)
        self._stream_embeddings(model, out)
        return Training(count, losses, bool(metrics["didConverge"]))

    def index_of(self, ids: Any) -> IntArray:
        """Return the articles of some nodes."""
        return np.asarray(self._index.get_indexer(ids), dtype=np.int32)

    @property
    def _common(self) -> dict[str, Any]:
        # More workers need a licence.
        return {"concurrency": WORKERS, "log_progress": False}

    def _degrees(self, graph: Graph, relationship_type: str) -> tuple[IntArray, LongArray]:
        frame = self.gds.degree.stream(
            graph, relationship_types=[relationship_type], node_labels=[ARTICLE], **self._common
        )
        return self.index_of(frame["nodeId"]), frame["score"].to_numpy().astype(np.int64)

    def _leave_long_lists_out(self) -> None:
        self.gds.degree.mutate(
            self.graph, SIZE, orientation="REVERSE", relationship_types=[IN_LIST], **self._common
        )
        whole = self.graph
        self.graph, _ = self.gds.graph.filter(
            whole,
            f"{self.name}-short-lists",
            f"n:{ARTICLE} OR n.{SIZE} <= $most",
            "*",
            parameters={"most": float(self.settings.similarity_max_list_size)},
            concurrency=1,
            log_progress=False,
        )
        whole.drop()

    def _stream_embeddings(self, model: str, out: FloatArray) -> None:
        settings = {
            "modelName": model,
            "relationshipTypes": [SIMILAR],
            "nodeLabels": [ARTICLE],
            "concurrency": WORKERS,
            "logProgress": False,
        }
        rows = self.server.stream(EMBEDDINGS, graph=self.graph.name(), settings=settings)
        while block := list(islice(rows, ROW_BLOCK)):
            articles = self.index_of([row["id"] for row in block])
            out[articles] = np.array([row["embedding"] for row in block], dtype=np.float32)
        if not np.isfinite(out).all():
            raise TagsageError("GraphSAGE's embeddings came out as no numbers; see the vectors.")
