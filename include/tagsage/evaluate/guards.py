"""What a challenger gains over the champion, and the guards: whether anything is too bad.

All of it is measured on the test articles that both have in common and neither has learned from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.frozen import Common, FrozenTest
from tagsage.evaluate.metrics import Float64Array
from tagsage.evaluate.promotion import Check, Gain
from tagsage.evaluate.slices import article_slices, tag_slices
from tagsage.evaluate.systems import System
from tagsage.features.articles import IdArray
from tagsage.learn.targets import BoolArray

if TYPE_CHECKING:
    from tagsage.evaluate.judgement import Judgement
    from tagsage.learn.labels import IntArray, Labels
    from tagsage.settings import Settings
    from tagsage.settings.promotion import PromotionSettings

CHALLENGER, CHAMPION, DIFFERENCE = "challenger", "champion", "difference"


@dataclass(frozen=True)
class Pair:
    """Challenger and champion on the test articles and target tags that they have in common.

    Attributes
    ----------
    Y : bool array, shape [c, t]
        The truth of this run.
    challenger, champion : System
        What each assigned; their rankings are not kept and are zeros.
    common : Common
        Where these are in this run's test part and target tags.
    """

    Y: BoolArray
    challenger: System
    champion: System
    common: Common


def pair_up(
    Y: BoolArray, answers: System, test: IdArray, tags: Sequence[str], champion: FrozenTest
) -> Pair:
    """Put this run's winner beside the champion.

    Parameters
    ----------
    Y : bool array, shape [n, L]
        The truth of this run's test part.
    answers : System
        What this run's winner gave on it, fitted on the training part alone.
    test : uint64 array, shape [n]
        The test articles, as :func:`tagsage.features.article_ids` numbers them.
    tags : sequence of str, length L
        This run's target tags.
    champion : FrozenTest
        The champion's test.
    """
    common = champion.common(test, tags)
    assigned = answers.assigned[common.rows][:, common.columns]
    truth = Y[np.ix_(common.rows, common.columns)]
    return Pair(truth, _without_rankings(assigned), _without_rankings(common.assigned), common)


def why_not_comparable(
    pair: Pair, *, champion_tags: int, version: str, limits: PromotionSettings
) -> str:
    """Say why two cannot be compared; empty when they can.

    Parameters
    ----------
    pair : Pair
        Both.
    champion_tags : int
        How many target tags the champion has.
    version : str
        The champion's version.
    limits : PromotionSettings
        ``min_articles`` and ``min_common_tags``.
    """
    articles, shared = pair.Y.shape
    if shared < limits.promote_min_common_tags * champion_tags:
        return (
            f"of the champion's {champion_tags:,} target tags (version {version}) only {shared:,} "
            f"are target tags now, less than the share {limits.promote_min_common_tags:g} that "
            "promote_min_common_tags asks for"
        )
    if articles < limits.promote_min_articles:
        return (
            f"this run's test articles and the champion's (version {version}) have only "
            f"{articles:,} in common, fewer than the {limits.promote_min_articles:,} that "
            "promote_min_articles asks for"
        )
    return ""


def measure_gain(pair: Pair, *, level: float, resamples: int, seed: int) -> Gain:
    """Bootstrap the gain in micro-F1; see :func:`tagsage.evaluate.bootstrap.paired_bootstrap`."""
    lines = _bootstrap(pair.Y, pair.challenger, pair.champion, level, resamples, seed)
    difference = lines[DIFFERENCE]
    articles, tags = pair.Y.shape
    return Gain(
        challenger=lines[CHALLENGER]["value"],
        champion=lines[CHAMPION]["value"],
        value=difference["value"],
        low=difference["low"],
        high=difference["high"],
        articles=articles,
        tags=tags,
    )


def check_slices(
    pair: Pair,
    article_slices: pd.DataFrame,
    tag_slices: pd.DataFrame,
    *,
    limits: PromotionSettings,
    resamples: int,
    seed: int,
) -> Check:
    """Look for a slice on which the challenger surely loses too much.

    With many slices one or the other looks bad by chance. So the guard breaks only where the whole
    interval of a slice's difference lies below ``-slice_drop``, and the level of these intervals is
    that of all slices together (Bonferroni).

    Parameters
    ----------
    pair : Pair
        Both.
    article_slices, tag_slices : pandas.DataFrame
        A row for each article and each tag of `pair`, a categorical column for each kind; see
        :mod:`tagsage.evaluate.slices`.
    limits : PromotionSettings
        ``slice_drop``, ``level`` and ``min_articles``.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Check
        Of the slice whose drop is the surest; ``value`` is the drop.
    """
    parts = [
        part
        for part in _parts(pair.Y, article_slices, tag_slices)
        if part[3] >= limits.promote_min_articles
    ]
    name, limit = "largest drop on a slice", limits.promote_max_slice_drop
    if not parts:
        few = f"not measured: no slice has {limits.promote_min_articles:,} articles"
        return Check(name, None, limit, None, passed=True, about=few)
    level = 1 - (1 - limits.promote_level) / len(parts)
    found = []
    for told, rows, columns, articles in parts:
        one, other = (
            _without_rankings(system.assigned[rows][:, columns])
            for system in (pair.challenger, pair.champion)
        )
        truth = pair.Y[np.ix_(rows, columns)]
        line = _bootstrap(truth, one, other, level, resamples, seed)[DIFFERENCE]
        found.append((line["high"], line["value"], line["low"], told, articles))
    high, value, low, told, articles = min(found)
    interval = f"{0.0 - high:.4f} to {0.0 - low:.4f}"
    return Check(
        name,
        _rounded(-value),
        limit,
        None,
        passed=not high < -limit,
        about=f"micro-F1 on {told}, {articles:,} articles; interval {interval}",
    )


def check_calibration(
    error: float,
    bins: pd.DataFrame,
    *,
    articles: int,
    champion: float | None,
    limits: PromotionSettings,
) -> Check:
    """Look whether probabilities hold.

    Of few articles even probabilities that are exactly right show an error: in a bin with n pairs
    and the mean probability p, the observed share is off by sqrt(2 p (1 - p) / (pi n)) on average
    (half-normal distribution). So much is allowed for.

    Parameters
    ----------
    error : float
        Expected calibration error of the five best tags of each article.
    bins : pandas.DataFrame
        What it was computed from; see :func:`tagsage.learn.calibration.reliability`.
    articles : int
        How many articles that were.
    champion : float or None
        The champion's error on its own test articles.
    limits : PromotionSettings
        ``calibration_error`` and ``min_articles``.
    """
    name, limit = "calibration error", limits.promote_max_calibration_error
    if articles < limits.promote_min_articles:
        few = f"not measured: fewer than {limits.promote_min_articles:,} test articles"
        return Check(name, None, limit, champion, passed=True, about=few)
    p, pairs = (bins[column].to_numpy(dtype=np.float64) for column in ("predicted", "pairs"))
    spread = np.sqrt(2 * np.clip(p * (1 - p), 0, None) / (math.pi * np.maximum(pairs, 1)))
    chance = float((spread * pairs).sum() / max(pairs.sum(), 1))
    return Check(
        name,
        _rounded(error),
        limit,
        _rounded(champion),
        passed=error - chance <= limit,
        about=f"ece_top_5; {chance:.4f} of it may be chance",
    )


def check_assigned(pair: Pair, *, limits: PromotionSettings) -> Check:
    """Look whether fewer of the common test articles get a tag; ``value`` is the drop."""
    share, champion = (
        float((np.diff(system.assigned.indptr) > 0).mean())
        for system in (pair.challenger, pair.champion)
    )
    drop = champion - share
    return Check(
        "drop of articles with a tag",
        _rounded(drop),
        limits.promote_max_assigned_drop,
        None,
        passed=drop <= limits.promote_max_assigned_drop + 1e-12,
        about=f"{share:.1%} of the articles get a tag, of the champion {champion:.1%}",
    )


def check_most(
    name: str, value: float | None, limit: float, *, about: str, champion: float | None = None
) -> Check:
    """Look whether a number is at most its limit; None was not measured, and `about` says why."""
    passed = value is None or value <= limit
    return Check(name, _rounded(value), limit, _rounded(champion), passed=passed, about=about)


def _without_rankings(assigned: Any) -> System:
    nothing: Float64Array = np.zeros(assigned.shape[0])
    return System(sp.csr_array(assigned), nothing, nothing)


def _bootstrap(
    Y: BoolArray, challenger: System, champion: System, level: float, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return value, low and high of micro-F1 of ``challenger``, ``champion``, ``difference``."""
    found = paired_bootstrap(
        Y,
        {CHALLENGER: challenger, CHAMPION: champion},
        pairs=[(CHALLENGER, CHAMPION)],
        resamples=resamples,
        seed=seed,
        level=level,
    )
    lines = found[found["metric"] == "micro_f1"][["value", "low", "high"]].to_dict("records")
    one, other, difference = ({str(key): float(n) for key, n in line.items()} for line in lines)
    return {CHALLENGER: one, CHAMPION: other, DIFFERENCE: difference}


def _parts(
    Y: BoolArray, article_slices: pd.DataFrame, tag_slices: pd.DataFrame
) -> list[tuple[str, Any, Any, int]]:
    """Return the slices: words, rows and columns of `Y`, how many articles they are about.

    Of a slice of tags all articles are rows: to assign such a tag wrongly counts, too.
    """
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


def compare_with_champion(
    judged: Judgement,
    labels: Labels,
    frozen: FrozenTest | None,
    *,
    version: str,
    ids: IdArray,
    texts: Sequence[str],
    list_degree: IntArray,
    settings: Settings,
) -> tuple[Gain | None, str, list[Check]]:
    """Compare this run's winner with the champion, where that is possible.

    Parameters
    ----------
    judged : Judgement
        The winner's answers on the test part.
    labels : Labels
        This run's labels and split.
    frozen : FrozenTest or None
        What the champion answered on its test part; None where that isn't known.
    version : str
        The champion's version, for words.
    ids, texts, list_degree : arrays of length [test articles]
        Id and text of each test article, and in how many lists it is.
    settings : Settings
        Those of promotion, resamples, seed and `min_tag_articles` are read.

    Returns
    -------
    gain : Gain or None
        What the winner gains; None where the two cannot be compared.
    why_not : str
        Why they cannot; empty when they can.
    checks : list of Check
        The guards that need both.
    """
    if frozen is None:
        return None, f"what the champion (version {version}) answered is not in MLflow", []
    pair = pair_up(labels.Y_test, judged.system, ids, labels.tags, frozen)
    why_not = why_not_comparable(
        pair, champion_tags=len(frozen.tags), version=version, limits=settings
    )
    if why_not:
        return None, why_not, []
    random = {"resamples": settings.bootstrap_resamples, "seed": settings.seed}
    gain = measure_gain(pair, level=settings.promote_level, **random)
    rows = pair.common.rows
    articles = article_slices(
        list_degree=list_degree[rows],
        texts=[texts[row] for row in rows.tolist()],
        Y=labels.Y_test[rows],
    )
    support = labels.Y_train.sum(axis=0)[pair.common.columns]
    tags = tag_slices(support, settings.min_tag_articles)
    checks = [
        check_slices(pair, articles, tags, limits=settings, **random),
        check_assigned(pair, limits=settings),
    ]
    return gain, "", checks
