from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tagsage.errors import TagsageError
from tagsage.evaluate.judgement import evaluate_candidate
from tagsage.learn import candidate as candidate_module
from tagsage.learn.candidate import FittedCandidate
from tagsage.learn.classifiers import CLASSIFIERS
from tagsage.learn.predictions import top_tags
from tests.learn.conftest import TAGS, assert_same_model, fit, labels_of

pytestmark = pytest.mark.usefixtures("small_models")


@pytest.fixture(params=CLASSIFIERS)
def name(request) -> str:
    return request.param


def test_candidate_scores_itself_by_tag_and_overall(name, data):
    labels = labels_of(data)
    scores = evaluate_candidate(fit(data, labels, name), data.X, labels.Y_test, labels.test_rows)
    assert scores.overall["micro_f1"] > 0.6
    assert scores.overall["test_articles"] == len(labels.test)
    assert 0 < scores.overall["threshold"] <= 1
    assert scores.per_tag["tag"].tolist() == TAGS
    assert scores.per_tag["support"].tolist() == labels.Y_test.sum(axis=0).tolist()


def test_candidate_read_again_is_the_same(name, data, tmp_path):
    fitted = fit(data, labels_of(data), name)
    fitted.save(tmp_path / "candidate")
    again = FittedCandidate.load(tmp_path / "candidate")
    assert_same_model(fitted, again)
    assert again.summary == fitted.summary
    with pytest.raises(TagsageError, match=r"holds no fitted candidate; fit one again\.$"):
        FittedCandidate.load(tmp_path)


def test_top_tags_block_by_block_are_those_of_all_at_once(data, monkeypatch):
    monkeypatch.setattr(candidate_module, "PREDICT_ROWS", 7)
    fitted = fit(data, labels_of(data), "ovr_logistic")
    rows = np.array([319, 4, 4, *range(100, 130)])
    blocks = list(fitted.top_tags(data.X, rows, k=3))
    assert len(blocks) == 5
    whole = top_tags(
        *fitted.answer(data.X, rows), fitted.thresholds(data.X, rows), tags=TAGS, k=3, rows=rows
    )
    pd.testing.assert_frame_equal(
        pd.concat(blocks, ignore_index=True), whole, check_exact=False, rtol=1e-5
    )


def test_score_tells_how_far_off_the_probabilities_are(data):
    labels = labels_of(data)
    scores = evaluate_candidate(
        fit(data, labels, "ovr_logistic"), data.X, labels.Y_test, labels.test_rows
    )
    # Of five tags, the five best are all.
    assert 0 < scores.overall["ece"] == scores.overall["ece_top_5"] < 0.15
