"""The challenger's gain over the champion, and the guards, measured on the common test articles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.evaluate.promotion import Gain, Guard, chance_of_look
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
# Intervals of 90%: below and above each end are 5%, 1.645 standard errors from the middle.
LEVEL = 0.90
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


class Pair(NamedTuple):
    """The truth and what challenger and champion assigned, on common test articles and tags."""

    Y: BoolArray
    challenger: Csr
    champion: Csr
    families: IntArray

    def part(self, rows: IntArray, columns: IntArray) -> Pair:
        """Return some of the articles and tags."""
        challenger, champion = (
            assigned[rows][:, columns] for assigned in (self.challenger, self.champion)
        )
        Y = self.Y[np.ix_(rows, columns)]
        return Pair(Y, challenger, champion, self.families[rows])


class Change(NamedTuple):
    """A metric's gain over the champion, its standard error, and the interval of 90%."""

    value: float
    low: float  # the gain is lower with a chance of 5%
    high: float

    @property
    def standard_error(self) -> float:
        """Half the interval's width is 1.645 of them."""
        return (self.high - self.low) / (2 * Z)


class Comparison(NamedTuple):
    """The gain, or why the two can't be compared, and the guards that need both."""

    gain: Gain | None
    why_not: str
    guards: list[Guard]
    best_version: str = ""  # of the best champion so far


def compare_with_champion(
    challenger: ScoredCandidate,
    labels: Labels,
    champion: FrozenTest | None,
    *,
    version: str,
    look: int,
    best: tuple[str, FrozenTest | None],
    ids: IdArray,
    texts: Sequence[str],
    list_degree: IntArray,
    settings: Settings,
) -> Comparison:
    """Compare this run's winner with the champion, where that is possible.

    `ids`, `texts` and `list_degree` describe this run's test part; `champion` is the test of
    `version`, and `best` the version and the test of the best champion so far.
    """
    if champion is None:
        why_not = f"what the champion (version {version}) assigned is not in MLflow"
        return Comparison(None, why_not, [])
    rows, columns, of_champion = champion.common(ids, labels.tags)
    why_not = _too_little(champion, rows, columns, version, settings)
    if why_not:
        return Comparison(None, why_not, [])
    pair = _pair(challenger, labels, rows, columns, of_champion)
    changes = measure_changes(pair, seed=settings.seed)
    gain = measure_gain(pair, changes["micro_f1"], look=look, alpha=settings.promote_alpha)
    floor, best_version = -gain.value, version
    if best[1] is not None:
        rows_of_best, columns_of_best, of_best = best[1].common(ids, labels.tags)
        if not _too_little(best[1], rows_of_best, columns_of_best, best[0], settings):
            other = _pair(challenger, labels, rows_of_best, columns_of_best, of_best)
            below = _micro_f1(other.Y, other.champion) - _micro_f1(other.Y, other.challenger)
            floor, best_version = max((floor, best_version), (below, best[0]))
    of_articles = article_slices(
        list_degree=list_degree[rows],
        texts=[texts[row] for row in rows.tolist()],
        Y=labels.Y_test[rows],
    )
    of_tags = tag_slices(labels.Y_train.sum(axis=0)[columns], settings.min_tag_articles)
    guards = [
        guard_most(
            "drop from the best champion",
            floor,
            settings.promote_max_drop,
            about=f"micro-F1 on the test articles in common with version {best_version}",
        ),
        guard_macro(changes["macro_f1"], settings=settings),
        guard_slices(
            pair,
            changes["micro_f1"],
            of_articles,
            of_tags,
            settings=settings,
            seed=settings.seed,
        ),
        guard_assigned(pair, settings=settings),
    ]
    return Comparison(gain, "", guards, best_version)


def _too_little(
    frozen: FrozenTest, rows: IntArray, columns: IntArray, version: str, settings: Settings
) -> str:
    """Say why too little is in common with the champion's test; empty when it is enough."""
    if len(columns) < MIN_COMMON_TAGS * len(frozen.tags):
        return (
            f"of the champion's {len(frozen.tags):,} target tags (version {version}) only "
            f"{len(columns):,} are target tags now, fewer than half"
        )
    if len(rows) < settings.promote_min_articles:
        return (
            f"this run's test articles and the champion's (version {version}) have only "
            f"{len(rows):,} in common, fewer than the {settings.promote_min_articles:,} that "
            "promote_min_articles asks for"
        )
    return ""


def _pair(
    challenger: ScoredCandidate, labels: Labels, rows: IntArray, columns: IntArray, other: Csr
) -> Pair:
    own = challenger.results.assigned[rows][:, columns]
    Y, families = labels.Y_test[np.ix_(rows, columns)], labels.families[labels.test][rows]
    return Pair(Y, own, other, families)


def measure_gain(pair: Pair, micro_f1: Change, *, look: int, alpha: float) -> Gain:
    """Return the gain in micro-F1, with the interval of a look at the frozen test.

    2,000 resamples don't show how likely rare gains are: the interval is that of a normal
    distribution with the bootstrap's standard error.
    """
    challenger, champion = (_micro_f1(pair.Y, one) for one in (pair.challenger, pair.champion))
    width = NormalDist().inv_cdf(1 - chance_of_look(look, alpha)) * micro_f1.standard_error
    articles, tags = pair.Y.shape
    value = micro_f1.value
    return Gain(challenger, champion, value, value - width, value + width, articles, tags, look)


def guard_macro(macro_f1: Change, *, settings: PromotionSettings) -> Guard:
    """Check that macro-F1 has surely not dropped by more than the limit (non-inferiority)."""
    return guard_most(
        "drop of macro-F1",
        -macro_f1.low,
        settings.promote_max_macro_drop,
        about=f"upper end at 95%; measured {macro_f1.value:+.4f}",
    )


def guard_slices(
    pair: Pair,
    micro_f1: Change,
    article_slices: pd.DataFrame,
    tag_slices: pd.DataFrame,
    *,
    settings: PromotionSettings,
    seed: int,
) -> Guard:
    """Check that no slice, and not the whole, has dropped by more than the limit.

    A test of non-inferiority for each: the lower end of the gain (5%) has to be above minus the
    limit. All have to pass, so that none needs a stricter level. Where a slice is small, the limit
    is the smallest drop that it can show: one that is found with 95%, while an equally good
    challenger passes with 95%. That is twice 1.645 standard errors. The guard that is returned is
    the slice that is furthest above its limit, or nearest to it.
    """
    found = [("all articles", len(pair.Y), micro_f1)]
    for what, articles, part in _slices(pair, article_slices, tag_slices):
        if articles >= settings.promote_min_articles:
            found.append((what, articles, measure_changes(part, seed=seed)["micro_f1"]))
    limits = [
        max(settings.promote_max_slice_drop, 2 * Z * change.standard_error)
        for _, _, change in found
    ]
    worst = max(range(len(found)), key=lambda place: -found[place][2].low - limits[place])
    what, articles, change = found[worst]
    return guard_most(
        "largest drop on a slice",
        -change.low,
        limits[worst],
        about=f"micro-F1 on {what}, {articles:,} articles; upper end at 95%, measured "
        f"{change.value:+.4f}",
    )


def guard_assigned(pair: Pair, *, settings: PromotionSettings) -> Guard:
    """Check how many fewer of the common test articles get a tag; `value` is the drop."""
    share, champion = (
        float((np.diff(assigned.indptr) > 0).mean())
        for assigned in (pair.challenger, pair.champion)
    )
    return guard_most(
        "drop of articles with a tag",
        champion - share,
        settings.promote_max_assigned_drop,
        about=f"{share:.1%} of the articles get a tag, of the champion {champion:.1%}",
    )


def guard_calibration(
    error: float, bins: pd.DataFrame, *, champion: float | None, settings: PromotionSettings
) -> Guard:
    """Check the expected calibration error of the five best tags of each article.

    With few articles even exact probabilities show an error: in a bin of n pairs with mean
    probability p, the observed share is off by sqrt(2 p (1 - p) / (pi n)) on average (half-normal
    distribution). The limit is raised by that much, and two standard deviations of it. `champion`
    has its error on its own test.
    """
    p, pairs = (bins[column].to_numpy(dtype=np.float64) for column in ("predicted", "pairs"))
    shares = pairs / max(pairs.sum(), 1)
    spread = shares * np.sqrt(np.clip(p * (1 - p), 0, None) / np.maximum(pairs, 1))
    mean = math.sqrt(2 / math.pi) * spread.sum()
    deviation = math.sqrt((1 - 2 / math.pi) * (spread**2).sum())
    chance = float(mean + 2 * deviation)
    return guard_most(
        "calibration error",
        error,
        settings.promote_max_calibration_error + chance,
        about=f"ece_top_5; the limit with the {chance:.4f} that may be chance",
        champion=champion,
    )


def guard_most(
    name: str, value: float, limit: float, *, about: str, champion: float | None = None
) -> Guard:
    """Check that a value is at most its limit."""
    value, limit = round(float(value) + 0.0, 6), round(limit, 6)
    champion = None if champion is None else round(champion, 6)
    return Guard(name, value, limit, champion, passed=value <= limit, about=about)


def measure_changes(pair: Pair, *, seed: int) -> dict[str, Change]:
    """Bootstrap the gains per metric; see `paired_bootstrap`. Those of rankings are 0."""
    no_rankings = np.zeros(len(pair.Y))
    found = paired_bootstrap(
        pair.Y,
        {
            "challenger": ArticleResults(pair.challenger, no_rankings, no_rankings),
            "champion": ArticleResults(pair.champion, no_rankings, no_rankings),
        },
        clusters=pair.families,
        pairs=[("challenger", "champion")],
        seed=seed,
        level=LEVEL,
    )
    gains = found[found["baseline"].notna()]
    lines = gains[["value", "low", "high"]].to_numpy(dtype=np.float64).tolist()
    return {str(metric): Change(*line) for metric, line in zip(gains["metric"], lines, strict=True)}


def _micro_f1(Y: BoolArray, assigned: Csr) -> float:
    no_rankings = np.zeros(len(Y))
    return ArticleResults(assigned, no_rankings, no_rankings).scores(Y)["micro_f1"]


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
