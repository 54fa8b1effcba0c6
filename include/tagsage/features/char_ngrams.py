"""The block ``char_ngrams``: runs of 3 to 5 characters inside the words of title and subtitle.

They know what words have in common: `librust` and `librust-dev`, `cluster` and `clustering`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from tagsage.features.base import Block
from tagsage.features.vocabulary import smooth_idf

if TYPE_CHECKING:
    from tagsage.features.articles import Articles, MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

HashArray = npt.NDArray[np.uint64]

LENGTHS = (3, 4, 5)
MIN_ARTICLES = 5
# An odd number whose bits are well mixed (Knuth's multiplicative hashing, 64 bits).
MULTIPLIER = 0x9E3779B97F4A7C15


class CharNgrams(Block):
    """Character n-grams by TF-IDF, (1 + ln tf) × idf, each row of unit length.

    As scikit-learn's ``TfidfVectorizer(analyzer="char_wb")``, but n-grams are known by a 64-bit
    hash, which is quicker to make than a string. `hashes` [d] are sorted; `articles` [d] says how
    many of `total` have each.
    """

    name: ClassVar[str] = "char_ngrams"
    sparse: ClassVar[bool] = True

    def __init__(self, hashes: HashArray, articles: npt.NDArray[np.int64], total: int) -> None:
        self.hashes, self.articles, self.total = hashes, articles, total
        self._idf = smooth_idf(articles, total)

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Count the articles per n-gram."""
        del settings
        counted = articles.only_counted()
        counts = runner.sum_by_key(count_ngrams, counted.partitions())
        kept = counts[counts >= MIN_ARTICLES]
        hashes = np.asarray(kept.index, dtype=np.uint64)
        return cls(hashes, np.asarray(kept, dtype=np.int64), len(counted))

    def transform(self, articles: Articles) -> tuple[Csr]:
        """Return the weighted n-grams, [n, n-grams]."""
        row, hashes = ngrams(articles.texts)
        column = self.columns_of(hashes)
        known = column >= 0
        ones = np.ones(int(known.sum()), dtype=np.float32)
        places = (row[known], column[known].astype(np.int32))
        # Of equal places the ones are summed: how often the n-gram is there.
        matrix: Any = sp.coo_array((ones, places), shape=(len(articles), len(self.hashes))).tocsr()
        matrix.data = (1 + np.log(matrix.data)) * self._idf[matrix.indices]
        # scikit-learn refuses a matrix without rows or columns.
        return (sp.csr_array(normalize(matrix)),) if matrix.nnz else (matrix,)

    def columns_of(self, hashes: HashArray) -> npt.NDArray[np.int64]:
        """Return the columns of n-grams; -1 for unknown ones."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, dtype=np.int64)
        found = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[found] == hashes, found, -1)

    def by_word(
        self, texts: Sequence[str], features: Csr
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_], Csr]:
        """Take features [n, d] of some texts apart: which text, which word, its share [words, d].

        An n-gram that is in several words of a text is shared out evenly.
        """
        words = [dict.fromkeys(text.lower().split()) for text in texts]
        text_of = np.repeat(np.arange(len(texts)), [len(of_text) for of_text in words])
        names = np.array([word for of_text in words for word in of_text], dtype=object)
        word, hashes = ngrams(names.tolist())
        column = self.columns_of(hashes)
        word, column = word[column >= 0], column[column >= 0]
        shape = (len(names), len(self.hashes))
        there: Any = sp.coo_array(
            (np.ones(len(word), dtype=np.float32), (word, column)), shape
        ).tocsr()
        there.data[:] = 1
        of_text: Any = sp.coo_array((np.ones(len(names)), (text_of, np.arange(len(names)))))
        holders: Any = sp.csr_array(of_text @ there)[text_of]
        holders.data = 1 / holders.data
        shares: Any = features[text_of]
        return text_of, names, sp.csr_array(shares.multiply(there).multiply(holders))

    def state(self) -> dict[str, Any]:
        """Return the hashes and counts."""
        return {"hashes": self.hashes, "articles": self.articles, "total": self.total}


def count_ngrams(articles: Articles) -> pd.Series[int]:
    """Return the number of articles per n-gram, by its hash."""
    row, hashes = ngrams(articles.texts)
    code, unique = pd.factorize(hashes)
    ones = np.ones(len(code), dtype=np.int32)
    there = sp.coo_array((ones, (row, code)), shape=(len(articles), len(unique))).tocsr()
    counts = np.bincount(there.indices, minlength=len(unique))
    return pd.Series(counts, index=unique, dtype="int64")


def ngrams(texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], HashArray]:
    """Return the n-grams of some texts: the text each is in, and its hash.

    A word is what stands between blanks, in lower case; a blank before and one after it count as
    its characters. So a word of n letters has n + 3 - length n-grams of each length.
    """
    words = [" ".join(text.lower().split()) for text in texts]
    joined = " " + " ".join(words) + " "
    letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    text_of = np.repeat(np.arange(len(words), dtype=np.int32), lengths + 1)
    found = list(_windows(letters.astype(np.uint64), text_of))
    rows, hashes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, hashes


def _windows(
    letters: HashArray, text_of: npt.NDArray[np.int32]
) -> Iterator[tuple[npt.NDArray[np.int32], HashArray]]:
    """Yield, per length, the windows of the letters that lie in one word, with their hashes."""
    blank = letters == ord(" ")
    for length in LENGTHS:
        n = max(len(letters) - length + 1, 0)
        code = np.full(n, length, dtype=np.uint64)
        inside = np.ones(n, dtype=np.bool_)
        for place in range(length):
            code = (code ^ letters[place : place + n]) * np.uint64(MULTIPLIER)
            code ^= code >> np.uint64(29)
            if 0 < place < length - 1:
                inside &= ~blank[place : place + n]
        start = np.flatnonzero(inside)
        # The blank before a word may be another text's last one.
        yield text_of[start], code[start]
