"""What changed in a run's predictions since the run before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import chain
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

    def __add__(self, other: ChangeCounts) -> ChangeCounts:
        return ChangeCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def compare_predictions(
    before: pd.DataFrame, after: pd.DataFrame
) -> tuple[pd.DataFrame, ChangeCounts]:
    """Compare all predictions of some articles; scores to six decimals.

    Columns are ``key`` (the article's), ``story``, ``tag``, ``score``, ``assigned``. Returns the
    changes by key and tag, columns :data:`COLUMNS`, and counts of all, those too small to be listed
    included. ``change`` is ``added``, ``removed`` or ``score``; what a pair lacks is null.
    """
    # Numbers instead of names, in the order of the names.
    key, keys = pd.factorize(pd.concat([before["key"], after["key"]], ignore_index=True), sort=True)
    tag, tags = pd.factorize(pd.concat([before["tag"], after["tag"]], ignore_index=True), sort=True)
    n, columns = len(before), ["score", "assigned"]
    stories = np.empty(len(keys), dtype=object)
    for part, frame in ((key[:n], before), (key[n:], after)):
        stories[part] = frame["story"].to_numpy(dtype=object)
    both = (
        before[columns]
        .assign(key=key[:n], tag=tag[:n])
        .merge(
            after[columns].assign(key=key[n:], tag=tag[n:]),
            on=["key", "tag"],
            how="outer",
            suffixes=("_before", ""),
            indicator="change",
        )
        .sort_values(["key", "tag"], kind="stable", ignore_index=True)
    )
    both["change"] = both["change"].cat.rename_categories({
        "left_only": "removed",
        "right_only": "added",
        "both": "score",
    })
    had, has = (both[name].fillna(0).to_numpy() == 1 for name in ("assigned_before", "assigned"))
    stays = (both["change"] == "score").to_numpy()
    moved = (both["score"] - both["score_before"]).abs().fillna(0).to_numpy()
    listed = ~stays | (had != has) | (moved >= MIN_SCORE_CHANGE - LEAST)
    frame = both[listed].reset_index(drop=True)
    frame["story"] = pd.Series(stories[frame["key"]], dtype="str")
    frame["tag"] = pd.Series(tags, dtype="str").take(frame["tag"]).to_numpy()
    frame["change"] = frame["change"].astype("str")
    for name in ("assigned_before", "assigned"):
        frame[name] = frame[name].astype("Int8")

    def marked(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        marks = np.zeros(len(keys), dtype=np.bool_)
        marks[both["key"].to_numpy()[chosen]] = True
        return marks

    there_before = marked((both["change"] != "added").to_numpy())
    there_now = marked((both["change"] != "removed").to_numpy())
    tagged_before, tagged_now = marked(had), marked(has)
    of_both = there_before & there_now
    lost = had & ~has & there_now[both["key"].to_numpy()]
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


def matching_parts(
    before: Iterable[pd.DataFrame], after: Iterable[pd.DataFrame]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield parts of two tables that hold the same articles.

    Both come in parts, at least one, each with all lines of its articles; these ascend by ``key``.
    """
    earlier = iter(before)
    held = next(earlier)
    for part in after:
        if part.empty:
            continue
        last = part["key"].iloc[-1]
        while held.empty or held["key"].iloc[-1] <= last:
            more = next(earlier, None)
            if more is None:
                break
            held = pd.concat([held, more], ignore_index=True)
        there = int(held["key"].searchsorted(last, side="right"))
        yield held.iloc[:there], part
        held = held.iloc[there:]
    for rest in chain([held], earlier):
        yield rest, part.iloc[:0]


def flipped(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the changes that give an article a tag or take it away, with ``gained``."""
    was = changes["assigned_before"].fillna(0).to_numpy() == 1
    is_now = changes["assigned"].fillna(0).to_numpy() == 1
    flips = was != is_now
    chosen: pd.DataFrame = changes.loc[flips, ["story", "tag"]]
    return chosen.assign(gained=is_now[flips])


def changed_examples(
    flips: pd.DataFrame, articles: pd.DataFrame, *, seed: int
) -> list[dict[str, Any]]:
    """Return a few articles of the corpus, drawn at random, with the tags they gained and lost."""
    known = articles.loc[articles["url"].isin(flips["story"]), ["url", "title"]]
    titles = known.drop_duplicates("url").set_index("url")["title"].sort_index()
    drawn = np.sort(np.random.default_rng(seed).permutation(len(titles))[:EXAMPLES])
    shown = flips[flips["story"].isin(titles.index[drawn])]
    return [
        {
            "title": str(titles[story]),
            "url": story,
            "gained": part["tag"][part["gained"]].tolist(),
            "lost": part["tag"][~part["gained"]].tolist(),
        }
        for story, part in shown.groupby("story")
    ]
