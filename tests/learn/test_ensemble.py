import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import log_loss

from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import Validation, load_classifier, make_classifier
from tagsage.learn.fitting import fit_candidate
from tests.learn.conftest import SMALL_NETWORK, TAGS, synthetic


@pytest.fixture(scope="module")
def both():
    """Articles with a sparse block and a dense one."""
    data = synthetic()
    left, right = data.X.blocks
    return data, FeatureMatrix([sp.csr_array(left), right], kinds=["words", "text"])


def test_probability_is_the_weighted_mean_of_both_models(both, tmp_path):
    data, X = both
    fitted = make_classifier("ensemble", seed=3, linear_share=0.25, **SMALL_NETWORK)
    fitted.fit(X, data.rows, data.Y).save(tmp_path)
    linear = make_classifier("linear", seed=3).fit(X.sparse_part(), data.rows, data.Y)
    network = make_classifier("mlp", seed=3, **SMALL_NETWORK)
    network.fit(X.dense_part(), data.rows, data.Y)
    rows = np.arange(40)
    expected = 0.25 * linear.predict_proba(X.sparse_part(), rows)
    expected = expected + np.float32(0.75) * network.predict_proba(X.dense_part(), rows)
    assert fitted.predict_proba(X, rows) == pytest.approx(expected, abs=1e-7)
    again = load_classifier(tmp_path).predict_proba(X, rows)
    assert np.array_equal(again, fitted.predict_proba(X, rows))


def test_share_has_the_lowest_log_loss_on_validation_articles(both):
    data, X = both
    held_out = Validation(data.rows[200:], data.Y[200:])
    fitted = make_classifier("ensemble", seed=3, C=1000.0, **SMALL_NETWORK)
    fitted.fit(X, data.rows[:200], data.Y[:200], validation=held_out)
    chosen, losses = fitted.fitted["linear_share"], {}
    for share in np.linspace(0, 1, 11):
        fitted.settings["linear_share"] = share
        losses[share] = log_loss(held_out.Y.ravel(), fitted.predict_proba(X, held_out.rows).ravel())
    assert losses[chosen] == min(losses.values())
    assert 0 < chosen < 1


def test_chosen_share_and_epochs_are_those_of_the_final_fit(both):
    data, X = both
    fitted = fit_candidate(X, data.Y, data.rows, tags=TAGS, classifier="ensemble", seed=1)
    settings = fitted.main.classifier.settings
    assert settings["linear_share"] == fitted.summary["linear_share"]
    assert settings["epochs"] == fitted.main.classifier.members["mlp"].settings["epochs"]


def test_with_one_kind_of_blocks_there_is_one_model(both):
    data, X = both
    for part, name in ((X.sparse_part(), "linear"), (X.dense_part(), "mlp")):
        small = SMALL_NETWORK if name == "mlp" else {}
        alone = make_classifier(name, seed=3, **small).fit(part, data.rows, data.Y)
        fitted = make_classifier("ensemble", seed=3, **SMALL_NETWORK)
        fitted.fit(part, data.rows, data.Y)
        rows = np.arange(40)
        assert np.array_equal(fitted.predict_proba(part, rows), alone.predict_proba(part, rows))
