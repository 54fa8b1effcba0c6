"""One SQLite store for all tests of the room, and a small tagger fitted for real."""

import dataclasses
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from tagsage.graph.lists import propagate_lists

from tagsage.evaluate.frozen import FrozenTest
from tagsage.features import article_ids
from tagsage.features.matrix import FeatureMatrix
from tagsage.graph.fastrp import FastRpConfig, fastrp
from tagsage.graph.similarity import jaccard_similarity
from tagsage.learn.calibration import Calibration
from tagsage.learn.candidate import Tagging
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.thresholds import Assignment
from tagsage.registry.servable import write_served
from tagsage.registry.store import Tracking, initialise
from tagsage.vectors.lsa import LsaEmbedder
from tagsage.vectors.text import article_texts

FRUIT = ("apples", "pears", "plums", "cherries")
CARS = ("engines", "wheels", "brakes", "gears")
DIMENSIONS = 6
FASTRP = FastRpConfig(dimensions=8, seed=0)


def corpus() -> tuple[pd.DataFrame, np.ndarray, sp.csr_array, np.ndarray]:
    """Return 48 articles, their tags (fruit, cars), and two lists that tell them apart."""
    titles = [
        f"{word} and {other} {number}"
        for words in (FRUIT, CARS)
        for number, (word, other) in enumerate((a, b) for a in words for b in words if a != b)
    ] * 2
    fruit = np.array([any(word in title for word in FRUIT) for title in titles])
    articles = pd.DataFrame({"title": titles, "subtitle": "", "is_stub": False})
    Y = np.stack([fruit, ~fruit], axis=1)
    incidence = sp.csr_array(np.stack([fruit, ~fruit], axis=1).astype(np.float32))
    return articles, Y, incidence, np.array(["orchard", "garage"])


def _make_served(folder: Path, feature_set: str = "text+lists", *, given: bool = False) -> Path:
    """Fit a one-vs-rest tagger on the corpus and write what is served of it."""
    articles, Y, incidence, names = corpus()
    embedder = LsaEmbedder.fit(
        article_texts(articles), dimensions=DIMENSIONS, max_terms=100, seed=0
    )
    embedder.save(folder / "lsa")
    vectors = embedder.embed(article_texts(articles))
    (hop,) = propagate_lists(incidence, vectors, hops=1, size_discount=0.5)
    projected = fastrp(jaccard_similarity(incidence, top_k=10), vectors, FASTRP)
    blocks = {"text": vectors, "fastrp": projected, "lists": hop}
    kinds = feature_set.split("+")
    linked = np.diff(incidence.indptr) > 0
    X = FeatureMatrix([blocks[kind] for kind in kinds], kinds=kinds, linked=linked)
    fitted = fit_candidate(
        X, Y, np.arange(len(Y)), tags=["fruit", "cars"], classifier="ovr_logistic", seed=0
    )
    # Plain scores and a threshold of a half: what is tested is not how these are chosen.
    plain = [
        part and Tagging(part.classifier, Calibration(), Assignment.constant(2))
        for part in (fitted.main, fitted.fallback)
    ]
    dataclasses.replace(fitted, main=plain[0], fallback=plain[1]).save(folder / "candidate")
    served = folder / "served"
    served.mkdir()
    write_served(
        served,
        candidate=folder / "candidate",
        feature_set=feature_set,
        dimensions=DIMENSIONS,
        embedder=None if given else folder / "lsa",
        fastrp=FASTRP,
        list_names=names,
        incidence=incidence,
        hop_inputs=[vectors],
        size_discount=0.5,
        article_keys=[f"site.example/{row}" for row in range(len(articles))],
    )
    return served


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return initialise("", experiment="tests", folder=tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def run_id() -> str:
    return f"night-{uuid.uuid4().hex}"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "loss.png"
    file.write_bytes(b"not really a picture")
    return file


@pytest.fixture(scope="session")
def make_served() -> Callable[..., Path]:
    """Return the function that fits a small tagger; its vectors have 6 numbers."""
    return _make_served


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    FrozenTest(
        tags=["fruit", "cars"],
        test=article_ids(["a", "b"]),
        train=article_ids(["c"]),
        assigned=sp.csr_array(np.array([[1.0, 0.0], [0.0, 1.0]])),
        scores={"micro_f1": 0.6},
        test_share=0.2,
        seed=42,
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_served(tmp_path_factory.mktemp("tagger"))
