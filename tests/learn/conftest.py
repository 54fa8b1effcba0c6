"""Small labelled data with something to learn in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.candidate import FittedCandidate
from tagsage.learn.classifiers.boosting import Boosting
from tagsage.learn.classifiers.mlp import Mlp
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.labels import Labels
from tagsage.learn.split import stratified_split

TAGS = list("abcde")


@dataclass(frozen=True)
class Data:
    """Features of all articles, and the tags of the ones in `rows`."""

    X: FeatureMatrix
    rows: np.ndarray
    Y: np.ndarray


def synthetic(n: int = 300, d: int = 12, n_tags: int = 5, seed: int = 0) -> Data:
    """Tags that depend linearly on features, with noise; rows are a shuffled part of all."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n + 20, d)).astype(np.float32)
    z = features @ rng.normal(size=(d, n_tags)) + rng.normal(size=(n + 20, n_tags)) - 1
    rows = rng.permutation(n + 20)[:n]
    X = FeatureMatrix([features[:, : d // 2], features[:, d // 2 :]])
    return Data(X, rows, (z > 0)[rows])


@pytest.fixture(scope="session")
def data() -> Data:
    return synthetic()


@pytest.fixture
def small_models(monkeypatch):
    small = {"hidden": 16, "dropout": 0.2, "batch_size": 32, "learning_rate": 1e-2}
    monkeypatch.setattr(Mlp, "defaults", {**Mlp.defaults, **small})
    few = {"max_epochs": 20, "l2": 1.0, "max_features": 1.0}
    monkeypatch.setattr(Boosting, "defaults", {**Boosting.defaults, **few})


def labels_of(data) -> Labels:
    order = np.argsort(data.rows)
    split = stratified_split(data.Y[order], test_share=0.2, seed=0)
    return Labels(TAGS, data.rows[order], data.Y[order], split.train, split.test)


def fit(data, labels: Labels, name: str, seed: int = 1) -> FittedCandidate:
    return fit_candidate(
        data.X, labels.Y_train, labels.train_rows, tags=labels.tags, classifier=name, seed=seed
    )


def assert_same_model(one: FittedCandidate, other: FittedCandidate) -> None:
    assert one.tags == other.tags
    parts, other_parts = (
        [part for part in (fitted.main, fitted.fallback) if part] for fitted in (one, other)
    )
    for part, same in zip(parts, other_parts, strict=True):
        assert part.to_json() == same.to_json()
        arrays, others = part.classifier.arrays, same.classifier.arrays
        assert all(np.array_equal(arrays[key], others[key]) for key in arrays)
