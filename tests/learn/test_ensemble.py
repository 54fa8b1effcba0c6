"""Several classifiers that answer together."""

from __future__ import annotations

import numpy as np
import pytest

from tagsage.learn.classifiers import Validation, load_classifier, make_classifier
from tagsage.learn.classifiers.ensemble import Ensemble, greedy_weights
from tagsage.learn.costs import FORMULAS

NETWORK = {"hidden": 8, "batch_size": 32, "epochs": 4, "max_epochs": 6, "learning_rate": 1e-2}


def ensemble(members: str, **settings) -> Ensemble:
    made = make_classifier("ensemble", seed=3, members=members, **{**NETWORK, **settings})
    assert isinstance(made, Ensemble)
    return made


def test_without_validation_the_members_weigh_alike(data):
    made = ensemble("mlp,mlp,ovr_logistic").fit(data.X, data.rows, data.Y)
    parts = [
        make_classifier("mlp", seed=3, **NETWORK),
        make_classifier("mlp", seed=4, **NETWORK),
        make_classifier("ovr_logistic", seed=5),
    ]
    rows = np.arange(len(data.X))
    expected = np.mean(
        [part.fit(data.X, data.rows, data.Y).predict_proba(data.X, rows) for part in parts], axis=0
    )
    np.testing.assert_allclose(made.predict_proba(data.X, rows), expected, atol=1e-6)


def test_weights_and_epochs_found_with_validation_serve_the_fit_on_all(data, tmp_path):
    train, rest = np.arange(200), np.arange(200, 300)
    watched = Validation(data.rows[rest], data.Y[rest])
    tuned = ensemble("mlp,mlknn,mlp").fit(
        data.X, data.rows[train], data.Y[train], validation=watched
    )
    assert tuned.weights.sum() == pytest.approx(1)
    again = ensemble("mlp,mlknn,mlp").fit(data.X, data.rows, data.Y, start=tuned)
    assert again.fitted["weights"] == tuned.fitted["weights"]
    for place, member in tuned.fitted["members"].items():
        other = again.fitted["members"][place]
        assert other["seed"] == member["seed"]
        if member["classifier"] == "mlp":
            assert other["fitted"]["epochs"] == member["fitted"]["epochs"]
    # And once more, from what was read from files.
    again.save(tmp_path)
    third = ensemble("mlp,mlknn,mlp").fit(
        data.X, data.rows, data.Y, start=load_classifier(tmp_path)
    )
    assert all(np.array_equal(third.arrays[key], again.arrays[key]) for key in again.arrays)


def test_a_member_without_weight_is_not_kept(data):
    tuned = ensemble("mlp,ovr_logistic")
    tuned.fit(data.X, data.rows, data.Y)
    tuned.fitted["weights"] = [0.0, 1.0]
    again = ensemble("mlp,ovr_logistic").fit(data.X, data.rows, data.Y, start=tuned)
    assert set(again.fitted["members"]) == {"1"}
    assert all(key.startswith("1.") for key in set(again.arrays) - {"constant", "varying"})
    alone = make_classifier("ovr_logistic", seed=4).fit(data.X, data.rows, data.Y)
    np.testing.assert_allclose(
        again.predict_proba(data.X, data.rows), alone.predict_proba(data.X, data.rows), atol=1e-4
    )


def test_greedy_weights_of_a_worked_example():
    Y = np.array([[True], [False]])
    right = np.array([[0.9], [0.1]], dtype=np.float32)
    wrong = 1 - right
    assert greedy_weights(np.stack([wrong, right]), Y).tolist() == [0, 1]
    # Each is sure where the other is wrong: together, at a half each, they lose least.
    one = np.array([[0.99], [0.9]], dtype=np.float32)
    other = np.array([[0.1], [0.01]], dtype=np.float32)
    assert greedy_weights(np.stack([one, other]), Y).tolist() == [0.5, 0.5]


def test_an_ensemble_is_no_member():
    Y = np.array([[True], [False]])
    with pytest.raises(ValueError, match="cannot be a member"):
        ensemble("mlp,ensemble").fit(object(), np.arange(2), Y)  # type: ignore[arg-type]


def test_its_cost_is_that_of_its_members():
    members = Ensemble.defaults["members"].split(",")
    for term in ("", "rows", "rows columns", "rows features tags"):
        parts = [FORMULAS[name].seconds.get(term, 0) for name in members]
        assert FORMULAS["ensemble"].seconds.get(term, 0) == pytest.approx(sum(parts))
