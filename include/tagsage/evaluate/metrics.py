"""How good assigned and ranked tags are, and how well probabilities are calibrated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.features.matrix import BoolArray, FloatArray

Float64Array = npt.NDArray[np.float64]

# The metrics that candidates are ranked and compared by, and what they are called.
METRIC_NAMES = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "p_at_5": "P@5", "lrap": "LRAP"}
METRICS = tuple(METRIC_NAMES)
# The numbers that are worked on at once.
BLOCK_NUMBERS = 1 << 22
# Of the propensity model of tags, as is usual where nothing is known of a corpus.
PROPENSITY_A, PROPENSITY_B = 0.55, 1.5
CALIBRATION_BINS = 15
# The upper 16 bits of a float32 that is not negative grow with it: they are its bin of the
# precision-recall curve, and bins are at most 1/128 of their scores wide.
BIN_BITS = 16


@dataclass(frozen=True)
class Scores:
    """Scores of a candidate on some articles; for `overall` see :func:`evaluate`.

    `per_tag` has ``support`` (articles with the tag) and ``predicted`` (articles it is assigned
    to).
    """

    overall: dict[str, float]
    per_tag: pd.DataFrame


def evaluate(
    P: FloatArray,
    Y: BoolArray,
    assigned: BoolArray,
    tags: list[str],
    *,
    propensity: Float64Array | None = None,
) -> Scores:
    """Score probabilities `P`, of the shape of the truth `Y` and of the `assigned` tags, [n, L].

    A ratio of nothing to nothing is 0 (scikit-learn's ``zero_division=0``): the precision of a tag
    that is never assigned, the recall of a tag without articles. An article without right tags has
    no best ranking: P@k, R@5, LRAP and coverage error are means over the others.

    ======================== =====================================================================
    accuracy                 share of articles whose tags are exactly right
    micro_precision, …_f1    over all (article, tag) pairs together; with ``micro_recall``
    macro_precision, …       mean over the tags; ``macro_recall``, ``macro_f1``
    weighted_precision, …    mean over the tags, weighted by support; also recall, f1
    micro_f1_targets, …      ``micro_f1`` and ``macro_f1`` of the articles that have a right tag
    p_at_1, p_at_3, p_at_5   right tags among the k best / min(k, L); mean over articles
    psp_at_5                 see :func:`propensity_scored_precision`; only with `propensity`
    r_at_5                   right tags among the 5 best / the article's tags; mean over articles
    lrap                     label ranking average precision; mean over articles
    hamming_loss             share of wrong (article, tag) pairs
    coverage_error           rank of the last right tag; mean over articles
    share_assigned           share of articles with at least one assigned tag
    test_articles            n
    articles_without_tag     articles with no right tag among the columns
    ======================== =====================================================================

    Ties: P@k and R@5 take the lower column first; LRAP and coverage give tied tags the worst rank
    of the tie, and average precision takes tied articles together, as scikit-learn does.
    """
    has_tag = Y.any(axis=1)
    hits = (assigned & Y).sum(axis=0)
    predicted, support = assigned.sum(axis=0), Y.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, predicted + support)
    all_hits, all_predicted, all_support = hits.sum(), predicted.sum(), support.sum()
    to_targets = assigned[has_tag].sum(axis=0)
    overall = {
        "micro_f1": float(_ratio(2 * all_hits, all_predicted + all_support)),
        "macro_f1": float(f1.mean()),
        "micro_f1_targets": float(_ratio(2 * all_hits, to_targets.sum() + all_support)),
        "macro_f1_targets": float(_ratio(2 * hits, to_targets + support).mean()),
        "weighted_f1": _weighted(f1, support),
        "accuracy": float((assigned == Y).all(axis=1).mean()),
        "micro_precision": float(_ratio(all_hits, all_predicted)),
        "macro_precision": float(precision.mean()),
        "weighted_precision": _weighted(precision, support),
        "micro_recall": float(_ratio(all_hits, all_support)),
        "macro_recall": float(recall.mean()),
        "weighted_recall": _weighted(recall, support),
        **{
            name: float(_ratio(values.sum(), has_tag.sum()))
            for name, values in article_rankings(P, Y).items()
        },
        "hamming_loss": float((assigned != Y).mean()),
        "share_assigned": float(assigned.any(axis=1).mean()),
        "test_articles": float(len(P)),
        "articles_without_tag": float((~has_tag).sum()),
    }
    if propensity is not None:
        overall["psp_at_5"] = propensity_scored_precision(P, Y, propensity)
    per_tag = pd.DataFrame({
        "tag": tags,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "average_precision": [_average_precision(*of_tag) for of_tag in zip(P.T, Y.T, strict=True)],
        "support": support,
        "predicted": predicted,
    })
    return Scores(overall, per_tag)


def article_rankings(P: FloatArray, Y: BoolArray) -> dict[str, Float64Array]:
    """Score the ranking of each article's tags; all 0 for an article without right ones."""
    n, n_tags = P.shape
    names = ("p_at_1", "p_at_3", "p_at_5", "r_at_5", "lrap", "coverage_error")
    found = {name: np.zeros(n) for name in names}
    for rows in _blocks(P):
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
        found["lrap"][rows] = _ratio(precision.sum(axis=1), relevant)
        found["coverage_error"][rows] = np.where(truth, worst + 1, 0).max(axis=1)
    return found


def tag_propensity(Y_train: BoolArray) -> Float64Array:
    """Return how likely a tag that is right for an article is to be among its tags, [L].

    Rare tags are forgotten more often (H. Jain, Y. Prabhu, M. Varma: Extreme multi-label loss
    functions for recommendation, tagging, ranking & other missing label applications, KDD 2016): p
    = 1 / (1 + C (N_l + B)^-A), C = (log N - 1) (B + 1)^A, with N_l of N training articles with the
    tag, A = .55 and B = 1.5.
    """
    scale = max(np.log(len(Y_train)) - 1, 0) * (PROPENSITY_B + 1) ** PROPENSITY_A
    propensity: Float64Array = 1 / (
        1 + scale * (Y_train.sum(axis=0) + PROPENSITY_B) ** -PROPENSITY_A
    )
    return propensity


def propensity_scored_precision(
    P: FloatArray, Y: BoolArray, propensity: Float64Array, *, k: int = 5
) -> float:
    """Return the propensity-scored precision at k, as a share of the best possible.

    Right tags among the k best count 1 / propensity, see :func:`tag_propensity`; their sum over the
    articles is divided by that of a perfect ranking.
    """
    found = best = 0.0
    for rows in _blocks(P):
        gain = np.where(Y[rows], 1 / propensity, 0.0)
        order = np.argsort(-P[rows], axis=1, kind="stable")[:, :k]
        found += np.take_along_axis(gain, order, axis=1).sum()
        best += -np.sort(-gain, axis=1)[:, :k].sum()
    return float(found / best) if best else 0.0


def precision_recall(P: FloatArray, Y: BoolArray, *, points: int = 200) -> pd.DataFrame:
    """Return precision and recall over all (article, tag) pairs, as the threshold falls.

    Scores (at least 0) are counted in bins instead of sorted. Returns at most `points` rows, spread
    over recall: ``threshold`` (lower end of a bin), ``precision``, ``recall``; both are exact.
    Empty when no tag is right.
    """
    counts = np.zeros((2, 1 << BIN_BITS), dtype=np.int64)
    for rows in _blocks(P):
        # Adding 0 makes of -0.0, whose bits are the largest, 0.0.
        scores = np.ascontiguousarray(P[rows], dtype=np.float32) + np.float32(0)
        bins = scores.view(np.uint32) >> BIN_BITS
        for count, some in zip(counts, (bins, bins[Y[rows]]), strict=True):
            count += np.bincount(some.ravel(), minlength=1 << BIN_BITS)
    used = np.flatnonzero(counts[0])[::-1]
    assigned, hits = counts[:, used].cumsum(axis=1)
    relevant = hits[-1] if len(hits) else 0
    recall, precision = hits / max(relevant, 1), hits / assigned
    levels = np.linspace(0, 1, points) if relevant else np.zeros(0)
    # The first threshold that reaches each level; that of level 0 finds the first right pair.
    kept = np.unique(np.searchsorted(recall, np.maximum(levels, 0.5 / max(relevant, 1))))
    return pd.DataFrame({
        "threshold": (used[kept].astype(np.uint32) << BIN_BITS).view(np.float32),
        "precision": precision[kept],
        "recall": recall[kept],
    })


def reliability(P: FloatArray, Y: BoolArray, *, top_k: int | None = None) -> pd.DataFrame:
    """Return how often tags of about the same probability are right, in 15 bins of equal width.

    With `top_k` only so many best tags per article count. Returns a row per non-empty bin: ``low``,
    ``high``, ``predicted`` (mean probability), ``observed`` (share that is right), ``pairs``.
    """
    if top_k is not None:
        best = np.argsort(-P, axis=1, kind="stable")[:, :top_k]
        P, Y = np.take_along_axis(P, best, axis=1), np.take_along_axis(Y, best, axis=1)
    n, scores, right = CALIBRATION_BINS, P.ravel(), Y.ravel()
    place = np.minimum((scores * n).astype(np.int64), n - 1)
    pairs = np.bincount(place, minlength=n)
    filled = np.flatnonzero(pairs)
    sums = [np.bincount(place, weights=values, minlength=n) for values in (scores, right)]
    predicted, observed = (total[filled] / pairs[filled] for total in sums)
    return pd.DataFrame({
        "low": filled / n,
        "high": (filled + 1) / n,
        "predicted": predicted,
        "observed": observed,
        "pairs": pairs[filled],
    })


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Return the mean distance of predicted and observed shares, weighted by pairs; 0 for none."""
    if bins.empty:
        return 0.0
    distance = (bins["predicted"] - bins["observed"]).abs()
    return float((distance * bins["pairs"]).sum() / bins["pairs"].sum())


def _ratio(part: Any, whole: Any) -> Any:
    return part / np.maximum(whole, 1)


def _weighted(values: Float64Array, weights: npt.NDArray[np.int64]) -> float:
    total = weights.sum()
    return float(values @ weights / total) if total else 0.0


def _average_precision(scores: FloatArray, truth: BoolArray) -> float:
    relevant = int(truth.sum())
    if not relevant:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    cuts = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = truth[order].cumsum()[cuts]
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (cuts + 1)).sum() / relevant)


def _blocks(P: FloatArray) -> Iterator[slice]:
    size = max(BLOCK_NUMBERS // max(P.shape[1], 1), 1)
    for start in range(0, len(P), size):
        yield slice(start, start + size)
