"""What the promotion rule goes by: the challenger's gain over the champion, and the guards.

Both are measured on the common test articles, which neither challenger nor champion has learned
from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.bootstrap import LEVEL, paired_bootstrap
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.evaluate.promotion import Gain, Guard
from tagsage.evaluate.slices import article_slices, tag_slices
from tagsage.features.articles import IdArray
from tagsage.features.matrix import BoolArray
from tagsage.settings.promotion import PromotionSettings

if TYPE_CHECKING:
    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.learn.labels import IntArray, Labels
    from tagsage.settings import Settings

# With a smaller share of the champion's target tags left, the two are not compared.
MIN_COMMON_TAGS = 0.5


class Pair(NamedTuple):
    """Challenger and champion on their common test articles and target tags.

    `Y` is this run's truth, bool [c, t]; `rows` and `columns` are the positions of these articles
    and tags in this run's test part and target tags. Results hold assigned tags only.
    """

    Y: BoolArray
    challenger: ArticleResults
    champion: ArticleResults
    rows: IntArray
    columns: IntArray


class Comparison(NamedTuple):
    """The gain, or why the two can't be compared, and the guards that need both."""

    gain: Gain | None
    why_not: str
    guards: list[Guard]


def compare_with_champion(
    challenger: ScoredCandidate,
    labels: Labels,
    champion: FrozenTest | None,
    *,
    version: str,
    ids: IdArray,
    texts: Sequence[str],
    list_degree: IntArray,
    settings: Settings,
) -> Comparison:
    """Compare this run's winner with the champion, where that is possible.

    `challenger` is scored on this run's test part, which `ids`, `texts` and `list_degree` describe;
    `champion` is the test of the champion's `version`, None where it isn't known.
    """
    if champion is None:
        why_not = f"what the champion (version {version}) assigned is not in MLflow"
        return Comparison(None, why_not, [])
    pair = pair_up(labels.Y_test, challenger.results, ids, labels.tags, champion)
    articles, shared = pair.Y.shape
    if shared < MIN_COMMON_TAGS * len(champion.tags):
        why_not = (
            f"of the champion's {len(champion.tags):,} target tags (version {version}) only "
            f"{shared:,} are target tags now, fewer than half"
        )
        return Comparison(None, why_not, [])
    if articles < settings.promote_min_articles:
        why_not = (
            f"this run's test articles and the champion's (version {version}) have only "
            f"{articles:,} in common, fewer than the {settings.promote_min_articles:,} that "
            "promote_min_articles asks for"
        )
        return Comparison(None, why_not, [])
    of_articles = article_slices(
        list_degree=list_degree[pair.rows],
        texts=[texts[row] for row in pair.rows.tolist()],
        Y=labels.Y_test[pair.rows],
    )
    of_tags = tag_slices(labels.Y_train.sum(axis=0)[pair.columns], settings.min_tag_articles)
    guards = [
        guard_slices(pair, of_articles, of_tags, settings=settings, seed=settings.seed),
        guard_assigned(pair, settings=settings),
    ]
    return Comparison(measure_gain(pair, seed=settings.seed), "", guards)


def pair_up(
    Y: BoolArray, results: ArticleResults, test: IdArray, tags: Sequence[str], champion: FrozenTest
) -> Pair:
    """Pair this run's winner with the champion.

    `results`, with the truth `Y`, are those of the winner on the articles `test`, fitted on the
    training part only; see :func:`tagsage.features.article_ids` for their ids.
    """
    rows, columns, of_champion = champion.common(test, tags)
    return Pair(
        Y[np.ix_(rows, columns)],
        ArticleResults.without_rankings(results.assigned[rows][:, columns]),
        ArticleResults.without_rankings(of_champion),
        rows,
        columns,
    )


def measure_gain(pair: Pair, *, seed: int) -> Gain:
    """Bootstrap the gain in micro-F1; see :func:`tagsage.evaluate.bootstrap.paired_bootstrap`."""
    challenger, champion, difference = _bootstrap(pair, seed=seed, level=LEVEL)
    articles, tags = pair.Y.shape
    return Gain(
        challenger=challenger["value"],
        champion=champion["value"],
        **difference,
        articles=articles,
        tags=tags,
    )


def guard_slices(
    pair: Pair,
    article_slices: pd.DataFrame,
    tag_slices: pd.DataFrame,
    *,
    settings: PromotionSettings,
    seed: int,
) -> Guard:
    """Check that no slice certainly drops by more than the limit.

    Among many slices some look bad by chance. So the guard fails only where the whole interval of a
    slice's difference is below the limit, at a level for all slices together (Bonferroni). `value`
    is the drop on the slice where it is most certain.
    """
    parts = [
        part
        for part in _slices(pair.Y, article_slices, tag_slices)
        if part[3] >= settings.promote_min_articles
    ]
    name, limit = "largest drop on a slice", settings.promote_max_slice_drop
    if not parts:
        few = f"not measured: no slice has {settings.promote_min_articles:,} articles"
        return Guard(name, None, limit, None, passed=True, about=few)
    level = 1 - (1 - LEVEL) / len(parts)
    found = []
    for what, rows, columns, articles in parts:
        one, other = (
            ArticleResults.without_rankings(results.assigned[rows][:, columns])
            for results in (pair.challenger, pair.champion)
        )
        part = Pair(pair.Y[np.ix_(rows, columns)], one, other, rows, columns)
        line = _bootstrap(part, seed=seed, level=level)[2]
        found.append((line["high"], line["value"], line["low"], what, articles))
    high, value, low, what, articles = min(found)
    interval = f"{0.0 - high:.4f} to {0.0 - low:.4f}"
    return Guard(
        name,
        _rounded(-value),
        limit,
        None,
        passed=not high < -limit,
        about=f"micro-F1 on {what}, {articles:,} articles; interval {interval}",
    )


def guard_assigned(pair: Pair, *, settings: PromotionSettings) -> Guard:
    """Check how many fewer of the common test articles get a tag; `value` is the drop."""
    share, champion = (
        float((np.diff(results.assigned.indptr) > 0).mean())
        for results in (pair.challenger, pair.champion)
    )
    drop = champion - share
    return Guard(
        "drop of articles with a tag",
        _rounded(drop),
        settings.promote_max_assigned_drop,
        None,
        passed=drop <= settings.promote_max_assigned_drop + 1e-12,
        about=f"{share:.1%} of the articles get a tag, of the champion {champion:.1%}",
    )


def guard_calibration(
    error: float,
    bins: pd.DataFrame,
    *,
    articles: int,
    champion: float | None,
    settings: PromotionSettings,
) -> Guard:
    """Check that probabilities are calibrated.

    With few articles even exact probabilities show an error: in a bin of n pairs with mean
    probability p, the observed share is off by sqrt(2 p (1 - p) / (pi n)) on average (half-normal
    distribution). The limit is raised by that much.

    `error` is the expected calibration error of the five best tags of each article, computed from
    `bins` (:func:`tagsage.evaluate.metrics.reliability`); `champion` is that on its own test.
    """
    name, limit = "calibration error", settings.promote_max_calibration_error
    if articles < settings.promote_min_articles:
        few = f"not measured: fewer than {settings.promote_min_articles:,} test articles"
        return Guard(name, None, limit, champion, passed=True, about=few)
    p, pairs = (bins[column].to_numpy(dtype=np.float64) for column in ("predicted", "pairs"))
    spread = np.sqrt(2 * np.clip(p * (1 - p), 0, None) / (math.pi * np.maximum(pairs, 1)))
    chance = float((spread * pairs).sum() / max(pairs.sum(), 1))
    return Guard(
        name,
        _rounded(error),
        limit,
        _rounded(champion),
        passed=error - chance <= limit,
        about=f"ece_top_5; {chance:.4f} of it may be chance",
    )


def guard_most(
    name: str, value: float | None, limit: float, *, about: str, champion: float | None = None
) -> Guard:
    """Check that a value is at most its limit; None was not measured, and `about` says why."""
    passed = value is None or value <= limit
    return Guard(name, _rounded(value), limit, _rounded(champion), passed=passed, about=about)


def _bootstrap(pair: Pair, *, seed: int, level: float) -> list[dict[str, float]]:
    found = paired_bootstrap(
        pair.Y,
        {"challenger": pair.challenger, "champion": pair.champion},
        pairs=[("challenger", "champion")],
        seed=seed,
        level=level,
    )
    lines = found[found["metric"] == "micro_f1"][["value", "low", "high"]].to_dict("records")
    return [{str(key): float(value) for key, value in line.items()} for line in lines]


def _slices(
    Y: BoolArray, article_slices: pd.DataFrame, tag_slices: pd.DataFrame
) -> list[tuple[str, Any, Any, int]]:
    every_row, every_column = (np.arange(n) for n in Y.shape)
    parts = []
    for kind, column in article_slices.items():
        for code, category in enumerate(column.cat.categories):
            rows = np.flatnonzero(column.cat.codes.to_numpy() == code)
            parts.append((f"{kind} {category}", rows, every_column, len(rows)))
    for kind, column in tag_slices.items():
        for code, category in enumerate(column.cat.categories):
            columns = np.flatnonzero(column.cat.codes.to_numpy() == code)
            articles = int(Y[:, columns].any(axis=1).sum())
            parts.append((f"{kind} {category}", every_row, columns, articles))
    return parts


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value + 0.0, 6)
