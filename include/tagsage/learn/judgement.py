"""What is known of a candidate on some test articles: scores, and what figures are drawn from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from tagsage.graph.csr import load_csr, save_csr
from tagsage.learn.calibration import reliability
from tagsage.learn.candidate import Answers, FittedCandidate
from tagsage.learn.classifiers.base import write_json
from tagsage.learn.curves import precision_recall
from tagsage.learn.systems import System
from tagsage.learn.targets import BoolArray

BEST_TAGS = 5

_TABLES = ("per_tag", "curve", "reliability")
_ASSIGNED, _RANKINGS = "assigned", ("p_at_5", "lrap")


@dataclass(frozen=True)
class Judgement:
    """A candidate's answers on n test articles, reduced to what is told of them.

    Attributes
    ----------
    scores : dict of str to float
        See :meth:`tagsage.learn.candidate.FittedCandidate.score`.
    per_tag : pandas.DataFrame
        See :class:`tagsage.learn.metrics.Scores`.
    curve : pandas.DataFrame
        See :func:`tagsage.learn.curves.precision_recall`.
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
        scores = fitted.score(answers, Y)
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
