"""How certain scores and their differences are: a paired bootstrap over test articles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tagsage.evaluate.article_results import ArticleResults, Sums, sparse_of
from tagsage.evaluate.metrics import METRICS, Float64Array
from tagsage.features.matrix import BoolArray, IndexArray

RESAMPLES = 2000
LEVEL = 0.95
# Numbers of one block of resamples: 8 MB in double precision, which stay in the cache.
BLOCK_NUMBERS = 1 << 20
# Sums in another order differ below these decimals: equal results must be equal in each resample.
DECIMALS = 12


def paired_bootstrap(
    Y: BoolArray,
    results: Mapping[str, ArticleResults],
    *,
    clusters: IndexArray | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Bootstrap the scores of candidates, and the differences between `pairs` of them.

    Clusters of articles, such as families of near-copies, are drawn with replacement, the same for
    all candidates (P. Koehn: Statistical significance tests for machine translation evaluation,
    EMNLP 2004); `clusters` [n] names each article's, and by default each is one of its own. So
    alike articles do not pass for independent evidence. Percentile intervals reflect
    the choice of test articles, not of the split, the seed or the training part. Those of macro-F1
    are biased downwards, because F1 is concave in the hits of rare tags; differences hardly are.

    Returns one row per candidate and metric, then one per pair (candidate, baseline) and metric:
    ``candidate``, ``baseline`` (null unless a pair), ``metric``, ``value`` (on the articles
    themselves), ``low``, ``high``, ``p_not_better`` (share of the resamples in which a difference
    is at most 0), ``articles``, ``resamples``, ``level``.
    """
    whole = {name: np.array(list(one.scores(Y).values())) for name, one in results.items()}
    parts: dict[str, list[Float64Array]] = {name: [] for name in results}
    truth = sparse_of(Y)
    for weights in resampled_weights(len(Y), resamples, seed, clusters):
        for name, one in results.items():
            parts[name].append(_scores(one.sums(truth, weights)))
    drawn = {name: np.concatenate(blocks, axis=1) for name, blocks in parts.items()}
    frames = [_frame(name, None, whole[name], drawn[name], level) for name in results]
    for name, baseline in pairs:
        value, differences = whole[name] - whole[baseline], drawn[name] - drawn[baseline]
        frames.append(_frame(name, baseline, value, differences, level))
    found = pd.concat(frames, ignore_index=True)
    return found.assign(articles=len(Y), resamples=resamples, level=level)


@dataclass(frozen=True)
class Winner:
    """The best of several candidates, and its micro-F1 without the luck of being the best."""

    candidate: str
    micro_f1: float  # on the articles that it was the best on
    corrected: float
    low: float
    high: float


def corrected_winner(
    Y: BoolArray,
    results: Mapping[str, ArticleResults],
    *,
    clusters: IndexArray | None = None,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Winner:
    """Correct the winner's micro-F1, which is the best of several on the same articles.

    Bootstrap bias correction (I. Tsamardinos, E. Greasidou, G. Borboudakis: Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation, Machine Learning 107,
    2018): the best candidate on each resample is scored on the articles that were not drawn. The
    mean of these scores is the estimate, their percentiles are the interval. Where every resample
    holds all articles, nothing is corrected.
    """
    truth = sparse_of(Y)
    assigned = [one.assigned for one in results.values()]
    hits = np.stack([truth.multiply(each).sum(axis=1) for each in assigned])
    pairs = np.stack([(truth + each).sum(axis=1) for each in assigned])

    def micro_f1(weights: Float64Array) -> Float64Array:
        scores: Float64Array = 2 * (hits @ weights) / np.maximum(pairs @ weights, 1)
        return scores.round(DECIMALS)

    whole = micro_f1(np.ones((len(Y), 1)))[:, 0]
    best = int(whole.argmax())
    scores = [whole[[]]]
    for weights in resampled_weights(len(Y), resamples, seed, clusters):
        left_out = weights == 0
        found = micro_f1(left_out)[micro_f1(weights).argmax(axis=0), np.arange(weights.shape[1])]
        scores.append(found[left_out.any(axis=0)])
    drawn = np.concatenate(scores)
    if not len(drawn):
        drawn = whole[[best]]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    name = list(results)[best]
    return Winner(name, float(whole[best]), float(drawn.mean()), float(low), float(high))


def resampled_weights(
    n: int, resamples: int, seed: int, clusters: IndexArray | None = None
) -> Iterator[Float64Array]:
    """Yield blocks of resamples: how often each article is in each, float64 [n, block]."""
    random = np.random.default_rng(seed)
    cluster = np.arange(n) if clusters is None else pd.factorize(clusters)[0]
    drawn = cluster.max() + 1
    block = max(BLOCK_NUMBERS // n, 1)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        places = random.integers(0, drawn, size=(size, drawn)) * size + np.arange(size)[:, None]
        times = np.bincount(places.ravel(), minlength=drawn * size).reshape(drawn, size)
        yield times[cluster].astype(np.float64)


def _scores(sums: Sums) -> Float64Array:
    scores = (sums.micro_f1(), sums.f1().mean(axis=0), sums.mean_p_at_5(), sums.mean_lrap())
    return np.stack(scores).round(DECIMALS)


def _frame(
    candidate: str, baseline: str | None, value: Float64Array, drawn: Float64Array, level: float
) -> pd.DataFrame:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    not_better = np.nan if baseline is None else (drawn <= 0).mean(axis=1)
    return pd.DataFrame({
        "candidate": candidate,
        "baseline": pd.Series([baseline] * len(METRICS), dtype="str"),
        "metric": METRICS,
        "value": value,
        "low": low,
        "high": high,
        "p_not_better": not_better,
    })
