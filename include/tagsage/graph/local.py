"""The engine that needs only Python: scipy, numpy and JAX in this process."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.graph.components import connected_components
from tagsage.graph.csr import csr_writer, induced_subgraph, load_csr
from tagsage.graph.engine import ArticleGraph, GraphEngine, Sample, Training
from tagsage.graph.graphsage.model import infer_graphsage
from tagsage.graph.graphsage.train import train_on_sample
from tagsage.graph.sampling import random_walk_sample
from tagsage.graph.similarity import similarity_blocks

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, IntArray, LongArray
    from tagsage.settings import Settings


class LocalGraph(ArticleGraph):
    """A graph whose relationships are in memory-mapped files."""

    def __init__(
        self, folder: Path, members: Csr, vectors: npt.NDArray[np.floating], settings: Settings
    ) -> None:
        self.folder, self.members, self.vectors, self.settings = folder, members, vectors, settings

    def similarity(self) -> LongArray:
        """Write the similarity block by block."""
        blocks = similarity_blocks(
            self.members,
            top_k=self.settings.similarity_top_k,
            max_list_size=self.settings.similarity_max_list_size,
        )
        with csr_writer(self.folder, columns=self.members.shape[0]) as append:
            for block in blocks:
                append(block)
        self.neighbours = load_csr(self.folder)
        return np.diff(self.neighbours.indptr).astype(np.int64)

    def components(self) -> IntArray:
        """See :func:`connected_components`."""
        return connected_components(self.neighbours)

    def sample(self, start_node: int) -> Sample:
        """See :func:`random_walk_sample`."""
        ratio, seed = self.settings.sample_ratio, self.settings.seed
        articles = random_walk_sample(self.neighbours, start_node, ratio=ratio, seed=seed)
        return Sample(articles, int(induced_subgraph(self.neighbours, articles).nnz))

    def graphsage(self, articles: npt.NDArray[np.integer], out: FloatArray) -> Training:
        """See :func:`train_on_sample` and :func:`infer_graphsage`."""
        model, count = train_on_sample(self.neighbours, self.vectors, articles, self.settings)
        infer_graphsage(model, self.neighbours, self.vectors, out=out)
        return Training(count, model.epoch_losses, model.converged, model)


class LocalEngine(GraphEngine):
    """Computes everything in this process."""

    @contextmanager
    def open(
        self,
        members: Csr,
        vectors: npt.NDArray[np.floating],
        settings: Settings,
        *,
        folder: Path,
        keys: Sequence[str] = (),
        vector_property: str = "",
    ) -> Generator[LocalGraph]:
        """Open a graph; its files are removed at the end."""
        del keys, vector_property
        files = folder / "similarity"
        try:
            yield LocalGraph(files, members, vectors, settings)
        finally:
            shutil.rmtree(files, ignore_errors=True)

    def teardown(self) -> None:
        """Do nothing: there is no server."""
