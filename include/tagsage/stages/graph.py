"""The study's graph, stage by stage.

What no candidate of the night uses is not computed: its ref is then empty.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.night import Night, Token
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
    "none": "givenEmbedding",
}


def engine_of(night: Night) -> GraphEngine:
    """Return the engine that the settings name."""
    from tagsage.graph.local import LocalEngine

    if night.settings.engine == LocalEngine.name:
        return LocalEngine()
    from tagsage.graph.gds.engine import GdsEngine
    from tagsage.neo4j_connection import resolve_connection

    # Runs of one workspace follow one another: what an earlier one left on the server is dead.
    owner = hashlib.sha256(str(night.workspace.root).encode()).hexdigest()[:8]
    return GdsEngine(resolve_connection(), run_id=night.run_id, owner=owner)


def project(token: Token, corpus: Ref, vectors: Ref) -> Ref:
    """Make the membership graph ready; returns the projection's ref.

    A store that keeps vectors gets those of the texts first, because the projection reads them.
    """
    night = Night.of(token)
    vector_property = VECTOR_PROPERTIES[night.settings.embedder]
    if not keep_vectors(night, corpus, vector_property, vectors, VECTORS_FILE):
        vector_property = ""

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(night, corpus)
        incidence = snapshot.incidence()
        return engine_of(night).project(
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
    return _artifact(night, "projection", inputs, build)


def similarity(token: Token, projection: Ref) -> Ref:
    """Join articles by the Jaccard similarity of their lists."""
    from tagsage.features.neighbours import similarity_config

    night = Night.of(token)
    if not _wanted(night, "graphsage"):
        return ""
    config = similarity_config(night.settings)

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(night).similarity(folder, _path(night, projection), config)

    return _artifact(night, "similarity", {"projection": projection, **vars(config)}, build)


def components(token: Token, similarity: Ref) -> Ref:
    """Find the weakly connected components and the node where walks start."""
    night = Night.of(token)
    if not similarity:
        return ""

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(night).components(folder, _path(night, similarity))

    return _artifact(night, "components", {"similarity": similarity}, build)


def sample(token: Token, similarity: Ref, components: Ref) -> Ref:
    """Sample articles for training by random walks with restarts."""
    from tagsage.graph.base import SampleConfig

    night = Night.of(token)
    if not _wanted(night, "graphsage"):
        return ""
    settings = night.settings
    config = SampleConfig(
        ratio=settings.sample_ratio,
        restart_probability=settings.sample_restart_probability,
        seed=settings.seed,
    )
    start_node = night.workspace.open(components).summary["start_node"]

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(night).sample(folder, _path(night, similarity), start_node, config)

    inputs = {"similarity": similarity, "start_node": start_node, **vars(config)}
    return _artifact(night, "sample", inputs, build)


def graphsage(token: Token, corpus: Ref, similarity: Ref, sample: Ref, vectors: Ref) -> Ref:
    """Train GraphSAGE on the sample and embed every article.

    A store that keeps vectors gets the embeddings too, as the property ``graphSAGE``.
    """
    from tagsage.features.graphsage import graphsage_config
    from tagsage.graph.base import EMBEDDINGS_FILE

    night = Night.of(token)
    if not _wanted(night, "graphsage"):
        return ""
    config = graphsage_config(night.settings)

    def build(folder: Path) -> dict[str, Any]:
        return engine_of(night).graphsage(
            folder,
            _path(night, similarity),
            _path(night, sample),
            _path(night, vectors) / VECTORS_FILE,
            config,
        )

    inputs = {"similarity": similarity, "sample": sample, "vectors": vectors, **vars(config)}
    ref = _artifact(night, "graphsage", inputs, build)
    keep_vectors(night, corpus, GRAPHSAGE_PROPERTY, ref, EMBEDDINGS_FILE)
    return ref


def _wanted(night: Night, block: str) -> bool:
    wanted = block in wanted_blocks(night.settings)
    if not wanted:
        logger.info("No candidate uses %s: left out.", block)
    return wanted


def _path(night: Night, ref: Ref) -> Path:
    return night.workspace.open(ref).path


def _artifact(night: Night, stage: str, inputs: dict[str, Any], build: Any) -> Ref:
    inputs = {"engine": night.settings.engine, **inputs}
    artifact = night.artifact(stage, inputs, build, code=GRAPH_CODE)
    logger.info("%s: %s", stage, artifact.summary)
    return artifact.ref
