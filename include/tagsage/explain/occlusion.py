"""What lists and words add to a tag of any model: leave each out, and score the article again.

M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.embed.words import without_word, words_of

if TYPE_CHECKING:
    from tagsage.explain.explanation import TermEvidence
    from tagsage.explain.labelled_corpus import IntArray
    from tagsage.explain.scorer import Scorer

# Lists and words of one article that are tried: an article may be in thousands of lists.
TRIED = 24
# Less is rounding.
LEAST_DROP = 1e-6


class Effects(NamedTuple):
    """What the lists (by number) and words of an article add to a tag, the largest first."""

    lists: list[tuple[int, float]]
    words: list[tuple[str, float]]
    terms: list[TermEvidence]


def occlusion_effects(
    scorer: Scorer, places: IntArray, columns: IntArray, top: int
) -> list[Effects]:
    """Measure what lists and words do for pairs: one of the scorer's articles, a tag's column."""
    score = scorer.scores()
    of_list, lists, without_list = _without_lists(scorer)
    of_word, words, without_word = _without_words(scorer)

    def largest(
        of: IntArray, without: npt.NDArray[np.float32], place: int, column: int
    ) -> IntArray:
        tried = np.flatnonzero(of == place)
        drop = score[place, column] - without[tried, column]
        order = np.argsort(-drop, kind="stable")[:top]
        found: IntArray = tried[order[drop[order] >= LEAST_DROP]]
        return found

    effects = []
    for place, column in zip(places.tolist(), columns.tolist(), strict=True):
        own = float(score[place, column])
        in_lists = largest(of_list, without_list, place, column).tolist()
        in_words = largest(of_word, without_word, place, column).tolist()
        effects.append(
            Effects(
                [(int(lists[i]), own - float(without_list[i, column])) for i in in_lists],
                [(words[i], own - float(without_word[i, column])) for i in in_words],
                [],
            )
        )
    return effects


def _without_lists(scorer: Scorer) -> tuple[IntArray, IntArray, npt.NDArray[np.float32]]:
    """Leave out lists, one at a time: which article, which list, the probabilities without it.

    Of an article in very many lists, those are tried in which its likeliest tags are frequent.
    """
    corpus, members = scorer.corpus, scorer.articles.members
    tried = []
    for article in scorer.rows.tolist():
        lists = corpus.lists_of(article)
        if len(lists) > TRIED:
            most = corpus.list_tags[lists].max(axis=1).toarray().ravel()
            share = most / (corpus.list_labelled[lists] + 10.0)
            lists = np.sort(lists[np.argsort(-share, kind="stable")[:TRIED]])
        tried.append(lists)
    of = np.repeat(np.arange(len(tried)), [len(lists) for lists in tried])
    lists = np.concatenate([*tried, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    ones = np.ones(len(of), dtype=np.float32)
    removed = sp.csr_array((ones, (np.arange(len(of)), lists)), (len(of), members.shape[1]))
    without = sp.csr_array(members[of] - removed)
    without.eliminate_zeros()
    return of, lists, scorer.scores_of(replace(scorer.articles.take(of), members=without))


def _without_words(scorer: Scorer) -> tuple[IntArray, list[str], npt.NDArray[np.float32]]:
    """Leave out words, one at a time: which article, which word, the probabilities without it."""
    of, words, texts = [], [], []
    for place, text in enumerate(scorer.articles.texts if scorer.takes_texts else ()):
        for word in list(dict.fromkeys(words_of(text)))[:TRIED]:
            of.append(place)
            words.append(word)
            texts.append(without_word(text, word))
    places = np.array(of, dtype=np.int64)
    return places, words, scorer.scores_with_texts(places, texts)
