"""From probabilities to assigned tags: one threshold for all, one a tag, the best few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.matrix import FloatArray
from tagsage.learn.targets import BoolArray
from tagsage.settings.learn import AssignmentSettings

if TYPE_CHECKING:
    pass

DEFAULT_THRESHOLD = 0.5
# As how many expected articles the common threshold counts against a tag's own.
PRIOR_ARTICLES = 10.0
LOWEST = 1e-4


@dataclass(frozen=True)
class Assignment:
    """Which tags are assigned, given their probabilities.

    Attributes
    ----------
    common : float
        The threshold with the best micro-F1.
    thresholds : float32 array, shape [L]
        A tag is assigned when its probability is at least its threshold.
    top_k, min_tags : int
        See :class:`AssignmentSettings`.
    """

    common: float
    thresholds: FloatArray
    top_k: int = 0
    min_tags: int = 0

    @classmethod
    def of(cls, P: FloatArray, Y: BoolArray, config: AssignmentSettings | None = None) -> Self:
        """Choose thresholds on articles that the probabilities were not fitted on.

        Parameters
        ----------
        P : float32 array, shape [n, L]
            Calibrated probabilities.
        Y : bool array, shape [n, L]
            Which tags are right.
        config : AssignmentSettings, optional
            The settings.
        """
        config = config or AssignmentSettings()
        common = global_threshold(P, Y)
        thresholds = tag_thresholds(P, common, share=config.assign_tag_share)
        return cls(common, thresholds, config.assign_top_k, config.assign_min_tags)

    @classmethod
    def constant(
        cls,
        tags: int,
        threshold: float = DEFAULT_THRESHOLD,
        config: AssignmentSettings | None = None,
    ) -> Self:
        """Return one threshold for all of so many tags."""
        config = config or AssignmentSettings()
        thresholds = np.full(tags, threshold, dtype=np.float32)
        return cls(threshold, thresholds, config.assign_top_k, config.assign_min_tags)

    def assign(self, P: FloatArray) -> BoolArray:
        """Return which tags are assigned.

        Parameters
        ----------
        P : float32 array, shape [n, L]
            Probabilities.

        Returns
        -------
        bool array, shape [n, L]
            Equal probabilities at the limit of `top_k` or `min_tags`: the lower column first.
        """
        assigned: BoolArray = self.thresholds <= P
        if not (self.top_k or self.min_tags):
            return assigned
        rank = np.empty(P.shape, dtype=np.int64)
        order = np.argsort(-P, axis=1, kind="stable")
        np.put_along_axis(rank, order, np.arange(P.shape[1])[None, :], axis=1)
        if self.top_k:
            assigned &= rank < self.top_k
        assigned |= rank < self.min_tags
        return assigned

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {**vars(self), "thresholds": [float(value) for value in self.thresholds]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        return cls(**{**value, "thresholds": np.array(value["thresholds"], dtype=np.float32)})


def global_threshold(P: FloatArray, Y: BoolArray) -> float:
    """Return the threshold with the best micro-F1; exact: every score is tried.

    A tag is assigned when its score is at least the threshold. With TP(t) the assigned pairs that
    are right, micro-F1(t) = 2 TP(t) / (assigned(t) + relevant).

    Parameters
    ----------
    P : float array, shape [n, L]
        Scores, the higher the likelier.
    Y : bool array, shape [n, L]
        Which tags are right.

    Returns
    -------
    float
        One of the scores; among equally good ones the highest. 0.5 when no tag is right, or there
        is no row.
    """
    return _best_cut(np.asarray(P, dtype=np.float32).ravel(), Y.ravel(), int(Y.sum()))


def _best_cut(scores: FloatArray, hits: BoolArray, relevant: int) -> float:
    """Return the best of the scores of some pairs; `relevant` counts pairs without a score, too."""
    if relevant == 0 or len(scores) == 0:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    found = np.cumsum(hits[order], dtype=np.int64)
    # Equal scores are assigned together: only the last of them is a possible cut.
    cuts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True) & (scores > 0))
    if not len(cuts):
        return DEFAULT_THRESHOLD
    f1 = 2 * found[cuts] / (cuts + 1 + relevant)
    return float(scores[cuts[int(np.argmax(f1))]])


def expected_f1_threshold(p: FloatArray) -> float:
    """Return the threshold with the best F1 of one tag that its probabilities lead one to expect.

    With articles sorted by probability, p_1 ≥ p_2 ≥ …, assigning the first j is expected to give
    F1 ≈ 2 (p_1 + … + p_j) / (j + sum of all p) [1]_. No label is used, so a handful of articles
    with the tag does not decide, as it would for the observed F1.

    Parameters
    ----------
    p : float array, shape [n]
        Calibrated probabilities of one tag.

    Returns
    -------
    float
        One of the probabilities; among equally good ones the highest. 0.5 when all are 0, or there
        is none.

    References
    ----------
    .. [1] Z. Lipton, C. Elkan, B. Narayanaswamy: Optimal thresholding of classifiers to maximize F1
       measure. ECML PKDD 2014.
    """
    ranked = np.sort(np.asarray(p, dtype=np.float64))[::-1]
    total = ranked.sum()
    if total == 0:
        return DEFAULT_THRESHOLD
    f1 = 2 * np.cumsum(ranked) / (np.arange(1, len(ranked) + 1) + total)
    return float(ranked[int(np.argmax(f1))])


def tag_thresholds(
    P: FloatArray, common: float, *, share: float, prior: float = PRIOR_ARTICLES
) -> npt.NDArray[np.float32]:
    """Return a threshold for each tag, between the common one and the tag's own.

    With e_l the articles expected to have tag l (the sum of its probabilities), t_l its
    :func:`expected_f1_threshold`, t the common threshold::

        log t'_l = (1 - w_l) log t + w_l log t_l,    w_l = share · e_l / (e_l + prior)

    A rare tag is drawn towards the common threshold: its own rests on few articles. On validation
    parts of 11,260 labelled scientific articles with 174 tags (mlp on text, lists and labels, three
    seeds), shares 0, 0.3, 0.7, 1 gave micro/macro-F1 .486/.473, .484/.475, .483/.480, .479/.481.

    Parameters
    ----------
    P : float32 array, shape [n, L]
        Calibrated probabilities of articles that were not fitted on.
    common : float
        The threshold for all.
    share : float
        From 0 (all tags have the common threshold) to 1.
    prior : float
        See above, at least 0.

    Returns
    -------
    float32 array, shape [L]
        The thresholds.
    """
    tags = P.shape[1]
    if share == 0 or not len(P):
        return np.full(tags, common, dtype=np.float32)
    own = np.array([expected_f1_threshold(P[:, tag]) for tag in range(tags)])
    expected = P.sum(axis=0, dtype=np.float64)
    weight = share * np.divide(
        expected, expected + prior, out=np.zeros(tags), where=expected + prior > 0
    )
    logs = (1 - weight) * np.log(max(common, LOWEST)) + weight * np.log(np.maximum(own, LOWEST))
    return np.asarray(np.exp(logs), dtype=np.float32)
