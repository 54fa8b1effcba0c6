"""GraphSAGE and FastRP of articles, whose neighbours are found through their lists."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.features import BLOCKS, KnownArticles
from tagsage.features.fitting import fit_block
from tagsage.features.graphsage import GraphSage
from tagsage.graph.compute import EMBEDDINGS_FILE, compute_graph
from tagsage.graph.graphsage.model import infer_graphsage
from tagsage.graph.local import LocalEngine
from tagsage.graph.similarity import jaccard_similarity
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
from tests.graph.conftest import fastrp

GRAPH = jaccard_similarity(corpus().articles.members, top_k=SETTINGS.similarity_top_k)
VECTORS = corpus().articles.vectors


def of_graph(name: str, graph: sp.csr_array) -> np.ndarray:
    """Return a block's features of a whole graph, made without the block."""
    if name == "fastrp":
        return fastrp(graph, VECTORS, dimensions=SETTINGS.fastrp_dimensions, seed=SETTINGS.seed)
    return infer_graphsage(fitted(name)[0].model, graph, VECTORS)


@pytest.mark.parametrize("name", ["graphsage", "fastrp"])
def test_features_of_the_corpus_are_those_of_its_similarity_graph(name: str) -> None:
    block, known = fitted(name)
    marked = known.mark(corpus().articles)
    assert np.array_equal(features(block, marked)[0], of_graph(name, GRAPH))
    # In no list, those of the own vector.
    nobody = sp.csr_array((40, 40), dtype=np.float32)
    assert np.array_equal(features(block, marked.in_no_list())[0], of_graph(name, nobody))


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    """GraphSAGE as a graph engine trains it."""
    folder = tmp_path_factory.mktemp("study")
    compute_graph(LocalEngine(), folder, corpus().articles.members, VECTORS, SETTINGS)
    return folder


def test_a_model_that_an_engine_trained_embeds_as_the_engine_did(study_folder, tmp_path) -> None:
    known, articles = corpus().known(), corpus().articles
    fit_block(tmp_path, "graphsage", articles, known, SETTINGS, LocalRunner(), graph=study_folder)
    block = GraphSage.load(tmp_path / "state")
    embeddings = np.load(study_folder / EMBEDDINGS_FILE)
    assert np.array_equal(features(block, known.mark(articles))[0], embeddings)


def test_embeddings_without_a_model_are_taken_as_they_are_and_averaged_for_new_articles(
    study_folder, tmp_path
) -> None:
    embeddings = np.load(study_folder / EMBEDDINGS_FILE)
    np.save(tmp_path / EMBEDDINGS_FILE, embeddings)
    known = corpus().known()
    marked = known.mark(corpus().articles)
    GraphSage.of_study(marked, SETTINGS, tmp_path).save(tmp_path / "state")
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
    known = KnownArticles.of(articles, *NO_TAGS)
    block = fit("graphsage", articles, known)
    block.save(tmp_path / "state")
    for made in (block, BLOCKS["graphsage"].load(tmp_path / "state")):
        (found,) = features(made, known.mark(articles))
        assert found.shape == (6, 6)
        assert not found.any()
