"""Candidates side by side, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

RANKED_BY = ("micro_f1", "macro_f1", "p_at_5", "lrap")


def rank_candidates(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the leaderboard.

    Accuracy (exact match) and macro precision reward never predicting: they are in the table, but
    do not rank.

    Parameters
    ----------
    results : sequence of mappings
        One a candidate, on the same test articles: ``candidate`` (``feature_set:classifier``), its
        metrics, and whatever else the table shall show.

    Returns
    -------
    pandas.DataFrame
        One row a candidate, best first: by micro-F1, then macro-F1, P@5, LRAP, then name. Columns
        ``rank`` (from 1), ``candidate``, ``feature_set``, ``classifier``, the four that rank, then
        the others as they came.

    Raises
    ------
    ValueError
        When there is no candidate, or a name comes twice.
    """
    frame = pd.DataFrame.from_records([dict(result) for result in results])
    if frame.empty:
        raise ValueError("a leaderboard needs at least one candidate")
    if frame["candidate"].duplicated().any():
        raise ValueError(f"a candidate is given twice: {sorted(frame['candidate'])}")
    parts = frame["candidate"].str.partition(":")
    frame["feature_set"], frame["classifier"] = parts[0], parts[2]
    frame = frame.sort_values(
        [*RANKED_BY, "candidate"], ascending=[False] * len(RANKED_BY) + [True], kind="stable"
    ).reset_index(drop=True)
    frame["rank"] = range(1, len(frame) + 1)
    first = ["rank", "candidate", "feature_set", "classifier", *RANKED_BY]
    return frame[[*first, *(column for column in frame.columns if column not in first)]]
