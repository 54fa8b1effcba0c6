"""One-hot lists."""

from __future__ import annotations

import math

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer

from tagsage.features import Known
from tests.features.corpora import FOUR, NO_TAGS, features, fit, fit_untagged


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


def test_a_list_that_holds_hidden_articles_alone_weighs_nothing():
    known = Known.of(FOUR, *NO_TAGS, hidden=np.array([3]))
    (part,) = features(fit("list_ids", FOUR, known), known.mark(FOUR))
    assert part[3].tolist() == [0, 1, 0]
