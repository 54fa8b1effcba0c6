from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import tagsage.learn.candidate, tagsage.learn.labels, tagsage.evaluate.leaderboard
from tagsage.learn.classifiers.registry import CLASSIFIERS, classifier_class
fitting = {"skmultilearn", "iterstrat", "optuna"}
assert not {"jax", "optax", *fitting} & set(sys.modules), "too much is imported"
without_jax = set(CLASSIFIERS) - {"label_powerset", "mlp", "ensemble"}
for name in without_jax:
    classifier_class(name)
assert not {"jax", "optax"} & set(sys.modules), "only three classifiers need jax"
for name in CLASSIFIERS:
    classifier_class(name)
assert not fitting & set(sys.modules), "a served model needs none of these"
"""


def test_the_room_imports_heavy_libraries_only_when_they_are_used():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
