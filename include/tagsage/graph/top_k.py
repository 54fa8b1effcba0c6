"""The largest of the values of each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def within_top_k(
    values: npt.NDArray[np.floating], lengths: npt.NDArray[np.int64], top_k: int
) -> npt.NDArray[np.bool_]:
    """Return which entries (at least 0, row after row) are among their row's `top_k` largest.

    `lengths` are the rows' numbers of entries. Of equal entries the first ones count.
    """
    keep = np.ones(len(values), dtype=bool)
    ends = np.cumsum(lengths)
    long_rows = np.flatnonzero(lengths > top_k)
    # Rows of like length are put side by side, so that padding stays below one half.
    order = long_rows[np.argsort(lengths[long_rows], kind="stable")]
    first = 0
    while first < len(order):
        width_limit = 2 * lengths[order[first]]
        last = int(np.searchsorted(lengths[order], width_limit, side="right"))
        rows = order[first:last]
        width = int(lengths[rows].max())
        position = (ends - lengths)[rows][:, None] + np.arange(width)
        inside = np.arange(width) < lengths[rows][:, None]
        table = np.where(inside, values[np.minimum(position, len(values) - 1)], -1.0)
        limit = np.partition(table, width - top_k, axis=1)[:, width - top_k, None]
        above, at_limit = table > limit, table == limit
        room = top_k - above.sum(axis=1, keepdims=True)
        chosen = above | (at_limit & (np.cumsum(at_limit, axis=1) <= room))
        keep[position[inside]] = chosen[inside]
        first = last
    return keep
