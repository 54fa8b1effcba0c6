"""What every block does: fit a state, make features of articles with it, save it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner


class Block(ABC):
    """A kind of feature, fitted: a function of an article and a small state.

    Training, evaluation, prediction, serving and explanations all call :meth:`transform`.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, articles: Articles, runner: Runner) -> Self:
        """Fit the state on articles; hidden ones are not among them.

        States are sums over articles: the same however the articles are partitioned.
        """

    @abstractmethod
    def transform(self, articles: Articles) -> Csr:
        """Return the features of any articles.

        Returns
        -------
        csr_array of float32, shape [n, d]
            A row per article. What the state doesn't know has no column.
        """

    @property
    @abstractmethod
    def columns(self) -> npt.NDArray[np.object_]:
        """What each column stands for, object array of str, shape [d]: a word, list or author."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the state as arrays and JSON into a folder, which is made."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
