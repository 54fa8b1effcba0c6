"""What words, lists and the author add to a tag of a linear model: weight times value, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from tagsage.explain.explanation import TermEvidence
from tagsage.explain.occlusion import LEAST_DROP, Effects

if TYPE_CHECKING:
    from tagsage.explain.labelled_corpus import IntArray
    from tagsage.explain.scorer import Scorer
    from tagsage.features import FeatureMatrix, FeatureSet
    from tagsage.graph.csr import Csr
    from tagsage.learn.candidate import CalibratedClassifier

# What a column of each block is called.
KINDS = {"words": "word", "list_ids": "list", "author_ids": "author"}


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A linear classifier with calibrated scores, and the features [n, d] of some articles."""

    fitted: CalibratedClassifier
    features: Csr
    kinds: npt.NDArray[np.object_]  # per column: ``word``, ``list``, ``author``
    names: npt.NDArray[np.object_]  # per column

    @classmethod
    def of(
        cls, fitted: CalibratedClassifier, X: FeatureMatrix, features: FeatureSet
    ) -> LinearModel:
        """Name the columns of features."""
        kinds, names = (np.full(X.shape[1], "", dtype=object) for _ in range(2))
        for block, kind in KINDS.items():
            if block in X.kinds:
                kinds[X.columns_of(block)] = kind
                names[X.columns_of(block)] = features.columns(block)
        return cls(fitted, X.sparse_rows(np.arange(len(X))), kinds, names)

    def terms(self, row: int, tag: int) -> tuple[float, IntArray, npt.NDArray[np.float64]]:
        """Return a start, columns of the features, and what each adds to it.

        They add up to the pair's log-odds before calibration. The start is infinite for a tag that
        all, or none, of the training articles have.
        """
        arrays = self.fitted.classifier.arrays
        place = np.flatnonzero(arrays["varying"] == tag)
        if not len(place):
            start = np.inf if arrays["constant"][tag] > 0 else -np.inf
            return start, np.zeros(0, dtype=np.int64), np.zeros(0)
        entries = slice(*self.features.indptr[row : row + 2])
        columns = self.features.indices[entries].astype(np.int64)
        weights = arrays["coef"][columns, place[0]].astype(np.float64)
        start = float(arrays["intercept"][place[0]])
        return start, columns, weights * self.features.data[entries]


def linear_effects(scorer: Scorer, places: IntArray, columns: IntArray, top: int) -> list[Effects]:
    """Take the log-odds of pairs of article and tag apart.

    Nothing has to be left out to see what it does: its term is. The parameters are those of
    :func:`tagsage.explain.occlusion.occlusion_effects`.
    """
    X, candidate, features = scorer.features, scorer.tagger.candidate, scorer.tagger.features
    main = fallback = LinearModel.of(candidate.main, X, features)
    rest = X.list_free()
    if candidate.fallback is not None and rest is not None:
        fallback = LinearModel.of(candidate.fallback, rest, features)
    list_numbers = {name: number for number, name in enumerate(scorer.corpus.list_names)}
    effects = []
    for place, tag in zip(places.tolist(), columns.tolist(), strict=True):
        model = main if X.in_list[place] else fallback
        start, column, log_odds = model.terms(place, tag)
        total = start + log_odds.sum()
        kinds, names = model.kinds[column], model.names[column]
        calibrated = partial(model.fitted.calibration.log_odds, tag=tag)
        # How far the probability falls without a term.
        drop = expit(calibrated(total)) - expit(calibrated(total - log_odds))
        order = np.argsort(-drop, kind="stable")
        order = order[drop[order] >= LEAST_DROP]
        of_lists, of_words = (
            [(names[i], float(drop[i])) for i in order if kinds[i] == kind][:top]
            for kind in ("list", "word")
        )
        largest = np.argsort(-np.abs(log_odds), kind="stable")[: 2 * top]
        terms = [
            TermEvidence("start", "", round(float(start), 6)),
            *(TermEvidence(kinds[i], names[i], round(float(log_odds[i]), 6)) for i in largest),
        ]
        if len(log_odds) > len(largest):
            others = float(log_odds.sum() - log_odds[largest].sum())
            terms.append(TermEvidence("others", "", round(others, 6)))
        if np.isfinite(total):
            terms.append(
                TermEvidence("calibration", "", round(float(calibrated(total) - total), 6))
            )
        by_number = [(list_numbers[name], fall) for name, fall in of_lists]
        effects.append(Effects(by_number, of_words, terms))
    return effects
