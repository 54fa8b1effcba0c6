"""One SQLite store for all tests of the room, and a small tagger fitted for real."""

import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from fastapi.testclient import TestClient

from tagsage.embed.lsa import LsaEmbedder
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.features import Articles, article_ids
from tagsage.registry.mlflow_models import PyFuncModel
from tagsage.registry.store import Tracking, initialise
from tests.taggers import write_fitted

FRUIT = ("apples", "pears", "plums", "cherries")
CARS = ("engines", "wheels", "brakes", "gears")
DIMENSIONS = 6


def corpus() -> tuple[list[str], np.ndarray, list[list[str]]]:
    """Return 48 titles, their tags (fruit, cars), and their lists, which tell them apart."""
    titles = [
        f"{word} and {other} {number}"
        for words in (FRUIT, CARS)
        for number, (word, other) in enumerate((a, b) for a in words for b in words if a != b)
    ] * 2
    fruit = np.array([any(word in title for word in FRUIT) for title in titles])
    return (
        titles,
        np.stack([fruit, ~fruit], axis=1),
        [["orchard" if f else "garage"] for f in fruit],
    )


def _make_served(
    folder: Path,
    feature_set: str = "text+lists",
    *,
    given: bool = False,
    classifier: str = "ovr_logistic",
) -> Path:
    """Fit a tagger on the corpus and write what is served of it."""
    titles, Y, lists = corpus()
    embedder = LsaEmbedder.fit(titles, dimensions=DIMENSIONS, seed=0)
    embedder.save(folder / "lsa")
    keys = [f"site.example/{row}" for row in range(len(titles))]
    articles = Articles.of_names(
        titles, [""] * len(titles), lists, keys=keys, vectors=embedder.embed(titles)
    )
    served, _ = write_fitted(
        folder,
        articles,
        np.arange(len(Y)),
        Y,
        tags=["fruit", "cars"],
        candidate=f"{feature_set}:{classifier}",
        embedder=None if given else folder / "lsa",
        # Plain scores: what is tested is not how these are calibrated.
        plain=True,
        lists_hops=1,
        fastrp_dimensions=8,
        graphsage_dimensions=4,
    )
    return served


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return initialise("", experiment="tests", folder=tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def run_id() -> str:
    return f"run-{uuid.uuid4().hex}"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "loss.png"
    file.write_bytes(b"not really a picture")
    return file


@pytest.fixture
def client_of(monkeypatch) -> Callable[[PyFuncModel], TestClient]:
    """Return the function that gives a client of the app that `mlflow models serve` runs."""
    from mlflow.pyfunc import scoring_server

    # The app sets it for good.
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    return lambda model: TestClient(scoring_server.init(model))


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
