"""The study's graph, stage by stage.

What no candidate of the run uses is not computed: its ref is then empty.
"""

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
    wanted_blocks,
)

if TYPE_CHECKING:
    from tagsage.graph.base import GraphEngine

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

    if run.settings.engine == LocalEngine.name:
        return LocalEngine()
    from tagsage.graph.gds.engine import GdsEngine
    from tagsage.neo4j_connection import resolve_connection

    # Runs of one workspace follow one another: what an earlier one left on the server is dead.
    owner = hashlib.sha256(str(run.workspace.root).encode()).hexdigest()[:8]
    return GdsEngine(resolve_connection(), run_id=run.run_id, owner=owner)


def project(token: Token, corpus: Ref, vectors: Ref) -> Ref:
    """Make the membership graph ready; returns the projection's ref.

    A store that keeps vectors gets those of the texts first, because the projection reads them.
    """
    run = RunContext.of(token)
    vector_property = VECTOR_PROPERTIES[run.settings.embedder]
    if not keep_vectors(run, corpus, vector_property, vectors, VECTORS_FILE):
        vector_property = ""

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        incidence = snapshot.incidence()
        return engine_of(run).project(
            folder,
            incidence,
            keys=snapshot.articles["key"].tolist(),
            vector_property=vector_property,
        )

    inputs = {
        "corpus": corpus,
        "vector_property": vector_property,
        "vectors": vectors if vector_property else "",
    }
    return _artifact(run, "projection", inputs, build)


def similarity(token: Token, projection: Ref) -> Ref:
    """Join articles by the Jaccard similarity of their lists."""
    from tagsage.features.neighbours import similarity_config

    run = RunContext.of(token)
    if not _wanted(run, "graphsage"):
        return ""
    config = similarity_config(run.settings)

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(run).similarity(folder, _path(run, projection), config)

    return _artifact(run, "similarity", {"projection": projection, **vars(config)}, build)


def components(token: Token, similarity: Ref) -> Ref:
    """Find the weakly connected components and the node where walks start."""
    run = RunContext.of(token)
    if not similarity:
        return ""

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(run).components(folder, _path(run, similarity))

    return _artifact(run, "components", {"similarity": similarity}, build)


def sample(token: Token, similarity: Ref, components: Ref) -> Ref:
    """Sample articles for training by random walks with restarts."""
    from tagsage.graph.base import SampleConfig

    run = RunContext.of(token)
    if not _wanted(run, "graphsage"):
        return ""
    settings = run.settings
    config = SampleConfig(
        ratio=settings.sample_ratio,
        restart_probability=settings.sample_restart_probability,
        seed=settings.seed,
    )
    start_node = run.workspace.open(components).summary["start_node"]

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(run).sample(folder, _path(run, similarity), start_node, config)

    inputs = {"similarity": similarity, "start_node": start_node, **vars(config)}
    return _artifact(run, "sample", inputs, build)


def graphsage(token: Token, corpus: Ref, similarity: Ref, sample: Ref, vectors: Ref) -> Ref:
    """Train GraphSAGE on the sample and embed every article.

    A store that keeps vectors gets the embeddings too, as the property ``graphSAGE``.
    """
    from tagsage.features.graphsage import graphsage_config
    from tagsage.graph.base import EMBEDDINGS_FILE

    run = RunContext.of(token)
    if not _wanted(run, "graphsage"):
        return ""
    config = graphsage_config(run.settings)

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(run).graphsage(
            folder,
            _path(run, similarity),
            _path(run, sample),
            _path(run, vectors) / VECTORS_FILE,
            config,
        )

    inputs = {"similarity": similarity, "sample": sample, "vectors": vectors, **vars(config)}
    ref = _artifact(run, "graphsage", inputs, build)
    keep_vectors(run, corpus, GRAPHSAGE_PROPERTY, ref, EMBEDDINGS_FILE)
    return ref


def _wanted(run: RunContext, block: str) -> bool:
    wanted = block in wanted_blocks(run.settings)
    if not wanted:
        logger.info("No candidate uses %s: left out.", block)
    return wanted


def _path(run: RunContext, ref: Ref) -> Path:
    return run.workspace.open(ref).path


def _artifact(run: RunContext, stage: str, inputs: dict[str, Any], build: Any) -> Ref:
    inputs = {"engine": run.settings.engine, **inputs}
    artifact = run.artifact(stage, inputs, build, code=GRAPH_CODE)
    logger.info("%s: %s", stage, artifact.summary)
    return artifact.ref
