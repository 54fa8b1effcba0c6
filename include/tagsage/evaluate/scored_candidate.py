"""A candidate's results on some test articles: scores, and what figures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.metrics import (
    evaluate,
    expected_calibration_error,
    precision_recall,
    reliability,
    tag_propensity,
)
from tagsage.features.matrix import BoolArray
from tagsage.files import read_json, write_json
from tagsage.graph.csr import load_csr, save_csr
from tagsage.learn.candidate import FittedCandidate, Predictions

BEST_TAGS = 5

_TABLES = ("per_tag", "curve", "reliability")
_ASSIGNED, _RANKINGS = "assigned", ("p_at_5", "lrap")


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate's predictions on n test articles, reduced to what is reported of them.

    To the scores of :func:`tagsage.evaluate.metrics.evaluate` come ``threshold`` (the common one),
    ``ece`` and ``ece_top_5`` (expected calibration error over all pairs, or the five best tags of
    each article); `reliability` is of the five best.
    """

    scores: dict[str, float]
    per_tag: pd.DataFrame
    curve: pd.DataFrame
    reliability: pd.DataFrame
    results: ArticleResults

    @classmethod
    def of(
        cls, fitted: FittedCandidate, predictions: Predictions, Y: BoolArray, *, Y_train: BoolArray
    ) -> Self:
        """Score predictions of articles that it was not fitted on; `Y_train` tells rare tags."""
        P, assigned = predictions
        scores = evaluate(P, Y, assigned, fitted.tags, propensity=tag_propensity(Y_train))
        best = reliability(P, Y, top_k=BEST_TAGS)
        further = {
            "threshold": fitted.main.thresholds.common,
            "ece": expected_calibration_error(reliability(P, Y)),
            "ece_top_5": expected_calibration_error(best),
        }
        return cls(
            {**scores.overall, **further},
            scores.per_tag,
            precision_recall(P, Y),
            best,
            ArticleResults.of(P, Y, assigned),
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _TABLES:
            getattr(self, name).to_csv(folder / f"{name}.csv", index=False)
        save_csr(folder / _ASSIGNED, self.results.assigned)
        for name in _RANKINGS:
            np.save(folder / f"{name}.npy", getattr(self.results, name), allow_pickle=False)
        write_json(folder / "scores.json", self.scores)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        scores = read_json(folder / "scores.json")
        if scores is None:
            raise TagsageError(f"The folder {folder} holds no scores; run the run again.")
        rankings = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in _RANKINGS)
        # Sums are exact in double precision alone.
        results = ArticleResults(load_csr(folder / _ASSIGNED).astype(np.float64), *rankings)
        # A tag may be called NA, or 1.
        per_tag, curve, bins = (
            pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype={"tag": str})
            for name in _TABLES
        )
        return cls(scores, per_tag, curve, bins, results)
