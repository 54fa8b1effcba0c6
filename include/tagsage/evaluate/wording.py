"""Differences between systems in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

METRIC_NAMES: Mapping[str, str] = MappingProxyType({
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "p_at_5": "P@5",
    "lrap": "LRAP",
})
"""What the metrics that are compared are called in words."""


def difference_sentence(
    system: str, baseline: str, metric: str, *, value: float, low: float, high: float
) -> str:
    """Say whether a system beats a baseline.

    In points, that is hundredths, to a tenth of a point. The difference is clear when its interval
    as it is told does not hold 0: one that begins at less than a twentieth of a point reads
    "[0.0, …]", and is none that anybody would notice.

    Parameters
    ----------
    system, baseline : str
        Their names.
    metric : str
        One of ``micro_f1``, ``macro_f1``, ``p_at_5``, ``lrap``.
    value, low, high : float
        The difference, system minus baseline, and its interval, in fractions of 1; such as a line
        of :func:`tagsage.evaluate.bootstrap.paired_bootstrap`.

    Returns
    -------
    str
        A sentence without a full stop.

    Raises
    ------
    ValueError
        When the interval is none: `low` is above `high`, or a number is missing.

    Examples
    --------
    >>> difference_sentence("lists", "text", "macro_f1", value=0.08, low=0.069, high=0.091)
    'lists beats text by 8.0 macro-F1 points [6.9, 9.1]'
    >>> difference_sentence("lists", "text", "lrap", value=-0.02, low=-0.031, high=-0.009)
    'lists falls behind text by 2.0 LRAP points [0.9, 3.1]'
    >>> difference_sentence("lists", "text", "p_at_5", value=0.003, low=-0.004, high=0.01)
    'lists and text do not differ clearly in P@5: +0.3 points [-0.4, 1.0]'
    """
    if math.isnan(value) or not low <= high:
        raise ValueError(f"{value=} with {low=} and {high=} is no difference with an interval")
    name = METRIC_NAMES[metric]
    points, start, end = _points(value), _points(low), _points(high)
    if start > 0:
        return f"{system} beats {baseline} by {points:.1f} {name} points [{start:.1f}, {end:.1f}]"
    if end < 0:
        less = f"{-points:.1f} {name} points [{-end:.1f}, {-start:.1f}]"
        return f"{system} falls behind {baseline} by {less}"
    sign = "+" if points > 0 else ""
    return (
        f"{system} and {baseline} do not differ clearly in {name}: "
        f"{sign}{points:.1f} points [{start:.1f}, {end:.1f}]"
    )


def _points(value: float) -> float:
    # Adding 0 makes of -0.0, which a small loss rounds to, 0.0.
    return round(100 * value, 1) + 0.0
