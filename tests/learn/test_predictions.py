from __future__ import annotations

import numpy as np

from tagsage.learn.predictions import missing_tags, top_tags

P = np.array([[0.2, 0.9, 0.2], [0.5, 0.5, 0.7]], dtype=np.float32)


def test_top_tags_are_best_first_ties_in_the_order_of_the_tags():
    frame = top_tags(P, P >= 0.6, P / 2, tags=["a", "b", "c"], k=2, rows=np.array([7, 3]))
    assert frame["row"].tolist() == [7, 7, 3, 3]
    assert frame["tag"].tolist() == ["b", "a", "c", "a"]
    assert frame["score"].tolist() == [np.float32(s) for s in (0.9, 0.2, 0.7, 0.5)]
    assert frame["assigned"].tolist() == [True, False, True, False]
    assert frame["score"].dtype == np.float32
    assert frame["assigned"].dtype == np.bool_


def test_top_tags_of_no_article_is_an_empty_frame():
    frame = top_tags(P[:0], P[:0] >= 0.5, P[:0] / 2, tags=["a", "b", "c"], k=2, rows=np.arange(0))
    assert list(frame.columns) == ["row", "tag", "score", "assigned", "threshold"]
    assert frame.empty


def test_top_tags_agrees_with_sorting_article_by_article():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (40, 6)).astype(np.float32) / 4
    assigned = rng.random(scores.shape) < 0.2
    tags = list("abcdef")
    frame = top_tags(scores, assigned, scores / 2, tags=tags, k=4, rows=np.arange(40))
    expected = []
    for row, own in enumerate(scores):
        ranked = sorted(tags, key=lambda tag: (-own[tags.index(tag)], tag))
        expected += [
            (row, tag, score := own[tags.index(tag)], assigned[row, tags.index(tag)], score / 2)
            for place, tag in enumerate(ranked)
            if place < 4 or assigned[row, tags.index(tag)]
        ]
    assert list(frame.itertuples(index=False, name=None)) == expected


def test_missing_tags_are_assigned_sure_and_not_there():
    scores = np.array([[0.9, 0.8, 0.95, 0.4], [0.7, 0.99, 0.1, 0.6]], dtype=np.float32)
    assigned = np.array([[1, 1, 1, 1], [0, 1, 0, 1]], dtype=np.bool_)
    known = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], dtype=np.bool_)
    frame = missing_tags(
        scores, assigned, known, tags=list("abcd"), min_score=0.6, rows=np.array([8, 5])
    )
    # Of the first, c is there and d below 0.6; of the second, a is not assigned, b is there.
    assert list(frame.itertuples(index=False, name=None)) == [
        (8, "a", np.float32(0.9)),
        (8, "b", np.float32(0.8)),
        (5, "d", np.float32(0.6)),
    ]
    none = missing_tags(
        scores, assigned, ~known | True, tags=list("abcd"), min_score=0, rows=np.arange(2)
    )
    assert (none.columns.tolist(), len(none)) == (["row", "tag", "score"], 0)
