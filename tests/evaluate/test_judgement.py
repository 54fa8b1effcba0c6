from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.judgement import Judgement, score
from tests.learn.conftest import fit, labels_of


def test_judgement_read_again_is_the_same(data, tmp_path):
    labels = labels_of(data)
    fitted = fit(data, labels, "ovr_logistic")
    answers = fitted.answer(data.X, labels.test_rows)
    judged = Judgement.of(fitted, answers, labels.Y_test)
    judged.save(tmp_path / "judged")
    again = Judgement.load(tmp_path / "judged")
    assert again.scores == judged.scores == score(fitted, answers, labels.Y_test).overall
    for name in ("per_tag", "curve", "reliability"):
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(judged, name), check_dtype=False
        )
    assert np.array_equal(again.system.assigned.toarray(), answers.assigned)
    one, other = (
        paired_bootstrap(labels.Y_test, {"a": part.system}, resamples=100, seed=0)
        for part in (judged, again)
    )
    pd.testing.assert_frame_equal(one, other)
    macro = one.set_index("metric").loc["macro_f1", "value"]
    assert macro == pytest.approx(judged.scores["macro_f1"])
