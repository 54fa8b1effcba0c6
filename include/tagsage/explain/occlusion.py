"""What lists and words do for a tag, measured by leaving them out and asking the model again.

M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. What
is named together, left out together lowers the score: where leaving out all of it would not, only
the one that lowers it most is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.explain.asked import LEAST_DROP, AskedArticles, Measured, Named
from tagsage.explain.entries import (
    IntArray,
    best_of_groups,
    expand,
    values_at,
    without_entries,
)

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# Lists and words of one article that are tried: an article may be in thousands of lists.
TRIED = 24


def measure(asked: AskedArticles, rows: IntArray, columns: IntArray, top: int) -> Measured:
    """Ask the model about a block; `rows` and `columns` are its pairs of article and tag."""
    places = np.searchsorted(asked.rows, rows)
    score = asked.answer(np.arange(len(asked.rows)))[places, columns].astype(np.float64)
    pairs = _Pairs(places, columns, score, top)
    members = asked.articles.members

    def in_lists(places: IntArray, members: Csr) -> npt.NDArray[np.float32]:
        return asked.answer(places, members=members)

    counts = asked.background.list_tags
    place, entry = expand(members.indptr, places)
    numbers = asked.lists[members.indices[entry]]
    share = values_at(counts, numbers, columns[place]) / (
        asked.background.list_labelled[numbers] + 10.0
    )
    lists = pairs.occlude(members, place, entry, share, in_lists)
    nothing = np.zeros(0, dtype=np.int64)
    words = Named(nothing, nothing, np.zeros(0))
    lsa, terms = asked.lsa, asked.terms
    if lsa is not None and terms is not None:

        def of_terms(places: IntArray, terms: Csr) -> npt.NDArray[np.float32]:
            return asked.answer(places, text=lambda part: lsa.embed_terms(terms[part]))

        place, entry = expand(terms.indptr, places)
        words = pairs.occlude(terms, place, entry, terms.data[entry], of_terms)
    return Measured(
        rows,
        columns,
        score,
        asked.thresholds()[places, columns].astype(np.float64),
        asked.without_graph()[places, columns].astype(np.float64),
        Named(lists.pair, asked.lists[lists.number], lists.drop),
        words,
        [[] for _ in rows],
        lsa.vocabulary if lsa is not None else [],
    )


@dataclass(frozen=True)
class _Pairs:
    """Pairs of article and tag of a block, and how to find what matters for them."""

    places: IntArray
    columns: IntArray
    score: npt.NDArray[np.floating]
    top: int

    def occlude(
        self,
        matrix: Csr,
        pair: IntArray,
        entry: IntArray,
        promise: npt.NDArray[np.floating],
        answer: Callable[[IntArray, Csr], npt.NDArray[np.float32]],
    ) -> Named:
        """Leave out entries of the articles' rows, one at a time, and name those that matter.

        Parameters
        ----------
        matrix : csr_array, shape [n, m]
            A row an article of the block.
        pair, entry : int64 arrays, shape [e]
            Every entry of the row of each pair's article.
        promise : float array, shape [e]
            Of an article with many entries those that promise most are tried.
        answer : callable
            Returns probabilities of articles, given their places and their rows.
        """
        # An entry is tried once for all tags of its article.
        best = np.zeros(matrix.nnz)
        np.maximum.at(best, entry, promise)
        tried = np.unique(entry)
        of_row = np.searchsorted(matrix.indptr, tried, side="right") - 1
        tried = tried[best_of_groups(of_row, best[tried], TRIED)]
        tried.sort()
        of_row = np.searchsorted(matrix.indptr, tried, side="right") - 1
        without = without_entries(matrix, of_row, np.arange(len(tried)), tried)
        P = answer(of_row, without)
        place = np.searchsorted(tried, entry).clip(max=max(len(tried) - 1, 0))
        kept = tried[place] == entry if len(tried) else np.zeros(0, dtype=np.bool_)
        pair, entry, place = pair[kept], entry[kept], place[kept]
        drop = self.score[pair] - P[place, self.columns[pair]]
        kept = np.flatnonzero(drop >= LEAST_DROP)
        kept = kept[best_of_groups(pair[kept], drop[kept], self.top)]
        pair, entry, drop = pair[kept], entry[kept], drop[kept]
        return self._true_together(matrix, Named(pair, entry, drop), answer)

    def _true_together(
        self,
        matrix: Csr,
        named: Named,
        answer: Callable[[IntArray, Csr], npt.NDArray[np.float32]],
    ) -> Named:
        """Keep of each pair what lowers its score when it is left out together."""
        pair, entry, drop = named.pair, named.number, named.drop
        several, place = np.unique(pair, return_inverse=True)
        without = without_entries(matrix, self.places[several], place, entry)
        P = answer(self.places[several], without)
        together = self.score[several] - P[np.arange(len(several)), self.columns[several]]
        is_first = np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)]
        kept = (together >= LEAST_DROP)[place] | is_first
        return Named(pair[kept], matrix.indices[entry[kept]].astype(np.int64), drop[kept])
