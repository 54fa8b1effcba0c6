"""Scores of slices: articles in few or many lists, with short or long texts; rare tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.evaluate.article_results import ArticleResults, Sums, sparse_of
from tagsage.evaluate.metrics import Float64Array
from tagsage.features.matrix import BoolArray, IndexArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# The last number of every bin but the open one. Fixed, not quantiles: the same slice holds the same
# kind of article in every run and in every corpus. 0 lists is the cold start.
LIST_DEGREES = (0, 1, 3, 10)
# A few words; a title; a title with a short subtitle; with a long one, or more text.
TEXT_WORDS = (4, 9, 19)
# Medium takes five tags per article; other corpora have more.
TAG_COUNTS = (1, 2, 3, 5)
# In multiples of min_tag_articles: tags that just became target tags, middling ones, frequent ones.
TAG_SUPPORT = (2, 5)


def article_slices(*, list_degree: IndexArray, texts: Sequence[str], Y: BoolArray) -> pd.DataFrame:
    """Slice articles by how many lists hold them, the words of their texts and their target tags.

    Articles without target tags are in no slice of ``tag_count``.
    """
    words = np.fromiter((len(text.split()) for text in texts), dtype=np.int64, count=len(texts))
    return pd.DataFrame({
        "list_degree": binned(list_degree, LIST_DEGREES),
        "text_words": binned(words, TEXT_WORDS),
        "tag_count": binned(Y.sum(axis=1), TAG_COUNTS, lowest=1),
    })


def tag_slices(training_support: IndexArray, min_tag_articles: int) -> pd.DataFrame:
    """Slice tags by training articles; limits are `TAG_SUPPORT` times `min_tag_articles`."""
    limits = [times * min_tag_articles for times in TAG_SUPPORT]
    return pd.DataFrame({"tag_support": binned(training_support, limits)})


def binned(
    counts: npt.NDArray[np.integer], limits: Sequence[int], *, lowest: int = 0
) -> pd.Categorical[str]:
    """Put counts into bins (``0``, ``2-3``, ``>10``) that end at `limits`; none below `lowest`."""
    firsts = [lowest, *(limit + 1 for limit in limits[:-1])]
    pairs = zip(firsts, limits, strict=True)
    names = [str(last) if first == last else f"{first}-{last}" for first, last in pairs]
    names.append(f">{limits[-1]}")
    codes = np.searchsorted(np.array(limits), counts).astype(np.int64)
    codes[np.asarray(counts) < lowest] = -1
    return pd.Categorical.from_codes(codes, categories=pd.Index(names), ordered=True)


def slice_scores(
    results: ArticleResults,
    Y: BoolArray,
    article_slices: pd.DataFrame,
    tag_slices: pd.DataFrame,
) -> pd.DataFrame:
    """Score a candidate on slices of the articles and on slices of the tags.

    Averages are those of :func:`tagsage.evaluate.metrics.evaluate`, except that macro-F1 is the
    mean over the tags that some article of the slice has. Compare candidates on one slice rather
    than slices of one candidate: P@5 rises with the number of tags per article.

    Returns one row per slice: ``slice_kind``, ``slice``, ``articles`` (in it, or with one of its
    tags), ``tags`` (in the mean of macro-F1), ``micro_f1``, ``macro_f1``, ``p_at_5``, ``lrap``.
    Slices without articles have null scores; P@5 and LRAP are null, too, of slices of tags, and
    where no article has a tag.
    """
    truth = sparse_of(Y)
    everything = results.sums(truth, np.ones((len(Y), 1)))
    frames = []
    # What nothing has, 0 / 0, is null.
    with np.errstate(invalid="ignore"):
        for kind, column in article_slices.items():
            members = _members(column)
            frames.append(_article_frame(str(kind), column, results.sums(truth, members), members))
        for kind, column in tag_slices.items():
            frames.append(_tag_frame(str(kind), column, everything, truth))
    return pd.concat(frames, ignore_index=True)


def _article_frame(kind: str, column: pd.Series, sums: Sums, members: Float64Array) -> pd.DataFrame:
    present = sums.relevant > 0
    articles, tags = members.sum(axis=0), present.sum(axis=0)
    return pd.DataFrame({
        "slice_kind": kind,
        "slice": column.cat.categories.astype(str),
        "articles": articles.astype(np.int64),
        "tags": tags,
        "micro_f1": np.where(articles > 0, sums.micro_f1(), np.nan),
        "macro_f1": (present * sums.f1()).sum(axis=0) / tags,
        "p_at_5": sums.p_at_5 / sums.with_tag,
        "lrap": sums.lrap / sums.with_tag,
    })


def _tag_frame(kind: str, column: pd.Series, sums: Sums, truth: Csr) -> pd.DataFrame:
    members = _members(column)
    relevant, assigned, hits = (
        counts[:, 0] for counts in (sums.relevant, sums.assigned, sums.hits)
    )
    articles = (truth @ members > 0).sum(axis=0)
    tags = (relevant > 0) @ members
    micro = 2 * (hits @ members) / np.maximum((assigned + relevant) @ members, 1)
    return pd.DataFrame({
        "slice_kind": kind,
        "slice": column.cat.categories.astype(str),
        "articles": articles,
        "tags": tags.astype(np.int64),
        "micro_f1": np.where(articles > 0, micro, np.nan),
        # F1 of a tag without articles is 0.
        "macro_f1": sums.f1()[:, 0] @ members / tags,
        "p_at_5": np.nan,
        "lrap": np.nan,
    })


def _members(column: pd.Series) -> Float64Array:
    codes = column.cat.codes.to_numpy(dtype=np.int64)
    places = np.arange(len(column.cat.categories))
    return np.equal(codes[:, None], places).astype(np.float64)
