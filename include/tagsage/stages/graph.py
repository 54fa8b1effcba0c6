"""The study's graph: every article embedded by GraphSAGE, when a candidate uses it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import GRAPH_CODE, VECTORS_FILE, Ref, load_snapshot, load_vectors
from tagsage.stages.backends import engine_of, open_store
from tagsage.stages.candidates import wanted_blocks

logger = logging.getLogger(__name__)


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
    vector_property = f"{settings.embedder}Embedding"
    _keep_vectors(run, corpus, vector_property, vectors, VECTORS_FILE)
    if GraphSage.name not in wanted_blocks(run):
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
        **settings.model_dump(include={*GraphSage.settings}),
    }
    artifact = run.artifact("graph", inputs, build, code=GRAPH_CODE)
    logger.info("graph: %s", artifact.summary)
    _keep_vectors(run, corpus, "graphSAGE", artifact.ref, EMBEDDINGS_FILE)
    return artifact.ref


def _keep_vectors(run: RunContext, corpus: Ref, name: str, vectors: Ref, file: str) -> None:
    """Write an artifact's vectors as a property into a store that keeps vectors, if need be."""
    import numpy as np

    with open_store(run) as store:
        if not store.keeps_vectors:
            return
        keys = load_snapshot(run, corpus).articles["key"].tolist()
        matrix = np.load(run.workspace.open(vectors).path / file, mmap_mode="r")
        written = store.write_vectors(name, keys, matrix, digest=vectors)
    logger.info("vectors: %s of the store %s", name, "written" if written else "are these already")
