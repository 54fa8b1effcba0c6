from __future__ import annotations

import numpy as np
import pytest

from tagsage import settings
from tagsage.features.matrix import (
    BLOCKS,
    FeatureMatrix,
    blocks_of,
    needs_lists,
    own_feature_set,
    row_blocks,
    unit_blocks,
    unit_rows,
)


def test_rows_joins_memory_mapped_blocks_as_float32(tmp_path):
    rng = np.random.default_rng(0)
    left, right = rng.random((6, 2), dtype=np.float32), rng.random((6, 3)).astype(np.float16)
    for name, block in (("left", left), ("right", right)):
        np.save(tmp_path / f"{name}.npy", block)
    X = FeatureMatrix([
        np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("left", "right")
    ])
    assert X.shape == (6, 5)
    assert len(X) == 6
    assert X.block_widths == (2, 3)
    joined = X.rows(np.array([4, 0, 4]))
    assert joined.dtype == np.float32
    assert np.array_equal(joined, np.hstack([left, right]).astype(np.float32)[[4, 0, 4]])


def test_feature_matrix_refuses_blocks_of_different_length_and_none():
    with pytest.raises(ValueError, match=r"one number of rows, not \[\(2, 1\), \(3, 1\)\]"):
        FeatureMatrix([np.zeros((2, 1)), np.zeros((3, 1))])
    with pytest.raises(ValueError, match="at least one block"):
        FeatureMatrix([])


def test_blocks_are_those_of_the_settings():
    assert settings.BLOCKS == BLOCKS


def test_feature_set_joins_the_blocks_that_it_names():
    assert blocks_of("text+lists+labels") == ("text", "lists", "labels")
    for wrong in ("", "txt", "text+text", "text+", "text, lists"):
        with pytest.raises(ValueError, match="is not made of some of words, "):
            blocks_of(wrong)


def test_feature_set_needs_lists_unless_an_article_in_none_has_all_its_blocks():
    assert [needs_lists(name) for name in ("text", "text+authors")] == [False, False]
    assert [needs_lists(name) for name in ("lists", "text+memberships", "fastrp")] == [True] * 3


def test_own_features_are_those_of_an_article_in_no_list():
    blocks = [np.full((3, width), width, dtype=np.float32) for width in (1, 2, 3)]
    linked = np.array([True, False, True])
    X = FeatureMatrix(blocks, kinds=["text", "lists", "authors"], in_list=linked)
    own = X.list_free()
    assert own.kinds == ("text", "authors")
    assert own.block_widths == (1, 3)
    assert own.linked is linked
    assert FeatureMatrix(blocks[:1], kinds=["lists"]).list_free() is None
    assert not X.unlinked().linked.any()
    assert all(map(np.shares_memory, X.unlinked().blocks, X.blocks))


def test_feature_matrix_takes_all_articles_for_linked_unless_told():
    assert FeatureMatrix([np.zeros((2, 1))]).linked.tolist() == [True, True]
    with pytest.raises(ValueError, match=r"one flag an article, not \(3,\)"):
        FeatureMatrix([np.zeros((2, 1))], in_list=np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="1 blocks need as many kinds, not 2"):
        FeatureMatrix([np.zeros((2, 1))], kinds=["text", "lists"])


def test_row_blocks_cover_the_rows_in_order():
    rows = np.array([5, 3, 9, 1, 7])
    parts = list(row_blocks(rows, 2))
    assert [block.tolist() for _, block in parts] == [[5, 3], [9, 1], [7]]
    assert [rows[part].tolist() for part, _ in parts] == [[5, 3], [9, 1], [7]]


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


def test_own_feature_set_is_what_an_article_in_no_list_has():
    assert own_feature_set("text+lists+authors") == "text+authors"
    assert own_feature_set("lists+memberships") == ""
