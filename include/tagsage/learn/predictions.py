"""Tables of predicted tags: the best of each article, and those that tagged articles lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tagsage.features.matrix import BoolArray, FloatArray, IndexArray

if TYPE_CHECKING:
    from tagsage.features import Articles, FeatureSet
    from tagsage.learn.candidate import FittedCandidate


def predict_tags(
    features: FeatureSet, fitted: FittedCandidate, k: int, part: tuple[IndexArray, Articles]
) -> pd.DataFrame:
    """Return the k best tags of a part's articles, which are the given rows of a corpus.

    See :func:`top_tags`.
    """
    rows, articles = part
    X, own = features.transform(articles), np.arange(len(rows))
    P, assigned = fitted.predict(X, own)
    return top_tags(P, assigned, fitted.thresholds(X, own), tags=fitted.tags, k=k, rows=rows)


def suggest_tags(
    features: FeatureSet,
    fitted: FittedCandidate,
    min_score: float,
    part: tuple[IndexArray, Articles, BoolArray],
) -> pd.DataFrame:
    """Return the tags that a part's articles lack; they have those of the last array.

    See :func:`missing_tags`.
    """
    rows, articles, known = part
    P, assigned = fitted.predict(features.transform(articles), np.arange(len(rows)))
    return missing_tags(P, assigned, known, tags=fitted.tags, min_score=min_score, rows=rows)


def top_tags(
    P: FloatArray,
    assigned: BoolArray,
    thresholds: FloatArray,
    *,
    tags: Sequence[str],
    k: int,
    rows: IndexArray,
) -> pd.DataFrame:
    """Return the k best tags of each article, and whatever else is assigned to it.

    `thresholds` [n, L] is what each probability had to reach. Columns are ``row``, ``tag``,
    ``score``, ``assigned``, ``threshold``: articles in the order given, best tags first, equal
    scores in the order of `tags`.
    """
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
    rows: IndexArray,
) -> pd.DataFrame:
    """Return the assigned tags of at least `min_score` that articles lack, as :func:`top_tags`."""
    article, column = np.nonzero(assigned & ~known & (min_score <= P))
    order = np.lexsort((column, -P[article, column], article))
    return _lines(P, article[order], column[order], tags, rows)


def _lines(
    P: FloatArray, article: IndexArray, column: IndexArray, tags: Sequence[str], rows: IndexArray
) -> pd.DataFrame:
    return pd.DataFrame({
        "row": np.asarray(rows)[article].astype(np.int64),
        # Categories: the names of a few hundred tags are not repeated for millions of lines.
        "tag": pd.Categorical.from_codes(column, categories=pd.Index(tags)).astype("str"),
        "score": P[article, column],
    })
