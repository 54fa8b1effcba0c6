"""The engine that computes in a Neo4j server with Graph Data Science."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tagsage.errors import TagsageError
from tagsage.graph.arrays import create_array, load_array, nonzero_rows
from tagsage.graph.base import (
    DEGREES_FILE,
    EMBEDDINGS_FILE,
    LABELS_FILE,
    SAMPLE_FILE,
    GraphEngine,
    SampleConfig,
    Summary,
)
from tagsage.graph.components import number_by_lowest, start_node
from tagsage.graph.csr import make_csr, save_csr
from tagsage.graph.gds import catalog, embeddings, memory
from tagsage.graph.gds.articles import ArticleNodes, find_articles
from tagsage.graph.gds.catalog import ARTICLE, SCORE, SIMILAR
from tagsage.graph.gds.names import PREFIX, RunNames
from tagsage.graph.gds.recipe import (
    Recipe,
    SampleRecipe,
    copy_corpus,
    load_keys,
    load_list_sizes,
    save_corpus,
)
from tagsage.graph.gds.server import GdsServer, open_gds
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.local import LocalEngine
from tagsage.graph.similarity import SimilarityConfig
from tagsage.neo4j_connection import Neo4jConnection

if TYPE_CHECKING:
    from graphdatascience.graph.graph_api import Graph

    from tagsage.graph.csr import Csr

logger = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(hours=24)


class GdsEngine(GraphEngine):
    """Computes with Neo4j Graph Data Science on what the Neo4j store holds.

    The database is ``(:Article {key, <vectors>})-[:IN_LIST]->(:List)``. Graphs live in the
    server's memory under names that hold the workspace and the run; a method that finds one
    missing (the server was restarted, the folder was filled on an earlier run) makes it again
    from the recipe in the folder. Where nothing joins two articles, the local engine does the rest.

    Parameters
    ----------
    connection : Neo4jConnection
        The server.
    run_id : str
        The run: part of the names.
    owner : str
        A short digest of the workspace, letters and digits: part of the names.
    concurrency : int
        Workers on the server; GDS has at most four without a licence.
    """

    name = "gds"

    def __init__(
        self, connection: Neo4jConnection, *, run_id: str, owner: str, concurrency: int = 4
    ) -> None:
        if concurrency < 1:
            raise TagsageError(f"gds: concurrency must be at least 1, not {concurrency}.")
        self._connection = connection
        self._names = RunNames(owner, run_id)
        self._concurrency = concurrency
        self._local = LocalEngine()

    def project(
        self, folder: Path, incidence: Csr, *, keys: Sequence[str], vector_property: str
    ) -> Summary:
        """Project Article, List and IN_LIST; see :meth:`GraphEngine.project`.

        What this run had projected before is made anew, since vectors may have changed; leftovers
        of other runs are dropped.

        Raises
        ------
        TagsageError
            When the database holds another corpus, vectors are missing or broken, or the server
            has too little memory.
        """
        summary = self._local.project(folder, incidence, keys=keys, vector_property=vector_property)
        list_sizes = np.bincount(incidence.indices, minlength=incidence.shape[1])
        save_corpus(folder, keys, list_sizes)
        memberships = int(incidence.nnz)
        recipe = Recipe(
            articles=len(keys),
            memberships=memberships,
            vector_property=vector_property,
            kept_memberships=memberships,
        )
        recipe.save(folder)
        with self._open() as server:
            self._drop_leftovers(server)
            self._drop_where(server, lambda name, _made: self._names.owns(name))
            find_articles(server, keys, memberships)
            # Where nothing joins two articles, there is nothing to project.
            if memberships:
                catalog.ensure_graph(server, self._names, recipe, list_sizes)
        return summary

    def similarity(self, folder: Path, projection: Path, config: SimilarityConfig) -> Summary:
        """Run nodeSimilarity in the projection; see :meth:`GraphEngine.similarity`."""
        sizes = load_list_sizes(projection)
        kept = sizes[sizes <= config.max_list_size] if config.max_list_size else sizes
        recipe = replace(
            Recipe.load(projection),
            max_list_size=config.max_list_size,
            kept_memberships=int(kept.sum()),
        )
        degrees = np.zeros(recipe.articles, dtype=np.int64)
        with self._open() as server:
            nodes = self._find(server, projection, recipe)
            if recipe.kept_memberships:
                graph, joined = catalog.join_anew(server, self._names, recipe, config, sizes)
                recipe = replace(recipe, similarity=config, relationships=joined)
                index, leaving = catalog.node_degrees(server, graph, nodes)
                degrees[index] = leaving
        if not recipe.relationships:
            # What the local engine then does the rest with.
            save_csr(folder, _no_neighbours(recipe.articles))
        copy_corpus(projection, folder)
        np.save(folder / DEGREES_FILE, degrees)
        recipe.save(folder)
        return {
            "relationships": int(degrees.sum()),
            "articles_joined": int((degrees > 0).sum()),
            "largest_degree": int(degrees.max(initial=0)),
        }

    def components(self, folder: Path, similarity: Path) -> Summary:
        """Run WCC over SIMILAR; see :meth:`GraphEngine.components`."""
        recipe = Recipe.load(similarity)
        if not recipe.relationships:
            return self._local.components(folder, similarity)
        with self._open() as server:
            nodes, graph = self._ensure(server, similarity, recipe)
            frame = server.gds.wcc.stream(
                graph,
                relationship_types=[SIMILAR],
                node_labels=[ARTICLE],
                concurrency=server.concurrency,
                log_progress=False,
            )
        component = np.full(recipe.articles, -1, dtype=np.int64)
        component[nodes.index_of(frame["nodeId"].to_numpy())] = frame["componentId"].to_numpy()
        labels = number_by_lowest(component)
        np.save(folder / LABELS_FILE, labels)
        degrees = np.load(similarity / DEGREES_FILE, allow_pickle=False)
        return {
            "components": int(labels.max()) + 1,
            "largest_component": int(np.bincount(labels).max()),
            "start_node": start_node(labels, degrees),
        }

    def sample(
        self, folder: Path, similarity: Path, start_node: int | None, config: SampleConfig
    ) -> Summary:
        """Draw a sample graph by random walks; see :meth:`GraphEngine.sample`."""
        recipe = Recipe.load(similarity)
        if not recipe.relationships:
            return self._local.sample(folder, similarity, start_node, config)
        sample_recipe = SampleRecipe(config, start_node)
        with self._open() as server:
            nodes, graph = self._ensure(server, similarity, recipe)
            sample = catalog.sample_anew(server, self._names, graph, sample_recipe, nodes)
            sampled, degrees = catalog.node_degrees(server, sample, nodes)
        np.save(folder / SAMPLE_FILE, sampled)
        sample_recipe.save(folder)
        return {"articles": len(sampled), "relationships": int(degrees.sum())}

    def graphsage(
        self,
        folder: Path,
        similarity: Path,
        sample: Path,
        vectors: Path,
        config: GraphSageConfig,
    ) -> Summary:
        """Train on the sample, embed all articles; see :meth:`GraphEngine.graphsage`.

        The weights stay on the server and are dropped once the embeddings are here: there is no
        ``model/``. When no two sampled articles are joined, the whole graph is trained on.
        """
        recipe = Recipe.load(similarity)
        if not float(config.negative_weight).is_integer():
            msg = (
                "GDS takes only whole numbers as graphsage_negative_weight, "
                f"not {config.negative_weight}; choose one, or set engine=local."
            )
            raise TagsageError(msg)
        if not recipe.relationships:
            return self._local.graphsage(folder, similarity, sample, vectors, config)
        features = load_array(vectors)
        with self._open() as server:
            nodes, graph = self._ensure(server, similarity, recipe)
            dimensions = embeddings.check_vectors(server, nodes, recipe, features)
            training, sampled, redrawn = self._ensure_sample(server, graph, sample, nodes)
            server.refuse_if_short(
                f"GraphSAGE on {recipe.articles:,} articles",
                memory.graphsage_bytes(
                    recipe.articles, sampled, dimensions, config, server.concurrency
                ),
            )
            metrics = embeddings.train_graphsage(
                server, self._names.model, training, sampled, recipe.vector_property, config
            )
            out = create_array(folder / EMBEDDINGS_FILE, (recipe.articles, config.dimensions))
            embeddings.embed_by_graphsage(server, self._names.model, graph, nodes, out)
            server.drop_model(self._names.model)
        out.flush()
        return {
            "trained": True,
            "trained_on": sampled,
            "epoch_losses": [float(loss) for loss in metrics["epochLosses"]],
            "epochs": int(metrics["ranEpochs"]),
            "converged": bool(metrics["didConverge"]),
            "zero_embeddings": int((~nonzero_rows(out)).sum()),
            "sample_redrawn": redrawn,
        }

    def neighbours(self, similarity: Path) -> Csr:
        """Return the similarity graph; see :meth:`GraphEngine.neighbours`."""
        recipe = Recipe.load(similarity)
        if not recipe.relationships:
            return self._local.neighbours(similarity)
        with self._open() as server:
            nodes, graph = self._ensure(server, similarity, recipe)
            frame = server.gds.graph.relationships.stream(
                graph, relationship_types=[SIMILAR], relationship_properties=[SCORE]
            )
        source = nodes.index_of(frame["sourceNodeId"].to_numpy())
        target = nodes.index_of(frame["targetNodeId"].to_numpy())
        score = frame[SCORE].to_numpy(dtype=np.float32)
        order = np.lexsort((target, source))
        counts = np.bincount(source, minlength=recipe.articles)
        indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        shape = (recipe.articles, recipe.articles)
        return make_csr(score[order], target[order], indptr, shape)

    def teardown(self) -> None:
        """Drop this run's graphs and model from the server."""
        with self._open() as server:
            server.wait_for_killed(self._names.graph)
            dropped = self._drop_where(server, lambda name, _made: self._names.owns(name))
            # A run that found everything in the workspace projected nothing, and looked for none.
            self._drop_leftovers(server)
        logger.info("Neo4j: dropped %s", ", ".join(dropped) or "nothing: there was nothing left")

    def _open(self) -> AbstractContextManager[GdsServer]:
        return open_gds(self._connection, self._concurrency)

    def _find(self, server: GdsServer, folder: Path, recipe: Recipe) -> ArticleNodes:
        """Wait for killed tasks of ours, then find the articles' nodes."""
        server.wait_for_killed(self._names.family)
        return find_articles(server, load_keys(folder), recipe.memberships)

    def _ensure(
        self, server: GdsServer, similarity: Path, recipe: Recipe
    ) -> tuple[ArticleNodes, Graph]:
        """Return the articles' nodes and the graph with SIMILAR."""
        nodes = self._find(server, similarity, recipe)
        sizes = load_list_sizes(similarity)
        return nodes, catalog.ensure_graph(server, self._names, recipe, sizes)

    def _ensure_sample(
        self, server: GdsServer, graph: Graph, folder: Path, nodes: ArticleNodes
    ) -> tuple[Graph, int, bool]:
        """Return the graph to train on, how many articles it has, and whether it is another one.

        Another one than ``sample.npy`` says: walks over nodes in another order, as after the
        database was imported anew, take other ways. It is a random sample as good as the first.
        """
        drawn = load_array(folder / SAMPLE_FILE).astype(np.int32)
        state = server.state(self._names.sample)
        if state is None or state.nodes != len(drawn):
            recipe = SampleRecipe.load(folder)
            sample = catalog.sample_anew(server, self._names, graph, recipe, nodes)
        else:
            sample = server.gds.graph.get(self._names.sample)
        sampled, degrees = catalog.node_degrees(server, sample, nodes)
        redrawn = not np.array_equal(sampled, drawn)
        if redrawn:
            kept = len(np.intersect1d(sampled, drawn))
            logger.warning(
                "Neo4j had lost the sample, and the new one shares %s of %s articles with it: the "
                "nodes are in another order now; training goes on with the new one.",
                f"{kept:,}",
                f"{len(drawn):,}",
            )
        if not degrees.any():
            return graph, len(nodes.ids), redrawn
        return sample, len(sampled), redrawn

    def _drop_leftovers(self, server: GdsServer) -> None:
        """Drop what earlier runs of this workspace left, and what anyone's left a day ago."""
        server.wait_for_killed(self._names.family)
        abandoned = datetime.now(tz=UTC) - ABANDONED_AFTER

        def left(name: str, made: datetime) -> bool:
            ours = self._names.related(name) and not self._names.owns(name)
            return ours or (name.startswith(PREFIX) and made < abandoned)

        dropped = self._drop_where(server, left)
        if dropped:
            logger.warning("Neo4j: dropped what other runs left: %s", ", ".join(dropped))

    def _drop_where(
        self, server: GdsServer, unwanted: Callable[[str, datetime], bool]
    ) -> list[str]:
        """Drop graphs and models; return their names."""
        dropped = []
        for name, state in server.graphs().items():
            if unwanted(name, state.created) and server.drop_graph(name):
                dropped.append(name)
        for name, (_, made) in server.models().items():
            if unwanted(name, made) and server.drop_model(name):
                dropped.append(name)
        return dropped


def _no_neighbours(articles: int) -> Csr:
    nothing = np.zeros(0, dtype=np.float32)
    indptr = np.zeros(articles + 1, dtype=np.int64)
    return make_csr(nothing, nothing.astype(np.int32), indptr, (articles, articles))
