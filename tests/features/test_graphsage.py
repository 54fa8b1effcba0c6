"""GraphSAGE of articles, whose neighbours are found through their lists."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.features import BLOCKS, Known
from tagsage.features.graphsage import GraphSage, graphsage_config
from tagsage.graph.base import EMBEDDINGS_FILE, MODEL_FOLDER, SampleConfig
from tagsage.graph.graphsage.infer import infer_graphsage
from tagsage.graph.local import LocalEngine
from tagsage.graph.similarity import SimilarityConfig, jaccard_similarity
from tagsage.runner import LocalRunner
from tests.features.corpora import (
    NO_TAGS,
    SETTINGS,
    articles_in,
    corpus,
    features,
    fit,
    fitted,
    unseen,
)

GRAPH = jaccard_similarity(corpus().articles.members)
VECTORS = corpus().articles.vectors


def test_graphsage_of_the_corpus_is_that_of_its_similarity_graph() -> None:
    block, known = fitted("graphsage")
    assert isinstance(block, GraphSage)
    assert block.model is not None
    expected = infer_graphsage(block.model, GRAPH, VECTORS, seed=SETTINGS.seed)
    (found,) = features(block, known.mark(corpus().articles))
    assert np.array_equal(found, expected)


def test_an_article_in_no_list_has_the_embedding_of_its_own_vector() -> None:
    nobody = sp.csr_array((40, 40), dtype=np.float32)
    block, known = fitted("graphsage")
    (found,) = features(block, known.mark(corpus().articles).in_no_list())
    expected = infer_graphsage(block.model, nobody, VECTORS, seed=SETTINGS.seed)
    assert np.array_equal(found, expected)


@pytest.fixture(scope="module")
def engine_folder(tmp_path_factory):
    """GraphSAGE as a graph engine trains it."""
    base = tmp_path_factory.mktemp("engine")
    folders = {name: base / name for name in ("projection", "similarity", "sample", "graphsage")}
    for folder in folders.values():
        folder.mkdir()
    np.save(base / "vectors.npy", VECTORS)
    engine = LocalEngine()
    keys = [f"x.example/{number}" for number in range(40)]
    engine.project(folders["projection"], corpus().articles.members, keys=keys, vector_property="")
    engine.similarity(folders["similarity"], folders["projection"], SimilarityConfig())
    engine.sample(folders["sample"], folders["similarity"], 4, SampleConfig(ratio=0.5))
    engine.graphsage(
        folders["graphsage"],
        folders["similarity"],
        folders["sample"],
        base / "vectors.npy",
        graphsage_config(SETTINGS),
    )
    return folders["graphsage"]


def test_a_model_that_an_engine_trained_embeds_as_the_engine_did(engine_folder) -> None:
    known = corpus().known()
    marked = known.mark(corpus().articles)
    block = GraphSage.fit(marked, SETTINGS, LocalRunner(), trained=engine_folder)
    embeddings = np.load(engine_folder / EMBEDDINGS_FILE)
    assert np.array_equal(features(block, marked)[0], embeddings)


def test_embeddings_without_a_model_are_taken_as_they_are_and_averaged_for_new_articles(
    engine_folder, tmp_path
) -> None:
    embeddings = np.load(engine_folder / EMBEDDINGS_FILE)
    np.save(tmp_path / EMBEDDINGS_FILE, embeddings)
    assert not (tmp_path / MODEL_FOLDER).exists()
    known = corpus().known()
    marked = known.mark(corpus().articles)
    GraphSage.fit(marked, SETTINGS, LocalRunner(), trained=tmp_path).save(tmp_path / "state")
    block = BLOCKS["graphsage"].load(tmp_path / "state")
    assert np.array_equal(features(block, marked)[0], embeddings)
    strangers = known.mark(unseen(corpus().articles, keys=[""] * 40))
    (found,) = features(block, strangers)
    for row in range(40):
        lists = corpus().articles.members[[row]].toarray() > 0
        neighbours = (corpus().articles.members.toarray() * lists).any(axis=1)
        if not neighbours.any():
            assert not found[row].any()
        elif neighbours.sum() <= 10:
            mean = embeddings[neighbours].sum(axis=0)
            np.testing.assert_allclose(found[row], mean / np.linalg.norm(mean), atol=1e-5)
        assert np.linalg.norm(found[row]) == pytest.approx(float(neighbours.any()), abs=1e-5)


def test_where_no_two_articles_share_a_list_graphsage_is_zeros(tmp_path) -> None:
    articles = articles_in(np.eye(6), np.ones((6, 4), dtype=np.float32))
    known = Known.of(articles, *NO_TAGS)
    block = fit("graphsage", articles, known)
    block.save(tmp_path / "state")
    for made in (block, BLOCKS["graphsage"].load(tmp_path / "state")):
        (found,) = features(made, known.mark(articles))
        assert found.shape == (6, 6)
        assert not found.any()
