"""What an article gathers from the articles in like lists: the base of graphsage and fastrp.

Both aggregate over an article's neighbours in the similarity graph, step by step. The state keeps
what each article of the fit gives to its neighbours at every step; an article's own neighbours are
found through its lists. So an article that came later has neighbours, too.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tagsage.features.base import Block
from tagsage.graph.csr import FloatArray
from tagsage.graph.similarity import Neighbours, SimilarityConfig

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr
    from tagsage.settings import Settings

SIMILARITY_SETTINGS = (
    "similarity_top_k",
    "similarity_cutoff",
    "similarity_degree_cutoff",
    "similarity_max_list_size",
)
# Articles whose neighbours are looked up at once.
ROWS = 4096


class NeighbourBlock(Block):
    """A block made of the neighbours of an article.

    Parameters
    ----------
    similarity : SimilarityConfig
        How articles are joined.
    levels : list of float32 arrays, shape [k, d]
        What each counted article gives to its neighbours at each step.
    """

    needs_lists: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True

    def __init__(self, similarity: SimilarityConfig, levels: list[FloatArray]) -> None:
        self.similarity, self.levels = similarity, levels

    def neighbours(self, articles: Articles) -> Csr:
        """Return the neighbours of marked articles among the counted ones, csr_array [n, k]."""
        places: Any = articles.places
        if self._neighbours is None or self._neighbours[0] is not articles.known:
            known: Any = articles.known
            self._neighbours = known, Neighbours(known.members, self.similarity)
        return self._neighbours[1].of(articles.members, places)

    _neighbours: tuple[Any, Neighbours] | None = None

    def save(self, folder: Path) -> None:
        """Write the settings and the levels."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, level in enumerate(self.levels):
            np.save(folder / f"level{number}.npy", level, allow_pickle=False)
        about = {"levels": len(self.levels), "similarity": asdict(self.similarity)}
        (folder / "neighbours.json").write_text(json.dumps(about), encoding="utf-8")

    @staticmethod
    def _read(folder: Path) -> tuple[SimilarityConfig, list[FloatArray]]:
        about = json.loads((folder / "neighbours.json").read_text(encoding="utf-8"))
        levels = [
            np.load(folder / f"level{number}.npy", mmap_mode="r", allow_pickle=False)
            for number in range(about["levels"])
        ]
        return SimilarityConfig(**about["similarity"]), levels


def similarity_config(settings: Settings) -> SimilarityConfig:
    """Return how articles are joined."""
    return SimilarityConfig(
        top_k=settings.similarity_top_k,
        cutoff=settings.similarity_cutoff,
        degree_cutoff=settings.similarity_degree_cutoff,
        max_list_size=settings.similarity_max_list_size,
    )
