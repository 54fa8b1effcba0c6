"""Small labelled data with something to learn in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tagsage.learn.features import FeatureMatrix


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
