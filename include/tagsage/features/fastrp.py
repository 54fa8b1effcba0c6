"""The block ``fastrp``: random projections of an article's vector and its neighbours'."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tagsage.features.base import counted_articles
from tagsage.features.neighbours import (
    ROWS,
    SIMILARITY_SETTINGS,
    NeighbourBlock,
    similarity_config,
)
from tagsage.graph.csr import FloatArray
from tagsage.graph.fastrp import (
    FastRpConfig,
    fastrp_levels,
    initial_vectors,
    mix_levels,
    projection_matrix,
)
from tagsage.graph.similarity import SimilarityConfig, jaccard_similarity

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class FastRp(NeighbourBlock):
    """Fast random projection; see :func:`tagsage.graph.fastrp.fastrp`.

    Parameters
    ----------
    similarity, levels
        As for :class:`NeighbourBlock`.
    config : FastRpConfig
        The settings.
    projection : float32 array, shape [d, property dimensions]
        What vectors are multiplied by.
    """

    name: ClassVar[str] = "fastrp"
    settings: ClassVar[tuple[str, ...]] = (
        *SIMILARITY_SETTINGS,
        "fastrp_dimensions",
        "fastrp_iteration_weights",
        "fastrp_self_influence",
        "fastrp_normalization_strength",
        "fastrp_property_ratio",
        "seed",
    )

    def __init__(
        self,
        similarity: SimilarityConfig,
        levels: list[FloatArray],
        config: FastRpConfig,
        projection: FloatArray,
    ) -> None:
        super().__init__(similarity, levels)
        self.config, self.projection = config, projection

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Compute what the counted articles give to their neighbours."""
        del runner, trained
        known: Any = articles.known
        similarity = similarity_config(settings)
        config = FastRpConfig(
            dimensions=settings.fastrp_dimensions,
            iteration_weights=settings.iteration_weights(),
            self_influence=settings.fastrp_self_influence,
            normalization_strength=settings.fastrp_normalization_strength,
            property_ratio=settings.fastrp_property_ratio,
            seed=settings.seed,
        )
        graph = jaccard_similarity(known.members, **asdict(similarity))
        vectors = counted_articles(articles).vectors
        levels = fastrp_levels(graph, vectors, config)
        return cls(similarity, levels, config, projection_matrix(vectors.shape[1], config))

    def transform(self, articles: Articles) -> tuple[FloatArray]:
        """Return the embeddings, float32 [n, dimensions]."""
        result = np.zeros((len(articles), self.config.dimensions), dtype=np.float32)
        for start in range(0, len(articles), ROWS):
            part = articles.take(slice(start, start + ROWS))
            places: Any = part.places
            rows = self.neighbours(part)
            initial = initial_vectors(
                part.vectors, self.projection, places, np.diff(rows.indptr), self.config
            )
            mixed = mix_levels(initial, rows, self.levels, self.config, later=places < 0)
            result[start : start + ROWS] = mixed
        return (result,)

    def save(self, folder: Path) -> None:
        """Write the levels and the settings."""
        super().save(folder)
        np.save(folder / "projection.npy", self.projection, allow_pickle=False)
        about = json.dumps(asdict(self.config))
        (folder / "config.json").write_text(about, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["iteration_weights"] = tuple(config["iteration_weights"])
        projection = np.load(folder / "projection.npy", allow_pickle=False)
        return cls(*cls._read(folder), FastRpConfig(**config), projection)
