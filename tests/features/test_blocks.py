"""What every block does, and the numbers of each on four articles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer

from tagsage.features import BLOCKS, Articles, load_block
from tagsage.features import articles as articles_module
from tagsage.features.matrix import SPARSE_BLOCKS
from tagsage.runner import LocalRunner
from tagsage.settings import candidates

TEXTS = ["Graph tools graph", "graph games", "tools for tea", ""]
AUTHORS = ["Ann", "Bo", "Ann", ""]
LISTS = [["L1", "L2"], ["L2"], [], ["L3", "L2", "L3"]]


@pytest.fixture
def articles() -> Articles:
    return Articles.of_names(TEXTS, AUTHORS, LISTS)


@pytest.fixture(params=BLOCKS)
def name(request) -> str:
    return request.param


def fit(name: str, articles: Articles):
    return BLOCKS[name].fit(articles, LocalRunner())


def test_blocks_are_those_of_the_settings():
    assert tuple(BLOCKS) == SPARSE_BLOCKS == candidates.SPARSE_BLOCKS


def test_an_article_has_the_same_features_alone_and_among_others(name, articles):
    block = fit(name, articles)
    together = block.transform(articles).toarray()
    for row in range(len(articles)):
        alone = block.transform(articles.take(np.array([row]))).toarray()
        assert np.array_equal(alone[0], together[row])


def test_a_block_read_again_makes_the_same_features(name, articles, tmp_path):
    block = fit(name, articles)
    block.save(tmp_path / "block")
    again = load_block(name, tmp_path / "block")
    assert again.columns.tolist() == block.columns.tolist()
    before, after = (one.transform(articles).toarray() for one in (block, again))
    assert np.array_equal(before, after)


def test_the_state_is_the_same_however_the_articles_are_partitioned(name, articles, monkeypatch):
    whole = fit(name, articles).transform(articles).toarray()
    partitions = articles.partitions
    monkeypatch.setattr(articles_module.Articles, "partitions", lambda self: partitions(1))
    assert np.array_equal(fit(name, articles).transform(articles).toarray(), whole)


def test_what_was_not_there_at_the_fit_has_no_column(name, articles):
    block = fit(name, articles.take(slice(0, 2)))
    new = Articles.of_names(["zebra"], ["Zoe"], [["L9"]])
    assert block.transform(new).nnz == 0


def test_a_block_fitted_on_articles_without_anything_has_no_columns(name):
    nothing = Articles.of_names(["", ""], ["", ""], [[], []])
    assert fit(name, nothing).transform(nothing).shape == (2, 0)


def test_words_are_those_of_two_articles_weighted_as_scikit_learn_does(articles):
    block = fit("words", articles)
    assert block.columns.tolist() == ["graph", "tools"]
    oracle = TfidfVectorizer(sublinear_tf=True, min_df=2)
    assert np.allclose(
        block.transform(articles).toarray(), oracle.fit_transform(TEXTS).toarray(), atol=1e-6
    )


def test_lists_are_weighted_by_idf_to_unit_length(articles):
    X = fit("list_ids", articles).transform(articles).toarray()
    # L1 and L3 hold one article of four, L2 three.
    rare, common = math.log(5 / 2) + 1, math.log(5 / 4) + 1
    length = math.hypot(rare, common)
    both = [rare / length, common / length]
    expected = [[*both, 0], [0, 1, 0], [0, 0, 0], [0, both[1], both[0]]]
    assert np.allclose(X, expected, atol=1e-6)
    ones = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]])
    assert np.allclose(X, TfidfTransformer().fit_transform(ones).toarray(), atol=1e-6)


def test_an_author_of_two_articles_has_a_column(articles):
    block = fit("author_ids", articles)
    assert block.columns.tolist() == ["Ann"]
    assert block.transform(articles).toarray().ravel().tolist() == [0.5, 0, 0.5, 0]
