"""What is known of a candidate on some test articles: scores, and what figures are drawn from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from tagsage.evaluate.curves import precision_recall
from tagsage.evaluate.metrics import Scores, evaluate
from tagsage.evaluate.systems import System
from tagsage.features.matrix import FeatureMatrix, IndexArray
from tagsage.graph.csr import load_csr, save_csr
from tagsage.learn.calibration import expected_calibration_error, reliability
from tagsage.learn.candidate import Answers, FittedCandidate
from tagsage.learn.classifiers.base import write_json
from tagsage.learn.targets import BoolArray

BEST_TAGS = 5

_TABLES = ("per_tag", "curve", "reliability")
_ASSIGNED, _RANKINGS = "assigned", ("p_at_5", "lrap")


def score(fitted: FittedCandidate, answers: Answers, Y: BoolArray) -> Scores:
    """Score a candidate's answers.

    Parameters
    ----------
    fitted : FittedCandidate
        Whose answers these are.
    answers : Answers
        On n articles that it was not fitted on.
    Y : bool array, shape [n, L]
        The truth.

    Returns
    -------
    Scores
        As :func:`tagsage.evaluate.metrics.evaluate`, with ``threshold``, ``ece`` (expected
        calibration error over all pairs) and ``ece_top_5`` (over the five best tags of each
        article) among the overall ones.
    """
    P = answers.probabilities
    scores = evaluate(P, Y, answers.assigned, fitted.tags)
    further = {
        "threshold": fitted.threshold,
        "ece": expected_calibration_error(reliability(P, Y)),
        "ece_top_5": expected_calibration_error(reliability(P, Y, top_k=BEST_TAGS)),
    }
    return Scores({**scores.overall, **further}, scores.per_tag)


def evaluate_candidate(
    fitted: FittedCandidate, X: FeatureMatrix, Y: BoolArray, rows: IndexArray
) -> Scores:
    """Ask a candidate about articles that it was not fitted on, and score its answers.

    Parameters
    ----------
    fitted : FittedCandidate
        The candidate.
    X : FeatureMatrix, shape [n, d]
        Features of all articles.
    Y : bool array, shape [m, L]
        The truth, aligned with `rows`.
    rows : integer array, shape [m]
        The articles.
    """
    return score(fitted, fitted.answer(X, rows), Y)


@dataclass(frozen=True)
class Judgement:
    """A candidate's answers on n test articles, reduced to what is told of them.

    Attributes
    ----------
    scores : dict of str to float
        See :func:`score`.
    per_tag : pandas.DataFrame
        See :class:`tagsage.evaluate.metrics.Scores`.
    curve : pandas.DataFrame
        See :func:`tagsage.evaluate.curves.precision_recall`.
    reliability : pandas.DataFrame
        Of the five best tags of each article; see :func:`tagsage.learn.calibration.reliability`.
    system : System
        For comparisons, article by article.
    """

    scores: dict[str, float]
    per_tag: pd.DataFrame
    curve: pd.DataFrame
    reliability: pd.DataFrame
    system: System

    @classmethod
    def of(cls, fitted: FittedCandidate, answers: Answers, Y: BoolArray) -> Self:
        """Judge answers.

        Parameters
        ----------
        fitted : FittedCandidate
            Whose answers these are.
        answers : Answers
            On n articles that it was not fitted on.
        Y : bool array, shape [n, L]
            The truth.
        """
        scores = score(fitted, answers, Y)
        P = answers.probabilities
        return cls(
            scores.overall,
            scores.per_tag,
            precision_recall(P, Y),
            reliability(P, Y, top_k=BEST_TAGS),
            System.of(P, Y, answers.assigned),
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _TABLES:
            getattr(self, name).to_csv(folder / f"{name}.csv", index=False)
        save_csr(folder / _ASSIGNED, self.system.assigned)
        for name in _RANKINGS:
            np.save(folder / f"{name}.npy", getattr(self.system, name), allow_pickle=False)
        write_json(folder / "scores.json", self.scores)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        rankings = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in _RANKINGS)
        # Sums are exact in double precision alone.
        assigned = load_csr(folder / _ASSIGNED).astype(np.float64)
        system = System(assigned, *rankings)
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        # A tag may be called NA, or 1.
        per_tag, curve, bins = (
            pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype={"tag": str})
            for name in _TABLES
        )
        return cls(scores, per_tag, curve, bins, system)
