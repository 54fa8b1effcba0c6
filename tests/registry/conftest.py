"""One SQLite store for all tests of the room, and a small tagger fitted for real."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.sparse as sp

from scripts.neo4j_server import free_ports
from tagsage.embed.embedders import Embedder
from tagsage.embed.lsa import LsaEmbedder
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.features import Articles, article_ids
from tagsage.registry.runs import log_candidate, log_run
from tagsage.registry.tracking import Tracking, open_tracking
from tagsage.registry.versions import register_version
from tests.taggers import write_fitted

FRUIT = ("apples", "pears", "plums", "cherries")
CARS = ("engines", "wheels", "brakes", "gears")
CANDIDATE = "text+lists:linear"
DIMENSIONS = 6


def _make_tagger(
    folder: Path,
    feature_set: str = "text+lists",
    *,
    given: bool = False,
    embedder: Embedder | None = None,
) -> Path:
    """Fit a tagger on 48 titles about fruit and cars, and on their lists, orchard and garage.

    Its vectors come with the articles (`given`), or from an embedder, by default LSA.
    """
    titles = [
        f"{word} and {other} {number}"
        for words in (FRUIT, CARS)
        for number, (word, other) in enumerate((a, b) for a in words for b in words if a != b)
    ] * 2
    fruit = np.array([any(word in title for word in FRUIT) for title in titles])
    embedder = embedder or LsaEmbedder.fit(titles, dimensions=DIMENSIONS, seed=0)
    embedder.save(folder / "embedder")
    articles = Articles.of_names(
        titles,
        [""] * len(titles),
        [["orchard" if one else "garage"] for one in fruit],
        keys=[f"site.example/{row}" for row in range(len(titles))],
        vectors=embedder.embed(titles),
    )
    tagger, _ = write_fitted(
        folder,
        articles,
        np.arange(len(titles)),
        np.stack([fruit, ~fruit], axis=1),
        tags=["fruit", "cars"],
        candidate=f"{feature_set}:linear",
        embedder=None if given else folder / "embedder",
        # Plain scores: what is tested is not how these are calibrated.
        plain=True,
        lists_hops=1,
    )
    return tagger


@contextmanager
def _running(
    arguments: tuple[str, ...], health: str, folder: Path, **variables: str
) -> Generator[str]:
    """Run ``mlflow …`` in a process of its own until it is healthy; yield its address."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    log = folder / "log"
    command = [sys.executable, "-m", "mlflow", *arguments]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with log.open("w") as opened:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables, "PATH": path},
            stdout=opened,
            stderr=opened,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 240
        while not _answers(f"{address}{health}"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        yield address
    finally:
        # It starts workers of its own: its whole session ends.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (URLError, OSError):
        return False


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return open_tracking("", experiment="tests", folder=tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def run_id() -> str:
    return f"run-{uuid.uuid4().hex}"


@pytest.fixture
def name() -> str:
    return f"tagger-{uuid.uuid4().hex}"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "loss.png"
    file.write_bytes(b"not really a picture")
    return file


@pytest.fixture(scope="session")
def running() -> Callable:
    """Return the function that starts a server of MLflow's."""
    return _running


@pytest.fixture(scope="session")
def make_tagger() -> Callable[..., Path]:
    """Return the function that fits a small tagger; its vectors have 6 numbers."""
    return _make_tagger


@pytest.fixture(scope="session")
def tagger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    FrozenTest(
        tags=["fruit", "cars"],
        test=article_ids(["a", "b"]),
        train=article_ids(["c"]),
        tagged=article_ids(["a", "b", "c"]),
        assigned=sp.csr_array(np.array([[1.0, 0.0], [0.0, 1.0]])),
        scores={"micro_f1": 0.6},
        test_share=0.2,
        seed=42,
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def register(tagger_folder: Path, frozen: Path) -> Callable[..., str]:
    """Return the function that registers a version, as a run does."""

    def register(tracking: Tracking, name: str, run_id: str = "n1", **changes) -> str:
        log_run(tracking, run_id, params={})
        log_candidate(tracking, run_id, CANDIDATE, params={}, scores={"micro_f1": 0.6})
        values = {
            "tagger": tagger_folder,
            "tagger_ref": "tagger-1",
            "frozen": frozen,
            "micro_f1": 0.6,
            "data_digest": "sha256:a",
            "description": "The best of one candidate.",
        }
        return register_version(tracking, run_id, CANDIDATE, name=name, **{**values, **changes})

    return register
