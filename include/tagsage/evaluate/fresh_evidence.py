"""Evidence on fresh articles, which got their tags after the last run: summed up over the runs.

Each fresh article is a bet: whoever believes that the runs' winners are better than the champion
stakes a part of a capital of 1 on it, and gains or loses in proportion to the difference of F1. If
no winner is better, no way of betting is expected to gain. So the chance that the capital, an
*e-value*, ever reaches `x` is at most ``1 / x``, however many runs look at it (Ville's inequality;
I. Waudby-Smith, A. Ramdas: Estimating means of bounded random variables by betting, JRSS B 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tagsage.evaluate.metrics import Float64Array
from tagsage.features.matrix import BoolArray
from tagsage.learn.labels import label_matrix

if TYPE_CHECKING:
    from tagsage.features.articles import IdArray
    from tagsage.learn.labels import IntArray

# The parts that are staked: the capital is spread over them, since nobody knows the best. With a
# half or more, a single article could take everything where there is a margin.
STAKES = np.array([0, 0.025, 0.05, 0.1, 0.2, 0.4])
# The part of the capital that each run spreads evenly again. Else the large stakes, which lose
# while there is nothing to find, would have nothing left when there is.
SPREAD = 0.01
# More articles are not held out of a run: they would be missed in its training.
MAX_SHARE, MAX_ARTICLES = 0.05, 5000


@dataclass(frozen=True)
class FreshEvidence:
    """What fresh articles said of the champion in the runs since its promotion; JSON-able."""

    log_capitals: Sequence[float] = (float(-np.log(len(STAKES))),) * len(STAKES)
    articles: int = 0
    observations: int = 0  # families of articles in one run: near-copies are no further evidence
    gain: float = 0.0  # the mean difference of F1 of the observations

    @property
    def e_value(self) -> float:
        """The capital that 1 has become."""
        return float(np.exp(min(np.logaddexp.reduce(self.log_capitals), 700)))

    def after(self, differences: Float64Array, families: IntArray, *, margin: float = 0.0) -> Self:
        """Return the evidence after a run.

        `differences` [n] are those of F1, winner less champion, of the run's fresh articles;
        `families` [n] says which of them are near-copies of each other: these count as one. The bet
        is on a mean difference above `margin`.
        """
        if not len(differences):
            return self
        number = np.unique(families, return_inverse=True)[1]
        observed = np.bincount(number, weights=differences) / np.bincount(number)
        logs = np.asarray(self.log_capitals)
        logs = np.logaddexp(
            logs + np.log1p(-SPREAD),
            np.logaddexp.reduce(logs) + np.log(SPREAD / len(logs)),
        )
        logs = logs + np.log1p(STAKES[:, None] * (observed - margin)).sum(axis=1)
        count = self.observations + len(observed)
        return replace(
            self,
            log_capitals=[float(one) for one in logs],
            articles=self.articles + len(differences),
            observations=count,
            gain=float((self.gain * self.observations + observed.sum()) / count),
        )


def fresh_rows(ids: IdArray, is_tagged: BoolArray, seen: IdArray, *, seed: int) -> IntArray:
    """Return the articles that are held out of a run as fresh: tagged, and not yet in the last run.

    `ids` and `is_tagged` [n] are of all articles, `seen` has the articles that were tagged then.
    They are at most `MAX_SHARE` of the tagged articles, drawn at random.
    """
    rows = np.flatnonzero(is_tagged & ~np.isin(ids, seen))
    most = min(int(MAX_SHARE * is_tagged.sum()), MAX_ARTICLES)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    return rows


def article_f1(
    given: Sequence[Sequence[str]], assigned: BoolArray, tags: Sequence[str]
) -> Float64Array:
    """Return F1 of each article's assigned tags against the tags that people gave it, [n].

    `assigned` [n, L] has the columns `tags`; a given tag that the model does not know is missed.
    """
    hits = (label_matrix(given, tags) & assigned).sum(axis=1)
    n_given = np.fromiter((len(own) for own in given), dtype=np.int64, count=len(given))
    f1: npt.NDArray[np.float64] = 2 * hits / np.maximum(n_given + assigned.sum(axis=1), 1)
    return f1
