"""What an article gathers, step by step, from its neighbours in the similarity graph.

The state keeps what each article of the fit gives at every step; an article's own neighbours are
found through its lists, so articles that came later have neighbours, too.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tagsage.features.base import Block, load_state
from tagsage.graph.csr import FloatArray
from tagsage.graph.similarity import Neighbours, jaccard_similarity

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.features.known_articles import KnownArticles
    from tagsage.graph.csr import Csr
    from tagsage.settings import Settings

SIMILARITY_SETTINGS = ("similarity_top_k", "similarity_max_list_size")
# Articles whose neighbours are looked up at once.
ROWS = 4096


class NeighbourBlock(Block):
    """A block made of the neighbours of an article.

    `levels` are what each counted article gives to its neighbours at each step, [k, d].
    """

    needs_lists: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    dimensions: int
    _neighbours: tuple[KnownArticles, Neighbours] | None = None

    def __init__(self, top_k: int, max_list_size: int, levels: list[FloatArray]) -> None:
        self.top_k, self.max_list_size, self.levels = top_k, max_list_size, levels

    @abstractmethod
    def embed(self, articles: MarkedArticles, neighbours: Csr) -> FloatArray:
        """Embed some articles, each by itself, with the neighbours that they have."""

    def transform(self, articles: MarkedArticles) -> tuple[FloatArray]:
        """Return the embeddings, [n, dimensions]."""
        result = np.zeros((len(articles), self.dimensions), dtype=np.float32)
        for start in range(0, len(articles) if self.levels else 0, ROWS):
            part = articles.take(slice(start, start + ROWS))
            neighbours = self._found(part.known).of(part.members, part.places)
            result[start : start + ROWS] = self.embed(part, neighbours)
        return (result,)

    def _found(self, known: KnownArticles) -> Neighbours:
        if self._neighbours is None or self._neighbours[0] is not known:
            self._neighbours = (
                known,
                Neighbours(known.members, top_k=self.top_k, max_list_size=self.max_list_size),
            )
        return self._neighbours[1]

    def state(self) -> dict[str, Any]:
        """Return the settings and the levels."""
        levels = {f"level{number}": level for number, level in enumerate(self.levels)}
        return {"top_k": self.top_k, "max_list_size": self.max_list_size, **levels}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; large arrays are memory-mapped."""
        state = load_state(folder)
        names = sorted(name for name in state if name.startswith("level"))
        return cls(levels=[state.pop(name) for name in names], **state)


def similarity_settings(settings: Settings) -> dict[str, int]:
    """Return the arguments by which articles are joined."""
    return {
        "top_k": settings.similarity_top_k,
        "max_list_size": settings.similarity_max_list_size,
    }


def similarity_graph(articles: MarkedArticles, settings: Settings) -> Csr:
    """Join the counted articles by their lists."""
    return jaccard_similarity(articles.known.members, **similarity_settings(settings))
