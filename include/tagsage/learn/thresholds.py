"""The threshold rule: a tag is assigned when its probability is at least the tag's threshold.

That is between the common threshold, which has the best micro-F1 over all tags, and the tag's own,
which has the best expected F1; the rarer the tag, the nearer to the common one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tagsage.features.matrix import BoolArray, FloatArray
from tagsage.settings.predictions import PredictionSettings

DEFAULT_THRESHOLD = 0.5
# How far the threshold of a frequent tag goes from the common one (0) to its own (1).
OWN_SHARE = 0.7
# As how many expected articles the common threshold counts against a tag's own.
PRIOR_ARTICLES = 10.0
LOWEST = 1e-4


@dataclass(frozen=True)
class Thresholds:
    """Which tags are assigned, given their probabilities."""

    common: float
    per_tag: FloatArray
    max_tags: int = 0  # per article; 0: no bound
    min_tags: int = 0  # per article

    @classmethod
    def choose(cls, P: FloatArray, Y: BoolArray, settings: PredictionSettings) -> Self:
        """Choose thresholds by calibrated probabilities [n, L] of articles outside the fit."""
        common, _ = best_micro_f1(P, Y)
        per_tag = tag_thresholds(P, common)
        return cls(common, per_tag, settings.assign_max_tags, settings.assign_min_tags)

    @classmethod
    def constant(cls, tags: int, settings: PredictionSettings | None = None) -> Self:
        """Return a threshold of 0.5 for each of some tags."""
        settings = settings or PredictionSettings()
        per_tag = np.full(tags, DEFAULT_THRESHOLD, dtype=np.float32)
        return cls(DEFAULT_THRESHOLD, per_tag, settings.assign_max_tags, settings.assign_min_tags)

    def assign(self, P: FloatArray) -> BoolArray:
        """Return which tags are assigned, [n, L]; of equal ones at a bound the lower column."""
        assigned: BoolArray = self.per_tag <= P
        if not (self.max_tags or self.min_tags):
            return assigned
        rank = np.empty(P.shape, dtype=np.int64)
        order = np.argsort(-P, axis=1, kind="stable")
        np.put_along_axis(rank, order, np.arange(P.shape[1])[None, :], axis=1)
        if self.max_tags:
            assigned &= rank < self.max_tags
        assigned |= rank < self.min_tags
        return assigned

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**vars(self), "per_tag": [float(value) for value in self.per_tag]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        return cls(**{**value, "per_tag": np.array(value["per_tag"], dtype=np.float32)})


def best_micro_f1(P: FloatArray, Y: BoolArray) -> tuple[float, float]:
    """Return the highest threshold with the best micro-F1, and that; 0.5 when no tag is right."""
    scores, hits, relevant = np.asarray(P, dtype=np.float32).ravel(), Y.ravel(), int(Y.sum())
    if relevant == 0:
        return DEFAULT_THRESHOLD, 0.0
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order], dtype=np.int64)
    # Equal probabilities are assigned together: only the last of them is a possible cut.
    cuts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True) & (scores > 0))
    if not len(cuts):
        return DEFAULT_THRESHOLD, 0.0
    f1 = 2 * found[cuts] / (cuts + 1 + relevant)
    best = int(np.argmax(f1))
    return float(scores[cuts[best]]), float(f1[best])


def expected_f1_threshold(p: FloatArray) -> float:
    """Return the threshold of one tag with the best F1 expected from its probabilities.

    For the j likeliest articles, F1 ≈ 2 (p_1 + … + p_j) / (j + sum of all p) (Lipton, Elkan,
    Narayanaswamy: Optimal thresholding of classifiers to maximize F1 measure, 2014). No label is
    used, so a handful of articles doesn't decide it.
    """
    ranked = np.sort(np.asarray(p, dtype=np.float64))[::-1]
    total = ranked.sum()
    if total == 0:
        return DEFAULT_THRESHOLD
    f1 = 2 * np.cumsum(ranked) / (np.arange(1, len(ranked) + 1) + total)
    return float(ranked[int(np.argmax(f1))])


def tag_thresholds(P: FloatArray, common: float) -> FloatArray:
    """Return a threshold for each tag, [L], between the common one, t, and the tag's own, t_l.

    log t'_l = (1 - w_l) log t + w_l log t_l, with w_l = .7 e_l / (e_l + 10) and e_l the sum of tag
    l's probabilities.
    """
    own = np.array([expected_f1_threshold(column) for column in P.T])
    expected = P.sum(axis=0, dtype=np.float64)
    weight = OWN_SHARE * expected / (expected + PRIOR_ARTICLES)
    logs = (1 - weight) * np.log(max(common, LOWEST)) + weight * np.log(np.maximum(own, LOWEST))
    return np.asarray(np.exp(logs), dtype=np.float32)
