"""Explain the tags of articles: what lists and words add, and which articles are like them.

A linear model is explained exactly, by its terms; any other by leaving out lists and words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.explain.explanation import (
    ArticleEvidence,
    Explanation,
    ListEvidence,
    TextEvidence,
    WordEvidence,
)
from tagsage.explain.linear import linear_effects
from tagsage.explain.occlusion import occlusion_effects
from tagsage.explain.scorer import Scorer, Vectors

if TYPE_CHECKING:
    from tagsage.explain.labelled_corpus import LabelledCorpus, Similar
    from tagsage.registry.tagger import Tagger

TOP = 5
BLOCK_ARTICLES = 256
TAGS_PER_ARTICLE = 5


def explain(
    tagger: Tagger,
    corpus: LabelledCorpus,
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    *,
    top: int = TOP,
    vectors: Vectors | None = None,
) -> Iterator[Explanation]:
    """Explain tags of articles of the corpus, by article, and of one article in the order given.

    `rows` and `columns` [p] are an article and a tag's column of each pair; at most `top` of
    everything is named. `vectors` returns known vectors by row; by default texts are embedded.
    """
    order = np.argsort(rows, kind="stable")
    rows, columns = (np.asarray(part)[order].astype(np.int64) for part in (rows, columns))
    articles, place = np.unique(rows, return_inverse=True)
    colisted = corpus.colisted(rows, columns, top=top)
    texts = corpus.nearest_texts(articles, top=top)
    for start in range(0, len(articles), BLOCK_ARTICLES):
        block = articles[start : start + BLOCK_ARTICLES]
        pairs = np.flatnonzero((place >= start) & (place < start + len(block)))
        places, of_pairs = place[pairs] - start, columns[pairs]
        scorer = Scorer(tagger, corpus, block, vectors)
        additive = tagger.candidate.main.classifier.additive
        effects = (linear_effects if additive else occlusion_effects)(scorer, places, of_pairs, top)
        in_no_list = scorer.scores_of(scorer.articles.in_no_list())
        score, threshold, without = (
            made[places, of_pairs].astype(np.float64).round(6).tolist()
            for made in (scorer.scores(), scorer.thresholds(), in_no_list)
        )
        for number, pair in enumerate(pairs.tolist()):
            row, column, effect = int(rows[pair]), int(columns[pair]), effects[number]
            yield Explanation(
                corpus.urls[row],
                tagger.candidate.tags[column],
                score[number],
                threshold[number],
                without[number],
                _lists(corpus, row, column, effect.lists),
                _articles(corpus, row, colisted[pair]),
                _texts(corpus, column, texts[place[pair]]),
                [WordEvidence(word, round(drop, 6)) for word, drop in effect.words],
                effect.terms,
            )


def _lists(
    corpus: LabelledCorpus, row: int, column: int, effects: list[tuple[int, float]]
) -> list[ListEvidence]:
    """Describe lists; their counts leave out the article itself."""
    return [
        ListEvidence(
            corpus.list_names[number],
            int(corpus.list_sizes[number]),
            int(corpus.list_labelled[number]) - int(corpus.labelled[row]),
            int(corpus.list_tags[number, column] - corpus.tags[row, column]),
            round(drop, 6),
        )
        for number, drop in effects
    ]


def _articles(corpus: LabelledCorpus, row: int, colisted: Similar) -> list[ArticleEvidence]:
    return [
        ArticleEvidence(
            corpus.urls[other],
            corpus.titles[other],
            corpus.list_names[corpus.shared_lists(row, other)].tolist(),
        )
        for other in colisted.articles.tolist()
    ]


def _texts(corpus: LabelledCorpus, column: int, similar: Similar) -> list[TextEvidence]:
    return [
        TextEvidence(
            corpus.urls[other],
            corpus.titles[other],
            round(float(cosine), 4),
            bool(corpus.tags[other, column]),
        )
        for other, cosine in zip(similar.articles.tolist(), similar.similarity, strict=True)
    ]


def choose_explained(
    assigned: pd.DataFrame,
    *,
    shown: Sequence[str],
    untagged: pd.Series[str],
    articles: int,
    seed: int,
) -> pd.DataFrame:
    """Return those assigned tags (``story``, ``tag``) that are explained, of so many `articles`.

    Those `shown` in the report come first, then `untagged` ones, drawn at random. `assigned` has
    ``score`` besides.
    """
    frame = assigned.sort_values("score", ascending=False, kind="stable")
    frame = frame[frame.groupby("story").cumcount() < TAGS_PER_ARTICLE]
    stories = pd.Index(frame["story"].unique()).sort_values()
    drawn = np.random.default_rng(seed).random(len(stories))
    order = np.lexsort((drawn, ~stories.isin(untagged), ~stories.isin(shown)))
    return frame.loc[frame["story"].isin(stories[order[:articles]]), ["story", "tag"]]
