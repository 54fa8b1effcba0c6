"""The local engine: folders in, folders out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.base import GraphEngine, SampleConfig
from tagsage.graph.csr import induced_subgraph, load_csr
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import infer_graphsage
from tagsage.graph.graphsage.model import GraphSageModel
from tagsage.graph.graphsage.train import train_graphsage
from tagsage.graph.local import LocalEngine
from tagsage.graph.similarity import SimilarityConfig, jaccard_similarity

SAGE = GraphSageConfig(dimensions=8, sample_sizes=(3, 3), epochs=2, batch_size=5)


def run(
    base: Path, incidence: sp.csr_array, vectors: np.ndarray, ratio: float = 0.5
) -> dict[str, dict[str, Any]]:
    """Call the methods in the order of the stages, each with a folder of its own."""
    engine: GraphEngine = LocalEngine()
    folders = {
        name: base / name for name in ("project", "similarity", "components", "sample", "graphsage")
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    np.save(base / "vectors.npy", vectors)
    done: dict[str, dict[str, Any]] = {}
    done["project"] = engine.project(
        folders["project"],
        incidence,
        keys=[f"k{i}" for i in range(len(vectors))],
        vector_property="",
    )
    done["similarity"] = engine.similarity(
        folders["similarity"], folders["project"], SimilarityConfig()
    )
    done["components"] = engine.components(folders["components"], folders["similarity"])
    done["sample"] = engine.sample(
        folders["sample"],
        folders["similarity"],
        done["components"]["start_node"],
        SampleConfig(ratio=ratio),
    )
    done["graphsage"] = engine.graphsage(
        folders["graphsage"],
        folders["similarity"],
        folders["sample"],
        base / "vectors.npy",
        SAGE,
    )
    engine.teardown()
    json.dumps(done, allow_nan=False)
    return done


def corpus(n: int = 40, n_lists: int = 12) -> tuple[sp.csr_array, np.ndarray]:
    random = np.random.default_rng(0)
    dense = (random.random((n, n_lists)) < 0.15).astype(np.float32)
    dense[-1] = 0
    return sp.csr_array(dense), random.normal(size=(n, 6)).astype(np.float32)


def test_the_folders_hold_what_the_functions_compute(tmp_path: Path) -> None:
    incidence, vectors = corpus()
    done = run(tmp_path, incidence, vectors)
    similarity = jaccard_similarity(incidence, top_k=2000)
    stored = load_csr(tmp_path / "similarity")
    np.testing.assert_array_equal(stored.toarray(), similarity.toarray())
    degrees = np.load(tmp_path / "similarity/degrees.npy")
    assert degrees.dtype == np.int64
    assert degrees.tolist() == np.diff(similarity.indptr).tolist()
    sample = np.load(tmp_path / "sample/sample.npy")
    model = train_graphsage(induced_subgraph(similarity, sample), vectors[sample], SAGE)
    embeddings = np.load(tmp_path / "graphsage/embeddings.npy")
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(
        embeddings, infer_graphsage(model, similarity, vectors, seed=SAGE.seed)
    )
    again = GraphSageModel.load(tmp_path / "graphsage/model")
    assert again.epoch_losses == model.epoch_losses == done["graphsage"]["epoch_losses"]


def test_two_runs_leave_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run(tmp_path / name, *corpus())
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*"))
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_folder_of_an_earlier_stage_that_is_missing_is_named(tmp_path: Path) -> None:
    engine = LocalEngine()
    with pytest.raises(TagsageError, match=r"sparse matrix in .*gone.*run the stage"):
        engine.similarity(tmp_path, tmp_path / "gone", SimilarityConfig())
    engine.project(
        tmp_path,
        sp.csr_array(np.ones((2, 1), dtype=np.float32)),
        keys=["a", "b"],
        vector_property="",
    )
    with pytest.raises(TagsageError, match=r"array .*gone\.npy.*run the stage"):
        engine.graphsage(tmp_path, tmp_path, tmp_path, tmp_path / "gone.npy", SAGE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ratio": 0}, "ratio must be above 0 and at most 1, not 0"),
        ({"restart_probability": 0}, "restart_probability must be between 0 and 1, not 0"),
    ],
)
def test_an_impossible_sample_is_refused_by_name(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(TagsageError, match=message):
        SampleConfig(**wrong)
