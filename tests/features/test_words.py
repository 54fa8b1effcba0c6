"""Words by TF-IDF."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.features.corpora import FOUR, fit_untagged


def test_words_are_those_of_two_articles_weighted_as_scikit_learn_does():
    columns, part = fit_untagged("words", FOUR)
    assert columns == ["graph", "tools"]
    oracle = TfidfVectorizer(sublinear_tf=True, min_df=2)
    np.testing.assert_allclose(part, oracle.fit_transform(FOUR.texts).toarray(), atol=1e-6)
