"""The best tags of articles that have none, and those that tagged articles lack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tagsage.features.matrix import FloatArray, IndexArray
from tagsage.learn.targets import BoolArray


def top_tags(
    P: FloatArray,
    assigned: BoolArray,
    thresholds: FloatArray,
    *,
    tags: Sequence[str],
    k: int,
    rows: IndexArray | None = None,
) -> pd.DataFrame:
    """Return the best tags of some articles, and whatever else is assigned to them.

    Parameters
    ----------
    P : float32 array, shape [n, L]
        Probabilities.
    assigned : bool array, shape [n, L]
        Which tags are assigned. An assigned tag that is not among the k best comes in addition.
    thresholds : float32 array, shape [n, L]
        What each probability had to reach.
    tags : sequence of str, length L
        The tags of the columns.
    k : int
        How many tags an article gets at the least, 1 or more; all of them where there are fewer.
    rows : integer array, shape [n], optional
        What to call the rows; 0 … n-1 by default.

    Returns
    -------
    pandas.DataFrame
        ``row`` (int64), ``tag`` (str), ``score`` (float32), ``assigned`` (bool), ``threshold``
        (float32): min(k, L) lines an article or more, articles in the order given, tags best first;
        equal scores in the order of `tags`.
    """
    if k < 1:
        raise ValueError(f"{k=} must be at least 1")
    _check_tags(P, tags)
    best = np.argsort(-P, axis=1, kind="stable")
    kept = np.take_along_axis(assigned, best, axis=1)
    kept[:, :k] = True
    article, rank = np.nonzero(kept)
    column = best[article, rank]
    return _lines(P, article, column, tags, rows).assign(
        assigned=assigned[article, column], threshold=thresholds[article, column]
    )


def missing_tags(
    P: FloatArray,
    assigned: BoolArray,
    known: BoolArray,
    *,
    tags: Sequence[str],
    min_score: float,
    rows: IndexArray | None = None,
) -> pd.DataFrame:
    """Return the tags that tagged articles lack, although the model is sure of them.

    Parameters
    ----------
    P, assigned : arrays of shape [n, L]
        As for :func:`top_tags`.
    known : bool array, shape [n, L]
        Which tags the articles have.
    tags : sequence of str, length L
        The tags of the columns.
    min_score : float
        Least probability; the tag must be assigned, too.
    rows : integer array, shape [n], optional
        What to call the rows; 0 … n-1 by default.

    Returns
    -------
    pandas.DataFrame
        ``row`` (int64), ``tag`` (str), ``score`` (float32); ordered as by :func:`top_tags`.
    """
    _check_tags(P, tags)
    article, column = np.nonzero(assigned & ~known & (min_score <= P))
    order = np.lexsort((column, -P[article, column], article))
    return _lines(P, article[order], column[order], tags, rows)


def _check_tags(P: FloatArray, tags: Sequence[str]) -> None:
    if len(tags) != P.shape[1]:
        raise ValueError(f"P has {P.shape[1]} columns, but there are {len(tags)} tags")


def _lines(
    P: FloatArray,
    article: IndexArray,
    column: IndexArray,
    tags: Sequence[str],
    rows: IndexArray | None,
) -> pd.DataFrame:
    names = np.arange(len(P)) if rows is None else np.asarray(rows)
    return pd.DataFrame({
        "row": names[article].astype(np.int64),
        # Categories: the names of a few hundred tags are not repeated for millions of lines.
        "tag": pd.Categorical.from_codes(column, categories=pd.Index(tags)).astype("str"),
        "score": P[article, column],
    })
