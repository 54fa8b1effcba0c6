"""The benchmark of suggestions takes away what it says and counts right."""

import json

import pandas as pd

from benchmarks.bench_suggestions import take_away, tell


def test_one_target_tag_is_taken_from_some_articles_that_have_two(tmp_path):
    tags = [["x", "y", "rare"], ["x"], ["x", "y"], [], ["y", "x"]] * 20
    stories = [f"https://a.example/{number}" for number in range(len(tags))]
    frame = pd.DataFrame({"story": stories, "tags": [json.dumps(some) for some in tags]})
    frame.to_csv(tmp_path / "before.csv", index=False)
    hidden = take_away(tmp_path / "before.csv", tmp_path / "after.csv", 20)
    after = pd.read_csv(tmp_path / "after.csv")["tags"].map(json.loads)
    assert 0 < len(hidden) < 40
    for story, old, new in zip(stories, tags, after, strict=True):
        gone = [hidden[story]] if story in hidden else []
        assert len(old) >= 2 or not gone
        assert set(gone) <= {"x", "y"}
        assert new == [tag for tag in old if tag not in gone]


def test_suggestions_of_the_tags_taken_away_are_right_for_sure():
    suggested = pd.DataFrame({
        "story": ["a", "a", "b", "c"],
        "tag": ["x", "y", "y", "z"],
        "score": [0.92, 0.5, 0.5, 0.35],
    })
    lines = tell(suggested, {"a": "x", "b": "q"}).splitlines()
    assert lines[0] == "2 tags were taken away."
    assert "| 0.3 | 4 | 1 | 0.25 | 3 | 0.33 | 0.50 |" in lines
    assert "| 0.9 | 1 | 1 | 1.00 | 1 | 1.00 | 0.50 |" in lines
    assert "| 0.95 | 0 | 0 | – | 0 | – | 0.00 |" in lines
