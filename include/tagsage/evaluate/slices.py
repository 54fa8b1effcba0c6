"""Scores of slices: of articles in few or many lists, with short or long texts, of rare tags."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tagsage.evaluate.bands import bands
from tagsage.evaluate.metrics import Float64Array, ratio_or_null
from tagsage.evaluate.systems import Sums, System, SystemTable
from tagsage.features.matrix import IndexArray
from tagsage.learn.labels import IntArray
from tagsage.learn.targets import BoolArray

# 0 is the cold start: only the text tells of the article.
LIST_DEGREES = (0, 1, 3, 10)
# A few words; a title; a title with a short subtitle; with a long one, or more text.
TEXT_WORDS = (4, 9, 19)
# Medium takes five tags an article; other corpora have more.
TAG_COUNTS = (1, 2, 3, 5)
# In multiples of min_tag_articles: tags that just became target tags, middling ones, frequent ones.
TAG_SUPPORT = (2, 5)


def article_slices(*, list_degree: IndexArray, texts: Sequence[str], Y: BoolArray) -> pd.DataFrame:
    """Slice articles by what is known of them and by how many tags they have.

    The limits are fixed, not quantiles: the same slice holds the same kind of article every night
    and in every corpus.

    Parameters
    ----------
    list_degree : integer array, shape [n]
        How many lists hold each article.
    texts : sequence of str, length n
        What was embedded of each: title and subtitle. Words are what spaces part.
    Y : bool array, shape [n, L]
        Their target tags.

    Returns
    -------
    pandas.DataFrame
        One row an article; ordered categories ``list_degree``, ``text_words``, ``tag_count``.
        Articles without target tags are in no slice of ``tag_count``.
    """
    words = np.fromiter((len(text.split()) for text in texts), dtype=np.int64, count=len(texts))
    return pd.DataFrame({
        "list_degree": bands(list_degree, LIST_DEGREES),
        "text_words": bands(words, TEXT_WORDS),
        "tag_count": bands(Y.sum(axis=1), TAG_COUNTS, lowest=1),
    })


def tag_slices(training_support: IndexArray, min_tag_articles: int) -> pd.DataFrame:
    """Slice tags by how many training articles have them.

    The limits are `TAG_SUPPORT` times `min_tag_articles`. Terciles would move with the corpus, so
    that two runs could not be compared; and since most tags are rare, the upper one would hold
    tags on 200 articles beside one on 8,000.

    Parameters
    ----------
    training_support : integer array, shape [L]
        Training articles with each tag.
    min_tag_articles : int
        Target tags are on more articles than this, test articles counted.

    Returns
    -------
    pandas.DataFrame
        One row a tag; ordered categories ``tag_support``.
    """
    limits = [times * min_tag_articles for times in TAG_SUPPORT]
    return pd.DataFrame({"tag_support": bands(training_support, limits)})


def slice_scores(
    system: System,
    Y: BoolArray,
    article_slices: pd.DataFrame,
    tag_slices: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score a system on slices of the articles and on slices of the tags.

    The averages are those of :func:`tagsage.evaluate.metrics.evaluate`, but for macro-F1: it is the
    mean over the tags that some article of the slice has. A slice may have no article of most tags,
    each of which would count 0. What is assigned of a tag that no article of the slice has counts
    against micro-F1.

    Compare systems on a slice rather than slices of a system: the more tags its articles have, the
    higher is P@5, and the fewer articles it has, the lower is macro-F1.

    Parameters
    ----------
    system : System
        What it gave on the articles.
    Y : bool array, shape [n, L]
        The truth.
    article_slices : pandas.DataFrame
        One row an article, one categorical column a kind of slices; such as those of
        :func:`article_slices`. An article without a category is in no slice of the kind.
    tag_slices : pandas.DataFrame, optional
        The same with one row a tag; such as those of :func:`tag_slices`.

    Returns
    -------
    pandas.DataFrame
        A line for each category, in order: ``slice_kind`` (the column's name), ``slice`` (the
        category), ``articles`` (in it; of a slice of tags: with one of the tags), ``tags`` (that
        macro-F1 is the mean of; it is null without any), ``micro_f1``, ``macro_f1``, ``p_at_5``,
        ``lrap``. A slice without articles is a line with 0 articles and null scores, so that all
        tables have the same lines. Slices of tags have no P@5 and LRAP: these are of an article's
        whole ranking.

    Raises
    ------
    ValueError
        When the numbers of rows differ, or there is no kind of slices.
    """
    n, n_tags = Y.shape
    if tag_slices is None:
        tag_slices = pd.DataFrame(index=range(n_tags))
    if len(article_slices) != n or len(tag_slices) != n_tags:
        msg = (
            f"there are slices of {len(article_slices)} articles and {len(tag_slices)} tags, "
            f"but Y has the shape {Y.shape}"
        )
        raise ValueError(msg)
    table = SystemTable.of(Y, [system])
    everything = table.sums(np.ones((n, 1)))
    frames = [
        *(_article_frame(str(kind), column, table) for kind, column in article_slices.items()),
        *(_tag_frame(str(kind), column, everything, Y) for kind, column in tag_slices.items()),
    ]
    if not frames:
        raise ValueError("there is no kind of slices")
    return pd.concat(frames, ignore_index=True)


def _article_frame(kind: str, column: pd.Series, table: SystemTable) -> pd.DataFrame:
    members = _members(column)
    sums = table.sums(members)
    present = sums.relevant[0] > 0
    articles, tags = members.sum(axis=0), present.sum(axis=0)
    return pd.DataFrame({
        "slice_kind": kind,
        "slice": column.cat.categories.astype(str),
        "articles": articles.astype(np.int64),
        "tags": tags,
        "micro_f1": np.where(articles > 0, sums.micro_f1()[0], np.nan),
        "macro_f1": ratio_or_null((present * sums.f1()[0]).sum(axis=0), tags),
        "p_at_5": ratio_or_null(sums.p_at_5[0], articles),
        "lrap": ratio_or_null(sums.lrap[0], articles),
    })


def _tag_frame(kind: str, column: pd.Series, sums: Sums, Y: BoolArray) -> pd.DataFrame:
    """Return the lines of slices of tags; `sums` are of all articles."""
    members = _members(column)
    relevant, assigned, hits = (
        counts[0, :, 0] for counts in (sums.relevant, sums.assigned, sums.hits)
    )
    own_tags = np.asarray(sp.csr_array(Y).astype(np.float64) @ members)
    articles = (own_tags > 0).sum(axis=0)
    tags = (relevant > 0) @ members
    micro = 2 * (hits @ members) / np.maximum((assigned + relevant) @ members, 1)
    return pd.DataFrame({
        "slice_kind": kind,
        "slice": column.cat.categories.astype(str),
        "articles": articles,
        "tags": tags.astype(np.int64),
        "micro_f1": np.where(articles > 0, micro, np.nan),
        # F1 of a tag without articles is 0.
        "macro_f1": ratio_or_null(sums.f1()[0, :, 0] @ members, tags),
        "p_at_5": np.nan,
        "lrap": np.nan,
    })


def _members(column: pd.Series) -> Float64Array:
    """Return which row is in which category as ones, shape [rows, categories]."""
    codes = column.cat.codes.to_numpy(dtype=np.int64)
    places: IntArray = np.arange(len(column.cat.categories))
    return np.equal(codes[:, None], places).astype(np.float64)
