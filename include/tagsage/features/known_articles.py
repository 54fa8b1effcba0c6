"""What states were fitted on, and the one rule by which an article's own part is taken out again.

A state is a sum over articles. For an article among them, a block makes its features from the sum
without it: without its own tags, and with its vector as often as it was counted. So the same part
is taken out in training, on later runs, and when the model is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from tagsage.corpus.keys import parse_address
from tagsage.features.articles import NOBODY, Articles, IdArray, MarkedArticles, article_ids
from tagsage.features.base import load_state, save_state
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# More co-listed articles tell nothing new, and a request is not to be a way to keep us busy.
MOST_COLISTED = 100
# Co-listed articles that stand in more lists together don't say which of them is meant: taking all
# of these was worse than taking none.
MOST_LISTS = 3


@dataclass(frozen=True, eq=False)
class KnownArticles:
    """The articles that states were fitted on, by `ids` in the corpus' order."""

    ids: IdArray
    members: Csr  # counted memberships, ones, [k, n_lists]
    list_names: npt.NDArray[np.object_]
    tags: Csr  # counted tags, [k, L]
    labelled: npt.NDArray[np.bool_]  # whose tags were counted, [k]

    @classmethod
    def of(
        cls,
        articles: Articles,
        rows: npt.NDArray[np.integer],
        Y: npt.NDArray[np.bool_],
        *,
        hidden: npt.NDArray[np.integer] | None = None,
    ) -> Self:
        """Choose what is counted: all but `hidden` articles, and the tags `Y` of `rows`."""
        n = len(articles)
        entries = sp.coo_array(Y)
        ones = np.ones(len(entries.data), dtype=np.float32)
        tags: Csr = sp.csr_array((ones, (rows[entries.row], entries.col)), shape=(n, Y.shape[1]))
        labelled = np.zeros(n, dtype=np.bool_)
        labelled[rows] = True
        there: Any = slice(None)
        if hidden is not None:
            there = np.setdiff1d(np.arange(n), hidden)
        members: Any = articles.members[there]
        return cls(articles.ids[there], members, articles.list_names, tags[there], labelled[there])

    @cached_property
    def list_sizes(self) -> npt.NDArray[np.int64]:
        """How many counted articles each list holds, [n_lists]."""
        return np.bincount(self.members.indices, minlength=len(self.list_names))

    def mark(self, articles: Articles) -> MarkedArticles:
        """Look up which articles and memberships were counted; unknown lists are left out."""
        members = articles.members
        if articles.list_names is not self.list_names:
            members = self._renumbered(articles)
        places = self.places_of(articles.ids)
        return MarkedArticles(
            articles.ids,
            articles.texts,
            articles.authors,
            members,
            self.list_names,
            articles.vectors,
            known=self,
            places=places,
            counted=self.counted_memberships(places, members),
        )

    def counted_memberships(
        self, places: npt.NDArray[np.int64], members: Csr
    ) -> npt.NDArray[np.bool_]:
        """Return which memberships of the articles at `places` were counted, [memberships]."""
        row = np.repeat(places, np.diff(members.indptr))
        keys = self._membership_keys
        if not len(keys):
            return np.zeros(len(row), dtype=np.bool_)
        asked = row * len(self.list_names) + members.indices
        found = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
        counted: npt.NDArray[np.bool_] = (keys[found] == asked) & (row >= 0)
        return counted

    def places_of(self, ids: IdArray) -> npt.NDArray[np.int64]:
        """Return the articles' positions here, [n]; -1 for those that weren't counted."""
        places = np.asarray(self._id_index.get_indexer(pd.Index(ids)), dtype=np.int64)
        return np.where(ids == NOBODY, -1, places)

    def in_known_list(self, articles: MarkedArticles) -> npt.NDArray[np.bool_]:
        """Return which articles are in a list that holds a counted article, [n]."""
        sizes = self.list_sizes > 0
        return np.asarray(articles.members @ sizes.astype(np.float32) > 0)

    def own_tags(self, articles: MarkedArticles) -> tuple[npt.NDArray[np.bool_], Csr]:
        """Return whose tags were counted, [n], and which tags, [n, L]."""
        places = articles.places
        if not len(self.ids):
            return np.zeros(len(places), np.bool_), sp.csr_array((len(places), self.tags.shape[1]))
        labelled = self.labelled[places] & (places >= 0)
        tags: Csr = self.tags[places]
        tags.data = tags.data * np.repeat(labelled, np.diff(tags.indptr))
        return labelled, tags

    def lists_of(self, addresses: Sequence[str]) -> list[str]:
        """Return the lists that hold more than half of some co-listed articles, given by address.

        Unknown articles and those in no list don't count. Where there is no such list, those that
        hold the most are returned; none when they are more than `MOST_LISTS`.
        """
        parsed = map(parse_address, addresses[:MOST_COLISTED])
        keys = sorted({address.key for address in parsed if address is not None})
        places = self.places_of(article_ids(keys)) if keys else np.zeros(0, dtype=np.int64)
        held: Csr = self.members[places[places >= 0]]
        held = held[np.diff(held.indptr) > 0]
        if not held.nnz:
            return []
        numbers, counts = np.unique(held.indices, return_counts=True)
        most = min(int(counts.max()), held.shape[0] // 2 + 1)
        best = numbers[counts >= most]
        return self.list_names[best].tolist() if len(best) <= MOST_LISTS else []

    @cached_property
    def list_index(self) -> pd.Index[Any]:
        """The lists' names, to look up."""
        return pd.Index(self.list_names, dtype=object)

    @cached_property
    def _id_index(self) -> pd.Index[Any]:
        return pd.Index(self.ids)

    @cached_property
    def _membership_keys(self) -> npt.NDArray[np.int64]:
        row = np.repeat(np.arange(len(self.ids)), np.diff(self.members.indptr))
        return row * len(self.list_names) + self.members.indices

    def _renumbered(self, articles: Articles) -> Csr:
        members = articles.members
        used, place = np.unique(members.indices, return_inverse=True)
        names = pd.Index(articles.list_names[used], dtype=object)
        columns = np.asarray(self.list_index.get_indexer(names))[place]
        kept = columns >= 0
        indptr = np.concatenate([[0], np.cumsum(kept)])[members.indptr]
        shape = (members.shape[0], len(self.list_names))
        result = make_csr(members.data[kept], columns[kept].astype(np.int32), indptr, shape)
        result.sort_indices()
        return result

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into a folder, which is made."""
        names = [str(name) for name in self.list_names]
        state = {"ids": self.ids, "members": self.members, "tags": self.tags}
        save_state(folder, {**state, "labelled": self.labelled, "list_names": names})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        state = load_state(folder)
        state["list_names"] = np.array(state["list_names"], dtype=object)
        return cls(**state)
