"""The engine that needs only Python: scipy, numpy and JAX in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tagsage.graph.arrays import create_array, load_array, nonzero_rows
from tagsage.graph.base import (
    DEGREES_FILE,
    EMBEDDINGS_FILE,
    LABELS_FILE,
    MODEL_FOLDER,
    SAMPLE_FILE,
    GraphEngine,
    SampleConfig,
    Summary,
)
from tagsage.graph.components import connected_components, start_node
from tagsage.graph.csr import CsrWriter, induced_subgraph, load_csr, save_csr
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import infer_graphsage
from tagsage.graph.graphsage.train import check_features, train_on_sample
from tagsage.graph.sampling import random_walk_sample
from tagsage.graph.similarity import SimilarityConfig, similarity_blocks

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr


class LocalEngine(GraphEngine):
    """Computes everything in this process; results are files only, so nothing is torn down."""

    name = "local"

    def project(
        self, folder: Path, incidence: Csr, *, keys: Sequence[str], vector_property: str
    ) -> Summary:
        """Keep the incidence matrix; see :meth:`GraphEngine.project`."""
        del keys, vector_property
        save_csr(folder, incidence)
        degrees = np.diff(incidence.indptr)
        return {
            "articles": int(incidence.shape[0]),
            "lists": int(incidence.shape[1]),
            "memberships": int(incidence.nnz),
            "articles_in_no_list": int((degrees == 0).sum()),
        }

    def similarity(self, folder: Path, projection: Path, config: SimilarityConfig) -> Summary:
        """Write the similarity block by block; see :meth:`GraphEngine.similarity`."""
        incidence = load_csr(projection)
        with CsrWriter(folder, columns=incidence.shape[0]) as writer:
            for block in similarity_blocks(incidence, config):
                writer.append(block)
        degrees = np.diff(load_csr(folder).indptr).astype(np.int64)
        np.save(folder / DEGREES_FILE, degrees)
        return {
            "relationships": int(degrees.sum(dtype=np.int64)),
            "articles_joined": int((degrees > 0).sum()),
            "largest_degree": int(degrees.max(initial=0)),
        }

    def components(self, folder: Path, similarity: Path) -> Summary:
        """Label the components; see :meth:`GraphEngine.components`."""
        graph = load_csr(similarity)
        labels = connected_components(graph)
        np.save(folder / LABELS_FILE, labels)
        if not len(labels):
            return {"components": 0, "largest_component": 0, "start_node": None}
        return {
            "components": int(labels.max()) + 1,
            "largest_component": int(np.bincount(labels).max()),
            "start_node": start_node(labels, np.diff(graph.indptr)),
        }

    def sample(
        self, folder: Path, similarity: Path, start_node: int | None, config: SampleConfig
    ) -> Summary:
        """Walk; see :meth:`GraphEngine.sample`."""
        graph = load_csr(similarity)
        nodes = random_walk_sample(
            graph,
            [] if start_node is None else [start_node],
            ratio=config.ratio,
            restart_probability=config.restart_probability,
            seed=config.seed,
        )
        np.save(folder / SAMPLE_FILE, nodes)
        return {
            "articles": len(nodes),
            "relationships": int(induced_subgraph(graph, nodes).nnz),
        }

    def graphsage(
        self,
        folder: Path,
        similarity: Path,
        sample: Path,
        vectors: Path,
        config: GraphSageConfig,
    ) -> Summary:
        """Train and infer; see :meth:`GraphEngine.graphsage`.

        When no two sampled articles are joined (a tiny corpus), the whole graph is trained on.
        """
        graph = load_csr(similarity)
        features = load_array(vectors)
        check_features(graph, features)
        out = create_array(folder / EMBEDDINGS_FILE, (graph.shape[0], config.dimensions))
        if graph.nnz == 0:
            out.flush()
            return {
                "trained": False,
                "trained_on": 0,
                "epoch_losses": [],
                "epochs": 0,
                "converged": False,
                "zero_embeddings": len(out),
            }
        nodes = load_array(sample / SAMPLE_FILE).astype(np.int32)
        model, trained_on = train_on_sample(graph, features, nodes, config)
        model.save(folder / MODEL_FOLDER)
        infer_graphsage(model, graph, features, seed=config.seed, out=out)
        out.flush()
        return {
            "trained": True,
            "trained_on": trained_on,
            "epoch_losses": model.epoch_losses,
            "epochs": len(model.epoch_losses),
            "converged": model.converged,
            "zero_embeddings": int((~nonzero_rows(out)).sum()),
        }

    def neighbours(self, similarity: Path) -> Csr:
        """Open the similarity graph; see :meth:`GraphEngine.neighbours`."""
        return load_csr(similarity)

    def teardown(self) -> None:
        """Do nothing: there is no server."""
