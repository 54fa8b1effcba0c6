"""Embeddings that GDS computes: GraphSAGE over SIMILAR."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.graph.gds.articles import (
    ArticleNodes,
    fill_rows,
    refuse_other_vectors,
    vector_dimensions,
)
from tagsage.graph.gds.catalog import ARTICLE, SIMILAR
from tagsage.graph.graphsage.config import GDS_CONCURRENCY, GraphSageConfig

if TYPE_CHECKING:
    from graphdatascience.graph.graph_api import Graph

    from tagsage.graph.csr import FloatArray
    from tagsage.graph.gds.recipe import Recipe
    from tagsage.graph.gds.server import GdsServer

logger = logging.getLogger(__name__)

# The client would make one frame of lists.
_EMBEDDINGS = (
    "CALL gds.beta.graphSage.stream($graph_name, $settings) YIELD nodeId, embedding "
    "RETURN nodeId AS id, embedding AS vector"
)

MODEL_TYPE = "graphSage"
# GDS's open build keeps no more models of a type for a user.
MOST_MODELS = 3


def check_vectors(
    server: GdsServer,
    nodes: ArticleNodes,
    recipe: Recipe,
    vectors: npt.NDArray[np.floating],
) -> int:
    """Refuse vectors on the server that are not those at hand.

    Returns
    -------
    int
        How many numbers they have.

    Raises
    ------
    TagsageError
        When they differ, are missing, or hold what is no number.
    """
    if not recipe.vector_property:
        msg = (
            "The graph in Neo4j was projected without vectors; run again from the stage "
            "that projects it."
        )
        raise TagsageError(msg)
    if vectors.ndim != 2 or len(vectors) != recipe.articles:
        msg = (
            f"There are {len(vectors)} vectors for {recipe.articles} articles of the graph; "
            "run the stages from the embeddings on again."
        )
        raise TagsageError(msg)
    dimensions = vector_dimensions(server, recipe.vector_property, vectors.shape[1])
    refuse_other_vectors(server, nodes, recipe.vector_property, vectors)
    return dimensions


def train_graphsage(
    server: GdsServer,
    name: str,
    graph: Graph,
    articles: int,
    vector_property: str,
    config: GraphSageConfig,
) -> dict[str, Any]:
    """Train GraphSAGE (``gds.beta.graphSage.train``) under a name in the model catalog.

    Parameters
    ----------
    server : GdsServer
        The server.
    name : str
        The model's; one that has it already is dropped.
    graph : Graph
        What to train on.
    articles : int
        How many it has.
    vector_property : str
        The features.
    config : GraphSageConfig
        The settings; `negative_weight` is a whole number.

    Returns
    -------
    dict
        ``epochLosses``, ``ranEpochs``, ``didConverge``.

    Raises
    ------
    TagsageError
        When the catalog is full, or the loss becomes no number.
    """
    server.drop_model(name)
    others = [name for name, (kind, _) in server.models().items() if kind == MODEL_TYPE]
    if len(others) >= MOST_MODELS and not server.licensed:
        msg = (
            f"Neo4j at {server.where} keeps at most {MOST_MODELS} GraphSAGE models a user, and "
            f"has {', '.join(sorted(others))}; drop one with gds.model.drop and run again."
        )
        raise TagsageError(msg)
    ratio = config.batch_sampling_ratio
    if ratio is None:
        # GDS's own default depends on the workers at hand.
        ratio = min(1.0, config.batch_size * GDS_CONCURRENCY / articles)
    logger.info("GDS: training GraphSAGE on %s articles", f"{articles:,}")
    _, result = server.gds.graph_sage.train(
        graph,
        name,
        [vector_property],
        activation_function=config.activation.upper(),
        aggregator=config.aggregator.upper(),
        embedding_dimension=config.dimensions,
        sample_sizes=list(config.sample_sizes),
        search_depth=config.search_depth,
        epochs=config.epochs,
        max_iterations=config.max_iterations,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        batch_sampling_ratio=ratio,
        negative_sample_weight=int(config.negative_weight),
        tolerance=config.tolerance,
        penalty_l2=config.penalty_l2,
        random_seed=config.seed,
        relationship_types=[SIMILAR],
        node_labels=[ARTICLE],
        concurrency=server.concurrency,
        log_progress=False,
    )
    metrics: dict[str, Any] = result.model_info["metrics"]
    for epoch, loss in enumerate(metrics["epochLosses"], start=1):
        if not np.isfinite(loss):
            msg = f"GraphSAGE's loss became {loss} in epoch {epoch}; lower its learning rate."
            raise TagsageError(msg)
    return metrics


def embed_by_graphsage(
    server: GdsServer, model: str, graph: Graph, nodes: ArticleNodes, out: FloatArray
) -> None:
    """Embed all articles with a trained model (``gds.beta.graphSage.stream``).

    Not written by GDS and read back: the store writes them, where it is asked to.

    Parameters
    ----------
    server : GdsServer
        The server.
    model : str
        Its name in the catalog.
    graph : Graph
        The whole graph, with SIMILAR and the vectors.
    nodes : ArticleNodes
        Which node is which article.
    out : float32 array, shape [n_articles, dimensions]
        Takes them.

    Raises
    ------
    TagsageError
        When an embedding is missing or no numbers.
    """
    logger.info("GDS: embedding %s articles", f"{len(out):,}")
    settings = {
        "modelName": model,
        "relationshipTypes": [SIMILAR],
        "nodeLabels": [ARTICLE],
        "concurrency": server.concurrency,
        "logProgress": False,
    }
    with server.stream(_EMBEDDINGS, graph_name=graph.name(), settings=settings) as rows:
        fill_rows(out, nodes, rows, "GraphSAGE's embeddings")
