from __future__ import annotations

import pandas as pd
import pytest

from tagsage.evaluate.findings import GAIN_COLUMNS, gains, sentences, study_table


def row(question: str, role: str, seed: int, score: float) -> dict[str, object]:
    scores = dict.fromkeys(("micro_f1", "macro_f1", "p_at_5", "lrap"), score)
    return {"question": question, "role": role, "seed": seed, **scores}


INTERVALS = pd.DataFrame({
    "question": ["transductive", "inductive"],
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
    lines = found[found["metric"] == "macro_f1"].set_index("question")
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


def test_a_question_without_a_text_to_compare_with_has_no_gain():
    found = gains([row("inductive", "graph", 1, 0.5)], INTERVALS)
    assert found.empty
    assert gains([], INTERVALS).empty


def test_sentences_tell_gain_interval_and_what_is_kept_of_it():
    rows = [
        row("transductive", "text", 1, 0.40),
        row("transductive", "graph", 1, 0.48),
        row("inductive", "graph", 1, 0.46),
        row("cold_start", "graph", 1, 0.40),
        row("time", "text", 1, 0.30),
        row("time", "graph", 1, 0.29),
    ]
    told = sentences(gains(rows, INTERVALS), graph="text+lists:mlp", text="text:mlp")
    assert "text+lists:mlp beats text:mlp by 8.0 macro-F1 points [5.0, 9.0]." in told
    assert (
        "Of articles that were not there when list features were built, the gain in macro-F1 is "
        "+6.0 points [2.0, 6.0], 75% of the gain above." in told
    )
    assert (
        "Of articles taken for being in no list, the difference to text alone in macro-F1 is "
        "+0.0 points." in told
    )
    assert (
        "Trained on earlier articles and judged on later ones, the gain in macro-F1 is "
        "-1.0 points." in told
    )


def test_without_a_gain_nothing_of_it_is_kept():
    rows = [
        row("transductive", "text", 1, 0.5),
        row("transductive", "graph", 1, 0.4),
        row("inductive", "graph", 1, 0.4),
    ]
    told = sentences(gains(rows, INTERVALS.iloc[:0]), graph="g", text="t")
    assert "of the gain above" not in " ".join(told)
    assert sentences(gains([], INTERVALS), graph="g", text="t") == []


def test_study_table_holds_the_studys_two_models_that_were_compared():
    scores = {"accuracy": 0.1, "macro_precision": 0.2, "weighted_precision": 0.3, "micro_f1": 1}
    found = study_table({"text:mlp": scores, "text:label_powerset": scores})
    assert found.to_dict("records") == [
        {
            "candidate": "text:label_powerset",
            "accuracy": 0.1,
            "macro_precision": 0.2,
            "weighted_precision": 0.3,
        }
    ]
    assert study_table({}).columns.tolist()[:2] == ["candidate", "accuracy"]
