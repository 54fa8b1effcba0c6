"""What a run learns from: target tags, the articles that have some, and their split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.features.matrix import BoolArray
from tagsage.files import read_json, write_json
from tagsage.graph.csr import make_csr
from tagsage.learn.split import NEW, continued_split, stratified_split

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

IntArray = npt.NDArray[np.int64]
_ARRAYS = ("rows", "Y", "train", "test", "families")


@dataclass(frozen=True)
class Labels:
    """The labelled articles of a run, which are those with any tag, and their split."""

    tags: list[str]  # the target tags, sorted: the order of every column
    rows: IntArray  # the article index of each labelled article, sorted
    Y: BoolArray  # [n, L]; a row without a tag: all its tags are too rare to be targets
    train: IntArray  # positions in `rows`
    test: IntArray  # positions in `rows`
    families: IntArray  # [n]; see :func:`tagsage.learn.families.families`

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
        """Return the counts of articles, parts, families and tags."""
        _, sizes = np.unique(self.families, return_counts=True)
        return {
            "labelled_articles": len(self.rows),
            "train_articles": len(self.train),
            "test_articles": len(self.test),
            "without_target_tag": int((~self.Y.any(axis=1)).sum()),
            "families": len(sizes),
            "with_near_copy": int(sizes[sizes > 1].sum()),
            "target_tags": len(self.tags),
            "tags_per_article": round(float(self.Y.sum(axis=1).mean()), 4),
        }

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into an existing folder."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        write_json(folder / "tags.json", self.tags)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        return cls(tags=read_json(folder / "tags.json") or [], **arrays)


def label_corpus(
    tags: Sequence[Sequence[str]],
    *,
    min_tag_articles: int,
    test_share: float,
    seed: int,
    max_articles: int = 0,
    parts: npt.NDArray[np.int8] | None = None,
    families: IntArray | None = None,
) -> Labels:
    """Choose the target tags, label the articles that have any tag, split these.

    `tags`, `parts` and `families` are every article's. `parts`, in an earlier split
    (:mod:`tagsage.learn.split`), are kept where possible; without `families` each article is one
    of its own. When there are more labelled articles
    than `max_articles` (0: any number), the earlier split's are kept, then a random sample. Raises
    `TagsageError` when there is no target tag, or only one article has any.
    """
    targets = target_tags(tags, min_tag_articles)
    rows = np.array([i for i, own in enumerate(tags) if len(own)], dtype=np.int64)
    if 0 < max_articles < len(rows):
        is_new = np.zeros(len(rows)) if parts is None else parts[rows] == NEW
        order = np.lexsort((np.random.default_rng(seed).random(len(rows)), is_new))
        rows = np.sort(rows[order[:max_articles]])
    Y = label_matrix([tags[i] for i in rows.tolist()], targets)
    if Y.any(axis=1).sum() < 2:
        msg = (
            "Only one article has a target tag, too few to hold one out for the test; "
            "give a corpus with more tagged articles."
        )
        raise TagsageError(msg)
    split = None
    if parts is not None:
        split = continued_split(Y, parts[rows], test_share=test_share, seed=seed)
    if split is None:
        split = stratified_split(Y, test_share=test_share, seed=seed)
    if families is None:
        families = np.arange(len(tags))
    return Labels(targets, rows, Y, split.train, split.test, families[rows])


def target_tags(tags: Sequence[Sequence[str]], min_tag_articles: int) -> list[str]:
    """Return the tags on more than `min_tag_articles` articles, sorted; a TagsageError for none."""
    counts = Counter(chain.from_iterable(tags))
    targets = sorted(tag for tag, count in counts.items() if count > min_tag_articles)
    if targets:
        return targets
    if not counts:
        msg = "No article has a tag, so there is nothing to learn; the column tags must hold some."
        raise TagsageError(msg)
    commonest, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    msg = (
        f"No tag is on more than min_tag_articles={min_tag_articles} articles "
        f"(the commonest, {commonest!r}, is on {count:,}); lower the setting min_tag_articles."
    )
    raise TagsageError(msg)


def label_matrix(tags: Sequence[Sequence[str]], targets: Sequence[str]) -> BoolArray:
    """Return which article has which target tag; scikit-learn may permute int8, so never int8."""
    return sparse_labels(tags, targets).astype(np.bool_).toarray()


def sparse_labels(tags: Sequence[Sequence[str]], targets: Sequence[str]) -> Csr:
    """Return the same as :func:`label_matrix` for any number of articles, as ones."""
    lengths = np.fromiter((len(of_one) for of_one in tags), dtype=np.int64, count=len(tags))
    flat = np.fromiter(chain.from_iterable(tags), dtype=object, count=int(lengths.sum()))
    column = pd.Index(np.array(targets, dtype=object)).get_indexer(pd.Index(flat))
    known = column >= 0
    indptr = np.concatenate([[0], np.cumsum(known)])[np.concatenate([[0], np.cumsum(lengths)])]
    ones = np.ones(int(known.sum()), dtype=np.float32)
    Y = make_csr(ones, column[known].astype(np.int32), indptr, (len(tags), len(targets)))
    Y.sum_duplicates()
    Y.data[:] = 1
    return Y
