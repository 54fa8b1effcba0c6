"""The block ``labels``: which tags the articles have that share a list with an article."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.base import counted_articles
from tagsage.features.tag_shares import TagShares

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class Labels(TagShares):
    """The tags of the articles that share a list with an article."""

    name: ClassVar[str] = "labels"
    settings: ClassVar[tuple[str, ...]] = ("labels_prior_weight", "labels_size_discount")
    needs_lists: ClassVar[bool] = True

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Count the tags per list."""
        del trained
        counted = counted_articles(articles)
        return cls(
            **cls.count(
                counted.members,
                counted,
                runner,
                prior_weight=settings.labels_prior_weight,
                discount=settings.labels_size_discount,
            )
        )

    def groups_of(self, articles: Articles) -> tuple[Csr, npt.NDArray[np.bool_]]:
        """Return the lists."""
        counted: Any = articles.counted
        return articles.members, counted
