"""The block ``text``: the vector that an embedder made of title and subtitle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from tagsage.features.base import Block

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import FloatArray
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class Text(Block):
    """The articles' vectors as they are; the state is the embedder's, which makes them."""

    name: ClassVar[str] = "text"
    needs_vectors: ClassVar[bool] = True

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Do nothing: the embedder has seen to it."""
        del articles, settings, runner, trained
        return cls()

    def transform(self, articles: Articles) -> tuple[FloatArray]:
        """Return the vectors, float32 [n, d]."""
        return (np.asarray(articles.vectors, dtype=np.float32),)

    def save(self, folder: Path) -> None:
        """Make the folder."""
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Do nothing."""
        del folder
        return cls()
