"""Keys that have a column each (words, lists, authors), and the blocks made of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.features.base import Block
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import Articles, MarkedArticles
    from tagsage.features.known_articles import KnownArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

    Counts = pd.Series[int]


# A key on fewer articles says nothing of other articles, and gets no column.
MIN_ARTICLES = 2


def smooth_idf(articles: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.float32]:
    """Return ln((1 + total) / (1 + articles)) + 1 of each key, [d], as scikit-learn does."""
    return np.asarray(np.log((1 + total) / (1 + articles)) + 1, dtype=np.float32)


class Vocabulary:
    """The known keys, sorted; the position of a key is its column."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = np.array(keys, dtype=object)

    def one_hot(self, keys: npt.NDArray[np.object_]) -> Csr:
        """Return which article has which key, [n, d], at most one per row."""
        columns = np.asarray(self._index.get_indexer(pd.Index(keys, dtype=object)))
        known = columns >= 0
        indptr = np.concatenate([[0], np.cumsum(known)])
        ones = np.ones(int(known.sum()), dtype=np.float32)
        return make_csr(ones, columns[known].astype(np.int32), indptr, (len(keys), len(self.keys)))

    @cached_property
    def _index(self) -> pd.Index[Any]:
        index: pd.Index[Any] = pd.Index(self.keys, dtype=object)
        return index


class VocabularyBlock(Block):
    """A block with a column per key (sorted); `articles` [d] says how many of `total` have each."""

    sparse: ClassVar[bool] = True

    def __init__(self, keys: Sequence[str], articles: npt.NDArray[np.int64], total: int) -> None:
        self.vocabulary, self.articles, self.total = Vocabulary(keys), articles, total

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Count the articles per key."""
        del settings
        counted = articles.only_counted()
        counts = runner.sum_by_key(cls.count, counted.partitions())
        kept = counts[counts >= MIN_ARTICLES]
        return cls(kept.index.tolist(), np.asarray(kept, dtype=np.int64), len(counted))

    @staticmethod
    @abstractmethod
    def count(articles: Articles) -> Counts:
        """Return the number of articles per key, for the keys of these articles."""

    def columns(self, known: KnownArticles) -> npt.NDArray[np.object_]:
        """Return the keys."""
        del known
        return self.vocabulary.keys

    def state(self) -> dict[str, Any]:
        """Return the keys and counts."""
        keys = self.vocabulary.keys.tolist()
        return {"keys": keys, "articles": self.articles, "total": self.total}
