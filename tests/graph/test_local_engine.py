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
from tagsage.graph.fastrp import FastRpConfig, fastrp
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import infer_graphsage
from tagsage.graph.graphsage.model import GraphSageModel
from tagsage.graph.graphsage.train import train_graphsage
from tagsage.graph.lists import ListsConfig, propagate_lists
from tagsage.graph.local import LocalEngine
from tagsage.graph.similarity import SimilarityConfig, jaccard_similarity

LISTS_CONFIG = ListsConfig(hops=2, size_discount=0.5)
SAGE = GraphSageConfig(dimensions=8, sample_sizes=(3, 3), epochs=2, batch_size=5)


FASTRP = FastRpConfig(dimensions=8, property_ratio=0.5)


def run(
    base: Path, incidence: sp.csr_array, vectors: np.ndarray, ratio: float = 0.5
) -> dict[str, dict[str, Any]]:
    """Call the methods in the order of the stages, each with a folder of its own."""
    engine: GraphEngine = LocalEngine()
    folders = {
        name: base / name
        for name in (
            *("project", "similarity", "components", "sample", "graphsage", "fastrp", "lists"),
        )
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
    done["fastrp"] = engine.fastrp(
        folders["fastrp"], folders["similarity"], base / "vectors.npy", FASTRP
    )
    done["lists"] = engine.lists(
        folders["lists"], folders["project"], base / "vectors.npy", LISTS_CONFIG
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
    projected = np.load(tmp_path / "fastrp/embeddings.npy")
    assert projected.dtype == np.float32
    np.testing.assert_array_equal(projected, fastrp(similarity, vectors, FASTRP))
    hops = propagate_lists(incidence, vectors, hops=2, size_discount=0.5)
    for hop in (1, 2):
        np.testing.assert_array_equal(np.load(tmp_path / f"lists/hop{hop}.npy"), hops[hop - 1])


def test_the_summaries_count_what_was_made(tmp_path: Path) -> None:
    incidence, vectors = corpus()
    done = run(tmp_path, incidence, vectors)
    labels = np.load(tmp_path / "components/labels.npy")
    degrees = np.diff(load_csr(tmp_path / "similarity").indptr)
    outside = int((incidence.toarray().sum(axis=1) == 0).sum())
    assert outside >= 1
    assert done["project"] == {
        "articles": 40,
        "lists": 12,
        "memberships": incidence.nnz,
        "articles_in_no_list": outside,
    }
    assert done["similarity"] == {
        "relationships": degrees.sum(),
        "articles_joined": (degrees > 0).sum(),
        "largest_degree": degrees.max(),
    }
    assert done["components"]["components"] == labels.max() + 1
    assert done["components"]["largest_component"] == np.bincount(labels).max()
    assert done["sample"]["articles"] == 20
    assert done["graphsage"]["trained"] is True
    assert done["graphsage"]["trained_on"] == 20
    assert done["graphsage"]["zero_embeddings"] == 0
    assert done["fastrp"] == {"dimensions": 8, "zero_embeddings": 0}
    assert done["lists"] == {
        "hops": 2,
        "size_discount": 0.5,
        "dimensions": 6,
        "articles_reached": 40 - outside,
    }


def test_two_runs_leave_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run(tmp_path / name, *corpus())
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*"))
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("shape", [(6, 0), (6, 3)])
def test_without_memberships_there_are_zero_embeddings_and_the_summary_says_so(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    incidence = sp.csr_array(np.zeros(shape, dtype=np.float32))
    done = run(tmp_path, incidence, np.ones((6, 4), dtype=np.float32))
    assert done["similarity"]["relationships"] == 0
    assert done["components"] == {"components": 6, "largest_component": 1, "start_node": 0}
    assert done["sample"] == {"articles": 3, "relationships": 0}
    assert done["graphsage"] == {
        "trained": False,
        "trained_on": 0,
        "epoch_losses": [],
        "epochs": 0,
        "converged": False,
        "zero_embeddings": 6,
    }
    embeddings = np.load(tmp_path / "graphsage/embeddings.npy")
    assert embeddings.shape == (6, 8)
    assert not embeddings.any()
    # FastRP keeps what an article is by itself.
    projected = np.load(tmp_path / "fastrp/embeddings.npy")
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, rtol=1e-5)
    assert done["lists"]["articles_reached"] == 0


def test_when_the_sample_has_no_relationship_the_whole_graph_is_trained_on(tmp_path: Path) -> None:
    incidence = sp.csr_array(np.array([[1], [1], [0], [0]], dtype=np.float32))
    done = run(tmp_path, incidence, np.eye(4, dtype=np.float32), ratio=0.2)
    assert done["sample"] == {"articles": 1, "relationships": 0}
    assert done["graphsage"]["trained"] is True
    assert done["graphsage"]["trained_on"] == 4


def test_a_single_article_goes_through(tmp_path: Path) -> None:
    done = run(tmp_path, sp.csr_array(np.ones((1, 1), dtype=np.float32)), np.ones((1, 3)))
    assert done["components"]["start_node"] == 0
    assert done["lists"]["articles_reached"] == 1


def test_fastrp_counts_articles_without_neighbours_as_zero_when_they_have_no_influence(
    tmp_path: Path,
) -> None:
    incidence, vectors = corpus()
    run(tmp_path, incidence, vectors)
    (tmp_path / "alone").mkdir()
    done = LocalEngine().fastrp(
        tmp_path / "alone",
        tmp_path / "similarity",
        tmp_path / "vectors.npy",
        FastRpConfig(dimensions=8, self_influence=0.0),
    )
    degrees = np.load(tmp_path / "similarity/degrees.npy")
    assert done == {"dimensions": 8, "zero_embeddings": (degrees == 0).sum()}
    assert done["zero_embeddings"] >= 1


def test_fastrp_refuses_a_vector_that_is_not_a_number(tmp_path: Path) -> None:
    incidence, vectors = corpus()
    run(tmp_path, incidence, vectors)
    vectors[7, 2] = np.nan
    np.save(tmp_path / "vectors.npy", vectors)
    with pytest.raises(TagsageError, match="vector of article 7 holds a value that is not a fin"):
        LocalEngine().fastrp(
            tmp_path, tmp_path / "similarity", tmp_path / "vectors.npy", FastRpConfig()
        )


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
        engine.lists(tmp_path, tmp_path, tmp_path / "gone.npy", LISTS_CONFIG)


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
