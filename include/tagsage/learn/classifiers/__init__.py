"""Classifiers: features in, a probability for every target tag out."""

from tagsage.learn.classifiers.base import Classifier, Range, Validation
from tagsage.learn.classifiers.by_name import (
    CLASSIFIERS,
    classifier_class,
    load_classifier,
    make_classifier,
)

__all__ = [
    "CLASSIFIERS",
    "Classifier",
    "Range",
    "Validation",
    "classifier_class",
    "load_classifier",
    "make_classifier",
]
