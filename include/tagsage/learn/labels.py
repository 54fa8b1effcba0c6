"""What a run learns from: target tags, the articles that have some, and the split of these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.learn.split import continued_split, stratified_split
from tagsage.learn.targets import BoolArray, label_matrix, target_tags

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """The labelled articles of a run and their split.

    Articles without any target tag are left out, as in the study: most of them have tags too rare
    to be learned. (To train on them as articles without tags lowered the mlp's micro-F1 in five of
    six validation splits of a corpus of 12,986 articles.)

    Attributes
    ----------
    tags : list of str, length L
        The target tags, sorted: the order of every column.
    rows : int64 array, shape [n]
        The article index of each labelled article, sorted.
    Y : bool array, shape [n, L]
        Which labelled article has which target tag; at least one each.
    train, test : int64 arrays
        Positions in `rows` (not article indices) of the two parts.
    """

    tags: list[str]
    rows: IntArray
    Y: BoolArray
    train: IntArray
    test: IntArray

    @property
    def train_rows(self) -> IntArray:
        """Article indices of the training part."""
        return self.rows[self.train]

    @property
    def test_rows(self) -> IntArray:
        """Article indices of the test part."""
        return self.rows[self.test]

    @property
    def Y_train(self) -> BoolArray:
        """Labels of the training part, aligned with `train_rows`."""
        return self.Y[self.train]

    @property
    def Y_test(self) -> BoolArray:
        """Labels of the test part, aligned with `test_rows`."""
        return self.Y[self.test]

    def summary(self) -> dict[str, Any]:
        """Return the counts of articles, parts and tags."""
        return {
            "labelled_articles": len(self.rows),
            "train_articles": len(self.train),
            "test_articles": len(self.test),
            "target_tags": len(self.tags),
            "tags_per_article": round(float(self.Y.sum(axis=1).mean()), 4),
        }

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into an existing folder."""
        for name in ("rows", "Y", "train", "test"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        (folder / "tags.json").write_text(json.dumps(self.tags), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        arrays = {
            name: np.load(folder / f"{name}.npy", allow_pickle=False)
            for name in ("rows", "Y", "train", "test")
        }
        return cls(tags=json.loads((folder / "tags.json").read_text(encoding="utf-8")), **arrays)


def label_corpus(
    tags: Sequence[Sequence[str]],
    *,
    min_tag_articles: int,
    test_share: float,
    seed: int,
    parts: npt.NDArray[np.int8] | None = None,
) -> Labels:
    """Choose the target tags, label the articles that have some, split these.

    Parameters
    ----------
    tags : sequence of sequences of str
        Every article's tags, in the order of the article index.
    min_tag_articles : int
        A target tag is on more articles than this.
    test_share : float
        Share of the labelled articles to hold out.
    seed : int
        Seed of the split.
    parts : int8 array, one number an article, optional
        What part each article had in an earlier split (see :mod:`tagsage.learn.split`). The split
        continues that one where it can be, and is a new one where it cannot.

    Raises
    ------
    TagsageError
        When there is no target tag, or only one labelled article.
    """
    targets = target_tags(tags, min_tag_articles)
    wanted = set(targets)
    rows = np.array([i for i, own in enumerate(tags) if not wanted.isdisjoint(own)], dtype=np.int64)
    if len(rows) < 2:
        msg = (
            "Only one article has a target tag, too few to hold one out for the test; "
            "give a corpus with more tagged articles."
        )
        raise TagsageError(msg)
    own_tags = [tags[i] for i in rows.tolist()]
    Y = label_matrix(own_tags, targets)
    split = None
    if parts is not None:
        split = continued_split(Y, parts[rows], test_share=test_share, seed=seed)
    if split is None:
        split = stratified_split(Y, test_share=test_share, seed=seed)
    return Labels(targets, rows, Y, split.train, split.test)
