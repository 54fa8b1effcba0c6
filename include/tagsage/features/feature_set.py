"""The fitted blocks of a feature set: any article in, its row of features out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tagsage.features.articles import Articles, MarkedArticles
from tagsage.features.blocks import BLOCKS, blocks_of
from tagsage.features.known_articles import KnownArticles
from tagsage.features.matrix import FeatureMatrix

if TYPE_CHECKING:
    from tagsage.features.base import Block

KNOWN_FOLDER = "known"


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Fitted blocks by name, in the order of the feature set, and what they were fitted on."""

    known: KnownArticles
    blocks: dict[str, Block]

    def transform(self, articles: Articles) -> FeatureMatrix:
        """Return the features of any articles, with vectors where `needs_vectors` says so."""
        if not isinstance(articles, MarkedArticles) or articles.known is not self.known:
            articles = self.known.mark(articles)
        made = {name: block.transform(articles) for name, block in self.blocks.items()}
        return FeatureMatrix(
            [part for parts in made.values() for part in parts],
            kinds=[name for name, parts in made.items() for _ in parts],
            in_list=self.known.in_known_list(articles),
        )

    @property
    def needs_vectors(self) -> bool:
        """Whether a block is made of the articles' vectors."""
        return any(block.needs_vectors for block in self.blocks.values())

    @classmethod
    def load(cls, folder: Path, feature_set: str) -> Self:
        """Read what :func:`gather_feature_set` put together; large arrays are memory-mapped."""
        blocks = {name: BLOCKS[name].load(folder / name) for name in blocks_of(feature_set)}
        return cls(KnownArticles.load(folder / KNOWN_FOLDER), blocks)


def gather_feature_set(folder: Path, known: Path, states: Mapping[str, Path]) -> None:
    """Copy saved articles and saved blocks, by name, into a new folder."""
    shutil.copytree(known, folder / KNOWN_FOLDER)
    for name, state in states.items():
        shutil.copytree(state, folder / name)
