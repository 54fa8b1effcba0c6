"""Small labelled data with something to learn in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.candidate import FittedCandidate
from tagsage.learn.classifiers import CLASSIFIERS, classifier_class
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.labels import Labels
from tagsage.learn.split import stratified_split

TAGS = list("abcde")
# Settings that fit small data, and quickly.
SMALL_NETWORK = {
    "hidden": 16,
    "dropout": 0.2,
    "batch_size": 32,
    "epochs": 20,
    "max_epochs": 20,
    "learning_rate": 3e-3,
}
SMALL: dict[str, dict[str, Any]] = {
    "mlp": SMALL_NETWORK,
    "ensemble": SMALL_NETWORK,
    "boosting": {"max_iter": 20, "l2_regularization": 1.0, "max_features": 1.0},
}


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


@pytest.fixture(params=CLASSIFIERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def small_models(monkeypatch):
    for name, settings in SMALL.items():
        kind = classifier_class(name)
        monkeypatch.setattr(kind, "defaults", {**kind.defaults, **settings})


def labels_of(data) -> Labels:
    order = np.argsort(data.rows)
    split = stratified_split(data.Y[order], test_share=0.2, seed=0)
    return Labels(
        TAGS, data.rows[order], data.Y[order], split.train, split.test, np.arange(len(order))
    )


def fit(data, labels: Labels, name: str, seed: int = 1, **options) -> FittedCandidate:
    return fit_candidate(
        data.X,
        labels.Y_train,
        labels.train_rows,
        tags=labels.tags,
        classifier=name,
        seed=seed,
        **options,
    )


def assert_same_model(one: FittedCandidate, other: FittedCandidate, X: FeatureMatrix) -> None:
    assert one.tags == other.tags
    parts, other_parts = (
        [part for part in (fitted.main, fitted.fallback) if part] for fitted in (one, other)
    )
    for part, same in zip(parts, other_parts, strict=True):
        assert part.to_json() == same.to_json()
    rows = np.arange(len(X))
    assert np.array_equal(one.predict_proba(X, rows), other.predict_proba(X, rows))
