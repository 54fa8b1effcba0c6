"""What the corpus looks like, in numbers: the study's exploratory questions, asked every night."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class CorpusProfile:
    """Numbers of one corpus; small and JSON-able, so that they can go from stage to stage.

    Attributes
    ----------
    counts : dict of str to int
        ``articles`` (without stubs), ``tagged``, ``untagged``, ``stubs`` (known only from lists),
        ``authors``, ``lists``, ``memberships``, ``tags`` (distinct), ``target_tags``, ``isolated``
        (articles in no list), ``isolated_tagged`` (those of them with tags).
    tags_per_article : dict of int to int
        Number of tags -> how many articles (without stubs) have it.
    list_sizes : dict of int to int
        Articles in a list (stubs included) -> how many lists have so many.
    lists_per_article : dict of int to int
        Lists that hold an article -> how many articles (without stubs); its degree in the graph of
        memberships.
    list_size_quantiles : dict of str to float
        ``25%`` … ``99%`` and ``mean``, ``max`` of the list sizes; empty without lists.
    tag_articles : list of (str, int)
        The target tags with the number of their articles, most frequent first, ties by name.
    neighbours : dict of int to int
        Neighbours in the projection -> how many articles; empty when it is not known.
    """

    counts: dict[str, int]
    tags_per_article: dict[int, int]
    list_sizes: dict[int, int]
    lists_per_article: dict[int, int]
    list_size_quantiles: dict[str, float]
    tag_articles: list[tuple[str, int]]
    neighbours: dict[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Build a profile from what :meth:`to_json` gave, also after a trip through JSON text."""
        histograms = {
            name: {int(key): int(count) for key, count in value[name].items()}
            for name in ("tags_per_article", "list_sizes", "lists_per_article", "neighbours")
        }
        return cls(
            counts=dict(value["counts"]),
            list_size_quantiles=dict(value["list_size_quantiles"]),
            tag_articles=[(tag, int(count)) for tag, count in value["tag_articles"]],
            **histograms,
        )


def profile_corpus(
    articles: pd.DataFrame,
    article_index: npt.NDArray[np.int32],
    list_index: npt.NDArray[np.int32],
    *,
    n_lists: int,
    target_tags: Collection[str],
    neighbours: npt.NDArray[np.integer[Any]] | None = None,
) -> CorpusProfile:
    """Count what there is in a corpus.

    Parameters
    ----------
    articles : pandas.DataFrame
        Columns ``author`` (str), ``tags`` (list of str) and ``is_stub`` (bool); one row an article.
    article_index, list_index : int arrays, shape [m]
        The memberships: row of `articles`, number of the list. Unique pairs.
    n_lists : int
        How many lists there are, empty ones included.
    target_tags : collection of str
        The tags that are learned.
    neighbours : int array, shape [n_articles], optional
        How many neighbours each article has in the projection.

    Returns
    -------
    CorpusProfile
        The numbers.
    """
    n = len(articles)
    real = ~articles["is_stub"].to_numpy(dtype=bool)
    n_tags = np.fromiter((len(tags) for tags in articles["tags"]), dtype=np.int64, count=n)
    degree = np.bincount(article_index, minlength=n)
    sizes = np.bincount(list_index, minlength=n_lists)
    per_tag = articles.loc[real, "tags"].explode().dropna().value_counts()
    isolated = real & (degree == 0)
    counts = {
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
    }
    targets = [(tag, int(per_tag.get(tag, 0))) for tag in target_tags]
    return CorpusProfile(
        counts=counts,
        tags_per_article=histogram(n_tags[real]),
        list_sizes=histogram(sizes),
        lists_per_article=histogram(degree[real]),
        list_size_quantiles=_quantiles(sizes),
        tag_articles=sorted(targets, key=lambda item: (-item[1], item[0])),
        neighbours={} if neighbours is None else histogram(neighbours[real]),
    )


def histogram(values: npt.NDArray[np.integer[Any]]) -> dict[int, int]:
    """Count how often each value occurs, by rising value."""
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _quantiles(sizes: npt.NDArray[np.integer[Any]]) -> dict[str, float]:
    if not len(sizes):
        return {}
    named = {f"{share:.0%}": float(np.quantile(sizes, share)) for share in QUANTILES}
    return {**named, "mean": float(sizes.mean()), "max": float(sizes.max())}
