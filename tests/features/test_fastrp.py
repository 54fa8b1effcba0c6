"""FastRP of articles, whose neighbours are found through their lists."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tagsage.features import Known
from tagsage.features.fastrp import FastRp
from tagsage.graph.fastrp import fastrp
from tagsage.graph.similarity import jaccard_similarity
from tests.features.corpora import NO_TAGS, articles_in, corpus, features, fit, fitted


def test_fastrp_of_the_corpus_is_that_of_its_similarity_graph() -> None:
    block, known = fitted("fastrp")
    assert isinstance(block, FastRp)
    (found,) = features(block, known.mark(corpus().articles))
    graph = jaccard_similarity(corpus().articles.members)
    assert np.array_equal(found, fastrp(graph, corpus().articles.vectors, block.config))


def test_an_article_in_no_list_has_the_embedding_of_its_own_vector() -> None:
    nobody = sp.csr_array((40, 40), dtype=np.float32)
    block, known = fitted("fastrp")
    (found,) = features(block, known.mark(corpus().articles).in_no_list())
    assert np.array_equal(found, fastrp(nobody, corpus().articles.vectors, block.config))


def test_articles_in_one_list_are_nearer_to_each_other_than_to_others() -> None:
    random = np.random.default_rng(0)
    group = np.repeat([0, 1], 15)
    vectors = random.normal(size=(30, 8)).astype(np.float32)
    articles = articles_in(np.eye(2)[group], vectors)
    known = Known.of(articles, *NO_TAGS)
    (found,) = features(fit("fastrp", articles, known), known.mark(articles))
    likeness = found @ found.T
    same = group[:, None] == group
    assert likeness[same].mean() > likeness[~same].mean() + 0.5
