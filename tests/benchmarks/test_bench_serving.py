"""The benchmark of serving finds a run's artifacts and tells how long requests take."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmarks.bench_serving import found, one_by_one


def test_artifact_is_found_by_its_stage_and_inputs(tmp_path):
    for name, inputs in (("labels-a", {"of": "training"}), ("labels-b", {"of": "all"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "artifact.json").write_text(json.dumps({"inputs": inputs}))
    assert found(tmp_path, "labels", of="all").name == "labels-b"
    assert found(tmp_path, "labels").name == "labels-a"
    with pytest.raises(FileNotFoundError, match="no artifact of labels with"):
        found(tmp_path, "labels", of="none")


def test_every_article_is_a_request_of_its_own():
    asked = []

    class Tagger:
        def predict(self, articles):
            asked.append(articles["title"].tolist())

    times = one_by_one(Tagger(), pd.DataFrame({"title": ["a", "b", "c"]}))
    assert asked == [["a"], ["b"], ["c"]]
    assert float(times["p50 ms"]) <= float(times["p95 ms"])
