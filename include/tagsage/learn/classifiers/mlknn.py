"""Tags by the tags of an article's nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from tagsage.features.matrix import (
    BoolArray,
    FeatureMatrix,
    FloatArray,
    IndexArray,
    unit_blocks,
    unit_rows,
)
from tagsage.learn.classifiers.base import Classifier, Range, Validation


class MlKnn(Classifier):
    """Multi-label k nearest neighbours (M.-L. Zhang, Z.-H. Zhou: ML-KNN, 2007), by cosine.

    δ is how many of an article's `k` nearest neighbours have a tag. It is counted over the training
    articles with the tag and over those without it. With smoothing `s` and m training articles::

        P(tag)         = (s + articles with the tag) / (2 s + m)
        P(δ | tag)     = (s + articles with the tag and δ) / (s (k + 1) + articles with the tag)
        P(δ | no tag)    likewise
        P(tag | δ)     = P(tag) P(δ | tag) / (P(tag) P(δ | tag) + P(no tag) P(δ | no tag))

    Time grows with the square of the articles, which are part of the model.
    """

    name: ClassVar[str] = "mlknn"
    defaults: ClassVar[Mapping[str, Any]] = {"k": 10, "s": 1.0}
    space: ClassVar[Mapping[str, Range]] = {
        "k": Range(3, 50, log=True),
        "s": Range(0.01, 10.0, log=True),
    }

    def _fit(self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, _: Validation | None) -> None:
        m, n_tags = Y.shape
        s, k = self.settings["s"], min(self.settings["k"], m - 1)
        self.fitted |= {
            "neighbours": k,
            "block_widths": list(X.block_widths),
            "unit_blocks": unit_blocks(X),
        }
        self.__dict__.pop("_neighbours", None)
        self.arrays = {"articles": self._scaled(X.rows(rows)), "labels": np.packbits(Y, axis=1)}
        # Without an argument, an article is not its own neighbour.
        near = self._tagged(self._neighbours.kneighbors(return_distance=False), n_tags)
        # Counted for pairs (without or with the tag, tag, δ), flat.
        pairs = (Y * n_tags + np.arange(n_tags)) * (k + 1) + near
        seen = np.bincount(pairs.ravel(), minlength=2 * n_tags * (k + 1)).reshape(2, n_tags, k + 1)
        conditional = (s + seen) / (s * (k + 1) + seen.sum(axis=2, keepdims=True))
        prior = ((s + Y.sum(axis=0)) / (2 * s + m))[:, None]
        without_tag, with_tag = (1 - prior) * conditional[0], prior * conditional[1]
        self.arrays["posterior"] = (with_tag / (with_tag + without_tag)).astype(np.float32)

    def _predict(self, features: FloatArray) -> FloatArray:
        posterior = self.arrays["posterior"]
        found = self._neighbours.kneighbors(self._scaled(features), return_distance=False)
        near = self._tagged(found, len(posterior))
        P: FloatArray = posterior[np.arange(len(posterior)), near]
        return P

    @cached_property
    def _neighbours(self) -> NearestNeighbors:
        search = NearestNeighbors(
            n_neighbors=self.fitted["neighbours"], metric="cosine", algorithm="brute"
        )
        return search.fit(self.arrays["articles"])

    def _scaled(self, features: FloatArray) -> FloatArray:
        return unit_rows(features, self.fitted["block_widths"], self.fitted["unit_blocks"])

    def _tagged(self, found: IndexArray, n_tags: int) -> npt.NDArray[np.int64]:
        """Return δ for each row and tag, [m, n_tags]."""
        tagged = np.unpackbits(self.arrays["labels"][found], axis=2, count=n_tags)
        near: npt.NDArray[np.int64] = tagged.sum(axis=1, dtype=np.int64)
        return near
