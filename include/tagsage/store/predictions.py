"""Tags that a model gives articles, as every store keeps them: checks, differences, order.

Two kinds are kept, apart from each other and from the articles' own tags: *predictions* for
articles without tags, and *suggestions* of tags that tagged articles lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError

SUGGESTION_COLUMNS = ("story", "tag", "score")
PREDICTION_COLUMNS = (*SUGGESTION_COLUMNS, "assigned")

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WriteReport:
    """What writing predictions or suggestions did; each counts pairs of an article and a tag.

    Attributes
    ----------
    added, changed, removed : int
        How many came, have another score or are assigned otherwise now, and went.
    unchanged : int
        How many were there already, and were not written.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: WriteReport) -> WriteReport:
        """Add up the parts of one write."""
        return WriteReport(
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
        )

    def __str__(self) -> str:
        """Say it for the log."""
        return (
            f"{self.added:,} pairs of article and tag added, {self.changed:,} changed, "
            f"{self.removed:,} removed, {self.unchanged:,} unchanged"
        )

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class Maker(NamedTuple):
    """What made predictions: a run, by a version of the model."""

    run_id: str
    model_version: str


class TagRows(NamedTuple):
    """Pairs of article and tag with what is said of them; arrays of shape [n].

    Attributes
    ----------
    article, tag : int64
        Numbers of both, unique as pairs.
    score : float64
        Probabilities.
    assigned : int64
        0 or 1.
    maker : int64
        Place of what made them, among the :class:`Maker` of a write or a read; -1 for none of them.
    """

    article: Int64s
    tag: Int64s
    score: npt.NDArray[np.float64]
    assigned: Int64s
    maker: Int64s

    def take(self, places: npt.NDArray[Any]) -> TagRows:
        """Return some of the pairs."""
        return TagRows(*(column[places] for column in self))


def match_pairs(wanted: tuple[Int64s, Int64s], held: tuple[Int64s, Int64s]) -> Int64s:
    """Return where each wanted pair is among those held; -1 where it is not.

    Parameters
    ----------
    wanted, held : (int64 [n], int64 [m])
        Two columns of non-negative numbers each, unique as pairs.

    Returns
    -------
    int64 array, shape [n]
        Places in `held`.
    """
    codes = np.unique(np.concatenate([wanted[0], held[0]]), return_inverse=True)[1]
    tags = np.unique(np.concatenate([wanted[1], held[1]]), return_inverse=True)[1]
    pairs = codes.astype(np.int64) * (int(tags.max(initial=0)) + 1) + tags
    sought, there = pairs[: len(wanted[0])], pairs[len(wanted[0]) :]
    if not len(there):
        return np.full(len(sought), -1, dtype=np.int64)
    order = np.argsort(there, kind="stable")
    near = np.minimum(np.searchsorted(there, sought, sorter=order), len(there) - 1)
    return np.where(there[order[near]] == sought, order[near], -1)


def differences(
    wanted: TagRows, stored: TagRows, *, by_maker: bool = False
) -> tuple[Int64s, Int64s, WriteReport]:
    """Compare what is to be stored of some articles with what is.

    Parameters
    ----------
    wanted, stored : TagRows
        All pairs of the same articles.
    by_maker : bool
        Whether a pair that something else made is another.

    Returns
    -------
    (int64 array, int64 array, WriteReport)
        Places in `wanted` that must be written, places in `stored` that end (a changed pair is in
        both), and the counts.
    """
    place = match_pairs((wanted.article, wanted.tag), (stored.article, stored.tag))
    found = place >= 0
    same = found.copy()
    at = place[found]
    same[found] = (wanted.score[found] == stored.score[at]) & (
        wanted.assigned[found] == stored.assigned[at]
    )
    if by_maker:
        same[found] &= wanted.maker[found] == stored.maker[at]
    ends = np.ones(len(stored.article), dtype=np.bool_)
    ends[place[same]] = False
    report = WriteReport(
        added=int((~found).sum()),
        changed=int((found & ~same).sum()),
        removed=len(stored.article) - int(found.sum()),
        unchanged=int(same.sum()),
    )
    return np.flatnonzero(~same), np.flatnonzero(ends), report


def check_predictions(predictions: pd.DataFrame, *, with_makers: bool) -> None:
    """Refuse predictions that no store could give back as they are.

    Parameters
    ----------
    predictions : pandas.DataFrame
        What is to be written.
    with_makers : bool
        Whether each is to say what made it.

    Raises
    ------
    ValueError
        Saying which column and why.
    """
    columns = PREDICTION_COLUMNS + (Maker._fields if with_makers else ())
    missing = [name for name in columns if name not in predictions.columns]
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


def unknown_stories(stories: Sequence[str]) -> None:
    """Refuse predictions of articles that are not in the store.

    Raises
    ------
    TagsageError
        When there are any; names one.
    """
    if stories:
        more = f" and {len(stories) - 1:,} more" if len(stories) > 1 else ""
        msg = (
            f"The predictions name {stories[0]!r}{more}, which the store does not hold: another "
            "corpus was loaded meanwhile; run again, one run at a time."
        )
        raise TagsageError(msg)


class Grouped(NamedTuple):
    """A frame of predictions, its rows brought together by article.

    Attributes
    ----------
    stories, tags : list of str
        Each once.
    bounds : int64 array, shape [len(stories) + 1]
        The rows of the i-th story are those from ``bounds[i]`` to ``bounds[i + 1]``.
    rows : TagRows
        ``article``, ``tag`` and ``maker`` are places in `stories`, `tags` and `makers`.
    makers : list of Maker
        What made them; at least one.
    """

    stories: list[str]
    tags: list[str]
    bounds: Int64s
    rows: TagRows
    makers: list[Maker]

    @classmethod
    def of(cls, predictions: pd.DataFrame, maker: Maker | None) -> Grouped:
        """Group predictions that :func:`check_predictions` lets pass.

        Parameters
        ----------
        predictions : pandas.DataFrame
            The predictions.
        maker : Maker or None
            What made all of them; None: their columns ``run_id`` and ``model_version`` say it.
        """
        if maker is None:
            by_maker = predictions.groupby(list(Maker._fields), sort=False)
            maker_of = by_maker.ngroup().to_numpy()
            made = predictions[list(Maker._fields)].drop_duplicates().itertuples(index=False)
            makers = [Maker(*map(str, one)) for one in made] or [Maker("", "")]
        else:
            maker_of, makers = np.zeros(len(predictions), dtype=np.int64), [maker]
        story_of, stories = pd.factorize(predictions["story"])
        tag_of, tags = pd.factorize(predictions["tag"])
        rows = TagRows(
            story_of.astype(np.int64),
            tag_of.astype(np.int64),
            predictions["score"].to_numpy(dtype=np.float64),
            predictions["assigned"].to_numpy(dtype=np.int64),
            maker_of.astype(np.int64),
        ).take(np.argsort(story_of, kind="stable"))
        bounds = np.searchsorted(rows.article, np.arange(len(stories) + 1)).astype(np.int64)
        return cls(stories.tolist(), tags.tolist(), bounds, rows, makers)

    def part(self, start: int, stop: int) -> TagRows:
        """Return the rows of some stories; ``article`` counts from the first of them."""
        rows = self.rows.take(np.arange(self.bounds[start], self.bounds[stop]))
        return rows._replace(article=rows.article - start)


def predictions_frame(
    articles: tuple[Sequence[str], Sequence[str]],
    tags: Sequence[str],
    makers: Sequence[Maker],
    rows: TagRows,
) -> pd.DataFrame:
    """Make the frame of :meth:`ArticleStore.read_predictions`.

    Parameters
    ----------
    articles : (sequence of str, sequence of str)
        Keys and URLs.
    tags : sequence of str
        Names.
    makers : sequence of Maker
        What made them.
    rows : TagRows
        ``article``, ``tag`` and ``maker`` are places in the above.
    """
    keys, urls = articles
    order = np.lexsort((_ranks(tags)[rows.tag], -rows.score, _ranks(keys)[rows.article]))
    versions = pd.array([maker.model_version for maker in makers], dtype="str")
    run_ids = pd.array([maker.run_id for maker in makers], dtype="str")
    return pd.DataFrame({
        "story": pd.array(list(urls), dtype="str").take(rows.article[order]),
        "tag": pd.array(list(tags), dtype="str").take(rows.tag[order]),
        "score": rows.score[order],
        "assigned": rows.assigned[order],
        "model_version": versions.take(rows.maker[order]),
        "run_id": run_ids.take(rows.maker[order]),
    })


def _ranks(texts: Sequence[str]) -> Int64s:
    """Return each text's place when all are sorted by code points."""
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(texts))
    return ranks
