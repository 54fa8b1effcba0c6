"""What a candidate costs, told before it is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tagsage.errors import TagsageError
from tagsage.learn.classifiers import CLASSIFIERS
from tagsage.learn.fitting import VALIDATION_SHARE

GB = 1e9


class Sizes(NamedTuple):
    """How large a learning task is.

    Attributes
    ----------
    rows : float
        Articles that are fitted.
    features : int
        Numbers an article.
    tags : int
        Target tags.
    label_sets : int
        Different sets of tags among the articles.
    """

    rows: float
    features: int
    tags: int
    label_sets: int

    @property
    def columns(self) -> int:
        """Features and tags together: what goes into a network and comes out."""
        return self.features + self.tags


class Formula(NamedTuple):
    """How the cost of one fit grows, as sums of coefficient × term.

    A term is a product of sizes, such as ``rows features tags``; the empty one is 1.

    Attributes
    ----------
    seconds : mapping of str to float
        Coefficients by term.
    bytes : mapping of str to float
        Likewise, of the memory at the peak beyond what the program and the features on disk take.
    """

    seconds: Mapping[str, float]
    bytes: Mapping[str, float]


# What ``python -m benchmarks costs`` found best, rounded; the machine was busy, so the time is that
# of the processor, divided by 2 for label_powerset and mlp and by 1.5 for mlknn, which use both
# cores. Real data count three times as much as drawn ones. How many steps and epochs a fit takes is
# up to the data: most estimates were within a third of what was measured, the worst off by a
# factor of two.
_SINGLE: Mapping[str, Formula] = MappingProxyType({
    # Of its columns an article has a few, whatever their number.
    "linear": Formula(
        {"": 0.1, "rows tags": 1.4e-6},
        {"": 2.0e7, "rows tags": 1.0, "rows": 500, "features tags": 8},
    ),
    "label_powerset": Formula(
        {"": 1.5, "rows features label_sets": 3.6e-10, "features features features": 3e-10},
        {"": 3.5e8, "rows features": 51, "features label_sets": 34, "rows tags": 48},
    ),
    "ovr_logistic": Formula(
        {"": 0.27, "rows features tags": 2e-8, "rows tags": 7.1e-7},
        {"": 2.6e7, "rows features": 19, "rows tags": 19},
    ),
    "classifier_chain": Formula(
        {"": 0.4, "rows features tags": 2.1e-8, "rows tags tags": 1.6e-8},
        {"": 3.2e7, "rows features": 20, "rows tags": 46},
    ),
    "mlp": Formula(
        # With more columns it stopped after fewer epochs, so that none of the time was put down to
        # them; one epoch takes 3e-8 s a row and column, and ten to fifteen are usual.
        {"": 1.0, "rows": 4e-4, "rows columns": 4e-7},
        {"": 2.9e8, "columns": 1.2e5, "rows tags": 72},
    ),
    "mlknn": Formula(
        {"": 0.29, "rows rows features": 2.5e-11, "rows rows": 6.1e-9},
        {"": 6.1e7, "rows features": 16, "rows tags": 33},
    ),
    "boosting": Formula(
        {
            **{"": 0.75, "rows features tags": 2.8e-7, "rows tags": 5.5e-6},
            **{"features tags": 2.7e-4, "tags": 0.023},
        },
        {"": 3.6e7, "rows features": 12, "rows tags": 30},
    ),
})


def _together(members: Sequence[str]) -> Formula:
    """Return the cost of an ensemble: its members are fitted one after the other, and all kept."""

    def summed(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
        terms = {term for cost in costs for term in cost}
        return {term: sum(cost.get(term, 0.0) for cost in costs) for term in sorted(terms)}

    formulas = [_SINGLE[name] for name in members]
    return Formula(summed([f.seconds for f in formulas]), summed([f.bytes for f in formulas]))


FORMULAS: Mapping[str, Formula] = MappingProxyType({
    **_SINGLE,
    "ensemble": _together(("mlp", "mlp", "mlp")),
})


@dataclass(frozen=True)
class Cost:
    """What a candidate takes, about.

    Attributes
    ----------
    seconds : float
        Wall-clock time on two cores.
    bytes : int
        Memory at the peak, beyond what the program itself takes.
    classifier : str
        What it is the cost of.
    """

    seconds: float
    bytes: int
    classifier: str


def term(name: str, sizes: Sizes) -> float:
    """Return the product of the sizes that a term names, separated by blanks."""
    return math.prod(float(getattr(sizes, size)) for size in name.split())


def fit_sizes(rows: int, features: int, tags: int, label_sets: int) -> tuple[Sizes, Sizes]:
    """Return the sizes of the two fits of a candidate: on a part of the rows, on all of them."""
    part = (1 - VALIDATION_SHARE) * rows
    return Sizes(part, features, tags, label_sets), Sizes(rows, features, tags, label_sets)


def estimate_cost(classifier: str, *, rows: int, features: int, tags: int, label_sets: int) -> Cost:
    """Estimate the cost of a whole candidate: tuned on 85% of the rows, fitted on all, no search.

    Parameters
    ----------
    classifier : str
        Its name.
    rows : int
        Articles of the training part.
    features : int
        Numbers an article has in the feature set.
    tags : int
        Target tags.
    label_sets : int
        Different sets of tags among the training articles.

    Returns
    -------
    Cost
        Time is the sum of both fits, memory that of the larger.

    Raises
    ------
    TagsageError
        When there is no classifier of this name.
    """
    if classifier not in FORMULAS:
        choice = ", ".join(CLASSIFIERS)
        raise TagsageError(f"There is no classifier {classifier!r}; choose one of {choice}.")
    formula = FORMULAS[classifier]
    fits = fit_sizes(rows, features, tags, label_sets)
    seconds = sum(
        coefficient * term(name, sizes)
        for sizes in fits
        for name, coefficient in formula.seconds.items()
    )
    peak = sum(coefficient * term(name, fits[-1]) for name, coefficient in formula.bytes.items())
    return Cost(seconds, round(peak), classifier)


def reason_to_leave_out(cost: Cost, *, max_minutes: float, max_gb: float) -> str:
    """Say why a candidate costs too much.

    Parameters
    ----------
    cost : Cost
        What it takes.
    max_minutes : float
        The setting ``candidate_max_minutes``.
    max_gb : float
        The setting ``candidate_max_gb``, in 10^9 bytes.

    Returns
    -------
    str
        One sentence without a full stop; empty when the candidate fits.
    """
    reasons = []
    if cost.seconds > 60 * max_minutes:
        minutes = _rounded_up(cost.seconds / 60)
        took = f"{minutes} minute{'' if minutes == '1' else 's'}"
        reasons.append(f"{took}, more than candidate_max_minutes={max_minutes:g}")
    if cost.bytes > GB * max_gb:
        held = f"{_rounded_up(cost.bytes / GB)} GB of memory"
        reasons.append(f"{held}, more than candidate_max_gb={max_gb:g}")
    return f"{cost.classifier} would take about {', and '.join(reasons)}" if reasons else ""


def _rounded_up(value: float) -> str:
    """Return a number to two digits, never rounded down to the limit that it is above."""
    digits = 1 if value < 10 else 0
    return f"{math.ceil(value * 10**digits) / 10**digits:g}"
