"""The lists of the corpus that a new article's known companions stand for.

Who serves a title may know no list by name, but some articles that are listed with it. The lists
that hold most of these are taken for the article's own, where they are few: companions that stand
in many lists together do not say which of them is meant. (On the bundled corpus, to take all of
these lists was worse than to take none when one companion was known.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tagsage.corpus.keys import parse_address
from tagsage.graph.csr import load_csr, save_csr

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

_HASHES, _LISTS = "hashes.npy", "lists"
# More companions than that tell nothing new, and a request is not to be a way to keep us busy.
MOST_COMPANIONS = 100
MOST_LISTS = 3


@dataclass(frozen=True)
class Companions:
    """Which lists hold which article of the corpus.

    Attributes
    ----------
    hashes : uint64 array, shape [n]
        A hash of the key of each article that is in a list, ascending. Two of a billion articles
        share one with a chance of 1 in 37.
    lists : csr_array, shape [n, n_lists]
        Their lists.
    """

    hashes: npt.NDArray[np.uint64]
    lists: Csr

    def lists_of(self, articles: Sequence[str]) -> list[int]:
        """Return the numbers of the lists that hold most of some articles.

        Parameters
        ----------
        articles : sequence of str
            URLs or keys; those that are not known, or in no list, do not count, nor those after
            the first `MOST_COMPANIONS`.

        Returns
        -------
        list of int
            Ascending: the lists that hold more than half of the articles that count; where there
            is none, those that hold the most. Empty when they are more than `MOST_LISTS`.
        """
        addresses = map(parse_address, articles[:MOST_COMPANIONS])
        keys = {address.key for address in addresses if address is not None}
        if not keys:
            return []
        places, found = self._places(keys)
        places = places[found]
        if not len(places):
            return []
        starts, stops = self.lists.indptr[places], self.lists.indptr[places + 1]
        numbers, counts = np.unique(
            np.concatenate([
                self.lists.indices[start:stop] for start, stop in zip(starts, stops, strict=True)
            ]),
            return_counts=True,
        )
        most = min(int(counts.max()), len(places) // 2 + 1)
        best = numbers[counts >= most]
        return best.tolist() if len(best) <= MOST_LISTS else []

    def holds(self, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which articles, by their keys, are in a list of the corpus."""
        return self._places(keys)[1]

    def _places(self, keys: Collection[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the row of each article, and whether it has one."""
        wanted = np.array([_hash(key) for key in keys], dtype=np.uint64)
        if not len(self.hashes):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
        places = np.searchsorted(self.hashes, wanted).clip(max=len(self.hashes) - 1)
        return places, self.hashes[places] == wanted

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_companions` wrote; it stays on the disk until it is read."""
        hashes = np.load(folder / _HASHES, mmap_mode="r", allow_pickle=False)
        return cls(hashes, load_csr(folder / _LISTS))


def write_companions(folder: Path, keys: Sequence[str], incidence: Csr) -> None:
    """Write what :class:`Companions` needs to a folder, which is made.

    Parameters
    ----------
    folder : pathlib.Path
        Does not exist yet.
    keys : sequence of str, length n_articles
        The articles' keys.
    incidence : csr_array, shape [n_articles, n_lists]
        Which article is in which list.
    """
    linked = np.flatnonzero(np.diff(incidence.indptr) > 0)
    hashes = np.array([_hash(keys[row]) for row in linked.tolist()], dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    folder.mkdir()
    np.save(folder / _HASHES, hashes[order], allow_pickle=False)
    save_csr(folder / _LISTS, incidence[linked[order]])


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
