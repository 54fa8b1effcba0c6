from __future__ import annotations

import numpy as np
import pytest

from tagsage import settings
from tagsage.learn.features import FEATURE_SETS, FeatureMatrix, row_blocks, unit_rows


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


def test_feature_sets_are_those_of_the_settings_and_join_what_their_names_say():
    assert tuple(FEATURE_SETS) == settings.FEATURE_SETS
    assert all("+".join(blocks) == name for name, blocks in FEATURE_SETS.items())


def test_row_blocks_cover_the_rows_in_order():
    rows = np.array([5, 3, 9, 1, 7])
    parts = list(row_blocks(rows, 2))
    assert [block.tolist() for _, block in parts] == [[5, 3], [9, 1], [7]]
    assert [rows[part].tolist() for part, _ in parts] == [[5, 3], [9, 1], [7]]


def test_unit_rows_scales_each_blocks_rows_and_leaves_zeros_and_single_columns():
    features = np.array([[3, 4, 7, 0, 5], [0, 0, -2, 0, -6]], dtype=np.float32)
    scaled = unit_rows(features, [2, 1, 2])
    assert scaled is features
    expected = np.array([[0.6, 0.8, 7, 0, 1], [0, 0, -2, 0, -1]])
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
