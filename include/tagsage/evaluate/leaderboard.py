"""Candidates side by side, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tagsage.evaluate.metrics import METRICS
from tagsage.features import needs_lists
from tagsage.settings.candidates import is_text_alone

# The two candidates that are compared: the best on text alone, and the best that knows of lists.
TEXT, GRAPH = "text", "graph"


def rank_candidates(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the leaderboard, best first: by micro-F1, then macro-F1, P@5, LRAP, then name.

    Accuracy (exact match) and macro precision reward never predicting: they are shown but do not
    rank. Further columns of `results` follow in the order given.
    """
    frame = pd.DataFrame.from_records([dict(result) for result in results])
    parts = frame["candidate"].str.partition(":")
    frame["feature_set"], frame["classifier"] = parts[0], parts[2]
    frame = frame.sort_values(
        [*METRICS, "candidate"], ascending=[False] * len(METRICS) + [True], kind="stable"
    ).reset_index(drop=True)
    frame["rank"] = range(1, len(frame) + 1)
    first = ["rank", "candidate", "feature_set", "classifier", *METRICS, "psp_at_5"]
    return frame[[*first, *(column for column in frame.columns if column not in first)]]


def best_text_and_graph(ranking: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the best row per role: ``text``, and ``graph`` (features from lists)."""
    found: dict[str, dict[str, Any]] = {}
    for row in ranking:
        feature_set = row["candidate"].partition(":")[0]
        if needs_lists(feature_set):
            found.setdefault(GRAPH, row)
        elif is_text_alone(feature_set):
            found.setdefault(TEXT, row)
    return found
