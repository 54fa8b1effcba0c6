"""The figures of a comparison: what they say and draw, with nothing, one and many to draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.report import comparison_figures as figures
from tagsage.report.picture import ROLES, Picture, save_pictures

METRICS = ("micro_f1", "macro_f1", "p_at_5", "lrap")


def curves(n: int) -> dict[str, pd.DataFrame]:
    recall = np.array([0.25, 0.5, 1.0])
    return {
        f"features{i}:mlp": pd.DataFrame({"recall": recall, "precision": (1 - recall) / (i + 1)})
        for i in range(n)
    }


def per_tag(n: int, shift: float = 0.0) -> pd.DataFrame:
    place = np.arange(n)
    return pd.DataFrame({
        "tag": [f"tag{i}" for i in place],
        "support": 1 + place * place,
        "f1": 0.5 + shift * (place - 1),
        "average_precision": 0.5 + shift * (place - 1),
    })


def learned(n: int) -> pd.DataFrame:
    lines = [
        (f"features{i}:mlp", share, 0.4 - 0.02 * i + 0.1 * share)
        for i in range(n)
        for share in (1.0, 0.1, 0.5)
    ]
    return pd.DataFrame(lines, columns=["candidate", "share", "macro_f1"])


def bins(n: int) -> pd.DataFrame:
    ends = np.linspace(0, 1, n + 1)
    return pd.DataFrame({
        "low": ends[:-1],
        "high": ends[1:],
        "predicted": (ends[:-1] + ends[1:]) / 2,
        "observed": ends[:-1],
        "pairs": (10 ** np.linspace(6, 2, n)).astype(int),
    })


def intervals(n: int) -> pd.DataFrame:
    """One line a candidate and metric, then what each gains over the last."""
    lines = [
        (f"features{i}:mlp", None, metric, 0.6 - 0.1 * place - 0.01 * i, 0.02)
        for i in range(n)
        for place, metric in enumerate(METRICS)
    ]
    lines += [
        (f"features{i}:mlp", f"features{n - 1}:mlp", metric, 0.01 * (n - 1 - i), 0.005)
        for i in range(n - 1)
        for metric in METRICS
    ]
    frame = pd.DataFrame(lines, columns=["candidate", "baseline", "metric", "value", "half"])
    half = frame.pop("half")
    return frame.assign(low=frame["value"] - half, high=frame["value"] + half, level=0.95)


def pictures(n: int) -> list[Picture]:
    return [
        figures.precision_recall_curves(curves(n)),
        figures.gain_by_frequency(per_tag(n, 0.1), per_tag(n), names=("a", "b")),
        figures.learning_curves(learned(n)),
        figures.reliability_diagram(bins(n)),
        figures.score_intervals(intervals(n)),
        figures.difference_intervals(intervals(n)),
    ]


def axes_of(picture: Picture) -> Axes:
    return picture.make().axes[0]


@pytest.mark.parametrize("n", [0, 1, 2, 25])
def test_every_picture_can_be_drawn_with_nothing_one_and_many(n, tmp_path):
    drawn = pictures(n)
    assert len(save_pictures(drawn, tmp_path)) == len(drawn)
    for picture in drawn:
        svg = picture.svg()
        assert ET.fromstring(svg).get("aria-label") == picture.alt
        assert picture.alt.endswith(".")
        assert "nan" not in picture.alt
        # Colours come from the page.
        assert not re.findall(r"#[0-9a-f]{6}\b", svg)


def test_pictures_drawn_twice_are_the_same_bytes():
    for one, other in zip(pictures(3), pictures(3), strict=True):
        assert one.svg() == other.svg(), one.name


def test_pictures_without_rows_say_that_there_is_nothing():
    assert [picture.alt for picture in pictures(0)] == [
        "No candidate has a curve of precision and recall.",
        "No tag has scores of both a and b.",
        "No learning curve was measured.",
        "No pair of article and tag has a predicted probability.",
        "No candidate has intervals.",
        "No candidates were compared.",
    ]


@pytest.mark.parametrize("name", ["$x$", "a<b>&\"'", "</svg><script>", "日本語", "🎉", "x" * 90])
def test_any_name_can_be_drawn(name, tmp_path):
    board = intervals(2)
    board = board.assign(candidate=board["candidate"].str.replace("features0:mlp", name))
    tags = per_tag(2).assign(tag=[name, "b"])
    drawn = [
        figures.precision_recall_curves({name: curves(1)["features0:mlp"]}),
        figures.gain_by_frequency(tags, tags, names=(name, "b")),
        figures.learning_curves(learned(1).assign(candidate=name)),
        figures.score_intervals(board),
        figures.difference_intervals(board),
    ]
    save_pictures(drawn, tmp_path)
    for picture in drawn:
        svg = picture.svg()
        ET.fromstring(svg)
        assert "<script" not in svg


def test_precision_recall_says_who_is_best_where_half_is_found_and_draws_a_line_each():
    picture = figures.precision_recall_curves(
        curves(3) | {"none:mlp": curves(1)["features0:mlp"][:0]}
    )
    assert picture.alt == (
        "Precision against recall over all pairs of article and tag, 3 candidates; where half of "
        "the right tags are found, features0:mlp is best: 50% are right."
    )
    lines = axes_of(picture).lines
    assert lines[1].get_xydata().tolist() == pytest.approx(
        np.array([[0.25, 0.375], [0.5, 0.25], [1, 0]])
    )
    styles = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(styles) == 3
    # The best lies on top.
    assert lines[0].zorder > lines[1].zorder > lines[2].zorder


def test_precision_recall_of_a_single_point_is_a_dot_and_claims_nothing_of_the_half():
    picture = figures.precision_recall_curves({"text:mlp": curves(1)["features0:mlp"][:1]})
    assert picture.alt.endswith("article and tag, 1 candidate.")
    assert axes_of(picture).lines[0].get_marker() == "o"


def test_twelve_candidates_have_twelve_different_lines():
    lines = axes_of(figures.precision_recall_curves(curves(12))).lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12


@pytest.mark.parametrize("score", ["average_precision", "f1"])
def test_gain_by_frequency_subtracts_tag_by_tag_in_any_order(score):
    before = per_tag(5)[::-1].drop(columns="support")
    picture = figures.gain_by_frequency(per_tag(4, 0.1), before, names=("a", "b"), score=score)
    what = {"average_precision": "average precision", "f1": "F1"}[score]
    assert picture.alt == (
        f"Scatter plot of each tag's gain in {what} by a over b, against frequency: of 4 target "
        "tags 2 gain and 1 lose, the median is +0.05; from tag0 (-0.10) to tag3 (+0.20)."
    )
    dots = axes_of(picture).collections[0]
    np.testing.assert_allclose(
        dots.get_offsets(), [[1, -0.1], [2, 0], [5, 0.1], [10, 0.2]], atol=1e-9
    )
    assert to_hex(dots.get_facecolors()[0]) == ROLES["muted"]
    assert to_hex(dots.get_facecolors()[3]) == ROLES["accent"]


def test_learning_curves_are_drawn_by_share_and_name_the_best_at_the_end():
    picture = figures.learning_curves(learned(2))
    assert picture.title == "Learning curve: macro-F1"
    assert picture.alt == (
        "Learning curve: macro-F1 against the share of the training articles, 2 candidates; best "
        "at the end is features0:mlp: 0.50 with 100%, after 0.41 with 10%."
    )
    lines = axes_of(picture).lines
    assert [line.get_label() for line in lines] == ["features0:mlp", "features1:mlp"]
    np.testing.assert_allclose(lines[1].get_xydata(), [[0.1, 0.39], [0.5, 0.43], [1, 0.48]])


def test_reliability_diagram_leaves_out_bins_without_pairs_and_tells_the_mean_error():
    frame = pd.DataFrame({
        "low": [0.0, 0.25, 0.5],
        "high": [0.25, 0.5, 1.0],
        "predicted": [0.1, np.nan, 0.8],
        "observed": [0.2, np.nan, 0.7],
        "pairs": [900, 0, 300],
    })
    picture = figures.reliability_diagram(frame)
    assert picture.alt == (
        "Reliability diagram of 1,200 pairs of article and tag in 2 bins: in the highest, 80% is "
        "predicted and 70% is right; the two differ by 0.1000 on average over pairs."
    )
    axes = axes_of(picture)
    assert axes.lines[1].get_xydata().tolist() == [[0.1, 0.2], [0.8, 0.7]]
    bars = axes.child_axes[0].patches
    assert [bar.get_height() for bar in bars] == [900, 300]


def whiskers(axes: Axes) -> dict[str, list[tuple[float, float, float]]]:
    """Return low, value and high as drawn, by metric."""
    dots = {
        line.get_label(): line.get_xydata() for line in axes.lines if "_" not in line.get_label()
    }
    found = {}
    for (name, values), lines in zip(dots.items(), axes.collections, strict=True):
        ends = [segment[:, 0] for segment in lines.get_segments()]
        found[name] = [(low, x, high) for (x, _), (low, high) in zip(values, ends, strict=True)]
    return found


def test_score_intervals_are_dots_on_whiskers_and_leave_out_differences():
    picture = figures.score_intervals(intervals(2))
    assert picture.alt == (
        "Scores with 95% intervals, 2 candidates; of features0:mlp: micro-F1 0.600 [0.580, 0.620], "
        "macro-F1 0.500 [0.480, 0.520], P@5 0.400 [0.380, 0.420], LRAP 0.300 [0.280, 0.320]."
    )
    axes = axes_of(picture)
    found = whiskers(axes)
    assert list(found) == ["micro-F1", "macro-F1", "P@5", "LRAP"]
    np.testing.assert_allclose(found["macro-F1"], [[0.48, 0.5, 0.52], [0.47, 0.49, 0.51]])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "features0:mlp",
        "features1:mlp",
    ]


def test_difference_intervals_are_points_around_zero_in_sentences():
    picture = figures.difference_intervals(intervals(3))
    assert picture.alt == (
        "Differences between candidates with 95% intervals: features0:mlp beats features2:mlp by "
        "2.0 micro-F1 points [1.5, 2.5]; features1:mlp beats features2:mlp by 1.0 micro-F1 points "
        "[0.5, 1.5]."
    )
    axes = axes_of(picture)
    np.testing.assert_allclose(whiskers(axes)["LRAP"], [[1.5, 2, 2.5], [0.5, 1, 1.5]])
    assert axes.get_yticklabels()[0].get_text() == "features0:mlp\nover features2:mlp"


def test_candidates_whose_labels_are_cut_to_the_same_have_places_of_their_own():
    board = intervals(3)
    board["candidate"] = "x" * 50 + board["candidate"]
    for draw in (figures.score_intervals, figures.difference_intervals):
        axes = axes_of(draw(board))
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert len(labels) == len(whiskers(axes)["LRAP"])
        assert len(set(labels)) == 1


def test_an_interval_that_does_not_hold_its_value_is_drawn_as_it_is():
    frame = intervals(1).assign(value=0.9)
    found = whiskers(axes_of(figures.score_intervals(frame)))
    np.testing.assert_allclose(found["micro-F1"], [[0.58, 0.9, 0.62]])


def test_intervals_of_the_bootstrap_can_be_drawn(tmp_path):
    Y = np.eye(6, dtype=bool)
    wrong = np.roll(Y, 1, axis=1)
    results = {
        "right": ArticleResults.of(Y.astype(np.float32), Y, Y),
        "wrong": ArticleResults.of(wrong.astype(np.float32), Y, wrong),
    }
    frame = paired_bootstrap(
        Y, results, pairs=[("right", "wrong")], resamples=20, seed=0, level=0.8
    )
    file = tmp_path / "intervals.csv"
    frame.to_csv(file, index=False)
    for read in (frame, pd.read_csv(file)):
        alt = figures.difference_intervals(read).alt
        assert alt == (
            "Differences between candidates with 80% intervals: right beats wrong by 100.0 "
            "micro-F1 points [100.0, 100.0]."
        )
        assert figures.score_intervals(read).alt.startswith("Scores with 80% intervals, 2 cand")
