"""No label of the test part reaches a feature, a model or a threshold of a default candidate."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage import stages
from tagsage.learn import labels as room
from tagsage.run_context import RunContext
from tagsage.settings.candidates import DEFAULT_CANDIDATES
from tagsage.stages.artifacts import MODEL_FOLDER, feature_matrix
from tests.integration.conftest import SETTINGS, thinned

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Fits:
    """A run up to its fitted candidates: their features, files and scores."""

    def __init__(self, workspace: Path, corpus: Any) -> None:
        settings = {
            **SETTINGS,
            "min_tag_articles": "15",
            "candidates": DEFAULT_CANDIDATES,
            "articles": str(corpus.articles),
            "lists": str(corpus.lists),
            "workspace": str(workspace),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            token = stages.start("run", settings)
            snapshot = stages.load_corpus(token)
            vectors = stages.embed_texts(token, snapshot)
            graph = stages.graph(token, snapshot, vectors)
            split = stages.split(token, snapshot)
            self.features = stages.fit_blocks(token, snapshot, split, vectors, graph)
            names = stages.candidate_names(token)
            fitted = [stages.fit_candidate(token, split, self.features, name) for name in names]
        self.run = RunContext.of(token)
        artifacts = [self.run.workspace.open(ref) for ref in fitted]
        self.scores = [artifact.summary["scores"]["micro_f1"] for artifact in artifacts]
        self.models = {
            name: contents(artifact.path / MODEL_FOLDER)
            for name, artifact in zip(names, artifacts, strict=True)
        }

    def blocks(self, feature_set: str, *, tuning: bool) -> list[np.ndarray]:
        X = feature_matrix(self.run, self.features, feature_set, tuning=tuning)
        return [part.toarray() if sp.issparse(part) else np.asarray(part) for part in X.blocks]


def contents(folder: Path) -> dict[str, Any]:
    """Return what a model's files hold, without the seconds that the fit took."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = str(file.relative_to(folder))
            found[name] = file.read_bytes()
            if file.suffix == ".json":
                found[name] = json.loads(found[name])
    for name in [*found["candidate.json"]["summary"]]:
        if name.endswith("seconds"):
            del found["candidate.json"]["summary"][name]
    return found


def test_flipping_every_test_label_changes_no_feature_no_model_and_no_threshold(
    small_corpus, tmp_path, monkeypatch
):
    corpus = thinned(small_corpus, tmp_path, every=3)
    before = Fits(tmp_path / "before", corpus)
    label_corpus = room.label_corpus

    def flipped(*args: Any, **options: Any) -> room.Labels:
        labels = label_corpus(*args, **options)
        labels.Y[labels.test] ^= True
        return labels

    monkeypatch.setattr(room, "label_corpus", flipped)
    after = Fits(tmp_path / "after", corpus)
    assert all(one != other for one, other in zip(before.scores, after.scores, strict=True))
    assert before.models.keys() == after.models.keys()
    for name, model in before.models.items():
        assert model.keys() == after.models[name].keys()
        assert [file for file in model if model[file] != after.models[name][file]] == []
    for feature_set in {name.partition(":")[0] for name in before.models}:
        for tuning in (False, True):
            parts = (fits.blocks(feature_set, tuning=tuning) for fits in (before, after))
            for one, other in zip(*parts, strict=True):
                assert np.array_equal(one, other)
    # Tags that are learned from are counted, fewer while it is tuned.
    whole, tuned = (before.blocks("labels", tuning=tuning) for tuning in (False, True))
    assert 0 < tuned[1].sum() < whole[1].sum()
