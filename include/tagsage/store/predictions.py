"""Tags that a model gives articles: checks, differences and order, the same for every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError

VALUES = ["score", "assigned", "threshold"]
MAKER = ["run_id", "model_version"]
# The columns of predictions as they are read.
_TYPES = {
    "story": "str",
    "tag": "str",
    "score": "float64",
    "assigned": "int64",
    "threshold": "float64",
    "model_version": "str",
    "run_id": "str",
}


@dataclass(frozen=True)
class WriteReport:
    """How many pairs of article and tag a write added, changed, removed and left unchanged."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: WriteReport) -> WriteReport:
        """Return the counts of both writes."""
        return WriteReport(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        """Word it for the log."""
        return (
            f"{self.added:,} pairs of article and tag added, {self.changed:,} changed, "
            f"{self.removed:,} removed, {self.unchanged:,} unchanged"
        )

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def checked_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with all columns, makers included, in the types that they are read in.

    Raises a ValueError with the column and the reason when a frame is not as described.
    """
    required = [name for name in _TYPES if name != "threshold"]
    missing = [name for name in required if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the columns {', '.join(missing)}")
    if not np.isfinite(predictions["score"].to_numpy(dtype=np.float64)).all():
        raise ValueError("a score of the predictions is not a finite number")
    if not predictions["assigned"].isin([0, 1]).all():
        raise ValueError("a value of assigned is neither 0 nor 1")
    if predictions[["story", "tag"]].isna().any(axis=None):
        raise ValueError("a story or tag of the predictions is missing")
    if predictions.duplicated(["story", "tag"]).any():
        raise ValueError("a story has a tag twice in the predictions")
    return predictions.reindex(columns=list(_TYPES)).astype(_TYPES).reset_index(drop=True)


def differences(
    wanted: pd.DataFrame, held: pd.DataFrame, *, pair: list[str], compared: list[str]
) -> tuple[WriteReport, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Compare the rows to be stored with those held, in the columns `compared`, by unique `pair`.

    Returns the counts, where each wanted row is held unchanged (-1: it must be written), and
    whether each held row must be removed (because it changed, or is gone).
    """
    held_pairs = pd.MultiIndex.from_frame(held[pair])
    place = held_pairs.get_indexer(pd.MultiIndex.from_frame(wanted[pair])).astype(np.int64)
    known = np.flatnonzero(place >= 0)
    unlike = np.zeros(len(known), dtype=np.bool_)
    for name in compared:
        ours = wanted[name].to_numpy()[known]
        theirs = held[name].to_numpy()[place[known]]
        unlike |= (ours != theirs) & ~(pd.isna(ours) & pd.isna(theirs))
    kept = place.copy()
    kept[known[unlike]] = -1
    removed = np.ones(len(held), dtype=np.bool_)
    removed[kept[kept >= 0]] = False
    changed = int(unlike.sum())
    report = WriteReport(
        added=len(wanted) - len(known),
        changed=changed,
        removed=len(held) - len(known),
        unchanged=len(known) - changed,
    )
    return report, kept, removed


def refuse_unknown(stories: Sequence[str]) -> None:
    """Raise a TagsageError when there are predictions of articles that the store lacks."""
    if len(stories):
        more = f" and {len(stories) - 1} more" if len(stories) > 1 else ""
        msg = f"The store does not hold {stories[0]}{more}; load the corpus before its predictions."
        raise TagsageError(msg)


def in_order(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions as they are read; the column ``key`` holds each article's key."""
    ordered = predictions.sort_values(["key", "score", "tag"], ascending=[True, False, True])
    return ordered[list(_TYPES)].astype(_TYPES).reset_index(drop=True)
