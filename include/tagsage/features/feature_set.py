"""The fitted blocks of a feature set: any article in, its row of features out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.articles import Articles, MarkedArticles
from tagsage.features.blocks import BLOCKS, blocks_of
from tagsage.features.known_articles import KnownArticles
from tagsage.features.matrix import FeatureMatrix

if TYPE_CHECKING:
    from tagsage.features.base import Block
    from tagsage.runner import Runner

KNOWN_FOLDER, EARLIER_FOLDER = "known", "earlier"


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Fitted blocks by name, in the order of the feature set, and what they were fitted on.

    After :meth:`refreshed`, refreshable blocks were fitted on `known`, and the others on `earlier`.
    """

    known: KnownArticles
    blocks: dict[str, Block]
    earlier: KnownArticles | None = None

    def transform(self, articles: Articles) -> FeatureMatrix:
        """Return the features of any articles, with vectors where `needs_vectors` says so."""
        now = _marked(articles, self.known)
        earlier = now if self.earlier is None else self.earlier.mark(articles)
        made = {
            name: block.transform(now if block.refreshable else earlier)
            for name, block in self.blocks.items()
        }
        # To a model that has only fixed columns of lists, later lists are no lists.
        sees_new = any(one.needs_lists and one.refreshable for one in self.blocks.values())
        marked = now if sees_new else earlier
        return FeatureMatrix(
            [part for parts in made.values() for part in parts],
            kinds=[name for name, parts in made.items() for _ in parts],
            in_list=marked.known.in_known_list(marked),
        )

    def refreshed(
        self,
        articles: Articles,
        rows: npt.NDArray[np.integer],
        Y: npt.NDArray[np.bool_],
        runner: Runner,
    ) -> FeatureSet:
        """Fit the refreshable blocks again, on another corpus.

        `Y` are the tags of its articles `rows`, in the order of the columns that they have.
        """
        known = KnownArticles.of(articles, rows, Y)
        marked = known.mark(articles)
        blocks = {
            name: block.refreshed(marked, runner) if block.refreshable else block
            for name, block in self.blocks.items()
        }
        return FeatureSet(known, blocks, self.known if self.earlier is None else self.earlier)

    def columns(self, name: str) -> npt.NDArray[np.object_]:
        """Return what each column of a sparse block stands for, [d]."""
        block = self.blocks[name]
        if self.earlier is None or block.refreshable:
            return block.columns(self.known)
        return block.columns(self.earlier)

    @property
    def needs_vectors(self) -> bool:
        """Whether a block is made of the articles' vectors."""
        return any(block.needs_vectors for block in self.blocks.values())

    @classmethod
    def load(cls, folder: Path, feature_set: str) -> Self:
        """Read what :func:`gather_feature_set` put together; large arrays are memory-mapped."""
        blocks = {name: BLOCKS[name].load(folder / name) for name in blocks_of(feature_set)}
        earlier = folder / EARLIER_FOLDER
        return cls(
            KnownArticles.load(folder / KNOWN_FOLDER),
            blocks,
            KnownArticles.load(earlier) if earlier.is_dir() else None,
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made, as :func:`gather_feature_set` does."""
        self.known.save(folder / KNOWN_FOLDER)
        if self.earlier is not None:
            self.earlier.save(folder / EARLIER_FOLDER)
        for name, block in self.blocks.items():
            block.save(folder / name)


def _marked(articles: Articles, known: KnownArticles) -> MarkedArticles:
    if isinstance(articles, MarkedArticles) and articles.known is known:
        return articles
    return known.mark(articles)


def gather_feature_set(folder: Path, known: Path, states: Mapping[str, Path]) -> None:
    """Copy saved articles and saved blocks, by name, into a new folder."""
    shutil.copytree(known, folder / KNOWN_FOLDER)
    for name, state in states.items():
        shutil.copytree(state, folder / name)
