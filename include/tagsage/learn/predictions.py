"""The best tags of articles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tagsage.learn.features import FloatArray, IndexArray
from tagsage.learn.targets import BoolArray


def top_tags(
    P: FloatArray,
    assigned: BoolArray,
    *,
    tags: Sequence[str],
    k: int,
    rows: IndexArray | None = None,
) -> pd.DataFrame:
    """Return the best tags of some articles.

    Parameters
    ----------
    P : float32 array, shape [n, L]
        Probabilities.
    assigned : bool array, shape [n, L]
        Which tags are assigned. An assigned tag is among the k, whatever its probability, unless
        more than k are assigned.
    tags : sequence of str, length L
        The tags of the columns.
    k : int
        How many tags an article gets, at least 1; all of them where there are fewer.
    rows : integer array, shape [n], optional
        What to call the rows; 0 … n-1 by default.

    Returns
    -------
    pandas.DataFrame
        ``row`` (int64), ``tag`` (str), ``score`` (float32), ``assigned`` (bool): min(k, L) lines an
        article, articles in the order given, tags best first; equal scores in the order of `tags`.
    """
    n, n_tags = P.shape
    if len(tags) != n_tags:
        raise ValueError(f"P has {n_tags} columns, but there are {len(tags)} tags")
    if k < 1:
        raise ValueError(f"{k=} must be at least 1")
    k = min(k, n_tags)
    # Probabilities are at most 1.
    wanted = np.sort(np.argsort(-P - 2.0 * assigned, axis=1, kind="stable")[:, :k], axis=1)
    of_wanted = np.take_along_axis(P, wanted, axis=1)
    best = np.take_along_axis(wanted, np.argsort(-of_wanted, axis=1, kind="stable"), axis=1)
    scores = np.take_along_axis(P, best, axis=1).ravel()
    names = np.arange(n) if rows is None else np.asarray(rows)
    return pd.DataFrame({
        "row": np.repeat(names.astype(np.int64), k),
        # Categories: the names of a few hundred tags are not repeated for millions of lines.
        "tag": pd.Categorical.from_codes(best.ravel(), categories=pd.Index(tags)).astype("str"),
        "score": scores,
        "assigned": np.take_along_axis(assigned, best, axis=1).ravel(),
    })
