"""The study's own table: decided and scored as in its notebook.

An article gets the tags of its most likely label set, without a threshold, and the model with the
best weighted precision is chosen, of equal ones the one on text. Only articles with a target tag
count. (https://github.com/tomasonjo/blogs/blob/master/medium/Classification%20with%20GraphSAGE.ipynb)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from tagsage.evaluate.metrics import evaluate
from tagsage.features.matrix import BoolArray, FeatureMatrix, IndexArray
from tagsage.learn.candidate import FittedCandidate

if TYPE_CHECKING:
    from tagsage.learn.classifiers.label_powerset import LabelPowerset

STUDY_METRICS = ("accuracy", "macro_precision", "weighted_precision")
STUDY_CANDIDATES = ("text:label_powerset", "graphsage:label_powerset")


def study_scores(
    candidate: str, fitted: FittedCandidate, X: FeatureMatrix, rows: IndexArray, Y: BoolArray
) -> dict[str, float] | None:
    """Score one of the study's two models on the articles `rows` with tags `Y`; None for others."""
    if candidate not in STUDY_CANDIDATES:
        return None
    classifier = cast("LabelPowerset", fitted.main.classifier)
    has_tag = Y.any(axis=1)
    sets = classifier.most_likely_sets(X, np.asarray(rows)[has_tag])
    scores = evaluate(sets.astype(np.float32), Y[has_tag], sets, fitted.tags).overall
    return {name: scores[name] for name in STUDY_METRICS}


def study_table(scores: Mapping[str, Mapping[str, float] | None]) -> pd.DataFrame:
    """Return the scores of the study's models that were compared; the first is the study's choice.

    `scores` are those of :func:`study_scores`, by candidate.
    """
    found = {name: scores.get(name) for name in STUDY_CANDIDATES}
    compared = [(name, of_model) for name, of_model in found.items() if of_model]
    compared.sort(key=lambda line: -line[1]["weighted_precision"])
    lines = [{"candidate": name, **of_model} for name, of_model in compared]
    return pd.DataFrame(lines, columns=["candidate", *STUDY_METRICS])
