"""How far this run's corpus is from that of an earlier run, by the field's standard measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

BINS = 10
# What an empty bin counts as: without it the index would be infinite.
LEAST_SHARE = 1e-4


def population_stability_index(
    reference: Sequence[float] | npt.NDArray[np.number],
    counts: Sequence[float] | npt.NDArray[np.number],
) -> float:
    """Return the population stability index of two histograms.

    The sum over bins of (p - q) ln(p / q), p and q being the bins' shares. Rule of thumb: below 0.1
    nothing has moved, from 0.25 on much has (Siddiqi, Credit Risk Scorecards, 2006).

    Parameters
    ----------
    reference, counts : sequences of n numbers
        What is in each bin then and now. Shares below 1e-4 count as 1e-4.

    Returns
    -------
    float
        0 (the same shares) and more; 0, too, when both are empty.

    Raises
    ------
    ValueError
        When the lengths differ.

    Examples
    --------
    >>> round(population_stability_index([50, 50], [75, 25]), 4)  # .25 ln 1.5 - .25 ln .5
    0.2747
    """
    q, p = (np.asarray(values, dtype=np.float64) for values in (reference, counts))
    if q.shape != p.shape:
        raise ValueError(f"{len(q)} bins of the reference, but {len(p)} of the counts")
    if not q.sum() and not p.sum():
        return 0.0
    q, p = (np.maximum(values / (values.sum() or 1.0), LEAST_SHARE) for values in (q, p))
    return float(((p - q) * np.log(p / q)).sum())


def histogram_stability_index(
    reference: Mapping[int, int], counts: Mapping[int, int], *, bins: int = BINS
) -> float:
    """Return the population stability index of whole numbers, in bins of the reference's deciles.

    Parameters
    ----------
    reference, counts : mapping of int to int
        Value -> how often it occurs, then and now.
    bins : int
        How many bins of about the same size the reference is cut into; a value that fills
        several by itself makes one. Below its lowest and above its highest value there is one more
        bin each.

    Returns
    -------
    float
        See :func:`population_stability_index`.
    """
    edges = _edges(reference, bins)
    binned = []
    for histogram in (reference, counts):
        values = np.fromiter(histogram.keys(), dtype=np.int64, count=len(histogram))
        weights = np.fromiter(histogram.values(), dtype=np.float64, count=len(histogram))
        places = np.searchsorted(edges, values)
        binned.append(np.bincount(places, weights=weights, minlength=len(edges) + 1))
    return population_stability_index(*binned)


def _edges(histogram: Mapping[int, int], bins: int) -> npt.NDArray[np.int64]:
    """Return the highest value of each bin but the last, each once.

    The first bin lies below the reference and the last above it: with values beyond its range in
    the outer deciles, nothing would be seen of a move away from a constant.
    """
    values = np.array(sorted(histogram), dtype=np.int64)
    if not len(values):
        return values
    upto = np.cumsum([histogram[value] for value in values.tolist()])
    wanted = upto[-1] * np.arange(1, bins) / bins
    return np.unique([values[0] - 1, *values[np.searchsorted(upto, wanted)], values[-1]])


def jensen_shannon_distance(
    reference: Mapping[str, int], counts: Mapping[str, int], *, totals: tuple[int, int], top: int
) -> float:
    """Return the Jensen-Shannon distance of two distributions of words or tags.

    Parameters
    ----------
    reference, counts : mapping of str to int
        How often each occurs, then and now, the most frequent first.
    totals : (int, int)
        How often all occur together, then and now; what is not among the `top` of either counts
        as one further word.
    top : int
        How many of each mapping are told apart.

    Returns
    -------
    float
        The square root of the Jensen-Shannon divergence to base 2 (Endres and Schindelin, 2003):
        0, the same shares, to 1, nothing in common. 0, too, when both are empty; 1 when one is.
    """
    if not all(totals):
        return float(any(totals))
    names = dict.fromkeys([*list(reference)[:top], *list(counts)[:top]])
    then, now = (
        np.array([found.get(name, 0) for name in names], dtype=np.float64)
        for found in (reference, counts)
    )
    then, now = (
        np.append(found, max(total - found.sum(), 0.0))
        for found, total in zip((then, now), totals, strict=True)
    )
    # Rounding makes a hair below 0 of nothing, the root of which is no number.
    return float(np.nan_to_num(jensenshannon(then, now, base=2)))


def share_unknown(reference: Mapping[str, int], counts: Mapping[str, int], *, total: int) -> float:
    """Return the share of words that a vocabulary does not have.

    Parameters
    ----------
    reference : mapping of str to int
        The vocabulary.
    counts : mapping of str to int
        How often each word occurs.
    total : int
        How many words there are, those that are not in `counts` included; these count as unknown.

    Returns
    -------
    float
        0 to 1; 0 without a word.
    """
    known = sum(count for word, count in counts.items() if word in reference)
    return 1 - known / total if total else 0.0
