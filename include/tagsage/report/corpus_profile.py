"""What a corpus looks like, in numbers: the study's exploratory questions, asked in every run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.profile import histogram
from tagsage.graph.components import components_through_lists

QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99)
HISTOGRAMS = ("tags_per_article", "list_sizes", "lists_per_article", "neighbours")


@dataclass(frozen=True)
class CorpusProfile:
    """Numbers of one corpus; "articles" are those with a text, without stubs known from lists only.

    `counts` has ``articles``, ``tagged``, ``untagged``, ``stubs``, ``authors``, ``lists``,
    ``memberships``, ``tags`` (distinct), ``target_tags``, ``isolated`` (articles in no list),
    ``isolated_tagged``, ``components`` (of the graph of articles and lists). Histograms map how
    many there are to the articles (or lists) with so many.
    """

    counts: dict[str, int]
    tags_per_article: dict[int, int]  # tags -> articles
    list_sizes: dict[int, int]  # articles, stubs included -> lists
    lists_per_article: dict[int, int]  # lists -> articles
    list_size_quantiles: dict[str, float]  # ``25%`` … ``99%``, ``mean`` and ``max``
    tag_articles: list[tuple[str, int]]  # target tags, most frequent first
    neighbours: dict[int, int]  # neighbours in the projection -> articles

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the profile's values from JSON, whose keys are text."""
        histograms = {
            name: {int(key): count for key, count in value[name].items()} for name in HISTOGRAMS
        }
        tags = [(tag, count) for tag, count in value["tag_articles"]]
        return cls(**{**value, **histograms, "tag_articles": tags})


def profile_corpus(
    articles: pd.DataFrame,
    article_index: npt.NDArray[np.int32],
    list_index: npt.NDArray[np.int32],
    *,
    n_lists: int,
    target_tags: Collection[str],
    neighbours: npt.NDArray[np.integer[Any]] | None = None,
) -> CorpusProfile:
    """Count what there is in a corpus, with unique memberships and `neighbours` per article."""
    n = len(articles)
    real = ~articles["is_stub"].to_numpy(dtype=bool)
    n_tags = np.fromiter((len(tags) for tags in articles["tags"]), dtype=np.int64, count=n)
    degree = np.bincount(article_index, minlength=n)
    sizes = np.bincount(list_index, minlength=n_lists)
    per_tag = articles.loc[real, "tags"].explode().dropna().value_counts()
    isolated = real & (degree == 0)
    is_real = real[article_index]
    component = components_through_lists(article_index[is_real], list_index[is_real], n)
    quantiles = {}
    if len(sizes):
        quantiles = {f"{share:.0%}": float(np.quantile(sizes, share)) for share in QUANTILES}
        quantiles |= {"mean": float(sizes.mean()), "max": float(sizes.max())}
    targets = [(tag, int(per_tag.get(tag, 0))) for tag in target_tags]
    return CorpusProfile(
        counts={
            "articles": int(real.sum()),
            "tagged": int((real & (n_tags > 0)).sum()),
            "untagged": int((real & (n_tags == 0)).sum()),
            "stubs": int(n - real.sum()),
            "authors": int(articles.loc[real, "author"].nunique()),
            "lists": int(n_lists),
            "memberships": len(article_index),
            "tags": len(per_tag),
            "target_tags": len(target_tags),
            "isolated": int(isolated.sum()),
            "isolated_tagged": int((isolated & (n_tags > 0)).sum()),
            "components": len(np.unique(component[real])),
        },
        tags_per_article=histogram(n_tags[real]),
        list_sizes=histogram(sizes),
        lists_per_article=histogram(degree[real]),
        list_size_quantiles=quantiles,
        tag_articles=sorted(targets, key=lambda item: (-item[1], item[0])),
        neighbours={} if neighbours is None else histogram(neighbours[real]),
    )
