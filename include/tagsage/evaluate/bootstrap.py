"""How sure scores and their differences are: a paired bootstrap over test articles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from tagsage.evaluate.metrics import Float64Array
from tagsage.evaluate.systems import METRICS, System, SystemTable
from tagsage.learn.labels import IntArray
from tagsage.learn.targets import BoolArray

# Numbers of one block of resamples: 8 MB in double precision, which stay in the cache.
BLOCK_NUMBERS = 1 << 20
# Sums in another order differ below these decimals: equal systems must be equal in each resample.
DECIMALS = 12


def resampled_articles(n: int, resamples: int, seed: int) -> Iterator[IntArray]:
    """Yield resamples: n of n articles, drawn with replacement.

    Parameters
    ----------
    n : int
        How many articles there are.
    resamples : int
        How many resamples.
    seed : int
        Same numbers, same seed: same resamples.

    Yields
    ------
    int64 array, shape [block, n]
        A block of resamples: the articles of each, so that memory is bounded.
    """
    random = np.random.default_rng(seed)
    block = max(BLOCK_NUMBERS // n, 1)
    for start in range(0, resamples, block):
        yield random.integers(0, n, size=(min(block, resamples - start), n))


def paired_bootstrap(
    Y: BoolArray,
    systems: Mapping[str, System],
    *,
    pairs: Sequence[tuple[str, str]] = (),
    resamples: int = 2000,
    seed: int,
    level: float = 0.95,
) -> pd.DataFrame:
    """Bootstrap the scores of systems and the differences between them.

    As many articles as there are get drawn with replacement, again and again: scores vary between
    these resamples about as they would between other articles of the kind [1]_. Every system is
    scored on the same resamples: what is hard for both of a pair cancels out, and the interval of
    their difference is the narrower.

    The interval is that of percentiles: of the resamples' scores, the middle share `level`. It
    speaks of the choice of test articles alone, not of another split, seed or training part. That
    of macro-F1 lies low: the fewer articles a tag has, the more its counts vary, and F1, concave in
    the hits, loses by it. Both systems of a pair lose alike: of the difference little is lost.

    Parameters
    ----------
    Y : bool array, shape [n, L]
        The truth of the test articles.
    systems : mapping of str to System
        The systems by name, on these articles.
    pairs : sequence of (str, str)
        Which to compare: a system, and the baseline to take from it.
    resamples : int
        How many, at least 1.
    seed : int
        Seed of the resamples.
    level : float
        Share of the resamples within an interval, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        A line for each system and metric, then one for each pair and metric; columns ``system``,
        ``baseline`` (null where it is no difference), ``metric`` (``micro_f1``, ``macro_f1``,
        ``p_at_5``, ``lrap``), ``value`` (on the articles as they are, exactly that of
        :func:`tagsage.evaluate.metrics.evaluate`), ``low``, ``high``, ``p_not_better`` (share
        of the resamples in which the difference is at most 0; null where it is none),
        ``articles`` (n), ``resamples``, ``level``.

    Raises
    ------
    ValueError
        When there is no article or no system, shapes differ, a pair names no system, or a number
        is out of its range.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani: An Introduction to the Bootstrap. Chapman & Hall 1993. For
       comparing systems on the same test items: P. Koehn: Statistical significance tests for
       machine translation evaluation. EMNLP 2004.
    """
    n = len(Y)
    unknown = sorted({name for pair in pairs for name in pair} - set(systems))
    if not n:
        raise ValueError("there is no article to resample")
    if not systems:
        raise ValueError("there is no system to score")
    if unknown:
        raise ValueError(f"pairs name {unknown}, but the systems are {sorted(systems)}")
    if resamples < 1:
        raise ValueError(f"{resamples=} must be at least 1")
    if not 0 < level < 1:
        raise ValueError(f"{level=} must be between 0 and 1")
    table = SystemTable.of(Y, list(systems.values()))
    whole = np.array([list(system.scores(Y).values()) for system in systems.values()])
    drawn = np.concatenate(
        [_scores(table, _weights(block)) for block in resampled_articles(n, resamples, seed)],
        axis=2,
    )
    place = {name: index for index, name in enumerate(systems)}
    frames = [_frame(name, None, whole[a], drawn[a], level) for name, a in place.items()]
    for one, other in pairs:
        a, b = place[one], place[other]
        frames.append(_frame(one, other, whole[a] - whole[b], drawn[a] - drawn[b], level))
    return pd.concat(frames, ignore_index=True).assign(articles=n, resamples=resamples, level=level)


def _weights(articles: IntArray) -> Float64Array:
    """Return how often each article is in each resample, shape [n, resamples]."""
    resamples, n = articles.shape
    places = articles * resamples + np.arange(resamples)[:, None]
    counts = np.bincount(places.ravel(), minlength=n * resamples)
    return counts.reshape(n, resamples).astype(np.float64)


def _scores(table: SystemTable, weights: Float64Array) -> Float64Array:
    """Return the four metrics in resamples, shape [systems, 4, resamples]."""
    sums = table.sums(weights)
    n = len(weights)
    scores = (sums.micro_f1(), sums.f1().mean(axis=1), sums.p_at_5 / n, sums.lrap / n)
    return np.stack(scores, axis=1).round(DECIMALS)


def _frame(
    system: str, baseline: str | None, value: Float64Array, drawn: Float64Array, level: float
) -> pd.DataFrame:
    """Return the lines of a system or a pair; `value` [4], `drawn` [4, resamples]."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    not_better = np.nan if baseline is None else (drawn <= 0).mean(axis=1)
    return pd.DataFrame({
        "system": system,
        "baseline": pd.Series([baseline] * len(METRICS), dtype="str"),
        "metric": METRICS,
        "value": value,
        "low": low,
        "high": high,
        "p_not_better": not_better,
    })
