"""Classifiers by name. Imports a classifier's libraries only when it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tagsage.errors import TagsageError
from tagsage.learn.classifiers.base import MODEL_FILE, Classifier

CLASSIFIERS = (
    "linear",
    "label_powerset",
    "ovr_logistic",
    "classifier_chain",
    "mlp",
    "mlknn",
    "boosting",
    "ensemble",
)


def classifier_class(name: str) -> type[Classifier]:
    """Return the class of a classifier.

    Raises
    ------
    TagsageError
        When there is none of this name.
    """
    if name == "linear":
        from tagsage.learn.classifiers.linear import Linear

        return Linear
    if name == "label_powerset":
        from tagsage.learn.classifiers.label_powerset import LabelPowersetLogistic

        return LabelPowersetLogistic
    if name == "ovr_logistic":
        from tagsage.learn.classifiers.ovr_logistic import OvrLogistic

        return OvrLogistic
    if name == "classifier_chain":
        from tagsage.learn.classifiers.classifier_chain import LogisticChain

        return LogisticChain
    if name == "mlp":
        from tagsage.learn.classifiers.mlp import Mlp

        return Mlp
    if name == "mlknn":
        from tagsage.learn.classifiers.mlknn import MlKnn

        return MlKnn
    if name == "boosting":
        from tagsage.learn.classifiers.boosting import Boosting

        return Boosting
    if name == "ensemble":
        from tagsage.learn.classifiers.ensemble import Ensemble

        return Ensemble
    raise TagsageError(f"There is no classifier {name!r}; choose one of {', '.join(CLASSIFIERS)}.")


def make_classifier(name: str, *, seed: int, **settings: Any) -> Classifier:
    """Make a classifier that is not fitted yet.

    Parameters
    ----------
    name : str
        One of `CLASSIFIERS`.
    seed : int
        Seed of everything random in it.
    **settings
        Hyper-parameters, over its defaults.
    """
    return classifier_class(name)(seed=seed, **settings)


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier that was saved.

    Raises
    ------
    TagsageError
        When the folder holds none.
    """
    file = folder / MODEL_FILE
    if not file.exists():
        raise TagsageError(f"The folder {folder} holds no saved classifier; fit one again.")
    model = json.loads(file.read_text(encoding="utf-8"))
    return classifier_class(model["classifier"]).restore(folder, model)
