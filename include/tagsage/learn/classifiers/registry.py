"""Classifiers by name. Imports a classifier's libraries only when it is asked for."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from tagsage.errors import TagsageError
from tagsage.learn.classifiers.base import MODEL_FILE, Classifier

CLASSIFIERS: dict[str, str] = {
    "linear": "linear:Linear",
    "label_powerset": "label_powerset:LabelPowersetLogistic",
    "ovr_logistic": "ovr_logistic:OvrLogistic",
    "classifier_chain": "classifier_chain:LogisticChain",
    "mlp": "mlp:Mlp",
    "mlknn": "mlknn:MlKnn",
    "boosting": "boosting:Boosting",
    "ensemble": "ensemble:Ensemble",
}
"""A new classifier is a class in a file of its own, and a line here: its module and its name."""


def classifier_class(name: str) -> type[Classifier]:
    """Return the class of a classifier.

    Raises
    ------
    TagsageError
        When there is none of this name.
    """
    if name not in CLASSIFIERS:
        allowed = ", ".join(CLASSIFIERS)
        raise TagsageError(f"There is no classifier {name!r}; choose one of {allowed}.")
    module, _, class_name = CLASSIFIERS[name].partition(":")
    found: type[Classifier] = getattr(import_module(f"{__package__}.{module}"), class_name)
    return found


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
