"""A run explains its predictions, and `tagsage explain` those of one article."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest

from tests.integration.conftest import HOSTILE, STUB, run_in_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COLUMNS = [
    *("story", "tag", "score", "threshold", "score_without_graph"),
    *("lists", "articles", "texts", "words", "terms"),
]


@pytest.fixture(scope="module")
def explanations(compared_run) -> pd.DataFrame:
    (file,) = compared_run.glob("artifacts/explain-*/explanations.parquet")
    return pd.read_parquet(file)


def test_every_assigned_tag_is_explained_up_to_five_per_article_also_in_the_report(
    compared_run, explanations
):
    assert explanations.columns.tolist() == COLUMNS
    predictions = pd.read_csv(compared_run / "predictions.csv")
    assigned = predictions[predictions["assigned"] == 1]
    best = assigned.sort_values("score", ascending=False).groupby("story").head(5)
    assert set(zip(explanations["story"], explanations["tag"], strict=True)) == set(
        zip(best["story"], best["tag"], strict=True)
    )
    merged = explanations.merge(assigned, on=["story", "tag"])
    assert (merged["score_x"] == merged["score_y"]).all()
    kinds = ["lists", "articles", "texts", "words"]
    named = (explanations[kinds] != "[]").sum()
    assert (named >= 10).all(), named
    moved = (explanations["score"] - explanations["score_without_graph"]).abs() > 0.01
    assert moved.sum() >= 10
    page = (compared_run / "report.html").read_text(encoding="utf-8")
    assert re.search(
        r'<p class="because" dir="auto"><b><bdi>[^<]+</bdi></b> because of [^<]+', page
    )


def test_command_prints_what_the_run_explained(compared_run, explanations):
    row = explanations[explanations["lists"] != "[]"].iloc[0]
    asked = ("explain", row["story"], "--workspace", compared_run, "--tag", row["tag"])
    done = run_in_process(*asked, "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert list(told) == COLUMNS
    assert told["score"] == row["score"]
    assert told["lists"] == json.loads(row["lists"])
    assert told["texts"] == json.loads(row["texts"])
    shown = run_in_process(*asked)
    assert shown.returncode == 0, shown.stderr
    for heading in (
        "needed: ",
        "Lists that speak for it",
        "Nearest texts",
        "in no list",
        "falls by",
    ):
        assert heading in shown.stdout
    best = run_in_process(
        "explain", row["story"], "--workspace", compared_run, "--top", "2", "--json"
    )
    assert len(json.loads(best.stdout)) == 2


def test_hostile_title_is_printed_harmlessly(compared_run):
    done = run_in_process("explain", HOSTILE, "--workspace", compared_run)
    assert done.returncode == 0, done.stderr
    assert "\x1b[2J" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "[red]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["https://packages.example/hostil"], r"holds no article .*; the nearest are .*/hostile"),
        (["no address"], r"'no address' is not the address of an article; give its URL"),
        ([STUB], r"Only the address of .*only-in-a-list is known"),
        (
            [HOSTILE, "--set", "registered_model=other"],
            r"has no champion of the model 'other'",
        ),
    ],
)
def test_what_cannot_be_explained_is_told_in_one_sentence(compared_run, arguments, sentence):
    done = run_in_process("explain", *arguments, "--workspace", compared_run)
    assert done.returncode == 1
    assert re.search(sentence, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_tag_is_answered_with_the_nearest_one(compared_run, explanations):
    tag = explanations["tag"].iloc[0]
    done = run_in_process("explain", HOSTILE, "--tag", f"{tag}x", "--workspace", compared_run)
    assert done.returncode == 1
    assert f"knows no tag '{tag}x' (did you mean {tag}?)" in done.stderr


def test_without_a_corpus_it_says_how_to_get_one(tmp_path):
    done = run_in_process("explain", "https://a.example/b", "--workspace", tmp_path)
    assert done.returncode == 1
    assert "There is no corpus in" in done.stderr


def test_a_champion_explains_without_what_its_run_left_in_the_workspace(compared_run, explanations):
    without = (explanations["score"] - explanations["score_without_graph"]).abs()
    row = explanations.loc[without.idxmax()]
    assert without.max() > 0.01
    asked = ("explain", row["story"], "--workspace", compared_run, "--json")
    there, away = compared_run / "artifacts", compared_run / "away"
    there.rename(away)
    choices = (("--tag", row["tag"]), ("--top", "10"))
    answers = [run_in_process(*asked, *choice) for choice in choices]
    shutil.rmtree(there, ignore_errors=True)
    away.rename(there)
    for done in answers:
        assert done.returncode == 0, done.stderr
        found = {one["tag"]: one for one in json.loads(done.stdout)}[row["tag"]]
        assert found["score"] == row["score"]
        assert found["score_without_graph"] == row["score_without_graph"]
