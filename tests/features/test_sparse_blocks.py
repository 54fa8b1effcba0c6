"""Words, lists and authors, one column each, on four articles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer

from tagsage.features import Articles, Known
from tests.features.corpora import features, fit

TEXTS = ["Graph tools graph", "graph games", "tools for tea", ""]
AUTHORS = ["Ann", "Bo", "Ann", ""]
LISTS = [["L1", "L2"], ["L2"], [], ["L3", "L2", "L3"]]
NO_TAGS = np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=bool)


def articles_of(texts: list[str], authors: list[str], lists: list[list[str]]) -> Articles:
    keys = [f"x.example/{number}" for number in range(len(texts))]
    return Articles.of_names(texts, authors, lists, keys=keys)


@pytest.fixture
def articles() -> Articles:
    return articles_of(TEXTS, AUTHORS, LISTS)


def fit_on(name: str, articles: Articles):
    """Return the fitted block, its columns' names, and its features of the articles."""
    known = Known.of(articles, *NO_TAGS)
    block = fit(name, articles, known)
    (part,) = features(block, known.mark(articles))
    return block, block.columns(known).tolist(), part


@pytest.mark.parametrize("name", ["words", "list_ids", "author_ids"])
def test_what_was_not_there_at_the_fit_says_nothing(name, articles):
    known = Known.of(articles.take(slice(0, 2)), *NO_TAGS)
    block = fit(name, articles.take(slice(0, 2)), known)
    new = known.mark(articles_of(["zebra"], ["Zoe"], [["L9"]]))
    (part,) = features(block, new)
    assert not part.any()


@pytest.mark.parametrize("name", ["words", "list_ids", "author_ids"])
def test_a_block_fitted_on_articles_without_anything_has_no_columns(name):
    _, columns, part = fit_on(name, articles_of(["", ""], ["", ""], [[], []]))
    assert columns == []
    assert part.shape == (2, 0)


def test_words_are_those_of_two_articles_weighted_as_scikit_learn_does(articles):
    _, columns, part = fit_on("words", articles)
    assert columns == ["graph", "tools"]
    oracle = TfidfVectorizer(sublinear_tf=True, min_df=2)
    np.testing.assert_allclose(part, oracle.fit_transform(TEXTS).toarray(), atol=1e-6)


def test_lists_are_weighted_by_idf_to_unit_length(articles):
    _, columns, part = fit_on("list_ids", articles)
    assert columns == ["L1", "L2", "L3"]
    # L1 and L3 hold one article of four, L2 three.
    rare, common = math.log(5 / 2) + 1, math.log(5 / 4) + 1
    length = math.hypot(rare, common)
    both = [rare / length, common / length]
    expected = [[*both, 0], [0, 1, 0], [0, 0, 0], [0, both[1], both[0]]]
    np.testing.assert_allclose(part, expected, atol=1e-6)
    ones = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]])
    np.testing.assert_allclose(part, TfidfTransformer().fit_transform(ones).toarray(), atol=1e-6)


def test_a_list_that_holds_hidden_articles_alone_weighs_nothing(articles):
    known = Known.of(articles, *NO_TAGS, hidden=np.array([3]))
    (part,) = features(fit("list_ids", articles, known), known.mark(articles))
    assert part[3].tolist() == [0, 1, 0]


def test_an_author_of_two_articles_has_a_column(articles):
    _, columns, part = fit_on("author_ids", articles)
    assert columns == ["Ann"]
    assert part.ravel().tolist() == [0.5, 0, 0.5, 0]
