"""Propagation of labels over lists: which tags the articles have that share a list with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.csr import FloatArray, load_csr, make_csr, save_csr
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# Numbers of one block of rows: 128 MB in double precision, and up to twice that on the way.
BLOCK_NUMBERS = 1 << 24
# Shares are rounded to so many decimals: below them lies the noise of the order of additions, and
# in it, faintly, an article's own labels that were added and taken away again.
DECIMALS = 6

SHARES_FILE, EVIDENCE_FILE = "shares.npy", "evidence.npy"
_ABOUT, _SUMS, _ARRAYS = "list_labels.json", "sums", ("labelled", "weights", "totals")


@dataclass(frozen=True)
class LabelsConfig:
    """What propagation of labels over lists depends on.

    Attributes
    ----------
    prior_weight : float
        As how many labelled articles the tags' overall shares count in a list, at least 0.
    size_discount : float
        A list of n articles weighs n^-size_discount, at least 0.
    """

    prior_weight: float = 30.0
    size_discount: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prior_weight", "size_discount"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise TagsageError(f"labels: {name} must be at least 0, not {value}.")


class Own(NamedTuple):
    """What is counted of the articles themselves in the sums of their lists.

    Attributes
    ----------
    counted : bool array, shape [m]
        Which of them are labelled articles.
    labels : bool array, shape [m, L]
        Their labels; none where they are not counted.
    """

    counted: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.bool_]


class Propagated(NamedTuple):
    """What propagation of labels gives.

    Attributes
    ----------
    shares : float32 array, shape [n_articles, L]
        What an article's lists say of each tag.
    evidence : float32 array, shape [n_articles, 1]
        log(1 + labelled neighbours).
    lists : ListLabels
        What it was made of.
    """

    shares: FloatArray
    evidence: FloatArray
    lists: ListLabels


@dataclass(frozen=True)
class ListLabels:
    """What lists say of tags: sums and counts that shares for any article are made of.

    Attributes
    ----------
    config : LabelsConfig
        The settings.
    sums : csr_array, shape [n_lists, L]
        How many labelled articles of each list have each tag.
    labelled : float32 array, shape [n_lists]
        How many labelled articles are in each list.
    weights : float32 array, shape [n_lists]
        What each list weighs: size ** -size_discount.
    totals : float32 array, shape [L]
        How many labelled articles have each tag, in lists or not.
    articles : int
        How many articles are labelled.
    """

    config: LabelsConfig
    sums: Csr
    labelled: FloatArray
    weights: FloatArray
    totals: FloatArray
    articles: int

    def features(self, members: Csr, own: Own | None = None) -> tuple[FloatArray, FloatArray]:
        """Return what their lists say of some articles; see :func:`propagate_labels`.

        Parameters
        ----------
        members : csr_array, shape [m, n_lists]
            Which article is in which list, as ones.
        own : Own, optional
            What is counted in the sums of these articles themselves, and is left out. By default
            they are taken for articles whose labels are not counted.

        Returns
        -------
        shares : float32 array, shape [m, L]
            Of each tag, from 0 to 1.
        evidence : float32 array, shape [m, 1]
            log(1 + labelled neighbours).
        """
        alpha = self.config.prior_weight
        counted = np.zeros(members.shape[0]) if own is None else own.counted.astype(np.float64)
        lists, starts = members.indices, members.indptr
        # An article that was labelled only later is not counted: less than nothing is not left.
        others = np.maximum(self.labelled[lists] - np.repeat(counted, np.diff(starts)), 0)
        size = others + alpha
        weight = np.where(size > 0, self.weights[lists], 0).astype(np.float64)
        factor = np.divide(weight, size, out=np.zeros_like(size), where=size > 0)
        each = np.ones(members.shape[1])
        neighbours, total, in_lists = (
            make_csr(values, lists, starts, members.shape) @ each
            for values in (others, weight, factor)
        )
        # The overall shares are those of the other articles, too.
        prior = alpha * in_lists / np.maximum(self.articles - counted, 1)
        shares: npt.NDArray[np.float64] = (
            make_csr(factor, lists, starts, members.shape) @ self.sums.astype(np.float64)
        ).toarray()
        shares += prior[:, None] * self.totals
        if own is not None:
            shares -= (in_lists + prior)[:, None] * own.labels
            np.maximum(shares, 0, out=shares)
        shares /= np.where(total > 0, total, 1)[:, None]
        evidence = np.log1p(neighbours)[:, None]
        return shares.round(DECIMALS).astype(np.float32), evidence.astype(np.float32)

    def of(self, used: npt.NDArray[np.integer]) -> Self:
        """Return what some lists say, in the order given."""
        return replace(
            self,
            sums=self.sums[used],
            labelled=self.labelled[used],
            weights=self.weights[used],
        )

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        save_csr(folder / _SUMS, self.sums)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        about = {"articles": self.articles, "config": vars(self.config)}
        (folder / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; the sums are memory-mapped.

        Raises
        ------
        TagsageError
            When the folder holds none.
        """
        if not (folder / _ABOUT).is_file():
            raise TagsageError(f"The folder {folder} holds no labels of lists; make them again.")
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        labelled, weights, totals = (
            np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS
        )
        config = LabelsConfig(**about["config"])
        sums = load_csr(folder / _SUMS)
        return cls(config, sums, labelled, weights, totals, about["articles"])


def propagate_labels(
    incidence: Csr,
    rows: npt.NDArray[np.integer],
    Y: npt.NDArray[np.bool_],
    config: LabelsConfig,
    *,
    out: Callable[[str, int], FloatArray] | None = None,
) -> Propagated:
    """Propagate labels over lists: article <- its lists <- their labelled articles but itself.

    With y_b the labels of labelled article b, N labelled articles, α the prior weight; of article
    a and list l, over the labelled articles b ≠ a::

        k_al = how many of them are in l
        p_a  = mean of all their y_b, in lists or not: the tags' overall shares
        s_al = (sum of y_b over those in l + α p_a) / (k_al + α)
        w_l  = |l| ** -size_discount
        shares_a   = (sum over its lists l of w_l s_al) / (sum over its lists l of w_l)
        evidence_a = log(1 + sum over its lists l of k_al)

    A list with few labelled articles says little: it is shrunk towards the overall shares. With
    α = 0, one without labelled articles does not count. Articles in no list get zeros.

    An article's own labels never reach its row: whatever they are, the row is the same. They do
    reach the rows of articles that share a list with it. So for a fair judgement of articles that
    a model was not fitted on, `Y` holds the labels of fitted articles only.

    The cost is linear in memberships × tags of a list; no pairs of articles are built.

    The defaults were chosen by the micro/macro-F1 of the `mlp` on text, lists and labels, on
    validation parts of training parts whose labels were hidden like those of a test part, mean of
    two splits. On 12,986 scientific articles in 7,671 lists, prior weights 0, 3, 10, 30, 100 gave
    .479/.463, .485/.470, .489/.472, .491/.476, .489/.470 (without labels .470/.454), and discounts
    0, 0.25, 0.5 with prior weight 10 gave .489/.472, .488/.477, .484/.469. On the bundled corpus
    prior weights 3 and 30 gave the same, .660/.448 (without labels .657/.444; one split). Two
    hops (.491/.482 with prior weight 30), labels of other folds instead of all others, logarithms
    of the shares, and memberships weighted by how well an article fits its list were not clearly
    better. Over authors besides, on the bundled corpus: prior weights 3 and 10 gave .671/.459 and
    .670/.466 (without authors .660/.449).

    Parameters
    ----------
    incidence : csr_array, shape [n_articles, n_lists]
        Which article is in which list, as ones.
    rows : int array, shape [m]
        The labelled articles, each once; such as the training part. Labels of others do not exist
        here.
    Y : bool array, shape [m, L]
        Their labels, aligned with `rows`.
    config : LabelsConfig
        The settings.
    out : callable, optional
        Called with ``shares.npy`` and L, then with ``evidence.npy`` and 1; returns the float32
        array [n_articles, L or 1] that takes the result, such as a memory-mapped file. By default
        arrays in memory.

    Returns
    -------
    Propagated
        Shares, evidence, and what they were made of.

    Raises
    ------
    TagsageError
        When `rows` and `Y` disagree on the number of articles, or `rows` names articles that the
        graph does not have.
    """
    lists = list_labels(incidence, rows, Y, config)
    n, n_tags = incidence.shape[0], Y.shape[1]
    make = out or (lambda _name, width: np.zeros((n, width), dtype=np.float32))
    shares, evidence = make(SHARES_FILE, n_tags), make(EVIDENCE_FILE, 1)
    place = np.full(n, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    height = max(1, BLOCK_NUMBERS // max(n_tags, 1))
    for first in track(range(0, n, height), "propagation of labels: blocks of articles"):
        block = slice(first, min(first + height, n))
        counted = place[block] >= 0
        labels = np.zeros((len(counted), n_tags), dtype=np.bool_)
        labels[counted] = Y[place[block][counted]]
        shares[block], evidence[block] = lists.features(incidence[block], Own(counted, labels))
    return Propagated(shares, evidence, lists)


def list_labels(
    incidence: Csr,
    rows: npt.NDArray[np.integer],
    Y: npt.NDArray[np.bool_] | Csr,
    config: LabelsConfig,
) -> ListLabels:
    """Count the labelled articles of each list, and their labels.

    Parameters
    ----------
    incidence, rows, Y, config
        As for :func:`propagate_labels`; `Y` may be sparse, for thousands of tags.
    """
    n = incidence.shape[0]
    if Y.shape[0] != len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < n):
        msg = (
            f"There are labels of {Y.shape[0]} articles, {len(rows)} numbers of articles, and {n} "
            "articles in the graph; run the stages from the split on again."
        )
        raise TagsageError(msg)
    labelled_lists: Csr = sp.csr_array(incidence)[rows].T.tocsr().astype(np.float32)
    sizes = np.bincount(incidence.indices, minlength=incidence.shape[1])
    labels: Csr = sp.csr_array(Y) if isinstance(Y, np.ndarray) else Y
    return ListLabels(
        config,
        sums=sp.csr_array(labelled_lists @ labels.astype(np.float32)),
        labelled=np.diff(labelled_lists.indptr).astype(np.float32),
        weights=(np.maximum(sizes, 1) ** -float(config.size_discount)).astype(np.float32),
        totals=Y.sum(axis=0).astype(np.float32),
        articles=len(rows),
    )
