"""What a graph engine does: one interface, an engine for each place where a graph is computed.

An engine opens the graph of a corpus; what it keeps in a server or on disk lives until the ``with``
block ends. Articles are known by their index in the snapshot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray, IntArray, LongArray
    from tagsage.graph.graphsage.model import GraphSageModel
    from tagsage.settings import Settings


@dataclass(frozen=True)
class Sample:
    """A training sample: its articles, int32 ascending, and the relationships between them."""

    articles: IntArray
    relationships: int


@dataclass(frozen=True)
class Training:
    """What came of a training; no model where the engine doesn't give its weights away."""

    trained_on: int
    epoch_losses: list[float]
    converged: bool
    model: GraphSageModel | None = None


class ArticleGraph(ABC):
    """The open graph of a corpus; its methods are called in the order in which they stand."""

    @abstractmethod
    def similarity(self) -> LongArray:
        """Join articles by the Jaccard similarity of their lists (``similarity_…``).

        Returns
        -------
        int64 array, shape [n_articles]
            How many neighbours each article keeps.
        """

    @abstractmethod
    def components(self) -> IntArray:
        """Label the weakly connected components, numbered by their lowest article, int32 [n]."""

    @abstractmethod
    def sample(self, start_node: int) -> Sample:
        """Sample articles by random walks with restarts (``sample_ratio``, ``seed``)."""

    @abstractmethod
    def graphsage(self, articles: npt.NDArray[np.integer], out: FloatArray) -> Training:
        """Train GraphSAGE on sampled articles (``graphsage_…``, ``seed``), and embed all.

        When no two of the sample are joined (a tiny corpus), the whole graph is trained on.

        Parameters
        ----------
        articles : int array
            Those of :meth:`sample`.
        out : float32 array, shape [n_articles, graphsage_dimensions]
            Takes the embeddings; it may be a memory-mapped file.
        """


class GraphEngine(ABC):
    """Opens graphs."""

    @abstractmethod
    def open(
        self,
        members: Csr,
        vectors: npt.NDArray[np.floating],
        settings: Settings,
        *,
        folder: Path,
        keys: Sequence[str],
        vector_property: str,
    ) -> AbstractContextManager[ArticleGraph]:
        """Open the graph of a corpus.

        Parameters
        ----------
        members : csr_array, shape [n_articles, n_lists]
            Ones where an article is in a list; at least one.
        vectors : float array, shape [n_articles, d]
            The articles' vectors.
        settings : Settings
            Those of the graph, and the seed.
        folder : pathlib.Path
            An existing folder, where files may lie while the graph is open.
        keys : sequence of str, length n_articles
            The articles' keys in the store.
        vector_property : str
            The property of the articles in the store that holds their vectors.
        """

    @abstractmethod
    def teardown(self) -> None:
        """Drop what killed runs left outside their folders; may be called again."""
