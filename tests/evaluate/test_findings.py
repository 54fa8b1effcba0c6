from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tagsage.evaluate.article_results import ArticleResults, sparse_of
from tagsage.evaluate.findings import (
    GAIN_COLUMNS,
    ScenarioResults,
    difference_sentence,
    gains,
    scenario_differences,
    sentences,
)
from tagsage.learn.labels import Labels


def row(scenario: str, role: str, seed: int, score: float) -> dict[str, object]:
    scores = dict.fromkeys(("micro_f1", "macro_f1", "p_at_5", "lrap"), score)
    return {"scenario": scenario, "role": role, "seed": seed, **scores}


INTERVALS = pd.DataFrame({
    "scenario": ["transductive", "inductive"],
    "metric": ["macro_f1", "macro_f1"],
    "value": [0.08, 0.06],
    "low": [0.05, 0.02],
    "high": [0.09, 0.06],
})


def test_gains_of_a_worked_example():
    rows = [
        row("transductive", "text", 1, 0.40),
        row("transductive", "graph", 1, 0.48),
        row("transductive", "text", 2, 0.42),
        row("transductive", "graph", 2, 0.48),
        row("inductive", "graph", 1, 0.46),
        row("time", "text", 1, 0.30),
        row("time", "graph", 1, 0.29),
    ]
    found = gains(rows, INTERVALS)
    assert list(found.columns) == list(GAIN_COLUMNS)
    lines = found[found["metric"] == "macro_f1"].set_index("scenario")
    plain = lines.loc["transductive"]
    assert plain["text"] == pytest.approx(0.41)
    assert plain["gain"] == pytest.approx(0.07)
    assert plain["spread"] == pytest.approx(0.02 / 2**0.5)
    assert (plain["splits"], plain["low"], plain["high"]) == (2, 0.05, 0.09)
    # Against text on the same split.
    assert lines.loc["inductive", "gain"] == pytest.approx(0.06)
    assert pd.isna(lines.loc["inductive", "spread"])
    assert lines.loc["time", "gain"] == pytest.approx(-0.01)
    assert pd.isna(lines.loc["time", "low"])


def test_a_scenario_without_a_text_to_compare_with_has_no_gain():
    found = gains([row("inductive", "graph", 1, 0.5)], INTERVALS)
    assert found.empty
    assert gains([], INTERVALS).empty


def test_sentences_say_gain_interval_and_what_is_kept_of_it():
    rows = [
        row("transductive", "text", 1, 0.40),
        row("transductive", "graph", 1, 0.48),
        row("inductive", "graph", 1, 0.46),
        row("cold_start", "graph", 1, 0.40),
        row("time", "text", 1, 0.30),
        row("time", "graph", 1, 0.29),
    ]
    said = sentences(gains(rows, INTERVALS), graph="text+lists:mlp", text="text:mlp")
    assert "text+lists:mlp beats text:mlp by 8.0 macro-F1 points [5.0, 9.0]." in said
    assert (
        "On articles that were not there when list features were built, the gain in macro-F1 is "
        "+6.0 points [2.0, 6.0], 75% of the gain above." in said
    )
    assert (
        "On articles treated as being in no list, the difference to text alone in macro-F1 is "
        "+0.0 points." in said
    )
    assert (
        "Trained on earlier articles and scored on later ones, the gain in macro-F1 is "
        "-1.0 points." in said
    )


def test_a_sentence_says_what_near_copies_make_of_the_scores():
    rows = [
        row("transductive", "text", 1, 0.40),
        row("transductive", "graph", 1, 0.48),
        row("grouped", "text", 1, 0.31),
        row("grouped", "graph", 1, 0.37),
    ]
    said = sentences(gains(rows, INTERVALS), graph="g", text="t")
    assert said[-1] == (
        "Without near-copies of test articles in the training part, micro-F1 is 0.370 instead of "
        "0.480 with lists, and 0.310 instead of 0.400 on text."
    )


def results_of(assigned: np.ndarray) -> ArticleResults:
    nothing = np.zeros(len(assigned))
    return ArticleResults(sparse_of(assigned), nothing, nothing)


def test_the_gain_of_a_scenario_on_other_test_articles_is_measured_on_these():
    Y = np.ones((6, 1), dtype=bool)
    everything = np.arange(6)
    # The run's test part is the last three; text finds none of them, lists find all.
    labels = Labels(["a"], everything, Y, everything[:3], everything[3:], everything)
    none, every = results_of(np.zeros((3, 1), bool)), results_of(np.ones((3, 1), bool))
    scenarios = {
        "inductive": ScenarioResults(labels.test, graph=none),
        "time": ScenarioResults(np.array([0, 1]), results_of(Y[:2]), results_of(Y[:2])),
    }
    plain = {"text": none, "transductive": every}
    found = scenario_differences(labels, plain, scenarios, seed=1)
    lines = found[found["metric"] == "micro_f1"].set_index("scenario")
    assert lines["value"].to_dict() == {"transductive": 1, "inductive": 0, "time": 0}
    assert lines["articles"].to_dict() == {"transductive": 3, "inductive": 3, "time": 2}
    assert lines.loc["transductive", "low"] == 1


def test_without_a_gain_nothing_of_it_is_kept():
    rows = [
        row("transductive", "text", 1, 0.5),
        row("transductive", "graph", 1, 0.4),
        row("inductive", "graph", 1, 0.4),
    ]
    said = sentences(gains(rows, INTERVALS.iloc[:0]), graph="g", text="t")
    assert "of the gain above" not in " ".join(said)
    assert sentences(gains([], INTERVALS), graph="g", text="t") == []


@pytest.mark.parametrize(
    ("metric", "numbers", "sentence"),
    [
        ("macro_f1", (0.08, 0.069, 0.091), "a beats b by 8.0 macro-F1 points [6.9, 9.1]"),
        ("micro_f1", (-0.08, -0.091, -0.069), "a falls behind b by 8.0 micro-F1 points [6.9, 9.1]"),
        (
            "p_at_5",
            (0.003, -0.004, 0.01),
            "a and b do not differ clearly in P@5: +0.3 points [-0.4, 1.0]",
        ),
        # This interval begins above 0, but not as far as anybody can see.
        (
            "lrap",
            (-0.0004, -0.0004, -0.0003),
            "a and b do not differ clearly in LRAP: 0.0 points [0.0, 0.0]",
        ),
    ],
)
def test_difference_sentence_says_which_is_better_and_by_how_much(metric, numbers, sentence):
    value, low, high = numbers
    assert difference_sentence("a", "b", metric, value=value, low=low, high=high) == sentence
