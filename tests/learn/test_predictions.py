from __future__ import annotations

import numpy as np
import pytest

from tagsage.learn.predictions import top_tags

P = np.array([[0.2, 0.9, 0.2], [0.5, 0.5, 0.7]], dtype=np.float32)


def test_top_tags_are_best_first_ties_in_the_order_of_the_tags():
    frame = top_tags(P, P >= 0.5, tags=["a", "b", "c"], k=2, rows=np.array([7, 3]))
    assert frame["row"].tolist() == [7, 7, 3, 3]
    assert frame["tag"].tolist() == ["b", "a", "c", "a"]
    assert frame["score"].tolist() == [np.float32(s) for s in (0.9, 0.2, 0.7, 0.5)]
    assert frame["assigned"].tolist() == [True, False, True, True]
    assert frame["score"].dtype == np.float32
    assert frame["assigned"].dtype == np.bool_


def test_top_tags_hold_an_assigned_tag_that_is_less_likely():
    assigned = np.array([[True, False, False], [False, False, False]])
    frame = top_tags(P, assigned, tags=["a", "b", "c"], k=2)
    assert frame["tag"].tolist() == ["b", "a", "c", "a"]
    assert frame["assigned"].tolist() == [False, True, False, False]
    assert top_tags(P, assigned, tags=["a", "b", "c"], k=1)["tag"].tolist() == ["a", "c"]


def test_top_tags_of_fewer_tags_than_wanted_are_all_of_them():
    frame = top_tags(P, P >= 0.5, tags=["a", "b", "c"], k=20)
    assert frame["row"].tolist() == [0, 0, 0, 1, 1, 1]


def test_top_tags_of_no_article_is_an_empty_frame():
    frame = top_tags(P[:0], P[:0] >= 0.5, tags=["a", "b", "c"], k=2)
    assert list(frame.columns) == ["row", "tag", "score", "assigned"]
    assert frame.empty


def test_top_tags_agrees_with_sorting_article_by_article():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (40, 6)).astype(np.float32) / 4
    tags = list("abcdef")
    frame = top_tags(scores, scores >= 0.5, tags=tags, k=4)
    expected = [
        (row, tag, own[tags.index(tag)], own[tags.index(tag)] >= 0.5)
        for row, own in enumerate(scores)
        for tag in sorted(tags, key=lambda tag: (-own[tags.index(tag)], tag))[:4]
    ]
    assert list(frame.itertuples(index=False, name=None)) == expected


def test_top_tags_refuses_other_tags_and_no_tag():
    with pytest.raises(ValueError, match="P has 3 columns, but there are 2 tags"):
        top_tags(P, P >= 0.5, tags=["a", "b"], k=2)
    with pytest.raises(ValueError, match="k=0 must be at least 1"):
        top_tags(P, P >= 0.5, tags=["a", "b", "c"], k=0)
