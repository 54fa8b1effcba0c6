"""Tags that a model gives articles: checks, differences and order, the same for every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError

MAKER = ["run_id", "model_version"]
COLUMNS = ["story", "tag", "score", "assigned"]

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WriteReport:
    """How many pairs of article and tag a write added, changed, removed and left unchanged."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        """Word it for the log."""
        return (
            f"{self.added:,} pairs of article and tag added, {self.changed:,} changed, "
            f"{self.removed:,} removed, {self.unchanged:,} unchanged"
        )

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class TagRows(NamedTuple):
    """Unique pairs of article and tag as numbers; arrays of shape [n]."""

    article: Int64s
    tag: Int64s
    score: npt.NDArray[np.float64]
    assigned: Int64s
    threshold: npt.NDArray[np.float64]
    maker: Int64s

    def take(self, places: Bools | Int64s) -> TagRows:
        """Return some of the pairs."""
        return TagRows._make(column[places] for column in self)

    @classmethod
    def of(cls, frame: pd.DataFrame, article: Int64s, tag: Int64s, maker: Int64s) -> TagRows:
        """Return a frame's rows, given the numbers of its articles, tags and makers."""
        threshold = frame["threshold"] if "threshold" in frame else np.full(len(frame), np.nan)
        return cls(
            article,
            tag,
            frame["score"].to_numpy(dtype=np.float64),
            frame["assigned"].to_numpy(dtype=np.int64),
            np.asarray(threshold, dtype=np.float64),
            maker,
        )


def match_pairs(wanted: tuple[Int64s, Int64s], held: tuple[Int64s, Int64s]) -> Int64s:
    """Return the row in `held` of each wanted pair, -1 where missing; pairs must be unique."""
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
    wanted: TagRows, held: TagRows, *, keep_makers: bool
) -> tuple[WriteReport, Int64s, Bools]:
    """Compare the pairs to be stored with those in the store.

    With `keep_makers`, a pair from another maker is unchanged.

    Returns
    -------
    (WriteReport, int64 [len(wanted)], bool [len(held)])
        The counts, where each wanted pair is held unchanged (-1: it must be written), and whether
        each held pair must be removed (because it changed, or is gone).
    """
    place = match_pairs((wanted.article, wanted.tag), (held.article, held.tag))
    found = place >= 0
    at = held.take(place[found])
    ours = wanted.take(found)
    same = (ours.score == at.score) & (ours.assigned == at.assigned)
    same &= (ours.threshold == at.threshold) | (np.isnan(ours.threshold) & np.isnan(at.threshold))
    if not keep_makers:
        same &= ours.maker == at.maker
    kept = place.copy()
    kept[np.flatnonzero(found)[~same]] = -1
    removed = np.ones(len(held.article), dtype=np.bool_)
    removed[kept[kept >= 0]] = False
    unchanged, matched = int(same.sum()), int(found.sum())
    report = WriteReport(
        added=len(place) - matched,
        changed=matched - unchanged,
        removed=len(held.article) - matched,
        unchanged=unchanged,
    )
    return report, kept, removed


def check_predictions(predictions: pd.DataFrame) -> None:
    """Raise a ValueError with the column and the reason when a frame is not as described."""
    missing = [name for name in (*COLUMNS, *MAKER) if name not in predictions.columns]
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


def refuse_unknown(stories: Sequence[str]) -> None:
    """Raise a TagsageError when there are predictions of articles that the store lacks."""
    if len(stories):
        more = f" and {len(stories) - 1} more" if len(stories) > 1 else ""
        msg = f"The store does not hold {stories[0]}{more}; load the corpus before its predictions."
        raise TagsageError(msg)


def number_makers(rows: pd.DataFrame) -> tuple[Int64s, list[tuple[str, str]]]:
    """Return a number for each row's maker (run and model), and the makers."""
    pairs = pd.MultiIndex.from_frame(rows[MAKER])
    codes, makers = pd.factorize(pairs)
    return codes.astype(np.int64), [(str(run), str(version)) for run, version in makers]


def predictions_frame(
    articles: tuple[Sequence[str], Sequence[str]],
    tags: Sequence[str],
    makers: Sequence[tuple[str, str]],
    rows: TagRows,
) -> pd.DataFrame:
    """Make the frame of :meth:`tagsage.store.base.ArticleStore.read_predictions`.

    `articles` are keys and URLs, `makers` runs and model versions; the columns of `rows` index
    them.
    """
    keys, urls = articles
    order = np.lexsort((_ranks(tags)[rows.tag], -rows.score, _ranks(keys)[rows.article]))
    rows = rows.take(order)

    def texts(values: Sequence[str], places: Int64s) -> pd.api.extensions.ExtensionArray:
        return pd.array(list(values), dtype="str").take(places)

    return pd.DataFrame({
        "story": texts(urls, rows.article),
        "tag": texts(tags, rows.tag),
        "score": rows.score,
        "assigned": rows.assigned,
        "threshold": rows.threshold,
        "model_version": texts([version for _, version in makers], rows.maker),
        "run_id": texts([run for run, _ in makers], rows.maker),
    })


def _ranks(texts: Sequence[str]) -> Int64s:
    """Return each text's rank when all are sorted by code points."""
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(texts))
    return ranks
