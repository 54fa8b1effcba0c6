from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from tagsage.learn.calibration import Calibration, fit_calibration


def test_calibration_of_a_worked_example():
    calibration = Calibration(a=2.0, b=0.5, intercepts=np.array([1.0, -1.0]))
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    P = np.array([[0.5, 0.8]], dtype=np.float32)
    for some in (calibration, again):
        calibrated = some.apply(P)
        # 2 log(.5) - .5 log(.5) + 1, and 2 log(.8) - .5 log(.2) - 1.
        expected = [1.5 * np.log(0.5) + 1, 2 * np.log(0.8) - 0.5 * np.log(0.2) - 1]
        assert calibrated[0].tolist() == pytest.approx(expit(expected).tolist())
        assert calibrated.dtype == np.float32


def test_calibration_leaves_certainties_and_the_order_alone():
    P = np.array([[0, 1e-6, 0.2, 0.9, 1]], dtype=np.float32)
    calibrated = Calibration(a=0.5, b=0.1, intercepts=np.full(5, -3.0)).apply(P)
    assert calibrated[0, [0, 4]].tolist() == [0, 1]
    assert (np.diff(calibrated[0]) > 0).all()


def drawn(rows: int, added: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return scores, and truths that follow a beta calibration of these with own intercepts."""
    rng = np.random.default_rng(0)
    z = rng.normal(-2, 2, (rows, len(added)))
    log_odds = 0.7 * np.log(expit(z)) - 0.4 * np.log(expit(-z)) + 0.5 + np.array(added)
    return expit(z).astype(np.float32), rng.random(z.shape) < expit(log_odds)


def test_fit_finds_the_calibration_that_was_applied():
    found = fit_calibration(*drawn(20_000, [0, 0, 0, 0]))
    assert (found.a, found.b) == pytest.approx((0.7, 0.4), abs=0.05)
    assert found.intercepts.tolist() == pytest.approx([0.5] * 4, abs=0.1)


def test_a_frequent_tag_has_its_own_intercept():
    found = fit_calibration(*drawn(20_000, [0, 0, 1, -1]))
    own = found.intercepts - found.intercepts[0]
    assert own.tolist() == pytest.approx([0, 0, 1, -1], abs=0.15)


def test_intercepts_of_tags_are_those_of_a_general_optimiser():
    P, Y = drawn(60, [0, 2, -2])
    found = fit_calibration(P, Y)
    z = np.log(P.astype(np.float64)) - np.log1p(-P.astype(np.float64))
    shape = found.a * np.log(expit(z)) - found.b * np.log(expit(-z))

    def loss(values, center):
        log_odds = shape + values
        entropy = np.logaddexp(0, log_odds) - Y * log_odds
        return entropy.sum() + 4 / 2 * ((values - center) ** 2).sum()

    def common_loss(value):
        log_odds = shape + value
        return (np.logaddexp(0, log_odds) - Y * log_odds).sum()

    (common,) = minimize(common_loss, np.zeros(1)).x
    expected = minimize(loss, np.zeros(3), args=(common,)).x
    assert found.intercepts.tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_tag_without_articles_is_drawn_to_the_common_intercept():
    P, Y = drawn(500, [0, 0, 0])
    # The third tag's scores are nearly 0: without articles they say nothing.
    P[:, 2], Y[:, 2] = 1e-6, False
    found = fit_calibration(P, Y)
    assert found.intercepts[2] == pytest.approx(found.intercepts[:2].mean(), abs=0.1)


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_changed_where_all_or_no_pairs_are_right(right):
    P = np.array([[0.2, 0.7]], dtype=np.float32)
    for rows in (1, 0):
        found = fit_calibration(P[:rows], np.full((rows, 2), right))
        assert found.apply(P) is P


def test_nothing_is_changed_where_higher_scores_are_not_likelier():
    P = np.array([[0.1, 0.9], [0.2, 0.8]] * 50, dtype=np.float32)
    assert fit_calibration(P, P < 0.5).apply(P) is P


def test_scores_that_make_no_mistake_have_finite_slopes():
    P = np.array([[0.1, 0.9], [0.2, 0.8]], dtype=np.float32)
    found = fit_calibration(P, P > 0.5)
    assert np.isfinite([found.a, found.b, *found.intercepts]).all()
