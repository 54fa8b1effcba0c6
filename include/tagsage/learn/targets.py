"""Which tags are learned, and which articles have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError

if TYPE_CHECKING:
    pass

BoolArray = npt.NDArray[np.bool_]


def target_tags(tags: Sequence[Sequence[str]], min_tag_articles: int) -> list[str]:
    """Return the tags that are on more than `min_tag_articles` articles.

    Parameters
    ----------
    tags : sequence of sequences of str
        Each article's tags, without duplicates.
    min_tag_articles : int
        A target tag is on more articles than this (the study's ``> 100``).

    Returns
    -------
    list of str
        The target tags, sorted.

    Raises
    ------
    TagsageError
        When no tag is on so many articles.
    """
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
    """Return which article has which target tag.

    Parameters
    ----------
    tags : sequence of sequences of str, length n
        Each article's tags; other tags than the targets do not count.
    targets : sequence of str, length L
        The target tags.

    Returns
    -------
    bool array, shape [n, L]
        Never int8: some releases of scikit-learn permute the columns of int8 labels.
    """
    lengths = np.fromiter((len(of_one) for of_one in tags), dtype=np.int64, count=len(tags))
    flat = np.fromiter(chain.from_iterable(tags), dtype=object, count=int(lengths.sum()))
    column = pd.Index(np.array(targets, dtype=object)).get_indexer(pd.Index(flat))
    row = np.repeat(np.arange(len(tags)), lengths)
    Y = np.zeros((len(tags), len(targets)), dtype=np.bool_)
    Y[row[column >= 0], column[column >= 0]] = True
    return Y
