"""The catalogue of a run."""

from __future__ import annotations

import pandas as pd

from tagsage.stages.catalogue import learned_tags


def test_tags_that_an_earlier_champion_assigns_count_as_learned(tmp_path):
    file = tmp_path / "predictions.parquet"
    pd.DataFrame({"story": ["a", "a", "b"], "tag": ["old", "art", "old"]}).to_parquet(file)
    assert learned_tags(["python", "art"], file) == ["art", "old", "python"]
