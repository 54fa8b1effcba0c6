"""What every runner promises: results in the order of partitions, and sums by key."""

from __future__ import annotations

import sys

import cloudpickle
import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tagsage.runner import LocalRunner

# Executors can't import the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def count(partition: list[str] | np.ndarray) -> pd.Series:
    return pd.Series(partition).value_counts().astype("int64")


def test_results_come_in_the_order_of_the_partitions(runner):
    assert list(runner.map(sum, [[3], [1, 1], []])) == [3, 2, 0]


def test_without_partitions_there_are_no_results(runner):
    assert list(runner.map(sum, [])) == []
    assert len(runner.sum_by_key(count, [])) == 0


def test_partitions_and_what_the_function_holds_are_arrays_of_any_kind_and_size(runner, tmp_path):
    np.save(tmp_path / "mapped.npy", np.arange(60_000, dtype=np.float32).reshape(30_000, 2))
    mapped = np.load(tmp_path / "mapped.npy", mmap_mode="r")
    names = np.array([f"name {number}" for number in range(30_000)], dtype=object)
    weights = np.arange(30_000)
    partitions = [(mapped[start : start + 20_000], names, start) for start in (0, 20_000)]

    def ends(partition):
        rows, known, start = partition
        return rows[-1].tolist(), known[start], rows * weights[: len(rows), None]

    (last, name, product), (last2, name2, product2) = runner.map(ends, partitions)
    assert (last, last2) == ([39_998, 39_999], [59_998, 59_999])
    assert (name, name2) == ("name 0", "name 20000")
    assert np.array_equal(product, mapped[:20_000] * weights[:20_000, None])
    assert np.array_equal(product2, mapped[20_000:] * weights[:10_000, None])


def test_texts_are_summed(runner):
    sums = runner.sum_by_key(count, [["b", "é", "b"], ["a", "b"]])
    assert list(sums.items()) == [("a", 1), ("b", 3), ("é", 1)]
    assert sums.dtype == "int64"


def test_numbers_of_64_bits_are_summed(runner):
    numbers = np.array([0, 5, 2**63, 2**64 - 1], dtype=np.uint64)
    sums = runner.sum_by_key(count, [numbers, numbers[:3], numbers[3:]])
    assert list(sums.items()) == [(0, 2), (5, 2), (2**63, 2), (2**64 - 1, 2)]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=4))
def test_sums_by_key_are_those_of_all_rows_together(partitions):
    sums = LocalRunner().sum_by_key(count, partitions)
    rows = [row for partition in partitions for row in partition]
    assert sums.to_dict() == {key: rows.count(key) for key in sorted(set(rows))}
    assert list(sums.index) == sorted(set(rows))
    assert sums.dtype == "int64"
