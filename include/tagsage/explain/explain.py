"""Ask a model why it gives an article a tag: what lists and words do, and what is like it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.explain.asked import AskedArticles, Measured, Vectors, grouped
from tagsage.explain.background import Background, Found
from tagsage.explain.entries import IntArray, expand, values_at
from tagsage.explain.explanations import (
    ArticleEvidence,
    Explanation,
    ListEvidence,
    TextEvidence,
    WordEvidence,
)
from tagsage.explain.linear import measure_linear
from tagsage.explain.occlusion import measure

if TYPE_CHECKING:
    from tagsage.registry.tagger import Tagger

TOP = 5
ARTICLES_A_BLOCK = 256


def explain(
    tagger: Tagger,
    background: Background,
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    *,
    top: int = TOP,
    vectors: Vectors | None = None,
) -> Iterator[Explanation]:
    """Explain tags of articles of the corpus.

    The model is asked in blocks: first what it says of the articles, then what it says of them
    without each of their lists and words (24 of each at most: the lists in which the tag is the
    most frequent, the words that weigh most), then without all that is named.

    Parameters
    ----------
    tagger : Tagger
        The model.
    background : Background
        The corpus, with the tags of the model.
    rows, columns : int arrays, shape [p]
        Articles, and the column of a tag of each; an article may come several times.
    top : int
        How many lists, articles, texts and words to name at most.
    vectors : callable, optional
        Returns, of articles, the vectors that the model is given, float32 [m, d], where they are
        known. By default they are embedded.

    Yields
    ------
    Explanation
        By article in the corpus' order, and of one article in the order given.
    """
    order = np.argsort(rows, kind="stable")
    rows, columns = (np.asarray(part)[order].astype(np.int64) for part in (rows, columns))
    articles, first = np.unique(rows, return_index=True)
    neighbours = background.colisted(rows, columns, top=top)
    texts = background.nearest_texts(articles, top=top)
    for start in range(0, len(articles), ARTICLES_A_BLOCK):
        block = articles[start : start + ARTICLES_A_BLOCK]
        stop = start + len(block)
        pairs = slice(first[start], first[stop] if stop < len(articles) else len(rows))
        asked = AskedArticles(tagger, background, block, vectors)
        by = measure_linear if asked.linear else measure
        measured = by(asked, rows[pairs], columns[pairs], top)
        yield from _assemble(
            asked,
            measured,
            _between(neighbours, pairs.start, pairs.stop),
            _between(texts, start, stop),
        )


def score_articles(
    tagger: Tagger,
    background: Background,
    articles: IntArray,
    *,
    vectors: Vectors | None = None,
) -> npt.NDArray[np.float32]:
    """Return what the model says of articles of the corpus, as explanations measure it.

    Parameters
    ----------
    tagger, background, vectors
        As for :func:`explain`.
    articles : int64 array, shape [m]
        Articles.

    Returns
    -------
    float32 array, shape [m, L]
        Probabilities. What a labelled article's own tags add to its lists is left out.
    """
    asked = AskedArticles(tagger, background, articles, vectors)
    return asked.answer(np.arange(len(articles)))


def _between(found: Found, first: int, last: int) -> Found:
    """Return what was found for some places, numbered from 0."""
    part = slice(*np.searchsorted(found.place, [first, last]))
    return Found(found.place[part] - first, found.article[part], found.value[part])


def _assemble(
    asked: AskedArticles, measured: Measured, neighbours: Found, texts: Found
) -> Iterator[Explanation]:
    """Put what was found of a block into words and numbers."""
    background, tags = asked.background, asked.tagger.candidate.tags
    url, title = background.urls, background.titles
    rows, columns = measured.rows, measured.columns
    n = len(rows)
    lists = grouped(n, measured.lists.pair, _list_items(background, measured))
    sharing, shared = background.shared_lists(rows[neighbours.place], neighbours.article)
    names = grouped(len(neighbours.place), sharing, background.lists[shared].tolist())
    articles = grouped(
        n,
        neighbours.place,
        [
            ArticleEvidence(story, name, of_both)
            for story, name, of_both in zip(
                url[neighbours.article], title[neighbours.article], names, strict=True
            )
        ],
    )
    # The nearest texts are an article's, whatever the tag.
    bounds = np.searchsorted(texts.place, np.arange(len(asked.rows) + 1))
    indptr = bounds.astype(np.int64)
    pair, near = expand(indptr, np.searchsorted(asked.rows, rows))
    has_tag = values_at(background.tags, texts.article[near], columns[pair]) > 0
    alike = grouped(
        n,
        pair,
        [
            TextEvidence(*one)
            for one in zip(
                url[texts.article[near]],
                title[texts.article[near]],
                texts.value[near].astype(np.float64).round(4).tolist(),
                has_tag.tolist(),
                strict=True,
            )
        ],
    )
    vocabulary = measured.vocabulary
    words = grouped(
        n,
        measured.words.pair,
        [
            WordEvidence(vocabulary[number], drop)
            for number, drop in zip(
                measured.words.number.tolist(), measured.words.drop.round(6).tolist(), strict=True
            )
        ],
    )
    for place, (row, column, score, threshold, without) in enumerate(
        zip(
            rows.tolist(),
            columns.tolist(),
            measured.score.round(6).tolist(),
            measured.threshold.round(6).tolist(),
            measured.without_graph.round(6).tolist(),
            strict=True,
        )
    ):
        yield Explanation(
            url[row],
            tags[column],
            score,
            threshold,
            without,
            lists[place],
            articles[place],
            alike[place],
            words[place],
            measured.terms[place],
        )


def _list_items(background: Background, measured: Measured) -> list[ListEvidence]:
    """Return what is told of the lists that were named; the article itself is not counted."""
    pair, number = measured.lists.pair, measured.lists.number
    rows, columns = measured.rows[pair], measured.columns[pair]
    labelled = background.list_labelled[number] - background.labelled[rows]
    with_tag = values_at(background.list_tags, number, columns) - values_at(
        background.tags, rows, columns
    )
    return [
        ListEvidence(*one)
        for one in zip(
            background.lists[number].tolist(),
            background.list_sizes[number].tolist(),
            labelled.tolist(),
            with_tag.astype(np.int64).tolist(),
            measured.lists.drop.round(6).tolist(),
            strict=True,
        )
    ]
