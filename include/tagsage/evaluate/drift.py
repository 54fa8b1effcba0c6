"""How far a run's corpus is from an earlier run's, by the field's standard measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

BINS = 10
# What an empty bin counts as: without it the index would be infinite.
LEAST_SHARE = 1e-4


def population_stability_index(reference: Sequence[float], counts: Sequence[float]) -> float:
    """Return the population stability index (PSI) of two histograms over the same bins.

    The sum over bins of (p - q) ln(p / q), with shares p and q of at least 1e-4. Rule of thumb:
    from 0.25 on much has moved (Siddiqi, Credit Risk Scorecards, 2006). 0 when both are empty.
    """
    q, p = (np.asarray(values, dtype=np.float64) for values in (reference, counts))
    if not q.sum() and not p.sum():
        return 0.0
    q, p = (np.maximum(values / (values.sum() or 1.0), LEAST_SHARE) for values in (q, p))
    return float(((p - q) * np.log(p / q)).sum())


def histogram_stability_index(reference: Mapping[int, int], counts: Mapping[int, int]) -> float:
    """Return the PSI of whole numbers (value -> count), in bins of the reference's deciles.

    Values outside the reference's range have bins of their own: a move away from a constant shows.
    """
    edges = _bin_ends(reference)
    binned = []
    for histogram in (reference, counts):
        values = np.fromiter(histogram.keys(), dtype=np.int64, count=len(histogram))
        weights = np.fromiter(histogram.values(), dtype=np.float64, count=len(histogram))
        places = np.searchsorted(edges, values)
        binned.append(np.bincount(places, weights=weights, minlength=len(edges) + 1))
    return population_stability_index(binned[0].tolist(), binned[1].tolist())


def _bin_ends(histogram: Mapping[int, int]) -> npt.NDArray[np.int64]:
    values = np.array(sorted(histogram), dtype=np.int64)
    if not len(values):
        return values
    upto = np.cumsum([histogram[value] for value in values.tolist()])
    wanted = upto[-1] * np.arange(1, BINS) / BINS
    return np.unique([values[0] - 1, *values[np.searchsorted(upto, wanted)], values[-1]])


def jensen_shannon_distance(
    reference: Mapping[str, int], counts: Mapping[str, int], *, totals: tuple[int, int], top: int
) -> float:
    """Return the Jensen-Shannon distance of two distributions of words or tags, from 0 to 1.

    The square root of the divergence to base 2 (Endres and Schindelin, 2003). The mappings hold the
    most frequent, `totals` are of all; what isn't among the `top` of either is one more word.
    """
    if not all(totals):
        return float(any(totals))
    names = dict.fromkeys([*list(reference)[:top], *list(counts)[:top]])
    shares = []
    for found, total in zip((reference, counts), totals, strict=True):
        of_names = [found.get(name, 0) for name in names]
        shares.append([*of_names, max(total - sum(of_names), 0)])
    # Rounding makes a hair below 0 of nothing, the root of which is no number.
    return float(np.nan_to_num(jensenshannon(shares[0], shares[1], base=2)))


def share_unknown(reference: Mapping[str, int], counts: Mapping[str, int], *, total: int) -> float:
    """Return the share of all words (`total`) that the reference doesn't have; 0 for no words."""
    known = sum(count for word, count in counts.items() if word in reference)
    return 1 - known / total if total else 0.0
