"""One-hot authors."""

from __future__ import annotations

from tests.features.corpora import FOUR, fit_untagged


def test_an_author_of_two_articles_has_a_column():
    columns, part = fit_untagged("author_ids", FOUR)
    assert columns == ["Ann"]
    assert part.ravel().tolist() == [0.5, 0, 0.5, 0]
