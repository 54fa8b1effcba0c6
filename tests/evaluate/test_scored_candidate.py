from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.scored_candidate import ScoredCandidate
from tests.learn.conftest import TAGS, fit, labels_of


def test_scored_candidate_read_again_is_the_same(data, tmp_path):
    labels = labels_of(data)
    fitted = fit(data, labels, "ovr_logistic")
    predictions = fitted.predict(data.X, labels.test_rows)
    scored = ScoredCandidate.of(fitted, predictions, labels.Y_test, Y_train=labels.Y_train)
    assert scored.scores["micro_f1"] > 0.6
    assert 0 < scored.scores["psp_at_5"] <= 1
    assert scored.scores["threshold"] == fitted.main.thresholds.common
    # Of five tags, the five best are all.
    assert 0 < scored.scores["ece"] == scored.scores["ece_top_5"] < 0.15
    assert scored.per_tag["tag"].tolist() == TAGS
    assert scored.per_tag["support"].tolist() == labels.Y_test.sum(axis=0).tolist()
    scored.save(tmp_path / "scored")
    again = ScoredCandidate.load(tmp_path / "scored")
    assert again.scores == scored.scores
    for name in ("per_tag", "curve", "reliability"):
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(scored, name), check_dtype=False
        )
    assert np.array_equal(again.results.assigned.toarray(), predictions.assigned)
    one, other = (
        paired_bootstrap(labels.Y_test, {"a": part.results}, resamples=100, seed=0)
        for part in (scored, again)
    )
    pd.testing.assert_frame_equal(one, other)
    macro = one.set_index("metric").loc["macro_f1", "value"]
    assert macro == pytest.approx(scored.scores["macro_f1"])
