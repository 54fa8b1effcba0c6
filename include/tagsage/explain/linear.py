"""What words, lists and the author do for a tag of a linear model: its score is their sum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from tagsage.explain.asked import LEAST_DROP, AskedArticles, Measured, Named, grouped
from tagsage.explain.entries import IntArray, best_of_groups
from tagsage.explain.explanations import TermEvidence
from tagsage.explain.linear_terms import Terms, linear_terms

# What a column of each block is called.
KINDS = {"words": "word", "list_ids": "list", "author_ids": "author"}
START, OTHER, OTHERS = "start", "other", "others"


def measure_linear(asked: AskedArticles, rows: IntArray, columns: IntArray, top: int) -> Measured:
    """Take a linear model's scores apart; `rows` and `columns` are the pairs of article and tag.

    Nothing has to be left out to see what it does: its term is.
    """
    places = np.searchsorted(asked.rows, rows)
    X, candidate = asked.matrix(), asked.tagger.candidate
    terms = linear_terms(candidate, X, places, columns)
    # The model's own score, to the last digit; the terms are added in another order.
    P = candidate.predict_proba(X, np.arange(len(X)))
    score = P[places, columns].astype(np.float64)
    total = logit(score)
    kinds = np.full(X.shape[1], OTHER, dtype=object)
    names = np.full(X.shape[1], "", dtype=object)
    for block, called in KINDS.items():
        if fitted := asked.tagger.features.blocks.get(block):
            kinds[X.columns_of(block)] = called
            names[X.columns_of(block)] = fitted.columns(asked.tagger.features.known)
    kind, name = kinds[terms.column], names[terms.column]

    def helpful(wanted: str) -> Named:
        of_kind = np.flatnonzero(kind == wanted)
        pair = terms.pair[of_kind]
        drop = score[pair] - expit(total[pair] - terms.log_odds[of_kind])
        best = best_of_groups(pair, drop, top)
        best = best[drop[best] >= LEAST_DROP]
        return Named(pair[best], terms.column[of_kind[best]], drop[best])

    lists, words = helpful("list"), helpful("word")
    numbers = pd.Index(asked.background.lists).get_indexer(pd.Index(names[lists.number]))
    return Measured(
        rows=rows,
        columns=columns,
        score=score,
        threshold=candidate.thresholds(X, places)[np.arange(len(places)), columns].astype(
            np.float64
        ),
        without_graph=asked.without_graph()[places, columns].astype(np.float64),
        lists=Named(lists.pair, numbers.astype(np.int64), lists.drop),
        words=words,
        terms=_named_terms(terms, total, kind, name, 2 * top),
        vocabulary=names,
    )


def _named_terms(
    terms: Terms,
    total: npt.NDArray[np.float64],
    kind: npt.NDArray[np.object_],
    name: npt.NDArray[np.object_],
    top: int,
) -> list[list[TermEvidence]]:
    """Name the largest terms of each pair; with what is left they are its log-odds."""
    best = best_of_groups(terms.pair, np.abs(terms.log_odds), top)
    best = best[kind[best] != OTHER]
    is_named = np.zeros(len(terms.pair), dtype=np.bool_)
    is_named[best] = True
    left = np.where(np.isfinite(total), total - terms.start - terms.sums(is_named), 0.0)
    values = zip(kind[best], name[best], terms.log_odds[best].round(6).tolist(), strict=True)
    items = grouped(len(total), terms.pair[best], [TermEvidence(*one) for one in values])
    return [
        [
            TermEvidence(START, "", start),
            *of_pair,
            *([TermEvidence(OTHERS, "", rest)] if rest else []),
        ]
        for start, of_pair, rest in zip(
            terms.start.round(6).tolist(), items, left.round(6).tolist(), strict=True
        )
    ]
