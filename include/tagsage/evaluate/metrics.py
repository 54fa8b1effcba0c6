"""How good assigned and ranked tags are, overall and tag by tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.features.matrix import FloatArray
from tagsage.learn.targets import BoolArray

BLOCK_NUMBERS = 1 << 22
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Scores of a candidate on some articles.

    Attributes
    ----------
    overall : dict of str to float
        See :func:`evaluate`.
    per_tag : pandas.DataFrame
        One row a tag, in the order of the columns: ``tag``, ``precision``, ``recall``, ``f1``,
        ``average_precision`` (0 to 1), ``support`` (articles with the tag), ``predicted``
        (articles it is assigned to).
    """

    overall: dict[str, float]
    per_tag: pd.DataFrame


def evaluate(P: FloatArray, Y: BoolArray, assigned: BoolArray | float, tags: list[str]) -> Scores:
    """Score probabilities against the truth.

    A ratio of nothing to nothing is 0 (scikit-learn's ``zero_division=0``): the precision of a tag
    that is never assigned, the recall of a tag without articles, R@5 of an article without tags.

    ======================== =====================================================================
    accuracy                 share of articles whose tags are exactly right
    micro_precision, …_f1    over all (article, tag) pairs together; with ``micro_recall``
    macro_precision, …       mean over the tags; ``macro_recall``, ``macro_f1``
    weighted_precision, …    mean over the tags, weighted by support; also recall, f1
    p_at_1, p_at_3, p_at_5   right ones among the k best tags / min(k, L); mean over articles
    r_at_5                   right ones among the 5 best / the article's tags; mean over articles
    lrap                     label ranking average precision; 1 for an article without tags
    hamming_loss             share of wrong (article, tag) pairs
    coverage_error           how far down the ranking the last right tag stands; mean over articles
    share_assigned           share of articles with at least one assigned tag
    test_articles            n
    articles_without_tag     articles with no right tag among the columns
    ======================== =====================================================================

    Ties: P@k and R@5 take the lower column first; LRAP and coverage give tied tags the worst rank
    of the tie, and average precision takes tied articles together, as scikit-learn does.

    Parameters
    ----------
    P : float array, shape [n, L]
        Probabilities.
    Y : bool array, shape [n, L]
        The truth.
    assigned : bool array, shape [n, L], or float
        Which tags are assigned; a number: those whose probability is at least this.
    tags : list of str, length L
        Names of the columns.

    Returns
    -------
    Scores
        The scores.

    Raises
    ------
    ValueError
        When shapes differ or there is no article.
    """
    if P.shape != Y.shape or P.shape[1] != len(tags):
        raise ValueError(f"shapes differ: P {P.shape}, Y {Y.shape}, {len(tags)} tags")
    if not len(P):
        raise ValueError("there is no article to score")
    n, n_tags = P.shape
    assigned = assigned_tags(P, assigned)
    hits = (assigned & Y).sum(axis=0)
    predicted, support = assigned.sum(axis=0), Y.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, predicted + support)
    total = [np.array([part.sum()]) for part in (hits, predicted, support)]
    overall = {
        "micro_f1": float(_ratio(2 * total[0], total[1] + total[2])[0]),
        "macro_f1": float(f1.mean()),
        "weighted_f1": _weighted(f1, support),
        "accuracy": float((assigned == Y).all(axis=1).mean()),
        "micro_precision": float(_ratio(total[0], total[1])[0]),
        "macro_precision": float(precision.mean()),
        "weighted_precision": _weighted(precision, support),
        "micro_recall": float(_ratio(total[0], total[2])[0]),
        "macro_recall": float(recall.mean()),
        "weighted_recall": _weighted(recall, support),
        **{name: float(values.mean()) for name, values in article_rankings(P, Y).items()},
        "hamming_loss": float((assigned != Y).mean()),
        "share_assigned": float(assigned.any(axis=1).mean()),
        "test_articles": float(n),
        "articles_without_tag": float((~Y.any(axis=1)).sum()),
    }
    per_tag = pd.DataFrame({
        "tag": tags,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "average_precision": [_average_precision(P[:, tag], Y[:, tag]) for tag in range(n_tags)],
        "support": support,
        "predicted": predicted,
    })
    return Scores(overall, per_tag)


def ratio_or_null(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Float64Array:
    """Return part / whole element by element, null where there is nothing to divide by."""
    ratio: Float64Array = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Float64Array:
    return part / np.maximum(whole, 1)


def _weighted(values: Float64Array, weights: npt.NDArray[np.int64]) -> float:
    total = weights.sum()
    return float(values @ weights / total) if total else 0.0


def assigned_tags(P: FloatArray, assigned: BoolArray | float) -> BoolArray:
    """Return which tags are assigned: as given, or those whose score reaches a threshold.

    Parameters
    ----------
    P : float32 array, shape [n, L]
        Scores.
    assigned : bool array, shape [n, L], or float
        Which tags are assigned; a number: those whose score is at least this.
    """
    if isinstance(assigned, np.ndarray):
        return assigned
    # In float32 as the scores are: the score that is the threshold must reach it.
    reached: BoolArray = np.float32(assigned) <= P
    return reached


def article_rankings(P: FloatArray, Y: BoolArray) -> dict[str, Float64Array]:
    """Score the ranking of each article's tags.

    Parameters
    ----------
    P : float array, shape [n, L]
        Scores, the higher the likelier.
    Y : bool array, shape [n, L]
        The truth.

    Returns
    -------
    dict of str to float64 array, shape [n]
        ``p_at_1``, ``p_at_3``, ``p_at_5``, ``r_at_5``, ``lrap``, ``coverage_error`` of each
        article; :func:`evaluate` says what they are, and gives their means.
    """
    n, n_tags = P.shape
    names = ("p_at_1", "p_at_3", "p_at_5", "r_at_5", "lrap", "coverage_error")
    found = {name: np.zeros(n) for name in names}
    block = max(BLOCK_NUMBERS // n_tags, 1)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        order = np.argsort(-P[rows], axis=1, kind="stable")
        scores = np.take_along_axis(P[rows], order, axis=1)
        truth = np.take_along_axis(Y[rows], order, axis=1)
        hits = truth.cumsum(axis=1)
        relevant = hits[:, -1]
        for k in (1, 3, 5):
            found[f"p_at_{k}"][rows] = hits[:, min(k, n_tags) - 1] / min(k, n_tags)
        found["r_at_5"][rows] = _ratio(hits[:, min(5, n_tags) - 1], relevant)
        # A tied tag has the rank of the last of the tie.
        last = np.ones(scores.shape, dtype=np.bool_)
        last[:, :-1] = scores[:, 1:] != scores[:, :-1]
        places = np.where(last, np.arange(n_tags), n_tags)
        worst = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
        precision = np.where(truth, np.take_along_axis(hits, worst, axis=1) / (worst + 1), 0)
        lrap = precision.sum(axis=1) / np.maximum(relevant, 1)
        found["lrap"][rows] = np.where(relevant > 0, lrap, 1.0)
        found["coverage_error"][rows] = np.where(truth, worst + 1, 0).max(axis=1)
    return found


def _average_precision(scores: FloatArray, truth: BoolArray) -> float:
    """Return the sum over thresholds of (recall gained) × precision; 0 without articles."""
    relevant = int(truth.sum())
    if not relevant:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    cuts = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = truth[order].cumsum()[cuts]
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (cuts + 1)).sum() / relevant)
