"""What an article's nearest neighbours are tagged with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from tagsage.features.matrix import (
    FeatureMatrix,
    FloatArray,
    IndexArray,
    row_blocks,
    unit_blocks,
    unit_rows,
)
from tagsage.learn.classifiers.base import PREDICT_ROWS, Classifier, Range, Validation
from tagsage.learn.classifiers.neighbours import nearest
from tagsage.learn.targets import BoolArray
from tagsage.progress import track


class MlKnn(Classifier):
    """Multi-label k nearest neighbours (ML-kNN) [1]_.

    For every tag the number δ of an article's `k` nearest neighbours that have it, 0 … k, is
    counted over the training articles with the tag and over those without it. With smoothing `s`
    and m training articles::

        P(tag)         = (s + articles with the tag) / (2 s + m)
        P(δ | tag)     = (s + articles with the tag and δ) / (s (k + 1) + articles with the tag)
        P(δ | no tag)    likewise
        P(tag | δ)     = P(tag) P(δ | tag) / (P(tag) P(δ | tag) + P(no tag) P(δ | no tag))

    as scikit-multilearn's ``MLkNN`` has it, with one difference: there a training article is the
    first of its own neighbours, so that none with the tag has δ = 0 and probabilities come out
    wrong for articles that are not their own neighbours. Here, as in the paper, it is left out. (On
    validation parts of two corpora, three feature sets each, micro-F1 rose by .000 to .007 and LRAP
    by -.002 to .007, while macro-F1 fell by .008 to .022.) `count_itself` gives the library's
    numbers.

    How near two articles are is the sum over the feature blocks of the cosine of their rows. On
    vectors as they are, long ones would count most; by Euclidean distance on rows of unit length, a
    block that is all zero (an article in no list) would make an article near to others without it
    instead of saying nothing (micro-F1 on a validation part, text: .366 by cosines, .339 by
    distance). Blocks of a single column have no direction and are left out.

    The neighbours are exact, of features rounded to float16. Time grows with the square of the
    articles, and the training articles are part of the model.

    References
    ----------
    .. [1] M.-L. Zhang, Z.-H. Zhou: ML-KNN: a lazy learning approach to multi-label learning.
       Pattern Recognition 40 (7), 2007.
    """

    name: ClassVar[str] = "mlknn"
    defaults: ClassVar[Mapping[str, Any]] = {"k": 10, "s": 1.0, "count_itself": False}
    space: ClassVar[Mapping[str, Range]] = {
        "k": Range(3, 50, log=True),
        "s": Range(0.01, 10.0, log=True),
    }

    def _fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        validation: Validation | None,
        start: Self | None,
    ) -> None:
        del validation, start
        m, n_tags = Y.shape
        s, itself = self.settings["s"], self.settings["count_itself"]
        k = min(self.settings["k"], m if itself else m - 1)
        self.arrays["block_widths"] = np.array(X.block_widths, dtype=np.int64)
        self.arrays["unit_blocks"] = np.array(unit_blocks(X), dtype=np.bool_)
        width = sum(width for width in X.block_widths if width > 1)
        features = np.empty((m, width), dtype=np.float16)
        for part, block in row_blocks(rows, PREDICT_ROWS):
            features[part] = self._directions(X.rows(block))
        self.arrays |= {"features": features, "labels": np.packbits(Y, axis=1)}
        self.fitted = {"features": X.shape[1], "neighbours": k}
        # Counted for pairs (without or with the tag, tag, δ), flat.
        counts = np.zeros(2 * n_tags * (k + 1), dtype=np.int64)
        positions = np.arange(m)
        for part, block in track(list(row_blocks(positions, PREDICT_ROWS)), "training mlknn"):
            near = self._tagged_neighbours(
                features[part].astype(np.float32), n_tags, without=None if itself else block
            )
            pairs = (Y[part] * n_tags + np.arange(n_tags)) * (k + 1) + near
            counts += np.bincount(pairs.ravel(), minlength=len(counts))
        seen = counts.reshape(2, n_tags, k + 1)
        conditional = (s + seen) / (s * (k + 1) + seen.sum(axis=2, keepdims=True))
        prior = (s + Y.sum(axis=0)) / (2 * s + m)
        self.arrays |= {
            "prior": prior.astype(np.float32),
            "conditional": conditional.astype(np.float32),
        }

    def _predict(self, features: FloatArray) -> FloatArray:
        prior, (absent, present) = self.arrays["prior"], self.arrays["conditional"]
        with_tag, without_tag = prior[:, None] * present, (1 - prior[:, None]) * absent
        posterior = with_tag / (with_tag + without_tag)
        near = self._tagged_neighbours(self._directions(features), len(prior))
        P: FloatArray = posterior[np.arange(len(prior)), near]
        return P

    def _directions(self, features: FloatArray) -> FloatArray:
        """Return rows of unit length block by block, without the blocks of a single column."""
        widths = self.arrays["block_widths"]
        unit = self.arrays["unit_blocks"].tolist()
        return unit_rows(features, widths.tolist(), unit)[:, np.repeat(widths > 1, widths)]

    def _tagged_neighbours(
        self, directions: FloatArray, n_tags: int, without: IndexArray | None = None
    ) -> IndexArray:
        """Return δ, how many of the nearest training articles of each row have each tag [m, L]."""
        found = nearest(
            directions, self.arrays["features"], k=self.fitted["neighbours"], without=without
        )
        tagged = np.unpackbits(self.arrays["labels"][found], axis=2, count=n_tags)
        near: IndexArray = tagged.sum(axis=1, dtype=np.int64)
        return near
