"""The block ``authors``: which tags the other articles by an article's author have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.tag_shares import TagShares, count_tags
from tagsage.features.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class Authors(TagShares):
    """The tags of the other articles by an article's author; `authors` are sorted."""

    name: ClassVar[str] = "authors"
    settings: ClassVar[tuple[str, ...]] = ("authors_prior_weight",)

    def __init__(self, authors: Sequence[str], **counts: Any) -> None:
        super().__init__(**counts)
        self.authors = Vocabulary(authors)

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Count the tags per author."""
        return cls._count(articles, runner, prior_weight=settings.authors_prior_weight)

    @classmethod
    def _count(cls, articles: MarkedArticles, runner: Runner, *, prior_weight: float) -> Self:
        """Count the tags per author, for a prior weight."""
        counted = articles.only_counted()
        authors = sorted(set(counted.authors.tolist()) - {""})
        counts = count_tags(Vocabulary(authors).one_hot(counted.authors), counted, runner)
        return cls(authors, prior_weight=prior_weight, **counts)

    def groups_of(self, articles: MarkedArticles) -> tuple[Csr, npt.NDArray[np.bool_]]:
        """Return the authors; an article that was counted was counted under its author."""
        groups = self.authors.one_hot(articles.authors)
        return groups, np.repeat(articles.places >= 0, np.diff(groups.indptr))

    def state(self) -> dict[str, Any]:
        """Return the counts and the authors."""
        return {**super().state(), "authors": self.authors.keys.tolist()}
