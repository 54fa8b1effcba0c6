"""The block ``labels``: the tags of the articles that share a list with an article."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.tag_shares import TagShares, count_tags

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class Labels(TagShares):
    """The tags of the articles that share a list with an article."""

    name: ClassVar[str] = "labels"
    settings: ClassVar[tuple[str, ...]] = ("labels_prior_weight",)
    needs_lists: ClassVar[bool] = True

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Count the tags per list."""
        return cls._count(articles, runner, prior_weight=settings.labels_prior_weight)

    @classmethod
    def _count(cls, articles: MarkedArticles, runner: Runner, *, prior_weight: float) -> Self:
        """Count the tags per list, for a prior weight."""
        counted = articles.only_counted()
        counts = count_tags(counted.members, counted, runner)
        return cls(prior_weight=prior_weight, **counts)

    def groups_of(self, articles: MarkedArticles) -> tuple[Csr, npt.NDArray[np.bool_]]:
        """Return the lists."""
        return articles.members, articles.counted
