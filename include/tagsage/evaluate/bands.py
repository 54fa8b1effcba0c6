"""Counts put into a few named bands: 0, 1, 2-3, 4-10, >10."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd


def bands(
    counts: npt.NDArray[np.integer], limits: Sequence[int], *, lowest: int = 0
) -> pd.Categorical[str]:
    """Put counts into bands.

    Parameters
    ----------
    counts : integer array, shape [n]
        The counts.
    limits : sequence of int
        The last number of every band but the open one at the end; ascending.
    lowest : int
        The first number of the first band.

    Returns
    -------
    pandas.Categorical, length n
        Ordered; all bands are categories, also those that nothing is in. Null for counts below
        `lowest`.

    Raises
    ------
    ValueError
        When the limits do not ascend from `lowest` on.

    Examples
    --------
    >>> list(bands(np.array([0, 2, 30]), (0, 1, 3, 10)))
    ['0', '2-3', '>10']
    """
    edges = [lowest - 1, *limits]
    if not limits or any(after <= before for before, after in zip(edges, limits, strict=False)):
        raise ValueError(f"limits must ascend from {lowest}, not {list(limits)}")
    names = [
        str(last) if last == before + 1 else f"{before + 1}-{last}"
        for before, last in zip(edges, limits, strict=False)
    ]
    names.append(f">{limits[-1]}")
    codes = np.searchsorted(np.array(limits), counts).astype(np.int64)
    codes[np.asarray(counts) < lowest] = -1
    return pd.Categorical.from_codes(codes, categories=pd.Index(names), ordered=True)
