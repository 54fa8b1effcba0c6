"""The block ``memberships``: which lists are alike, by a truncated SVD of the memberships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh, qr

from tagsage.features.base import Block
from tagsage.graph.arrays import row_slices
from tagsage.graph.csr import FloatArray, make_csr
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.features.articles import Articles, MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

# More columns than wanted make the iteration converge faster (Halko et al., 2011, section 4.2).
OVERSAMPLING = 16
ITERATIONS = 6


class Memberships(Block):
    """Articles embedded by a truncated SVD of their weighted memberships (as LSA of words).

    With s_l the articles in list l, n all articles in some list, p the rarity power::

        w_l  = log(n / s_l) ** p          (a list that holds every article says nothing)
        M_al = w_l / |row a|              (rows have length 1)
        M    ≈ U S V^T                    (the k largest singular values)
        embedding_a = (U S)_a = M_a V

    V is found by subspace iteration on M^T M (N. Halko, P.-G. Martinsson, J. A. Tropp: Finding
    structure with randomness. SIAM Review 53(2), 2011, algorithm 4.4); a singular vector's entry
    furthest from 0 is positive. The state is V, `factors` [n_lists, k], and w, `weights`.
    """

    name: ClassVar[str] = "memberships"
    settings: ClassVar[tuple[str, ...]] = ("memberships_dimensions", "seed")
    needs_lists: ClassVar[bool] = True
    # The length tells how much of an article's lists the factors hold; without it little would be
    # made as much of as all.
    unit_rows: ClassVar[bool] = False

    def __init__(self, factors: FloatArray, weights: FloatArray) -> None:
        self.factors, self.weights = factors, weights

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Factorise the counted memberships."""
        del runner
        members, sizes = articles.known.members, articles.known.list_sizes
        in_lists = int((np.diff(members.indptr) > 0).sum())
        rarity = np.sqrt(np.log(np.maximum(in_lists, 1) / np.maximum(sizes, 1)))
        weights = np.where(sizes > 0, rarity, 0).astype(np.float32)
        k = max(1, min(settings.memberships_dimensions, len(sizes), in_lists))
        return cls(right_singular_vectors(members, weights, k, settings.seed), weights)

    def transform(self, articles: Articles) -> tuple[FloatArray]:
        """Return the embeddings, [n, k]; zeros for articles in no known list."""
        members = articles.members
        result = np.empty((members.shape[0], self.factors.shape[1]), dtype=np.float32)
        for block in row_slices(members.shape[0]):
            used, position = np.unique(members[block].indices, return_inverse=True)
            rows = _normalised(members[block], self.weights)
            shape = (rows.shape[0], len(used))
            narrow = make_csr(rows.data, position.astype(np.int32), rows.indptr, shape)
            result[block] = narrow @ np.asarray(self.factors[used])
        return (result,)

    def state(self) -> dict[str, Any]:
        """Return the factors and weights."""
        return {"factors": self.factors, "weights": self.weights}


def right_singular_vectors(members: Csr, weights: FloatArray, k: int, seed: int) -> FloatArray:
    """Return V of the k largest singular values, [n_lists, k]; zeros beyond the rank."""
    n_lists = members.shape[1]
    if not members.nnz:
        return np.zeros((n_lists, k), dtype=np.float32)
    width = min(k + OVERSAMPLING, n_lists)
    basis = np.random.default_rng(seed).standard_normal((n_lists, width)).astype(np.float32)
    for _ in track(range(ITERATIONS), "factorising memberships: iterations"):
        basis = _gram_product(members, weights, qr(basis, mode="economic")[0])
    basis = qr(basis, mode="economic")[0]
    small = basis.T.astype(np.float64) @ _gram_product(members, weights, basis)
    values, vectors = eigh((small + small.T) / 2)
    order = np.argsort(-values, kind="stable")[:k]
    found = basis @ vectors[:, order].astype(np.float32)
    # What lies beyond the rank is noise of the additions.
    found[:, values[order] <= values[order[0]] * 1e-6] = 0
    largest = found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])]
    return np.asarray(found * np.where(largest < 0, -1, 1), dtype=np.float32)


def _gram_product(members: Csr, weights: FloatArray, basis: FloatArray) -> FloatArray:
    """Return M^T (M basis), block by block of articles."""
    total = np.zeros((members.shape[1], basis.shape[1]), dtype=np.float32)
    dense = np.ascontiguousarray(basis, dtype=np.float32)
    for block in row_slices(members.shape[0]):
        part = _normalised(members[block], weights)
        total += sp.csr_array(part.T) @ (part @ dense)
    return total


def _normalised(members: Csr, weights: FloatArray) -> Csr:
    """Return the rows of M of some articles."""
    values = weights[members.indices].astype(np.float64)
    row = np.repeat(np.arange(members.shape[0]), np.diff(members.indptr))
    lengths = np.sqrt(np.bincount(row, values**2, minlength=members.shape[0]))
    scaled = values / np.where(lengths > 0, lengths, 1)[row]
    return make_csr(scaled.astype(np.float32), members.indices, members.indptr, members.shape)
