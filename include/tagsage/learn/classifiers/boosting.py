"""Gradient-boosted trees, an ensemble a tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from tagsage.features.matrix import FeatureMatrix, FloatArray, IndexArray, row_blocks
from tagsage.learn.classifiers.base import PREDICT_ROWS, Classifier, Range, Validation, sigmoid
from tagsage.learn.targets import BoolArray
from tagsage.progress import track


class Boosting(Classifier):
    """One-vs-rest over scikit-learn's ``HistGradientBoostingClassifier``.

    For every tag a sum of small trees, each fitted to what those before it left over
    (binary cross-entropy); probability = sigmoid(baseline + sum). Features are binned into at most
    `max_bins` values each. No part is held out by scikit-learn itself: with validation articles all
    tags get `max_epochs` trees, and the number of trees with the least loss over all of them,
    the same for every tag, is kept and told as `epochs`; without, every tag gets `epochs` trees.
    (Of its own, a tag on a hundred articles has fifteen of them to choose by.)

    Trees are kept as arrays, each filled up to a complete one of `max_depth` levels: node i splits
    into nodes 2 i + 1 (feature ≤ threshold) and 2 i + 2. So a tag's trees are evaluated together,
    from the leaves upwards, by as many comparisons as there are splits.

    The rows that are fitted are held in memory as float64; time grows with rows × features × tags,
    and that makes it the slowest of all classifiers.

    The defaults were chosen on a validation part of a corpus of 11,260 labelled articles, on text:
    with `l2` 0, 10, 30 micro-F1 was .357, .386, .389; with a tenth of the features at each split
    (`max_features`) LRAP rose from .467 to .477 in half the time; 255 bins were no better than 32.
    """

    name: ClassVar[str] = "boosting"
    multiplies: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 0.2,
        "l2": 30.0,
        "max_depth": 3,
        "min_samples_leaf": 20,
        "max_features": 0.1,
        "max_bins": 32,
        "epochs": 60,
        "max_epochs": 80,
    }
    space: ClassVar[Mapping[str, Range]] = {
        "learning_rate": Range(0.05, 0.5, log=True),
        "l2": Range(1.0, 300.0, log=True),
        "max_depth": Range(1, 5),
    }

    def _fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        validation: Validation | None,
        start: Self | None,
    ) -> None:
        del start
        settings = self.settings
        epochs = settings["epochs" if validation is None else "max_epochs"]
        features = X.rows(rows).astype(np.float64)
        trees, baseline = [], []
        # On one core, as the regressions: candidates of a run run beside each other.
        with threadpool_limits(limits=1):
            for tag in track(range(Y.shape[1]), "training boosting"):
                model = HistGradientBoostingClassifier(
                    learning_rate=settings["learning_rate"],
                    max_iter=epochs,
                    max_leaf_nodes=2 ** settings["max_depth"],
                    max_depth=settings["max_depth"],
                    min_samples_leaf=settings["min_samples_leaf"],
                    l2_regularization=settings["l2"],
                    max_features=settings["max_features"],
                    max_bins=settings["max_bins"],
                    early_stopping=False,
                    random_state=self.seed,
                )
                model.fit(features, Y[:, tag])
                # scikit-learn has no public name for them.
                nodes = [predictor.nodes for (predictor,) in model._predictors]
                trees.append(complete_trees(nodes, depth=settings["max_depth"]))
                baseline.append(model._baseline_prediction.item())
        self.arrays = {
            **{name: np.stack([getattr(tree, name) for tree in trees]) for name in Trees._fields},
            "baseline": np.array(baseline, dtype=np.float32),
        }
        losses: list[float] = []
        if validation is not None:
            losses = self._validation_losses(X, validation)
            epochs = int(np.argmin(losses)) + 1
            for name in Trees._fields:
                self.arrays[name] = np.ascontiguousarray(self.arrays[name][:, :epochs])
        self.fitted = {"features": X.shape[1], "epochs": epochs, "validation_losses": losses}

    def _predict(self, features: FloatArray) -> FloatArray:
        columns = np.ascontiguousarray(features.T)
        z = np.empty((len(features), len(self.arrays["baseline"])), dtype=np.float32)
        for tag, baseline in enumerate(self.arrays["baseline"]):
            # One row an article: else the order of additions would depend on how many there are.
            values = np.ascontiguousarray(self._trees(tag).values(columns).T)
            z[:, tag] = baseline + values.sum(axis=1)
        return sigmoid(z)

    def _trees(self, tag: int) -> Trees:
        return Trees(*(self.arrays[name][tag] for name in Trees._fields))

    def _validation_losses(self, X: FeatureMatrix, validation: Validation) -> list[float]:
        """Return, for 1, 2, … trees, the mean over articles of the cross-entropy over tags."""
        totals = np.zeros(self.arrays["value"].shape[1])
        for part, block in row_blocks(validation.rows, PREDICT_ROWS):
            columns = np.ascontiguousarray(X.rows(block).T)
            for tag, baseline in enumerate(self.arrays["baseline"]):
                z = baseline + self._trees(tag).values(columns).cumsum(axis=0, dtype=np.float64)
                # log(1 + exp(z)) - z where the tag is right.
                totals += (np.logaddexp(0, z) - z * validation.Y[part, tag]).sum(axis=1)
        return [float(total) / len(validation.rows) for total in totals]


class Trees(NamedTuple):
    """Complete binary trees.

    Attributes
    ----------
    feature : int32 array, shape [trees, 2^depth - 1]
        Which feature each node looks at, level by level.
    threshold : float32 array, shape [trees, 2^depth - 1]
        Up to this it goes to the left.
    value : float32 array, shape [trees, 2^depth]
        What each leaf gives, from left to right.
    """

    feature: npt.NDArray[np.int32]
    threshold: FloatArray
    value: FloatArray

    def values(self, columns: FloatArray) -> FloatArray:
        """Return what every tree gives for every article.

        Parameters
        ----------
        columns : float32 array, shape [d, m]
            Features, one row a feature.

        Returns
        -------
        float32 array, shape [trees, m]
            The value of the leaf that each article comes to.
        """
        first, last = self.feature.shape[1] // 2, self.feature.shape[1]
        below: list[FloatArray] = [self.value[:, leaf, None] for leaf in range(last + 1)]
        while last:
            below = [
                np.where(
                    columns[self.feature[:, node]] <= self.threshold[:, node, None], left, right
                )
                for node, left, right in zip(
                    range(first, last), below[::2], below[1::2], strict=True
                )
            ]
            first, last = first // 2, first
        return np.broadcast_to(below[0], (len(self.value), columns.shape[1]))


def complete_trees(nodes: Sequence[npt.NDArray[np.void]], *, depth: int) -> Trees:
    """Fill trees up to complete ones that give the same.

    Parameters
    ----------
    nodes : sequence of structured arrays
        One a tree: scikit-learn's ``TreePredictor.nodes`` over numbers without gaps.
    depth : int
        At least the depth of the deepest.

    Returns
    -------
    Trees
        Below a leaf that comes early everything goes to the left, and has its value.
    """
    joined = np.concatenate(list(nodes))
    offset = np.cumsum([0, *(len(tree) for tree in nodes[:-1])])
    inner, n = 2**depth - 1, len(nodes)
    feature = np.zeros((n, inner), dtype=np.int32)
    threshold = np.full((n, inner), np.inf)
    at = np.empty((n, 2 * inner + 1), dtype=np.int64)
    at[:, 0] = offset
    for node in range(inner):
        here = joined[at[:, node]]
        leaf = here["is_leaf"].astype(np.bool_)
        feature[~leaf, node] = here["feature_idx"][~leaf]
        threshold[~leaf, node] = here["num_threshold"][~leaf]
        for child, side in ((2 * node + 1, "left"), (2 * node + 2, "right")):
            at[:, child] = np.where(leaf, at[:, node], offset + here[side])
    rounded = threshold.astype(np.float32)
    # Down, never up: then x <= threshold is the same for every x of float32.
    lower = np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return Trees(feature, lower, joined["value"][at[:, inner:]].astype(np.float32))
