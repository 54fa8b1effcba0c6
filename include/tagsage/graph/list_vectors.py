"""Lists as vectors: the means of their articles, and what these say of further articles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tagsage.graph.csr import FloatArray, make_csr
from tagsage.graph.lists import list_means, list_weights
from tagsage.graph.topic_fit import topic_fit

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr


@dataclass(frozen=True)
class ListVectors:
    """What the lists say after one hop of propagation.

    Attributes
    ----------
    means : float array, shape [n_lists, d]
        The mean of the known vectors of each list's articles; it may be float16.
    weights : float32 array, shape [n_lists]
        What each list counts: size ** -discount, and 0 for one of whose articles nothing is known.
    known : float32 array, shape [n_lists], or None
        How many articles each mean is of. None where that was not kept.
    """

    means: npt.NDArray[np.floating]
    weights: FloatArray
    known: FloatArray | None

    @classmethod
    def of(cls, incidence: Csr, vectors: npt.NDArray[np.floating], size_discount: float) -> Self:
        """Average the known vectors of each list's articles, and weigh the lists.

        Parameters
        ----------
        incidence : csr_array, shape [n_articles, n_lists]
            Which article is in which list.
        vectors : float array, shape [n_articles, d]
            One vector an article; a zero row is not known and does not count.
        size_discount : float
            See :func:`tagsage.graph.lists.propagate_lists`.
        """
        means, known = list_means(incidence, vectors)
        sizes = np.bincount(incidence.indices, minlength=incidence.shape[1]).astype(np.float32)
        return cls(means, list_weights(sizes, known, size_discount), known)

    def select(self, used: npt.NDArray[np.integer]) -> Self:
        """Return some lists, in the order given."""
        known = None if self.known is None else self.known[used]
        return replace(self, means=self.means[used], weights=self.weights[used], known=known)

    def fit(
        self,
        members: Csr,
        vectors: npt.NDArray[np.floating],
        sharpness: float,
        *,
        inside: bool | npt.NDArray[np.bool_] = False,
        counted: npt.NDArray[np.floating] | None = None,
    ) -> FloatArray | None:
        """Weigh articles' memberships by their fit to these lists' topics.

        Parameters
        ----------
        members : csr_array, shape [m, n_lists]
            Which article is in which list.
        vectors : float array, shape [m, d]
            The articles' own vectors.
        sharpness, inside, counted
            See :func:`tagsage.graph.topic_fit.topic_fit`.

        Returns
        -------
        float32 array, shape [memberships], or None
            For :meth:`propagate`; None when the sharpness is 0.
        """
        if not sharpness:
            return None
        counts = np.ones(len(self.means), np.float32) if self.known is None else self.known
        return topic_fit(
            members, vectors, self.means, counts, sharpness, inside=inside, counted=counted
        )

    def propagate(
        self,
        members: Csr,
        own: FloatArray | None = None,
        fit: FloatArray | None = None,
        moved: FloatArray | None = None,
    ) -> FloatArray:
        """Propagate the lists' means to articles.

        With z_l the mean of list l over c_l articles, w_l its weight, x_a an article's own vector::

            X'_a = (sum over its lists l of w_l f_al z'_l) / (sum over its lists l of w_l f_al)
            z'_l = (c_l z_l + x_a) / (c_l + 1)    if x_a is given and not zero, else z_l

        With `own` an article that the means are not of gets what
        :func:`tagsage.graph.lists.propagate_lists` would give it if it were in the lists: there an
        article's vector is part of its lists' means.

        Parameters
        ----------
        members : csr_array, shape [m, n_lists]
            Which article is in which list, as ones.
        own : float32 array, shape [m, d], optional
            The vectors, of this hop, of those articles that the means are not of; zero for the
            others. Without it, or where it is not kept of how many articles the means are, z_l is
            taken as it is.
        fit : float32 array, shape [memberships], optional
            f_al, in the order of ``members.indices``; 1 for all without it.
        moved : float32 array, shape [m, d], optional
            Of articles that the means are of: by how much their vectors differ from those in the
            means; zero for the others. Each counts as moved / c_l in its lists' means.

        Returns
        -------
        float32 array, shape [m, d]
            Zeros for articles in no list of which something is known.
        """
        weights = np.asarray(self.weights)[members.indices]
        if fit is not None:
            weights = weights * fit
        total = _row_sums(members, weights)
        scale = 1 / np.where(total > 0, total, 1).astype(np.float32)
        means = np.asarray(self.means, dtype=np.float32)
        known = None if self.known is None else np.asarray(self.known)[members.indices]
        kept = weights
        if own is not None and known is not None:
            counts = np.repeat((own != 0).any(axis=1), np.diff(members.indptr)) & (weights > 0)
            kept = np.where(counts, weights * known / (known + 1), weights)
        result: FloatArray = _with_values(members, kept) @ means
        if own is not None and known is not None:
            result += _row_sums(members, weights - kept)[:, None] * own
        if moved is not None and known is not None:
            share: FloatArray = np.divide(weights, np.maximum(known, 1))
            result += _row_sums(members, share)[:, None] * moved
        result *= scale[:, None]
        return result


def _with_values(members: Csr, values: FloatArray) -> Csr:
    return make_csr(values.astype(np.float32), members.indices, members.indptr, members.shape)


def _row_sums(members: Csr, values: FloatArray) -> FloatArray:
    sums: FloatArray = _with_values(members, values) @ np.ones(members.shape[1], dtype=np.float32)
    return sums
