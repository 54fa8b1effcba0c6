from __future__ import annotations

import numpy as np
import pytest

from tagsage.learn import split as split_module
from tagsage.learn.split import (
    rows_since,
    split_by_family,
    split_by_time,
    stratified_split,
)


def labels(n: int, shares: list[float], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, len(shares))) < np.array(shares)


def assert_partition(split, n: int) -> None:
    assert np.array_equal(np.sort(np.concatenate([split.train, split.test])), np.arange(n))
    assert np.array_equal(split.train, np.sort(split.train))
    assert np.array_equal(split.test, np.sort(split.test))


def test_split_keeps_the_share_of_every_tag():
    Y = labels(2000, [0.4, 0.1, 0.02])
    split = stratified_split(Y, test_share=0.2, seed=1)
    assert_partition(split, 2000)
    assert abs(len(split.test) - 400) <= 4
    assert np.all(np.abs(Y[split.test].sum(axis=0) - 0.2 * Y.sum(axis=0)) <= 1.5)


def test_split_with_the_same_seed_is_the_same_and_with_another_differs():
    Y = labels(300, [0.3, 0.2])
    first, again, other = (stratified_split(Y, test_share=0.2, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


@pytest.mark.parametrize(
    "Y",
    [
        np.ones((10, 1), dtype=bool),
        np.ones((10, 3), dtype=bool),
        np.zeros((10, 2), dtype=bool),
        np.eye(5, dtype=bool),
        np.ones((2, 1), dtype=bool),
        np.array([[True, False], [False, True]]),
        labels(3, [0.5] * 40),
    ],
    ids=["one tag", "all equal", "no tag", "own tag each", "two rows", "two tags", "few rows"],
)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.99])
def test_split_of_degenerate_labels_leaves_no_part_empty(Y, share):
    split = stratified_split(Y, test_share=share, seed=0)
    assert_partition(split, len(Y))
    assert len(split.train)
    assert len(split.test)


def test_split_of_a_single_row_trains_on_it():
    split = stratified_split(np.ones((1, 2), dtype=bool), test_share=0.2, seed=0)
    assert split.train.tolist() == [0]
    assert split.test.tolist() == []


def test_split_of_very_many_rows_is_shuffled_and_cut(monkeypatch):
    monkeypatch.setattr(split_module, "MAX_STRATIFIED_ROWS", 100)
    split = stratified_split(labels(1000, [0.5]), test_share=0.2, seed=0)
    assert_partition(split, 1000)
    assert len(split.test) == 200


def moments(*days: str) -> np.ndarray:
    return np.array(days, dtype="datetime64[s]")


def test_split_by_time_holds_out_the_latest():
    dates = moments("2020-03-01", "2020-01-01", "2020-05-01", "2020-02-01", "2020-04-01")
    split = split_by_time(dates, test_share=0.4)
    assert split.test.tolist() == [2, 4]
    assert split.train.tolist() == [0, 1, 3]
    assert dates[split.train].max() < dates[split.test].min()


def test_split_by_time_keeps_unknown_dates_and_equal_moments_together():
    # 1990-01-01 stands for an unknown date.
    dates = moments("1990-01-01", "2020-01-01", "2020-01-02", "2020-01-02", "2020-01-02")
    split = split_by_time(dates, test_share=0.25)
    assert split.test.tolist() == [2, 3, 4]
    assert split.train.tolist() == [0, 1]


def test_split_by_time_takes_at_least_the_last_moment_and_leaves_at_least_the_first():
    dates = moments("2020-01-01", "2020-01-02")
    for share in (0.01, 0.99):
        assert split_by_time(dates, test_share=share).test.tolist() == [1]


def test_split_by_time_does_not_hold_out_rows_without_a_date_whatever_the_others():
    dates = moments("1970-01-01", "1990-01-01", "1980-01-01", "1988-01-01", "1990-01-01")
    assert split_by_time(dates, test_share=0.5).test.tolist() == [3]


@pytest.mark.parametrize("days", [[], ["2020-01-01"], ["1990-01-01"] * 3, ["2020-01-01"] * 3])
def test_split_by_time_of_dates_that_do_not_differ_is_none(days):
    assert split_by_time(moments(*days), test_share=0.2) is None


def test_rows_since_a_moment_have_a_known_date_that_is_not_before_it():
    dates = moments("1990-01-01", "1980-01-01", "1985-01-01", "1990-01-02")
    assert rows_since(dates, np.datetime64("1985-01-01")).tolist() == [2, 3]


def test_a_split_by_family_divides_none_and_keeps_about_the_share_of_every_tag():
    random = np.random.default_rng(4)
    families = random.integers(0, 600, 2000) * 10
    # Articles of a family are alike.
    Y = (random.random((600, 3)) < [0.4, 0.1, 0.05])[families // 10]
    Y |= random.random(Y.shape) < 0.02
    split = split_by_family(Y, families, test_share=0.2, seed=1)
    assert_partition(split, 2000)
    assert not np.isin(families[split.test], families[split.train]).any()
    assert abs(len(split.test) - 400) < 40
    shares = Y[split.test].sum(axis=0) / Y.sum(axis=0)
    assert np.all(np.abs(shares - 0.2) < 0.05)
    again = split_by_family(Y, families, test_share=0.2, seed=1)
    assert np.array_equal(split.test, again.test)


def test_one_family_can_not_be_split():
    assert split_by_family(labels(5, [0.5]), np.full(5, 3), test_share=0.2, seed=0) is None
