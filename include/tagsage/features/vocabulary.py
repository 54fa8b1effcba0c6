"""Keys that have a column each (words, lists, authors), and the blocks made of them."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.features.base import Block, counted_articles
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.features.known import Known
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

    Counts = pd.Series[int]

KEYS_FILE, COUNTS_FILE = "keys.json", "articles.npy"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The known keys, and on how many articles each is.

    Attributes
    ----------
    keys : object array of str, shape [d]
        Sorted; the place of a key is its column.
    articles : int64 array, shape [d]
        How many articles have the key.
    total : int
        How many articles there were.
    """

    keys: npt.NDArray[np.object_]
    articles: npt.NDArray[np.int64]
    total: int

    @classmethod
    def of(cls, counts: Counts, total: int, *, min_articles: int) -> Self:
        """Keep the keys that are on at least `min_articles` articles.

        Parameters
        ----------
        counts : pandas.Series of int64
            Articles per key, sorted by key.
        total : int
            How many articles were counted.
        min_articles : int
            A key on fewer says nothing of other articles.
        """
        kept = counts[counts >= min_articles]
        return cls(kept.index.to_numpy(dtype=object), np.asarray(kept, dtype=np.int64), total)

    def idf(self) -> npt.NDArray[np.float32]:
        """Return ln((1 + total) / (1 + articles)) + 1 of each key, shape [d].

        As scikit-learn's ``TfidfTransformer(smooth_idf=True)``.
        """
        return np.asarray(np.log((1 + self.total) / (1 + self.articles)) + 1, dtype=np.float32)

    def columns_of(self, keys: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Return the column of each key, int64 [m]; -1 for those that are not known."""
        return np.asarray(self._index.get_indexer(pd.Index(keys, dtype=object)), dtype=np.int64)

    def one_hot(self, keys: npt.NDArray[np.object_]) -> Csr:
        """Return which article has which key, csr_array of ones [n, d]; at most one per row."""
        columns = self.columns_of(keys)
        known = columns >= 0
        indptr = np.concatenate([[0], np.cumsum(known)])
        ones = np.ones(int(known.sum()), dtype=np.float32)
        return make_csr(ones, columns[known].astype(np.int32), indptr, (len(keys), len(self.keys)))

    @cached_property
    def _index(self) -> pd.Index[Any]:
        return pd.Index(self.keys, dtype=object)

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / COUNTS_FILE, self.articles, allow_pickle=False)
        content = json.dumps({"total": self.total, "keys": self.keys.tolist()})
        (folder / KEYS_FILE).write_text(content, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        content = json.loads((folder / KEYS_FILE).read_text(encoding="utf-8"))
        articles = np.load(folder / COUNTS_FILE, allow_pickle=False)
        return cls(np.array(content["keys"], dtype=object), articles, content["total"])


class VocabularyBlock(Block):
    """A block whose state is a vocabulary: a column per key.

    Parameters
    ----------
    vocabulary : Vocabulary
        The keys.
    """

    sparse: ClassVar[bool] = True
    min_articles: ClassVar[int]
    """A key on fewer articles gets no column."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Count the articles per key."""
        del settings, trained
        counted = counted_articles(articles)
        counts = runner.sum_by_key(cls.count, counted.partitions())
        return cls(Vocabulary.of(counts, len(counted), min_articles=cls.min_articles))

    @staticmethod
    @abstractmethod
    def count(articles: Articles) -> Counts:
        """Return the number of articles per key, for the keys of these articles."""

    def columns(self, known: Known) -> npt.NDArray[np.object_]:
        """Return the keys."""
        del known
        return self.vocabulary.keys

    def save(self, folder: Path) -> None:
        """Write the vocabulary."""
        self.vocabulary.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the vocabulary."""
        return cls(Vocabulary.load(folder))
