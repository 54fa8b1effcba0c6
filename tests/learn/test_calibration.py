from __future__ import annotations

import numpy as np
import pytest

from tagsage.learn.calibration import Calibration, fit_calibration


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_calibration_of_a_worked_example():
    calibrated = Calibration(slope=2.0, intercept=1.0).apply(np.array([[0.5, 0.8]], np.float32))
    # logit(.8) is log(4); 2 log(4) + 1 is 3.77.
    assert calibrated[0].tolist() == pytest.approx([sigmoid(1), sigmoid(2 * np.log(4) + 1)])
    assert calibrated.dtype == np.float32


def test_calibration_leaves_certainties_and_the_order_alone():
    P = np.array([[0, 1e-6, 0.2, 0.9, 1]], dtype=np.float32)
    calibrated = Calibration(slope=0.5, intercept=-3).apply(P)
    assert calibrated[0, [0, 4]].tolist() == [0, 1]
    assert (np.diff(calibrated[0]) > 0).all()


def test_fit_finds_the_scaling_that_was_applied():
    rng = np.random.default_rng(0)
    z = rng.normal(-2, 2, (4000, 5))
    Y = rng.random((4000, 5)) < sigmoid(0.7 * z + 0.5)
    found = fit_calibration(sigmoid(z).astype(np.float32), Y)
    assert found.slope == pytest.approx(0.7, abs=0.04)
    assert found.intercept == pytest.approx(0.5, abs=0.08)
    # What it gives has the right sum: a property of logistic regression.
    assert found.apply(sigmoid(z).astype(np.float32)).sum() == pytest.approx(Y.sum(), rel=1e-3)


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_changed_where_all_or_no_pairs_are_right(right):
    P = np.array([[0.2, 0.7]], dtype=np.float32)
    assert fit_calibration(P, np.full((1, 2), right)) == Calibration()
    assert fit_calibration(P[:0], np.zeros((0, 2), dtype=bool)) == Calibration()


def test_nothing_is_changed_where_higher_scores_are_not_likelier():
    P = np.array([[0.1, 0.9], [0.2, 0.8]], dtype=np.float32)
    assert fit_calibration(P, P < 0.5) == Calibration()
    assert Calibration().apply(P) is P


def test_scores_that_make_no_mistake_have_a_finite_slope():
    P = np.array([[0.1, 0.9], [0.2, 0.8]], dtype=np.float32)
    assert np.isfinite(fit_calibration(P, P > 0.5).slope)
