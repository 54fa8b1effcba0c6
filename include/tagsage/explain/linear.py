"""What words, lists and the author add to a tag of a linear model: weight times value, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from scipy.special import expit

from tagsage.explain.explanation import TermEvidence
from tagsage.explain.occlusion import LEAST_DROP, Effects
from tagsage.features.char_ngrams import CharNgrams
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tagsage.explain.labelled_corpus import IntArray
    from tagsage.explain.scorer import Scorer
    from tagsage.features import FeatureMatrix, FeatureSet
    from tagsage.graph.csr import Csr
    from tagsage.learn.candidate import CalibratedClassifier

# What a term of each block is called.
KINDS = {"words": "word", "char_ngrams": "word", "list_ids": "list", "author_ids": "author"}


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A linear classifier with calibrated scores, and the terms of some articles' log-odds.

    A term is a word, list or author of an article, with the values of its columns.
    """

    fitted: CalibratedClassifier
    first: npt.NDArray[np.int64]  # the first term of each article, and how many there are, [n + 1]
    kinds: npt.NDArray[np.object_]  # per term: ``word``, ``list``, ``author``
    names: npt.NDArray[np.object_]  # per term
    values: Csr  # [terms, d]

    @classmethod
    def of(
        cls,
        fitted: CalibratedClassifier,
        X: FeatureMatrix,
        features: FeatureSet,
        texts: Sequence[str],
    ) -> LinearModel:
        """Take the features of the articles apart; `texts` are theirs."""
        tables, parts = [], []
        for kind, part in zip(X.kinds, X.blocks, strict=True):
            block = features.blocks[kind]
            if isinstance(block, CharNgrams):
                article, name, values = block.by_word(texts, part)
            else:
                article = np.repeat(np.arange(len(X)), np.diff(part.indptr))
                name = features.columns(kind)[part.indices]
                each = np.arange(part.nnz + 1)
                values = make_csr(part.data, part.indices, each, (part.nnz, part.shape[1]))
            table = pd.DataFrame({"article": article, "kind": KINDS[kind], "name": name})
            tables.append(table)
            parts.append(values)
        entries = pd.concat(tables, ignore_index=True)
        number = entries.groupby(["article", "kind", "name"], sort=True).ngroup().to_numpy()
        terms = entries.assign(number=number).drop_duplicates("number").sort_values("number")
        # One word may be a term of two blocks.
        ones = np.ones(len(number), dtype=np.float32)
        joined = sp.csr_array((ones, (number, np.arange(len(number)))))
        values = joined @ sp.block_diag(parts, format="csr") if len(number) else joined
        first = np.searchsorted(terms["article"].to_numpy(), np.arange(len(X) + 1))
        return cls(fitted, first, terms["kind"].to_numpy(), terms["name"].to_numpy(), values)

    def terms(self, row: int, tag: int) -> tuple[float, slice, npt.NDArray[np.float64]]:
        """Return a start, an article's terms, and what each adds to it.

        They add up to the pair's log-odds before calibration. The start is infinite for a tag that
        all, or none, of the training articles have.
        """
        arrays = self.fitted.classifier.arrays
        place = np.flatnonzero(arrays["varying"] == tag)
        if not len(place):
            start = np.inf if arrays["constant"][tag] > 0 else -np.inf
            return start, slice(0, 0), np.zeros(0)
        own = slice(*self.first[row : row + 2])
        values = self.values[own].astype(np.float64)
        values.data = values.data * arrays["coef"][values.indices, place[0]]
        start = float(arrays["intercept"][place[0]])
        return start, own, np.asarray(values.sum(axis=1), dtype=np.float64)


def linear_effects(scorer: Scorer, places: IntArray, columns: IntArray, top: int) -> list[Effects]:
    """Take the log-odds of pairs of article and tag apart.

    Nothing has to be left out to see what it does: its term is. The parameters are those of
    :func:`tagsage.explain.occlusion.occlusion_effects`.
    """
    X, candidate, features = scorer.features, scorer.tagger.candidate, scorer.tagger.features
    texts, rest = scorer.articles.texts, X.list_free()
    main = fallback = LinearModel.of(candidate.main, X, features, texts)
    if candidate.fallback is not None and rest is not None:
        fallback = LinearModel.of(candidate.fallback, rest, features, texts)
    list_numbers = {name: number for number, name in enumerate(scorer.corpus.list_names)}
    effects = []
    for place, tag in zip(places.tolist(), columns.tolist(), strict=True):
        model = main if X.in_list[place] else fallback
        start, own, log_odds = model.terms(place, tag)
        total = start + log_odds.sum()
        kinds, names = model.kinds[own], model.names[own]
        calibrated = partial(model.fitted.calibration.log_odds, tag=tag)
        # How far the probability falls without a term.
        drop = expit(calibrated(total)) - expit(calibrated(total - log_odds))
        order = np.argsort(-drop, kind="stable")
        order = order[drop[order] >= LEAST_DROP]
        of_lists, of_words = (
            [(names[i], float(drop[i])) for i in order if kinds[i] == kind][:top]
            for kind in ("list", "word")
        )
        largest = np.argsort(-np.abs(log_odds), kind="stable")[: 2 * top]
        terms = [
            TermEvidence("start", "", round(float(start), 6)),
            *(TermEvidence(kinds[i], names[i], round(float(log_odds[i]), 6)) for i in largest),
        ]
        if len(log_odds) > len(largest):
            others = float(log_odds.sum() - log_odds[largest].sum())
            terms.append(TermEvidence("others", "", round(others, 6)))
        if np.isfinite(total):
            terms.append(
                TermEvidence("calibration", "", round(float(calibrated(total) - total), 6))
            )
        by_number = [(list_numbers[name], fall) for name, fall in of_lists]
        effects.append(Effects(by_number, of_words, terms))
    return effects
