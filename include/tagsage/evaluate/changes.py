"""What changed in a run's predictions since the run before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

COLUMNS = ("story", "tag", "change", "score_before", "score", "assigned_before", "assigned")
# Pairs whose score moved by less, and are assigned as before, are not listed.
MIN_SCORE_CHANGE = 0.05
# Scores have six digits: a difference that is smaller is rounding.
LEAST = 5e-7
EXAMPLES = 12


@dataclass(frozen=True)
class ChangeCounts:
    """What changed between two runs' predictions.

    New or gone articles have predictions of one run only. Newly tagged articles, new ones included,
    have an assigned tag and had none. Changed are those whose assigned tags differ between both
    runs. Tags are (article, tag) pairs; lost ones are of articles still predicted for.
    """

    articles_new: int
    articles_gone: int
    articles_newly_tagged: int
    articles_no_longer_tagged: int
    articles_changed: int
    tags_gained: int
    tags_lost: int
    scores_changed: int


def compare_predictions(
    before: pd.DataFrame, after: pd.DataFrame
) -> tuple[pd.DataFrame, ChangeCounts]:
    """Compare predictions (``story``, ``tag``, ``score``, ``assigned``); scores to six decimals.

    Returns the changes, columns :data:`COLUMNS`, and counts of all, those too small to be listed
    included. ``change`` is ``added``, ``removed`` or ``score``; what a pair lacks is null.
    """
    # Numbers instead of names: the merge is of a hundred million pairs where articles are many.
    story, stories = pd.factorize(pd.concat([before["story"], after["story"]], ignore_index=True))
    tag, tags = pd.factorize(pd.concat([before["tag"], after["tag"]], ignore_index=True))
    n = len(before)
    columns = ["score", "assigned"]
    old = before[columns].assign(story=story[:n], tag=tag[:n])
    both = old.merge(
        after[columns].assign(story=story[n:], tag=tag[n:]),
        on=["story", "tag"],
        how="outer",
        suffixes=("_before", ""),
        indicator="change",
    )
    both["change"] = both["change"].cat.rename_categories({
        "left_only": "removed",
        "right_only": "added",
        "both": "score",
    })
    had, has = (both[name].fillna(0).to_numpy() == 1 for name in ("assigned_before", "assigned"))
    stays = (both["change"] == "score").to_numpy()
    moved = (both["score"] - both["score_before"]).abs().to_numpy()
    listed = ~stays | (had != has) | (moved >= MIN_SCORE_CHANGE - LEAST)
    frame = both[listed].copy()
    frame["story"] = pd.Series(stories, dtype="str").take(frame["story"]).to_numpy()
    frame["tag"] = pd.Series(tags, dtype="str").take(frame["tag"]).to_numpy()
    frame["change"] = frame["change"].astype("str")
    for name in ("assigned_before", "assigned"):
        frame[name] = frame[name].astype("Int8")
    frame = frame.sort_values(["story", "tag"], kind="stable", ignore_index=True)

    def marked(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        marks = np.zeros(len(stories), dtype=np.bool_)
        marks[both["story"].to_numpy()[chosen]] = True
        return marks

    there_before = marked((both["change"] != "added").to_numpy())
    there_now = marked((both["change"] != "removed").to_numpy())
    tagged_before, tagged_now = marked(had), marked(has)
    of_both = there_before & there_now
    lost = had & ~has & there_now[both["story"].to_numpy()]
    counts = ChangeCounts(
        articles_new=int((there_now & ~there_before).sum()),
        articles_gone=int((there_before & ~there_now).sum()),
        articles_newly_tagged=int((tagged_now & ~tagged_before).sum()),
        articles_no_longer_tagged=int((tagged_before & ~tagged_now & there_now).sum()),
        articles_changed=int((marked(had != has) & of_both).sum()),
        tags_gained=int((has & ~had).sum()),
        tags_lost=int(lost.sum()),
        scores_changed=int((moved[stays] >= LEAST).sum()),
    )
    return frame[list(COLUMNS)], counts


def changed_examples(
    changes: pd.DataFrame, articles: pd.DataFrame, *, seed: int
) -> list[dict[str, Any]]:
    """Return a few articles of the corpus, drawn at random, with the tags they gained and lost."""
    was = changes["assigned_before"].fillna(0).to_numpy() == 1
    is_now = changes["assigned"].fillna(0).to_numpy() == 1
    flipped = changes[was != is_now].assign(gained=is_now[was != is_now])
    titles = articles.drop_duplicates("url").set_index("url")["title"]
    stories = np.intersect1d(flipped["story"].unique(), titles.index)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(stories))[:EXAMPLES])
    shown = flipped[flipped["story"].isin(stories[drawn])]
    return [
        {
            "title": str(titles[story]),
            "url": story,
            "gained": part["tag"][part["gained"]].tolist(),
            "lost": part["tag"][~part["gained"]].tolist(),
        }
        for story, part in shown.groupby("story")
    ]
