"""One logistic regression a tag, each told of the tags before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.linear_model import LogisticRegression

from tagsage.features.matrix import FeatureMatrix, FloatArray, IndexArray
from tagsage.learn.classifiers.base import Classifier, Range, Validation, sigmoid
from tagsage.learn.classifiers.ovr_logistic import fitting_tags, tell_unfinished
from tagsage.learn.targets import BoolArray
from tagsage.progress import track


class LogisticChain(Classifier):
    """A classifier chain [1]_ over logistic regression.

    Tags stand in a row; the regression of each sees the features and which of the tags before it
    the article has::

        P(tag) = sigmoid(x w + b + sum over the tags before it of known[tag'] v[tag'])

    At the fit `known` is the truth, 0 or 1. At prediction the chain has to go by what it said
    itself: scikit-multilearn's ``ClassifierChain`` passes on its decisions, 0 or 1, at a
    probability of one half; here the probabilities themselves are passed on. Most tags never reach
    one half, so decisions tell little, and a wrong one moves every tag behind it. On validation
    parts of two corpora, text and text+lists, probabilities gave the better P@5 and LRAP in each of
    eight comparisons (LRAP by .005 to .031). `pass_on_decisions` gives the library's numbers.

    The rarest tag comes first, ties in the order of the columns. On the same four validation parts
    that gave micro-F1 .404, .419, .610, .626 and macro-F1 .381, .403, .337, .365; the commonest
    first .395, .411, .610, .626 and .361, .379, .314, .336. (With decisions passed on, the
    commonest first is better on one of the corpora.)

    The library's fit is not used because it turns features into sparse float64 matrices and these,
    for every tag, into dense ones; the regressions are the same. Kept as arrays. The rows that are
    fitted are held in memory twice.

    References
    ----------
    .. [1] J. Read, B. Pfahringer, G. Holmes, E. Frank: Classifier chains for multi-label
       classification. ECML PKDD 2009.
    """

    name: ClassVar[str] = "classifier_chain"
    defaults: ClassVar[Mapping[str, Any]] = {
        "C": 1.0,
        "max_iter": 1000,
        "pass_on_decisions": False,
    }
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 10.0, log=True)}

    def _fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        validation: Validation | None,
        start: Self | None,
    ) -> None:
        del validation, start
        d, n_tags = X.shape[1], Y.shape[1]
        order = np.argsort(Y.sum(axis=0), kind="stable")
        # In the order of the chain: the inputs of each tag are the first columns.
        inputs = np.hstack([X.rows(rows), Y[:, order[:-1]].astype(np.float32)])
        coef = np.empty((d, n_tags), dtype=np.float32)
        chain = np.zeros((n_tags, n_tags), dtype=np.float32)
        intercept = np.empty(n_tags, dtype=np.float32)
        unfinished = 0
        with fitting_tags():
            for place, tag in track(list(enumerate(order)), "training classifier_chain"):
                model = LogisticRegression(C=self.settings["C"], max_iter=self.settings["max_iter"])
                model.fit(inputs[:, : d + place], Y[:, tag])
                coef[:, tag], intercept[tag] = model.coef_[0, :d], model.intercept_[0]
                chain[order[:place], tag] = model.coef_[0, d:]
                unfinished += int(model.n_iter_[0] >= self.settings["max_iter"])
        tell_unfinished(self.name, unfinished, n_tags)
        self.arrays = {"coef": coef, "chain": chain, "intercept": intercept, "order": order}
        self.fitted = {"features": d, "unfinished_tags": unfinished}

    def _predict(self, features: FloatArray) -> FloatArray:
        P: FloatArray = features @ self.arrays["coef"] + self.arrays["intercept"]
        known = np.zeros_like(P)
        for tag in self.arrays["order"]:
            # Only tags before this one have weights, and only they are known yet.
            p = sigmoid(P[:, tag] + known @ self.arrays["chain"][:, tag])
            P[:, tag] = p
            known[:, tag] = p > 0.5 if self.settings["pass_on_decisions"] else p
        return P
