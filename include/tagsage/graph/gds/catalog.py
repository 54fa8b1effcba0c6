"""The run's graphs in the server's memory: made, recognised when they are there, made again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from neo4j.exceptions import ClientError

from tagsage.errors import TagsageError
from tagsage.graph.gds import memory
from tagsage.graph.gds.articles import CHANGED, ArticleNodes, vector_dimensions
from tagsage.graph.gds.names import RunNames
from tagsage.graph.gds.recipe import Recipe, SampleRecipe
from tagsage.graph.gds.server import GdsServer, GraphState, met_another
from tagsage.graph.similarity import SimilarityConfig

if TYPE_CHECKING:
    from graphdatascience.graph.graph_api import Graph

    from tagsage.graph.csr import IntArray, LongArray

logger = logging.getLogger(__name__)

ARTICLE, LIST, IN_LIST = "Article", "List", "IN_LIST"
SIMILAR, SCORE = "SIMILAR", "score"
LIST_SIZE = "listSize"
LEAST_CUTOFF = 1e-42

# Tasks of one run that find the graph missing at the same time make it again side by side; who is
# second finds that it is there, and looks again.
ATTEMPTS = 8


def ensure_graph(
    server: GdsServer, names: RunNames, recipe: Recipe, list_sizes: LongArray
) -> Graph:
    """Return the graph of a recipe, made when it is missing or not as it should be.

    Parameters
    ----------
    server : GdsServer
        The server.
    names : RunNames
        What the graph is called.
    recipe : Recipe
        What it is made of; with `similarity`, SIMILAR is part of it.
    list_sizes : int64 array, shape [n_lists]
        Articles of each list.

    Returns
    -------
    Graph
        The client's handle.

    Raises
    ------
    TagsageError
        When it cannot fit into memory, or the database holds something else now.
    """
    config = recipe.similarity
    for _ in range(ATTEMPTS):
        state = server.state(names.graph)
        if state is not None and _is(state, recipe, joined=config is not None):
            return server.gds.graph.get(names.graph)
        try:
            if state is None:
                _project(server, names, recipe, list_sizes)
            elif config is not None and _is(state, recipe, joined=False):
                joined = _join(server, names, recipe, config, list_sizes)
                if joined != recipe.relationships:
                    server.drop_graph(names.graph)
                    raise TagsageError(CHANGED)
            else:
                logger.info("Neo4j: the graph %s is not as it should be: dropped", names.graph)
                server.drop_graph(names.graph)
        except (ClientError, ValueError) as error:
            if not met_another(error):
                raise
    msg = (
        f"The graph {names.graph} in Neo4j keeps changing: something else works under this name; "
        "see that one run a workspace is under way, and run again."
    )
    raise TagsageError(msg)


def join_anew(
    server: GdsServer,
    names: RunNames,
    recipe: Recipe,
    config: SimilarityConfig,
    list_sizes: LongArray,
) -> tuple[Graph, int]:
    """Run nodeSimilarity in the graph of a recipe without it.

    Returns
    -------
    (Graph, int)
        The graph, and how many relationships SIMILAR has.
    """
    state = server.state(names.graph)
    if state is not None and SIMILAR in state.relationship_types:
        # Of an earlier attempt, perhaps with other settings.
        server.gds.graph.relationships.drop(server.gds.graph.get(names.graph), SIMILAR)
    ensure_graph(server, names, recipe, list_sizes)
    joined = _join(server, names, recipe, config, list_sizes)
    return server.gds.graph.get(names.graph), joined


def sample_anew(
    server: GdsServer,
    names: RunNames,
    graph: Graph,
    recipe: SampleRecipe,
    nodes: ArticleNodes,
) -> Graph:
    """Draw the sample by random walks with restarts; seeded, so on one worker."""
    server.drop_graph(names.sample)
    config = recipe.config
    start = None if recipe.start_node is None else [int(nodes.ids[recipe.start_node])]
    logger.info("GDS: sampling %g %% of the articles", 100 * config.ratio)
    sample, _ = server.gds.graph.sample.rwr(
        graph,
        names.sample,
        start_nodes=start,
        restart_probability=config.restart_probability,
        sampling_ratio=config.ratio,
        relationship_types=[SIMILAR],
        node_labels=[ARTICLE],
        random_seed=config.seed,
        concurrency=1,
        log_progress=False,
    )
    return sample


def node_degrees(
    server: GdsServer, graph: Graph, nodes: ArticleNodes
) -> tuple[IntArray, LongArray]:
    """Return the articles of a graph and how many SIMILAR relationships leave each.

    Returns
    -------
    (int32 [m], int64 [m])
        Snapshot indices, sorted, and degrees.
    """
    # A sample where nothing joins two articles has no such type.
    types = graph.relationship_types()
    frame = server.gds.degree.stream(
        graph,
        relationship_types=[SIMILAR] if SIMILAR in types else ["*"],
        node_labels=[ARTICLE],
        concurrency=server.concurrency,
        log_progress=False,
    )
    index = nodes.index_of(frame["nodeId"].to_numpy())
    order = np.argsort(index)
    degrees: LongArray = frame["score"].to_numpy().astype(np.int64)[order]
    return index[order], degrees


def _is(state: GraphState, recipe: Recipe, *, joined: bool) -> bool:
    """Tell whether a graph is what a recipe makes, before or after nodeSimilarity."""
    properties = state.properties.get(ARTICLE, frozenset())
    return (
        (SIMILAR in state.relationship_types) == joined
        and state.relationships == recipe.kept_memberships + (recipe.relationships if joined else 0)
        and state.nodes >= recipe.articles
        and (not recipe.vector_property or recipe.vector_property in properties)
        and (LIST_SIZE in properties) == (recipe.max_list_size > 0)
    )


def _project(server: GdsServer, names: RunNames, recipe: Recipe, list_sizes: LongArray) -> None:
    """Project the database, without the lists that are too long."""
    vectors = recipe.vector_property
    dimensions = vector_dimensions(server, vectors) if vectors else 0
    server.refuse_if_short(
        f"Projecting {recipe.articles:,} articles",
        memory.projection_bytes(recipe.articles, len(list_sizes), recipe.memberships, dimensions),
    )
    logger.info("GDS: projecting %s articles", f"{recipe.articles:,}")
    cut = recipe.max_list_size > 0
    if cut:
        server.drop_graph(names.whole_graph)
    graph, _ = server.gds.graph.project.native(
        names.whole_graph if cut else names.graph,
        {ARTICLE: {"properties": [vectors] if vectors else []}, LIST: {}},
        {IN_LIST: {}},
        # On one worker nodes keep their order, so that seeded walks can be repeated.
        read_concurrency=1,
        log_progress=False,
    )
    if cut:
        server.gds.degree.mutate(
            graph,
            LIST_SIZE,
            orientation="REVERSE",
            relationship_types=[IN_LIST],
            concurrency=server.concurrency,
            log_progress=False,
        )
        server.gds.graph.filter(
            graph,
            names.graph,
            f"n:{ARTICLE} OR n.{LIST_SIZE} <= $most",
            "*",
            parameters={"most": float(recipe.max_list_size)},
            concurrency=1,
            log_progress=False,
        )
        server.drop_graph(names.whole_graph)


def _join(
    server: GdsServer,
    names: RunNames,
    recipe: Recipe,
    config: SimilarityConfig,
    list_sizes: LongArray,
) -> int:
    """Run nodeSimilarity in the projection; return how many relationships it made."""
    server.refuse_if_short(
        f"The similarity of {recipe.articles:,} articles",
        memory.similarity_bytes(list_sizes, recipe.articles, config),
    )
    logger.info("GDS: similarity of %s articles", f"{recipe.articles:,}")
    result = server.gds.node_similarity.mutate(
        server.gds.graph.get(names.graph),
        SIMILAR,
        SCORE,
        top_k=config.top_k,
        # At 0 pairs that share no list would be joined.
        similarity_cutoff=max(config.cutoff, LEAST_CUTOFF),
        degree_cutoff=config.degree_cutoff,
        relationship_types=[IN_LIST],
        node_labels=[ARTICLE, LIST],
        concurrency=server.concurrency,
        log_progress=False,
    )
    return int(result.relationships_written)
