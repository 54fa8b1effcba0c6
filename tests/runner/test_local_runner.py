"""Functions mapped over partitions, and sums by key."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tagsage.runner import LocalRunner


def count(partition: list[str]) -> pd.Series:
    return pd.Series(partition, dtype=object).value_counts().astype("int64")


def test_results_come_in_the_order_of_the_partitions():
    assert list(LocalRunner().map(sum, [[3], [1, 1], []])) == [3, 2, 0]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=4))
def test_sums_by_key_are_those_of_all_rows_together(partitions):
    sums = LocalRunner().sum_by_key(count, partitions)
    rows = [row for partition in partitions for row in partition]
    assert sums.to_dict() == {key: rows.count(key) for key in sorted(set(rows))}
    assert list(sums.index) == sorted(set(rows))
    assert sums.dtype == "int64"
