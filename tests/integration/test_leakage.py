"""No label of the test part reaches a feature, a model or a threshold."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagsage import stages
from tagsage.learn import labels as room
from tagsage.learn.candidate import FittedCandidate
from tagsage.run_context import RunContext
from tagsage.stages.artifacts import MODEL_FOLDER, feature_matrix
from tests.integration.conftest import SETTINGS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FEATURE_SET = "text+lists+memberships+labels+authors"
CANDIDATE = f"{FEATURE_SET}:ovr_logistic"


def fit(workspace: Path, corpus: Any) -> tuple[list[np.ndarray], FittedCandidate, dict[str, Any]]:
    """Run the stages up to one fitted candidate; return its features, itself and its scores."""
    settings = {
        **SETTINGS,
        "candidates": CANDIDATE,
        "articles": str(corpus.articles),
        "lists": str(corpus.lists),
        "workspace": str(workspace),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = stages.start("run", settings)
        snapshot = stages.load_corpus(token)
        vectors = stages.embed_texts(token, snapshot)
        split = stages.split(token, snapshot)
        features = stages.fit_blocks(token, snapshot, split, vectors, "")
        fitted = stages.fit_candidate(token, split, features, CANDIDATE)
    run = RunContext.of(token)
    blocks = [
        np.array(block)
        for tuning in (False, True)
        for block in feature_matrix(run, features, FEATURE_SET, tuning=tuning).blocks
    ]
    artifact = run.workspace.open(fitted)
    return blocks, FittedCandidate.load(artifact.path / MODEL_FOLDER), artifact.summary["scores"]


def test_flipping_every_test_label_changes_no_feature_no_model_and_no_threshold(
    small_corpus, tmp_path, monkeypatch
):
    before, model, scores = fit(tmp_path / "before", small_corpus)
    label_corpus = room.label_corpus

    def flipped(*args: Any, **options: Any) -> room.Labels:
        labels = label_corpus(*args, **options)
        labels.Y[labels.test] ^= True
        return labels

    monkeypatch.setattr(room, "label_corpus", flipped)
    after, same_model, other_scores = fit(tmp_path / "after", small_corpus)
    assert other_scores["micro_f1"] != scores["micro_f1"]
    assert len(before) == len(after) == 2 * (1 + 2 + 1 + 2 + 2)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)
    assert model.fallback is not None
    assert same_model.fallback is not None
    for one, other in ((model.main, same_model.main), (model.fallback, same_model.fallback)):
        assert one.to_json() == other.to_json()
        weights, others = (
            [(tag.coef_, tag.intercept_) for tag in part.classifier.model.estimators_]
            for part in (one, other)
        )
        for (coef, intercept), (coef_after, intercept_after) in zip(weights, others, strict=True):
            assert np.array_equal(coef, coef_after)
            assert np.array_equal(intercept, intercept_after)
    # While it is tuned it knows fewer labels than later.
    for support in (5, 7):
        assert before[8 + support].sum() < before[support].sum()
