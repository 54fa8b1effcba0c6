"""Counts in bands."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from tagsage.evaluate import bands as module
from tagsage.evaluate.bands import bands


def test_counts_fall_into_bands_that_name_their_first_and_last_number():
    found = bands(np.array([0, 1, 2, 3, 4, 10, 11, 999]), (0, 1, 3, 10))
    assert list(found) == ["0", "1", "2-3", "2-3", "4-10", "4-10", ">10", ">10"]
    assert found.categories.tolist() == ["0", "1", "2-3", "4-10", ">10"]
    assert found.ordered


def test_bands_without_counts_are_there_and_counts_below_the_first_are_in_none():
    found = bands(np.array([0, 7]), (4, 9), lowest=1)
    assert found.categories.tolist() == ["1-4", "5-9", ">9"]
    assert found.codes.tolist() == [-1, 1]
    assert bands(np.array([], dtype=np.int64), (0,)).categories.tolist() == ["0", ">0"]


@pytest.mark.parametrize("limits", [(), (3, 3), (4, 2), (0, 2)])
def test_limits_that_do_not_ascend_are_refused(limits):
    with pytest.raises(ValueError, match="limits must ascend from 1, not"):
        bands(np.array([1]), limits, lowest=1)


def test_example_of_the_docstring_is_true():
    assert doctest.testmod(module) == (0, 1)
