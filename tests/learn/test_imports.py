from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import tagsage.learn.candidate, tagsage.learn.labels, tagsage.learn.leaderboard
assert not {"jax", "optax", "skmultilearn", "iterstrat"} & set(sys.modules), "too much is imported"
import tagsage.learn.classifiers.mlp, tagsage.learn.classifiers.label_powerset
assert not {"skmultilearn", "iterstrat"} & set(sys.modules), "a served model needs neither"
"""


def test_the_room_imports_heavy_libraries_only_when_they_are_used():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
