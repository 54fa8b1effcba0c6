"""The interface of a graph engine, which computes in this process or in a server.

Articles are identified by their index in the snapshot.
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
    """A training sample: its articles, ascending, and how many relationships are between them."""

    articles: IntArray
    relationships: int


@dataclass(frozen=True)
class Training:
    """The result of a training; without a model where the engine doesn't export its weights."""

    trained_on: int
    epoch_losses: list[float]
    converged: bool
    model: GraphSageModel | None = None


class ArticleGraph(ABC):
    """The open graph of a corpus; its methods are called in the order in which they stand."""

    @abstractmethod
    def similarity(self) -> LongArray:
        """Join articles by the Jaccard similarity of their lists; return neighbours per article."""

    @abstractmethod
    def components(self) -> IntArray:
        """Label the weakly connected components, numbered by their lowest article, int32 [n]."""

    @abstractmethod
    def sample(self, start_node: int) -> Sample:
        """Sample articles by random walks with restarts (``sample_ratio``, ``seed``)."""

    @abstractmethod
    def graphsage(self, articles: npt.NDArray[np.integer], out: FloatArray) -> Training:
        """Train GraphSAGE on sampled articles, and embed all in `out`, which may be memory-mapped.

        The whole graph is trained on when no two articles of the sample are joined (a tiny corpus).
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
        """Open the graph of a corpus; what it keeps anywhere lives until the ``with`` block ends.

        `members` has ones where an article is in a list, at least one. `folder` exists; `keys` are
        the articles' keys in the store, and `vector_property` is the one that holds their vectors
        there.
        """

    @abstractmethod
    def teardown(self) -> None:
        """Drop what killed runs left outside their folders; may be called again."""
