"""The challenger's gain over the champion, and the guards, measured on the common test articles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

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
    from tagsage.graph.csr import Csr
    from tagsage.learn.labels import IntArray, Labels
    from tagsage.settings import Settings

# With a smaller share of the champion's target tags left, the two are not compared.
MIN_COMMON_TAGS = 0.5


class Pair(NamedTuple):
    """The truth and what challenger and champion assigned, on common test articles and tags."""

    Y: BoolArray
    challenger: Csr
    champion: Csr

    def part(self, rows: IntArray, columns: IntArray) -> Pair:
        """Return some of the articles and tags."""
        challenger, champion = (
            assigned[rows][:, columns] for assigned in (self.challenger, self.champion)
        )
        return Pair(self.Y[np.ix_(rows, columns)], challenger, champion)


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

    `ids`, `texts` and `list_degree` describe this run's test part; `champion` is the test of
    `version`.
    """
    if champion is None:
        why_not = f"what the champion (version {version}) assigned is not in MLflow"
        return Comparison(None, why_not, [])
    rows, columns, of_champion = champion.common(ids, labels.tags)
    if len(columns) < MIN_COMMON_TAGS * len(champion.tags):
        why_not = (
            f"of the champion's {len(champion.tags):,} target tags (version {version}) only "
            f"{len(columns):,} are target tags now, fewer than half"
        )
        return Comparison(None, why_not, [])
    if len(rows) < settings.promote_min_articles:
        why_not = (
            f"this run's test articles and the champion's (version {version}) have only "
            f"{len(rows):,} in common, fewer than the {settings.promote_min_articles:,} that "
            "promote_min_articles asks for"
        )
        return Comparison(None, why_not, [])
    of_challenger = challenger.results.assigned[rows][:, columns]
    pair = Pair(labels.Y_test[np.ix_(rows, columns)], of_challenger, of_champion)
    of_articles = article_slices(
        list_degree=list_degree[rows],
        texts=[texts[row] for row in rows.tolist()],
        Y=labels.Y_test[rows],
    )
    of_tags = tag_slices(labels.Y_train.sum(axis=0)[columns], settings.min_tag_articles)
    guards = [
        guard_slices(pair, of_articles, of_tags, settings=settings, seed=settings.seed),
        guard_assigned(pair, settings=settings),
    ]
    return Comparison(measure_gain(pair, seed=settings.seed), "", guards)


def measure_gain(pair: Pair, *, seed: int) -> Gain:
    """Bootstrap the gain in micro-F1; see :func:`tagsage.evaluate.bootstrap.paired_bootstrap`."""
    challenger, champion, difference = _bootstrap(pair, seed=seed, level=LEVEL)
    articles, tags = pair.Y.shape
    return Gain(challenger["value"], champion["value"], **difference, articles=articles, tags=tags)


def guard_slices(
    pair: Pair,
    article_slices: pd.DataFrame,
    tag_slices: pd.DataFrame,
    *,
    settings: PromotionSettings,
    seed: int,
) -> Guard:
    """Check that no slice certainly drops by more than the limit.

    The guard fails only where the whole interval of a slice's difference is below the limit, at a
    level for all slices together (Bonferroni). `value` is the drop where it is most certain.
    """
    slices = [
        (what, articles, part)
        for what, articles, part in _slices(pair, article_slices, tag_slices)
        if articles >= settings.promote_min_articles
    ]
    name, limit = "largest drop on a slice", settings.promote_max_slice_drop
    if not slices:
        few = f"not measured: no slice has {settings.promote_min_articles:,} articles"
        return Guard(name, None, limit, None, passed=True, about=few)
    level = 1 - (1 - LEVEL) / len(slices)
    found = []
    for what, articles, part in slices:
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
        float((np.diff(assigned.indptr) > 0).mean())
        for assigned in (pair.challenger, pair.champion)
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
    """Check the expected calibration error of the five best tags of each article.

    With few articles even exact probabilities show an error: in a bin of n pairs with mean
    probability p, the observed share is off by sqrt(2 p (1 - p) / (pi n)) on average (half-normal
    distribution). The limit is raised by that much. `champion` has its error on its own test.
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
    """Return ``value``, ``low`` and ``high`` of micro-F1: challenger, champion, difference."""
    no_rankings = np.zeros(len(pair.Y))
    found = paired_bootstrap(
        pair.Y,
        {
            "challenger": ArticleResults(pair.challenger, no_rankings, no_rankings),
            "champion": ArticleResults(pair.champion, no_rankings, no_rankings),
        },
        pairs=[("challenger", "champion")],
        seed=seed,
        level=level,
    )
    lines = found[found["metric"] == "micro_f1"][["value", "low", "high"]].to_dict("records")
    return [{str(key): float(value) for key, value in line.items()} for line in lines]


def _slices(
    pair: Pair, article_slices: pd.DataFrame, tag_slices: pd.DataFrame
) -> Iterator[tuple[str, int, Pair]]:
    """Yield slices with their names and how many articles each has."""
    every_row, every_column = (np.arange(n) for n in pair.Y.shape)
    for name, rows in _members(article_slices):
        yield name, len(rows), pair.part(rows, every_column)
    for name, columns in _members(tag_slices):
        part = pair.part(every_row, columns)
        yield name, int(part.Y.any(axis=1).sum()), part


def _members(slices: pd.DataFrame) -> Iterator[tuple[str, IntArray]]:
    for kind, column in slices.items():
        for code, category in enumerate(column.cat.categories):
            yield f"{kind} {category}", np.flatnonzero(column.cat.codes.to_numpy() == code)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value + 0.0, 6)
