"""What every block does: fit a state, make features of articles with it, save it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.features.known import Known
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

Part: TypeAlias = "npt.NDArray[np.float32] | Csr"


class Block(ABC):
    """A kind of feature, fitted: a function of an article and a small state.

    Training, evaluation, prediction, serving and explanations all call :meth:`transform`.
    """

    name: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    """The settings that a state depends on."""
    needs_lists: ClassVar[bool] = False
    """Whether it says nothing of an article in no list."""
    needs_vectors: ClassVar[bool] = False
    """Whether it is made of the articles' vectors."""
    needs_tags: ClassVar[bool] = False
    """Whether its state is made of tags."""
    sparse: ClassVar[bool] = False
    """Whether it has a column per word, list or author."""
    unit_rows: ClassVar[bool] = True
    """Whether classifiers that scale rows to unit length may do so, in parts of several columns."""

    @classmethod
    @abstractmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Fit the state on what was counted of some articles.

        States are sums over articles: the same however the articles are partitioned.

        Parameters
        ----------
        articles : Articles
            Marked by what is known of them; see :meth:`tagsage.features.known.Known.mark`.
        settings : Settings
            Read are those named in `settings`.
        runner : Runner
            Maps over partitions, and adds up.
        trained : pathlib.Path, optional
            The folder of what a graph engine has trained already, for blocks that need it.
        """

    @abstractmethod
    def transform(self, articles: Articles) -> tuple[Part, ...]:
        """Return the features of any marked articles.

        Where an article was counted in the fit, its own tags are left out.

        Returns
        -------
        tuple of float32 arrays, or of one csr_array of float32, each of shape [n, d]
            A row per article. The parts stay apart, so that each can be scaled by itself.
        """

    def columns(self, known: Known) -> npt.NDArray[np.object_]:
        """Return what each column of a sparse block stands for, object array of str, shape [d]."""
        raise TypeError(f"the columns of {self.name} have no names, whatever is in {known}")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the state as arrays and JSON into a folder, which is made."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; large arrays are memory-mapped."""


def counted_articles(articles: Articles) -> Articles:
    """Return those of some marked articles that were counted."""
    places: Any = articles.places
    if (places >= 0).all():
        return articles
    return articles.take(np.flatnonzero(places >= 0))
