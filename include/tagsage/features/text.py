"""The block ``text``: the vector that an embedder made of title and subtitle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tagsage.features.base import Block

if TYPE_CHECKING:
    from tagsage.features.articles import Articles, MarkedArticles
    from tagsage.graph.csr import FloatArray
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class Text(Block):
    """The articles' vectors as they are; only the embedder has a state."""

    name: ClassVar[str] = "text"
    needs_vectors: ClassVar[bool] = True

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Do nothing."""
        del articles, settings, runner
        return cls()

    def transform(self, articles: Articles) -> tuple[FloatArray]:
        """Return the vectors, [n, d]."""
        return (np.asarray(articles.vectors, dtype=np.float32),)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}
