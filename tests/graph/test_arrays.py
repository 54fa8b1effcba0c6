"""Arrays that may be larger than memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagsage.errors import TagsageError
from tagsage.graph import arrays
from tagsage.graph.arrays import (
    check_vectors,
    fixed_product,
    load_array,
    take_rows,
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "ROW_BLOCK", 3)


@pytest.mark.parametrize("limit", [0, 10**6])
def test_taken_rows_are_those_asked_for_in_memory_or_in_a_file(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MEMORY_NUMBERS", limit)
    array = np.arange(20, dtype=np.float16).reshape(10, 2)
    rows = np.array([9, 0, 0, 4, 2])
    taken = take_rows(array, rows)
    assert taken.dtype == np.float32
    assert isinstance(taken, np.memmap) == (limit == 0)
    np.testing.assert_array_equal(taken, array[rows])
    assert take_rows(array, rows[:0]).shape == (0, 2)


@pytest.mark.parametrize("content", [None, b"", b"no array"])
def test_a_file_that_is_no_array_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "broken.npy"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TagsageError, match=r"Cannot read the array .*broken\.npy .*run the stage"):
        load_array(file)


def test_vectors_of_other_articles_or_with_no_numbers_are_refused() -> None:
    vectors = np.ones((8, 5), dtype=np.float32)
    check_vectors(vectors, 8)
    with pytest.raises(TagsageError, match=r"vectors of shape \(8, 5\) for 9 articles"):
        check_vectors(vectors, 9)
    vectors[6, 2] = np.nan
    with pytest.raises(TagsageError, match="vector of article 6 holds a value that is not"):
        check_vectors(vectors, 8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_row_has_the_same_product_alone_and_among_others(dtype: type) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(101, 300)).astype(dtype)
    matrix = random.normal(size=(300, 70)).astype(np.float32)
    whole = fixed_product(rows, matrix)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, rows.astype(float) @ matrix, rtol=1e-4, atol=1e-4)
    for some in (np.array([0]), np.array([100, 3, 3, 50]), random.permutation(101)):
        assert np.array_equal(fixed_product(rows[some], matrix), whole[some])
    assert fixed_product(rows[:0], matrix).shape == (0, 70)
