"""Numbers that describe a corpus, by which two runs can be compared."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tagsage.corpus.model import ARTICLE_SCHEMA

WORDS_KEPT = 10_000
TAGS_KEPT = 20_000
# A title without a blank is one word, however long.
WORD_LETTERS = 40
BLOCK_ROWS = 100_000


@dataclass(frozen=True)
class Profile:
    """Numbers of one corpus, JSON-able and kept after its run; stubs are only list members.

    `counts` has ``articles``, ``lists``, ``memberships``, ``quarantined`` (rows), ``without_text``,
    ``without_tags``, ``without_lists`` (articles), ``largest_list`` (articles in it).
    """

    counts: dict[str, int]
    words: dict[str, int]  # the most frequent, in lower case
    words_in_all: int
    tags: dict[str, int]  # the most frequent, with their articles
    tags_in_all: int
    text_lengths: dict[int, int]  # words per article
    list_sizes: dict[int, int]  # articles per list
    lists_per_article: dict[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Build a profile from what :meth:`to_json` returned, also read back from JSON text."""
        histograms = {
            name: {int(key): count for key, count in value[name].items()}
            for name in ("text_lengths", "list_sizes", "lists_per_article")
        }
        return cls(**{**value, **histograms})


def profile_of(
    articles: pd.DataFrame,
    article_index: npt.NDArray[np.int32],
    list_index: npt.NDArray[np.int32],
    *,
    n_lists: int,
    quarantined: int = 0,
) -> Profile:
    """Describe a corpus, given its unique memberships; `n_lists` counts empty lists too."""
    real = ~articles["is_stub"].to_numpy(dtype=bool)
    degree = np.bincount(article_index, minlength=len(articles))[real]
    sizes = np.bincount(list_index, minlength=n_lists)
    known = articles.loc[real]
    words, lengths = _words(known)
    tags, tagged = _tags(known)
    n = len(known)
    counts = {
        "articles": n,
        "lists": int(n_lists),
        "memberships": len(article_index),
        "quarantined": int(quarantined),
        "without_text": int((lengths == 0).sum()),
        "without_tags": n - tagged,
        "without_lists": int((degree == 0).sum()),
        "largest_list": int(sizes.max(initial=0)),
    }
    return Profile(
        counts=counts,
        words=_most_frequent(words, WORDS_KEPT),
        words_in_all=words.total(),
        tags=_most_frequent(tags, TAGS_KEPT),
        tags_in_all=tags.total(),
        text_lengths=histogram(lengths),
        list_sizes=histogram(sizes),
        lists_per_article=histogram(degree),
    )


def _words(articles: pd.DataFrame) -> tuple[Counter[str], npt.NDArray[np.int64]]:
    """Return how often each word occurs, and how many words each article has."""
    counted: Counter[str] = Counter()
    lengths = [np.zeros(0, dtype=np.int64)]
    for block in _blocks(articles):
        text = pc.binary_join_element_wise(
            *(_array(block[name], pa.large_string()) for name in ("title", "subtitle")),
            pa.scalar(" ", type=pa.large_string()),
            null_handling="replace",
            null_replacement="",
        )
        # Lower case comes first: it may split a letter into a letter and a mark.
        spaced = pc.replace_substring_regex(pc.utf8_lower(text), r"[^\pL\pM\pN]+", " ")
        words = pc.utf8_split_whitespace(pc.utf8_trim(spaced, " "))
        # An empty text is split into one empty word.
        empty = pc.equal(pc.utf8_trim(spaced, " "), "").to_numpy(zero_copy_only=False)
        lengths.append(np.where(empty, 0, pc.list_value_length(words).to_numpy()).astype(np.int64))
        flat = words.flatten()
        flat = flat.filter(pc.not_equal(flat, ""))
        counted.update(_counts(pc.utf8_slice_codeunits(flat, 0, WORD_LETTERS)))
    return counted, np.concatenate(lengths)


def _tags(articles: pd.DataFrame) -> tuple[Counter[str], int]:
    """Return how many articles have each tag, and how many have any."""
    counted: Counter[str] = Counter()
    tagged = 0
    for block in _blocks(articles):
        tags = _array(block["tags"], ARTICLE_SCHEMA.field("tags").type)
        tagged += int((pc.list_value_length(tags).to_numpy() > 0).sum())
        counted.update(_counts(tags.flatten()))
    return counted, tagged


def _blocks(articles: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for start in range(0, len(articles), BLOCK_ROWS):
        yield articles.iloc[start : start + BLOCK_ROWS]


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    values = pa.array(column, type=kind)
    # pandas keeps text as Arrow's, in chunks.
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _counts(values: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(values)
    return dict(
        zip(*(counted.field(name).to_pylist() for name in ("values", "counts")), strict=True)
    )


def _most_frequent(counted: Counter[str], keep: int) -> dict[str, int]:
    return dict(heapq.nsmallest(keep, counted.items(), key=lambda item: (-item[1], item[0])))


def histogram(values: npt.NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return how often each value occurs, by value."""
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
