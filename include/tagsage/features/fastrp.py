"""The block ``fastrp``: random projections of an article's vector and its neighbours'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from tagsage.features.neighbours import (
    SIMILARITY_SETTINGS,
    NeighbourBlock,
    similarity_graph,
    similarity_settings,
)
from tagsage.graph.arrays import fixed_product
from tagsage.graph.csr import FloatArray
from tagsage.graph.fastrp import fastrp_levels, mix_levels, projection_matrix

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class FastRp(NeighbourBlock):
    """Fast random projection by a matrix [d, dimensions]; see :mod:`tagsage.graph.fastrp`."""

    name: ClassVar[str] = "fastrp"
    settings: ClassVar[tuple[str, ...]] = (*SIMILARITY_SETTINGS, "fastrp_dimensions", "seed")

    def __init__(self, projection: FloatArray, **neighbours: Any) -> None:
        super().__init__(**neighbours)
        self.projection, self.dimensions = projection, int(projection.shape[1])

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Compute what the counted articles give to their neighbours."""
        del runner
        vectors = articles.only_counted().vectors
        projection = projection_matrix(vectors.shape[1], settings.fastrp_dimensions, settings.seed)
        levels = fastrp_levels(similarity_graph(articles, settings), vectors, projection)
        return cls(projection, levels=levels, **similarity_settings(settings))

    def embed(self, articles: MarkedArticles, neighbours: Csr) -> FloatArray:
        """Embed some articles."""
        own = fixed_product(articles.vectors, self.projection)
        return mix_levels(own, neighbours, self.levels)

    def state(self) -> dict[str, Any]:
        """Return the levels and the projection."""
        return {**super().state(), "projection": self.projection}
