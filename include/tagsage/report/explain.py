"""Ask a model why it gives an article a tag: what lists and words do, and what is like it.

What a list or a word does for a tag is measured by occlusion (M. D. Zeiler and R. Fergus,
"Visualizing and Understanding Convolutional Networks", ECCV 2014): it is left out, and the model
is asked again. What is named together, left out together lowers the score: where leaving out all
of it would not, only the one that lowers it most is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from tagsage.graph.labels import Own
from tagsage.report.evidence import Background, Found
from tagsage.report.explanations import (
    ArticleEvidence,
    Explanation,
    ListEvidence,
    TermEvidence,
    TextEvidence,
    WordEvidence,
)
from tagsage.report.linear_terms import Terms, linear_terms, place_of
from tagsage.report.occlusion import (
    IntArray,
    best_of_groups,
    expand,
    values_at,
    without_entries,
)
from tagsage.tracking.inputs import Inputs, members_of, renumbered
from tagsage.vectors.lsa import LsaEmbedder
from tagsage.vectors.text import article_texts

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr
    from tagsage.tracking.featuriser import Featuriser
    from tagsage.tracking.servable import Tagger

TOP = 5
# Lists and words of one article that are tried: an article may be in thousands of lists.
TRIED = 24
ARTICLES_A_BLOCK = 256
ROWS_A_CALL = 4096
# Below that a score is rounding.
LEAST_DROP = 1e-6

Vectors = Callable[[IntArray], npt.NDArray[np.float32]]
Blocks = Mapping[str, npt.NDArray[Any]]


def explain(
    tagger: Tagger,
    background: Background,
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    *,
    top: int = TOP,
    vectors: Vectors | None = None,
    given: Callable[[IntArray], Blocks] | None = None,
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
    given : callable, optional
        Returns, of articles, the blocks of features that are not to be made anew: those of a graph
        that only the corpus has.

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
    numbers = _list_numbers(tagger, background)
    for start in range(0, len(articles), ARTICLES_A_BLOCK):
        block = articles[start : start + ARTICLES_A_BLOCK]
        stop = start + len(block)
        pairs = slice(first[start], first[stop] if stop < len(articles) else len(rows))
        asked = _Asked(tagger, background, block, numbers, vectors, given)
        measured = _measure(asked, rows[pairs], columns[pairs], top)
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
    given: Callable[[IntArray], Blocks] | None = None,
) -> npt.NDArray[np.float32]:
    """Return what the model says of articles of the corpus, as explanations measure it.

    Parameters
    ----------
    tagger, background, vectors, given
        As for :func:`explain`.
    articles : int64 array, shape [m]
        Articles.

    Returns
    -------
    float32 array, shape [m, L]
        Probabilities. What a labelled article's own tags add to its lists is left out.
    """
    numbers = _list_numbers(tagger, background)
    asked = _Asked(tagger, background, articles, numbers, vectors, given)
    return asked.answer(np.arange(len(articles)))


def _list_numbers(tagger: Tagger, background: Background) -> IntArray:
    """Return the number that each of the corpus' lists has in the model, or -1.

    The model may be of an earlier night, with lists of its own.
    """
    index = tagger.featuriser.list_index
    return np.array([index.get(str(name), -1) for name in background.lists], dtype=np.int64)


class _Asked:
    """A block of articles that the model can be asked about."""

    def __init__(
        self,
        tagger: Tagger,
        background: Background,
        articles: IntArray,
        numbers: IntArray,
        vectors: Vectors | None,
        given: Callable[[IntArray], Blocks] | None,
    ) -> None:
        self.tagger, self.background, self.articles = tagger, background, articles
        featuriser = tagger.featuriser
        frame = background.articles.iloc[articles]
        texts = article_texts(frame)
        embedder = featuriser.embedder
        self.linear = tagger.candidate.classifier.sparse
        self.lsa = embedder if isinstance(embedder, LsaEmbedder) and not self.linear else None
        self.terms = self.lsa.terms(texts) if self.lsa is not None else None
        if self.lsa is not None and self.terms is not None:
            text = self.lsa.embed_terms(self.terms)
        elif not featuriser.needs_vectors:
            text = np.zeros((len(texts), 0), dtype=np.float32)
        elif vectors is not None:
            text = np.asarray(vectors(articles), dtype=np.float32)
        else:
            text = featuriser.text_vectors(texts)
        n_lists = len(featuriser.list_index)
        own = background.tags[articles].toarray() > 0
        authors = featuriser.authors.index if featuriser.authors else {}
        author_names = frame["author"].fillna("").to_numpy(dtype=object)
        names = [[name] for name in author_names.tolist()]
        self.inputs = Inputs(
            text,
            renumbered(background.incidence[articles], numbers, n_lists),
            members_of(authors, names),
            in_corpus=featuriser.counts(frame["key"].tolist()),
            own=Own(background.labelled[articles], own) if own.any() else None,
            texts=texts,
            author_names=author_names,
            given=given(articles) if given else {},
        )
        # Back from the model's lists to those of the corpus.
        self.lists = np.zeros(n_lists, dtype=np.int64)
        self.lists[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)

    def answer(
        self,
        places: IntArray,
        *,
        members: Csr | None = None,
        text: Callable[[slice], npt.NDArray[np.float32]] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return probabilities [v, L] of some of the articles, in other lists or with other texts.

        Parameters
        ----------
        places : int64 array, shape [v]
            The articles' places in the block.
        members : csr_array, shape [v, n_lists], optional
            Their lists.
        text : callable, optional
            Returns their vectors, a part at a time.
        """
        parts = []
        for start in range(0, max(len(places), 1), ROWS_A_CALL):
            part = slice(start, start + ROWS_A_CALL)
            inputs = self.inputs.take(places[part])
            if members is not None:
                inputs = replace(inputs, members=members[part])
            if text is not None:
                inputs = replace(inputs, text=text(part), counted=inputs.text)
            X = self.tagger.featuriser.matrix_of(inputs)
            parts.append(self.tagger.candidate.predict_proba(X, np.arange(len(X))))
        return np.concatenate(parts)

    def thresholds(self) -> npt.NDArray[np.float32]:
        """Return what each probability [n, L] has to reach for its tag to be assigned."""
        X = self.tagger.featuriser.matrix_of(self.inputs)
        return self.tagger.candidate.thresholds(X, np.arange(len(X)))

    def without_graph(self) -> npt.NDArray[np.float32]:
        """Return probabilities [n, L] if the articles were in no list."""
        nothing = {block: np.zeros_like(array) for block, array in self.inputs.given.items()}
        none = self.inputs.members.copy()
        none.data[:] = 0
        none.eliminate_zeros()
        inputs = replace(self.inputs, members=none, given=nothing)
        X = self.tagger.featuriser.matrix_of(inputs)
        return self.tagger.candidate.predict_proba(X, np.arange(len(X)))


@dataclass(frozen=True)
class _Named:
    """Entries of a matrix (lists or words) that are named for pairs of article and tag."""

    pair: IntArray
    number: IntArray
    drop: npt.NDArray[np.floating]


@dataclass(frozen=True)
class _Measured:
    rows: IntArray
    columns: IntArray
    score: npt.NDArray[np.floating]
    threshold: npt.NDArray[np.floating]
    without_graph: npt.NDArray[np.floating]
    lists: _Named
    words: _Named
    terms: list[list[TermEvidence]]
    vocabulary: Sequence[str]


def _measure(asked: _Asked, rows: IntArray, columns: IntArray, top: int) -> _Measured:
    """Ask the model about a block; `rows` and `columns` are its pairs of article and tag."""
    if asked.linear:
        return _measure_linear(asked, rows, columns, top)
    places = np.searchsorted(asked.articles, rows)
    score = asked.answer(np.arange(len(asked.articles)))[places, columns].astype(np.float64)
    pairs = _Pairs(places, columns, score, top)
    members = asked.inputs.members

    def in_lists(places: IntArray, members: Csr) -> npt.NDArray[np.float32]:
        return asked.answer(places, members=members)

    counts = asked.background.list_tags
    place, entry = expand(members.indptr, places)
    numbers = asked.lists[members.indices[entry]]
    share = values_at(counts, numbers, columns[place]) / (
        asked.background.list_labelled[numbers] + 10.0
    )
    lists = pairs.occlude(members, place, entry, share, in_lists)
    nothing = np.zeros(0, dtype=np.int64)
    words = _Named(nothing, nothing, np.zeros(0))
    lsa, terms = asked.lsa, asked.terms
    if lsa is not None and terms is not None:

        def of_terms(places: IntArray, terms: Csr) -> npt.NDArray[np.float32]:
            return asked.answer(places, text=lambda part: lsa.embed_terms(terms[part]))

        place, entry = expand(terms.indptr, places)
        words = pairs.occlude(terms, place, entry, terms.data[entry], of_terms)
    return _Measured(
        rows,
        columns,
        score,
        asked.thresholds()[places, columns].astype(np.float64),
        asked.without_graph()[places, columns].astype(np.float64),
        _Named(lists.pair, asked.lists[lists.number], lists.drop),
        words,
        [[] for _ in rows],
        lsa.vocabulary if lsa is not None else [],
    )


def _measure_linear(asked: _Asked, rows: IntArray, columns: IntArray, top: int) -> _Measured:
    """Take a linear model's scores apart: nothing has to be left out to see what it does."""
    places = np.searchsorted(asked.articles, rows)
    featuriser, candidate = asked.tagger.featuriser, asked.tagger.candidate
    X = featuriser.matrix_of(asked.inputs)
    terms = linear_terms(candidate, X, places, columns)
    # The model's own score, to the last digit; the terms were added in another order.
    score = asked.answer(np.arange(len(asked.articles)))[places, columns].astype(np.float64)
    total = logit(score)
    named: dict[str, _Named] = {}
    is_list = np.zeros(len(terms.pair), dtype=np.bool_)
    kinds = {"words": "word", "list_ids": "list", "author_ids": "author"}
    kind_of = np.full(len(terms.pair), "other", dtype=object)
    name_of = np.full(len(terms.pair), "", dtype=object)
    for block, kind in kinds.items():
        columns_of = place_of(X, block)
        some = (terms.column >= columns_of.start) & (terms.column < columns_of.stop)
        number = terms.column[some] - columns_of.start
        pair, log_odds = terms.pair[some], terms.log_odds[some]
        drop = score[pair] - expit(total[pair] - log_odds)
        best = best_of_groups(pair, drop, top)
        best = best[drop[best] >= LEAST_DROP]
        named[kind] = _Named(pair[best], number[best], drop[best])
        kind_of[some] = kind
        if block in featuriser.sparse:
            name_of[some] = featuriser.sparse[block].columns[number]
        if kind == "list":
            is_list = some
    lists = named["list"]
    # The lists' names in the model, as numbers of the corpus' lists.
    corpus_number = pd.Index(asked.background.lists).get_indexer(
        pd.Index(_names(featuriser, "list_ids")[lists.number], dtype=object)
    )
    return _Measured(
        rows,
        columns,
        score,
        expit(total - terms.sums(is_list)),
        _Named(lists.pair, corpus_number.astype(np.int64), lists.drop),
        named["word"],
        _term_items(terms, total, kind_of, name_of, 2 * top),
        _names(featuriser, "words").tolist(),
    )


def _names(featuriser: Featuriser, block: str) -> npt.NDArray[np.object_]:
    """Return what the columns of a block stand for; nothing where there is no such block."""
    fitted = featuriser.sparse.get(block)
    return fitted.columns if fitted else np.empty(0, dtype=object)


def _term_items(
    terms: Terms,
    total: npt.NDArray[np.float64],
    kind: npt.NDArray[np.object_],
    name: npt.NDArray[np.object_],
    top: int,
) -> list[list[TermEvidence]]:
    """Name the largest terms of each pair; with what is left they are its log-odds."""
    best = best_of_groups(terms.pair, np.abs(terms.log_odds), top)
    best = best[kind[best] != "other"]
    is_named = np.zeros(len(terms.pair), dtype=np.bool_)
    is_named[best] = True
    rest = np.where(np.isfinite(total), total - terms.start - terms.sums(is_named), 0.0)
    items = _grouped(
        len(terms.start),
        terms.pair[best],
        [
            TermEvidence(*one)
            for one in zip(
                kind[best], name[best], terms.log_odds[best].round(6).tolist(), strict=True
            )
        ],
    )
    return [
        [
            TermEvidence("start", "", round(start, 6)),
            *of_pair,
            *([TermEvidence("others", "", round(left, 6))] if round(left, 6) else []),
        ]
        for start, of_pair, left in zip(terms.start.tolist(), items, rest.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class _Pairs:
    """Pairs of article and tag of a block, and how to find what matters for them."""

    places: IntArray
    columns: IntArray
    score: npt.NDArray[np.floating]
    top: int

    def occlude(
        self,
        matrix: Csr,
        pair: IntArray,
        entry: IntArray,
        promise: npt.NDArray[np.floating],
        answer: Callable[[IntArray, Csr], npt.NDArray[np.float32]],
    ) -> _Named:
        """Leave out entries of the articles' rows, one at a time, and name those that matter.

        Parameters
        ----------
        matrix : csr_array, shape [n, m]
            A row an article of the block.
        pair, entry : int64 arrays, shape [e]
            Every entry of the row of each pair's article.
        promise : float array, shape [e]
            Of an article with many entries those that promise most are tried.
        answer : callable
            Returns probabilities of articles, given their places and their rows.
        """
        # An entry is tried once for all tags of its article.
        best = np.zeros(matrix.nnz)
        np.maximum.at(best, entry, promise)
        tried = np.unique(entry)
        of_row = np.searchsorted(matrix.indptr, tried, side="right") - 1
        tried = tried[best_of_groups(of_row, best[tried], TRIED)]
        tried.sort()
        of_row = np.searchsorted(matrix.indptr, tried, side="right") - 1
        without = without_entries(matrix, of_row, np.arange(len(tried)), tried)
        P = answer(of_row, without)
        place = np.searchsorted(tried, entry).clip(max=max(len(tried) - 1, 0))
        kept = tried[place] == entry if len(tried) else np.zeros(0, dtype=np.bool_)
        pair, entry, place = pair[kept], entry[kept], place[kept]
        drop = self.score[pair] - P[place, self.columns[pair]]
        kept = np.flatnonzero(drop >= LEAST_DROP)
        kept = kept[best_of_groups(pair[kept], drop[kept], self.top)]
        pair, entry, drop = pair[kept], entry[kept], drop[kept]
        return self._true_together(matrix, _Named(pair, entry, drop), answer)

    def _true_together(
        self,
        matrix: Csr,
        named: _Named,
        answer: Callable[[IntArray, Csr], npt.NDArray[np.float32]],
    ) -> _Named:
        """Keep of each pair what lowers its score when it is left out together."""
        pair, entry, drop = named.pair, named.number, named.drop
        several, place = np.unique(pair, return_inverse=True)
        without = without_entries(matrix, self.places[several], place, entry)
        P = answer(self.places[several], without)
        together = self.score[several] - P[np.arange(len(several)), self.columns[several]]
        is_first = np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)]
        kept = (together >= LEAST_DROP)[place] | is_first
        return _Named(pair[kept], matrix.indices[entry[kept]].astype(np.int64), drop[kept])


def _between(found: Found, first: int, last: int) -> Found:
    """Return what was found for some places, numbered from 0."""
    part = slice(*np.searchsorted(found.place, [first, last]))
    return Found(found.place[part] - first, found.article[part], found.value[part])


def _assemble(
    asked: _Asked, measured: _Measured, neighbours: Found, texts: Found
) -> Iterator[Explanation]:
    """Put what was found of a block into words and numbers."""
    background, tags = asked.background, asked.tagger.candidate.tags
    url, title = background.urls, background.titles
    rows, columns = measured.rows, measured.columns
    n = len(rows)
    lists = _grouped(n, measured.lists.pair, _list_items(background, measured))
    sharing, shared = background.shared_lists(rows[neighbours.place], neighbours.article)
    names = _grouped(len(neighbours.place), sharing, background.lists[shared].tolist())
    articles = _grouped(
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
    bounds = np.searchsorted(texts.place, np.arange(len(asked.articles) + 1))
    indptr = bounds.astype(np.int64)
    pair, near = expand(indptr, np.searchsorted(asked.articles, rows))
    has_tag = values_at(background.tags, texts.article[near], columns[pair]) > 0
    alike = _grouped(
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
    words = _grouped(
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


def _list_items(background: Background, measured: _Measured) -> list[ListEvidence]:
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


def _grouped(n: int, place: IntArray, items: list[Any]) -> list[list[Any]]:
    """Return the items of each of n places; `place` is ascending."""
    bounds = np.searchsorted(place, np.arange(n + 1)).tolist()
    return [items[first:last] for first, last in pairwise(bounds)]
