from __future__ import annotations

import numpy as np
import pytest

from tagsage.features.matrix import FeatureMatrix, unit_blocks, unit_rows


def test_rows_joins_memory_mapped_blocks_of_one_length_as_float32(tmp_path):
    rng = np.random.default_rng(0)
    left, right = rng.random((6, 2), dtype=np.float32), rng.random((6, 3)).astype(np.float16)
    for name, block in (("left", left), ("right", right)):
        np.save(tmp_path / f"{name}.npy", block)
    X = FeatureMatrix([
        np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("left", "right")
    ])
    assert X.in_list.all()
    with pytest.raises(ValueError, match=r"one number of rows, not .*\(6, 2\), \(5, 3\)"):
        FeatureMatrix([left, right[:5]])
    joined = X.rows(np.array([4, 0, 4]))
    assert joined.dtype == np.float32
    assert np.array_equal(joined, np.hstack([left, right]).astype(np.float32)[[4, 0, 4]])


def test_rows_are_those_of_the_articles_asked_for_and_of_no_others():
    block = np.arange(3, dtype=np.float32)[:, None]
    in_list = np.array([False, True, True, False, True, False, True])
    X = FeatureMatrix([block], in_list=in_list, articles=np.array([1, 4, 5]))
    assert X.rows(np.array([5, 1])).tolist() == [[2], [0]]
    assert X.dense_part().sparse_rows(np.array([4])).toarray().tolist() == [[1]]
    for unmade in (0, 2, 6):
        with pytest.raises(ValueError, match="not made"):
            X.rows(np.array([1, unmade]))


def test_list_free_features_are_those_of_an_article_in_no_list():
    blocks = [np.full((3, width), width, dtype=np.float32) for width in (1, 2, 3)]
    in_list = np.array([True, False, True])
    X = FeatureMatrix(blocks, kinds=["text", "lists", "authors"], in_list=in_list)
    own = X.list_free()
    assert own.kinds == ("text", "authors")
    assert own.block_widths == (1, 3)
    assert own.in_list is in_list
    assert FeatureMatrix(blocks[:1], kinds=["lists"]).list_free() is None
    assert [X.needs_lists, own.needs_lists] == [True, False]


def test_unit_rows_scales_rows_of_some_blocks_and_leaves_zeros():
    features = np.array([[3, 4, 7, 0, 5], [0, 0, -2, 0, -6]], dtype=np.float32)
    scaled = unit_rows(features, [2, 1, 2], [True, False, True])
    assert scaled is features
    expected = np.array([[0.6, 0.8, 7, 0, 1], [0, 0, -2, 0, -1]])
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_neither_single_columns_nor_memberships_are_scaled():
    blocks = [np.zeros((1, width), dtype=np.float32) for width in (2, 1, 3)]
    X = FeatureMatrix(blocks, kinds=["text", "labels", "memberships"])
    assert unit_blocks(X) == [True, False, False]
