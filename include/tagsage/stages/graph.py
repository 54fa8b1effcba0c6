"""The study's graph: every article embedded by GraphSAGE, when a candidate uses it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.common import (
    GRAPH_CODE,
    VECTORS_FILE,
    Ref,
    keep_vectors,
    load_snapshot,
    load_vectors,
    wanted_blocks,
)

if TYPE_CHECKING:
    from tagsage.graph.engine import GraphEngine

logger = logging.getLogger(__name__)

# The properties of an article in a store that keeps vectors: GraphSAGE's embeddings, and the text's
# vectors by embedder.
GRAPHSAGE_PROPERTY = "graphSAGE"
VECTOR_PROPERTIES = {
    "lsa": "lsaEmbedding",
    "openai": "openaiEmbedding",
    "precomputed": "precomputedEmbedding",
}


def engine_of(run: RunContext) -> GraphEngine:
    """Return the engine that the settings name."""
    from tagsage.graph.local import LocalEngine

    if run.settings.engine == "local":
        return LocalEngine()
    from tagsage.graph.gds import GdsEngine
    from tagsage.neo4j_connection import resolve_connection

    # Runs of one workspace follow one another: what an earlier one left on the server is dead.
    owner = hashlib.sha256(str(run.workspace.root).encode()).hexdigest()[:8]
    return GdsEngine(resolve_connection(), owner=owner)


def graph(token: Token, corpus: Ref, vectors: Ref) -> Ref:
    """Join articles by their lists, train GraphSAGE on a sample, and embed every article.

    A store that keeps vectors gets those of the texts first, because the projection reads them, and
    the embeddings in the end, as the property ``graphSAGE``. Returns the graph's ref; empty when no
    candidate of the run uses GraphSAGE.
    """
    from tagsage.features.graphsage import GraphSage
    from tagsage.graph.compute import EMBEDDINGS_FILE, compute_graph

    run = RunContext.of(token)
    settings = run.settings
    vector_property = VECTOR_PROPERTIES[settings.embedder]
    keep_vectors(run, corpus, vector_property, vectors, VECTORS_FILE)
    if GraphSage.name not in wanted_blocks(settings):
        logger.info("No candidate uses graphsage: left out.")
        return ""

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        return compute_graph(
            engine_of(run),
            folder,
            snapshot.incidence(),
            load_vectors(run, vectors),
            settings,
            keys=snapshot.articles["key"].tolist(),
            vector_property=vector_property,
        )

    inputs = {
        "engine": settings.engine,
        "corpus": corpus,
        "vectors": vectors,
        **{name: getattr(settings, name) for name in GraphSage.settings},
    }
    artifact = run.artifact("graph", inputs, build, code=GRAPH_CODE)
    logger.info("graph: %s", artifact.summary)
    keep_vectors(run, corpus, GRAPHSAGE_PROPERTY, artifact.ref, EMBEDDINGS_FILE)
    return artifact.ref
