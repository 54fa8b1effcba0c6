"""The block ``authors``: which tags the other articles by an article's author have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.author_ids import AuthorIds
from tagsage.features.base import counted_articles
from tagsage.features.tag_shares import TagShares
from tagsage.features.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class Authors(TagShares):
    """The tags of the other articles by an article's author.

    Parameters
    ----------
    authors : Vocabulary
        The authors.
    **counts
        As for :class:`TagShares`.
    """

    name: ClassVar[str] = "authors"
    settings: ClassVar[tuple[str, ...]] = ("authors_prior_weight",)

    def __init__(self, authors: Vocabulary, **counts: Any) -> None:
        super().__init__(**counts)
        self.authors = authors

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Count the tags per author; an article has one, so that there is nothing to discount."""
        del trained
        counted = counted_articles(articles)
        counts = runner.sum_by_key(AuthorIds.count, counted.partitions())
        authors = Vocabulary.of(counts, len(counted), min_articles=1)
        groups = authors.one_hot(counted.authors)
        weight = settings.authors_prior_weight
        return cls(authors, **cls.count(groups, counted, runner, prior_weight=weight, discount=0.0))

    def groups_of(self, articles: Articles) -> tuple[Csr, npt.NDArray[np.bool_]]:
        """Return the authors; an article that was counted was counted under its author."""
        groups = self.authors.one_hot(articles.authors)
        places: Any = articles.places
        return groups, np.repeat(places >= 0, np.diff(groups.indptr))

    def save(self, folder: Path) -> None:
        """Write the counts, and the authors."""
        super().save(folder)
        self.authors.save(folder / "authors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the counts, and the authors."""
        return cls(Vocabulary.load(folder / "authors"), **cls._read(folder))
