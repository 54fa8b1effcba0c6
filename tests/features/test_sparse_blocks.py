"""Words, lists and authors with a column each, beside scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer

from tagsage.features import BLOCKS, Articles, KnownArticles
from tests.features.corpora import FOUR, NO_TAGS, features, fit, fit_untagged

SPARSE = [name for name, block in BLOCKS.items() if block.sparse]


def test_words_are_those_of_two_articles_weighted_as_scikit_learn_does():
    columns, part = fit_untagged("words", FOUR)
    assert columns == ["graph", "tools"]
    oracle = TfidfVectorizer(sublinear_tf=True, min_df=2)
    np.testing.assert_allclose(part, oracle.fit_transform(FOUR.texts).toarray(), atol=1e-6)


def test_an_author_of_two_articles_has_a_column():
    columns, part = fit_untagged("author_ids", FOUR)
    assert columns == ["Ann"]
    assert part.ravel().tolist() == [0.5, 0, 0.5, 0]


def test_lists_are_weighted_by_idf_to_unit_length():
    columns, part = fit_untagged("list_ids", FOUR)
    assert columns == ["L1", "L2", "L3"]
    # L1 and L3 hold one article of four, L2 three.
    rare, common = math.log(5 / 2) + 1, math.log(5 / 4) + 1
    length = math.hypot(rare, common)
    both = [rare / length, common / length]
    expected = [[*both, 0], [0, 1, 0], [0, 0, 0], [0, both[1], both[0]]]
    np.testing.assert_allclose(part, expected, atol=1e-6)
    ones = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]])
    np.testing.assert_allclose(part, TfidfTransformer().fit_transform(ones).toarray(), atol=1e-6)


# No character n-gram is in enough of the four articles.
@pytest.mark.parametrize("name", [name for name in SPARSE if name != "char_ngrams"])
def test_what_was_not_there_at_the_fit_says_nothing(name):
    known = KnownArticles.of(FOUR, *NO_TAGS)
    new = Articles.of_names(["zebra"], ["Zoe"], [["L9"]], keys=["x.example/9"])
    (part,) = features(fit(name, FOUR, known), known.mark(new))
    assert part.shape[1] > 0
    assert not part.any()


@pytest.mark.parametrize("name", SPARSE)
def test_a_block_fitted_on_articles_without_anything_has_no_columns(name):
    nothing = Articles.of_names(["", ""], ["", ""], [[], []], keys=["x.example/1", "x.example/2"])
    known = KnownArticles.of(nothing, *NO_TAGS)
    (part,) = features(fit(name, nothing, known), known.mark(nothing))
    assert part.shape == (2, 0)
