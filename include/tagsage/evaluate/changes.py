"""What is new in a run's predictions, beside those of the run before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.store.predictions import match_pairs

COLUMNS = (
    *("story", "tag", "change"),
    *("score_before", "score", "assigned_before", "assigned"),
)
# Scores have six digits: a difference that is smaller is rounding.
LEAST = 5e-7
ADDED, REMOVED, SCORE = "added", "removed", "score"


@dataclass(frozen=True)
class ChangeCounts:
    """What changed between two runs' predictions.

    Attributes
    ----------
    articles_new, articles_gone : int
        Articles predicted for that were not the run before; those that were and are no more,
        since they have tags now or left the corpus.
    articles_newly_tagged : int
        Articles with an assigned tag that had none the run before, new ones included.
    articles_no_longer_tagged : int
        Articles still predicted for that had an assigned tag and have none now.
    articles_changed : int
        Articles predicted for on both runs whose assigned tags are not the same.
    tags_gained, tags_lost : int
        Pairs of article and tag that are assigned now and were not; that were and are not, of
        articles still predicted for.
    scores_changed : int
        Pairs listed on both runs whose score is not the same to six digits.
    """

    articles_new: int
    articles_gone: int
    articles_newly_tagged: int
    articles_no_longer_tagged: int
    articles_changed: int
    tags_gained: int
    tags_lost: int
    scores_changed: int

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def compare_predictions(
    before: pd.DataFrame, after: pd.DataFrame, *, min_score_change: float
) -> tuple[pd.DataFrame, ChangeCounts]:
    """Compare two runs' predictions.

    Parameters
    ----------
    before, after : pandas.DataFrame
        ``story``, ``tag``, ``score`` (0 to 1), ``assigned`` (0 or 1); one row an article and tag.
    min_score_change : float
        Pairs that are listed on both runs and assigned alike are told from so large a change of
        the score on; 0: from any.

    Returns
    -------
    (pandas.DataFrame, ChangeCounts)
        Columns :data:`COLUMNS`, sorted by story and tag. ``change`` is ``added`` for a pair that
        was not among the predictions the run before, ``removed`` for one that is no more, else
        ``score``; scores and assignments are null where there is none. The counts are of all
        changes, also of those too small to be told.
    """
    story, stories = pd.factorize(pd.concat([before["story"], after["story"]], ignore_index=True))
    tag, tags = pd.factorize(pd.concat([before["tag"], after["tag"]], ignore_index=True))
    story, tag = story.astype(np.int64), tag.astype(np.int64)
    n = len(before)
    old, new = _Side.of(before, story[:n], tag[:n]), _Side.of(after, story[n:], tag[n:])
    place = match_pairs((new.story, new.tag), (old.story, old.tag))
    both = place >= 0
    at = place[both]
    gone = np.ones(n, dtype=np.bool_)
    gone[at] = False

    moved = np.zeros(len(after), dtype=np.float64)
    moved[both] = np.abs(new.score[both] - old.score[at])
    was = np.zeros(len(after), dtype=np.bool_)
    was[both] = old.assigned[at]
    told = both & ((new.assigned != was) | (moved >= max(min_score_change, LEAST)))
    frame = pd.concat(
        [
            _lines(ADDED, None, new.take(~both)),
            _lines(REMOVED, old.take(gone), None),
            _lines(SCORE, old.take(place[told]), new.take(told)),
        ],
        ignore_index=True,
    )
    frame["story"] = pd.Series(stories, dtype="str").take(frame["story"].to_numpy()).to_numpy()
    frame["tag"] = pd.Series(tags, dtype="str").take(frame["tag"].to_numpy()).to_numpy()
    frame = frame.sort_values(["story", "tag"], kind="stable", ignore_index=True)
    return frame[list(COLUMNS)], _count(
        old, new, was, gone, len(stories), int((moved >= 5e-7).sum())
    )


def _count(
    old: _Side,
    new: _Side,
    was: npt.NDArray[np.bool_],
    gone: npt.NDArray[np.bool_],
    n_stories: int,
    scores_changed: int,
) -> ChangeCounts:
    def marked(stories: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        marks = np.zeros(n_stories, dtype=np.bool_)
        marks[stories] = True
        return marks

    there_before, there_now = marked(old.story), marked(new.story)
    had, has = marked(old.story[old.assigned]), marked(new.story[new.assigned])
    gained = new.assigned & ~was
    ended = gone & old.assigned & there_now[old.story]
    # A pair may also be listed still, and be assigned no more: those of `was` that are not now.
    lost = int(ended.sum()) + int((was & ~new.assigned).sum())
    changed = marked(new.story[new.assigned != was]) | marked(old.story[ended])
    return ChangeCounts(
        articles_new=int((there_now & ~there_before).sum()),
        articles_gone=int((there_before & ~there_now).sum()),
        articles_newly_tagged=int((has & ~had).sum()),
        articles_no_longer_tagged=int((had & ~has & there_now).sum()),
        articles_changed=int((changed & there_before & there_now).sum()),
        tags_gained=int(gained.sum()),
        tags_lost=lost,
        scores_changed=scores_changed,
    )


@dataclass(frozen=True)
class _Side:
    """One run's predictions as arrays; stories and tags are numbers."""

    story: npt.NDArray[np.int64]
    tag: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    assigned: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls, frame: pd.DataFrame, story: npt.NDArray[np.int64], tag: npt.NDArray[np.int64]
    ) -> _Side:
        return cls(
            story,
            tag,
            frame["score"].to_numpy(dtype=np.float64),
            frame["assigned"].to_numpy(dtype=np.bool_),
        )

    def take(self, places: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> _Side:
        return _Side(
            self.story[places], self.tag[places], self.score[places], self.assigned[places]
        )


def _lines(change: str, old: _Side | None, new: _Side | None) -> pd.DataFrame:
    """Return the lines of one kind of change; `old` and `new`, where both are, row by row."""
    some = new if new is not None else old
    if some is None:
        raise ValueError("a change has a before or an after")
    nothing = np.full(len(some.story), np.nan)

    def assigned(side: _Side | None) -> Any:
        values = nothing if side is None else side.assigned.astype(np.int8)
        return pd.Series(values).astype("Int8")

    return pd.DataFrame({
        "story": some.story,
        "tag": some.tag,
        "change": pd.Series([change] * len(nothing), dtype="str"),
        "score_before": nothing if old is None else old.score,
        "score": nothing if new is None else new.score,
        "assigned_before": assigned(old),
        "assigned": assigned(new),
    })
