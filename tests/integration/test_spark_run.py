"""A whole run with the runner spark, beside one without."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run_arguments, run_tagsage

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.spark]

FAST = {
    "candidates": "words:linear,words+char_ngrams+list_ids+author_ids+text+lists+labels:ensemble",
    "scenarios": "inductive",
}


def test_a_run_on_spark_writes_the_same_files(small_corpus, tmp_path):
    made = []
    for runner in ("local", "spark"):
        workspace = tmp_path / runner
        arguments = run_arguments(small_corpus, workspace, **FAST)
        done = run_tagsage(*arguments, "--runner", runner, SPARK_LOCAL_IP="127.0.0.1")
        assert done.returncode == 0, done.stderr
        names = ("predictions.csv", "suggestions.csv")
        made.append({name: (workspace / name).read_bytes() for name in names})
    assert made[0] == made[1]
