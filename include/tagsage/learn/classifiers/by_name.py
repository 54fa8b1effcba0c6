"""Classifiers by name: a new one is a class in its own file and a line in `CLASSIFIERS`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tagsage.errors import TagsageError
from tagsage.files import read_json
from tagsage.learn.classifiers.base import MODEL_FILE, Classifier

CLASSIFIERS: dict[str, str] = {
    "linear": "linear:Linear",
    "ensemble": "ensemble:Ensemble",
    "label_powerset": "label_powerset:LabelPowerset",
    "ovr_logistic": "scikit:OvrLogistic",
    "classifier_chain": "scikit:ClassifierChain",
    "boosting": "scikit:Boosting",
    "mlp": "mlp:Mlp",
    "mlknn": "mlknn:MlKnn",
}
"""By name: module and class."""


def classifier_class(name: str) -> type[Classifier]:
    """Return the class of a classifier; a TagsageError says when there is none of this name."""
    if name not in CLASSIFIERS:
        allowed = ", ".join(CLASSIFIERS)
        raise TagsageError(f"There is no classifier {name!r}; choose one of {allowed}.")
    module, _, class_name = CLASSIFIERS[name].partition(":")
    found: type[Classifier] = getattr(import_module(f"{__package__}.{module}"), class_name)
    return found


def make_classifier(name: str, *, seed: int, **settings: Any) -> Classifier:
    """Make a classifier that is not fitted yet; `settings` replace its defaults."""
    return classifier_class(name)(seed=seed, **settings)


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier that was saved; a TagsageError says when the folder holds none."""
    about = read_json(folder / MODEL_FILE)
    if about is None:
        raise TagsageError(f"The folder {folder} holds no saved classifier; fit one again.")
    return classifier_class(about["classifier"]).load(folder, about)
