"""The figures: what they draw and say, with nothing, one and many; hostile names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations, product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from tagsage.report import figures
from tagsage.report.corpus_profile import CorpusProfile
from tagsage.report.picture import Picture, save_pictures

METRICS = ("micro_f1", "macro_f1", "p_at_5", "lrap")
HOSTILE = ["$x$ \\frac %", "</svg><script>&\"'", "日本語 🎉", "x" * 90]


def profile_of(n: int) -> CorpusProfile:
    counts = {
        **dict.fromkeys(("articles", "tagged", "untagged", "stubs", "authors", "memberships"), n),
        **dict.fromkeys(("lists", "tags", "target_tags", "isolated", "isolated_tagged"), n),
    }
    histogram = {value: 1 + value % 3 for value in range(n)}
    quantiles = {"50%": 2.0, "mean": 3.0, "max": 5.0} if n else {}
    tags = [(f"tag{i}", n - i) for i in range(n)]
    return CorpusProfile(counts, histogram, histogram, histogram, quantiles, tags, histogram)


def curves(n: int) -> dict[str, pd.DataFrame]:
    recall = np.array([0.25, 0.5, 1.0])
    return {
        f"features{i}:mlp": pd.DataFrame({"recall": recall, "precision": (1 - recall) / (i + 1)})
        for i in range(n)
    }


def per_tag(n: int, shift: float = 0.0) -> pd.DataFrame:
    place = np.arange(n)
    score = 0.5 + shift * (place - 1)
    tags = [f"tag{i}" for i in place]
    support = 1 + place * place
    return pd.DataFrame({"tag": tags, "support": support, "f1": score, "average_precision": score})


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
    """Each candidate's scores, then what each gains over the last."""
    names = [f"features{i}:mlp" for i in range(n)]
    lines = [(name, None, metric, 0.6) for name in names for metric in METRICS]
    lines += [
        (name, names[-1], metric, 0.01 * (n - 1 - i))
        for i, name in enumerate(names[:-1])
        for metric in METRICS
    ]
    frame = pd.DataFrame(lines, columns=["candidate", "baseline", "metric", "value"])
    return frame.assign(low=frame["value"] - 0.005, high=frame["value"] + 0.005, level=0.95)


def board(n: int) -> pd.DataFrame:
    names = [f"features{i}:mlp" for i in range(n)]
    return pd.DataFrame({"candidate": names, "micro_f1": 0.6, "macro_f1": 0.4})


def pictures(n: int) -> list[Picture]:
    return [
        *figures.corpus_figures(profile_of(n)),
        figures.neighbours(profile_of(n)),
        figures.loss_curve([3.0 / (i + 1) for i in range(n)]),
        figures.leaderboard_bars(board(n)),
        figures.f1_by_frequency(per_tag(n)),
        figures.precision_recall_curves(curves(n)),
        figures.gain_by_frequency(per_tag(n, 0.1), per_tag(n), names=("a", "b")),
        figures.learning_curves(learned(n)),
        figures.reliability_diagram(bins(n)),
        figures.difference_intervals(intervals(n)),
    ]


def axes_of(picture: Picture) -> Axes:
    return picture.figure().axes[0]


@pytest.mark.parametrize("n", [0, 1, 13])
def test_every_figure_can_be_drawn_with_nothing_one_and_many(n, tmp_path):
    drawn = pictures(n)
    before = dict(mpl.rcParams)
    save_pictures(drawn, tmp_path)
    for picture in drawn:
        svg = picture.svg()
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == picture.alt
        assert picture.alt.endswith(".")
        assert "nan" not in picture.alt
        # Colours come from the page, and nothing from outside of it.
        assert not re.findall(r"#[0-9a-f]{6}\b|http", svg)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_drawn(name, tmp_path):
    tags = per_tag(2).assign(tag=[name, "b"])
    differences = intervals(2).replace("features0:mlp", name)
    drawn = [
        figures.word_cloud([(name, 3)], seed=0),
        figures.leaderboard_bars(board(1).assign(candidate=name)),
        figures.precision_recall_curves({name: curves(1)["features0:mlp"]}),
        figures.gain_by_frequency(tags, tags, names=(name, "b")),
        figures.learning_curves(learned(1).assign(candidate=name)),
        figures.difference_intervals(differences),
    ]
    save_pictures(drawn[:2], tmp_path)
    for picture in drawn:
        svg = picture.svg()
        ET.fromstring(svg)
        assert "<script" not in svg


def test_word_cloud_draws_frequent_tags_larger_and_none_over_another():
    tags = [(f"tag{number}", 100 - number) for number in range(40)]
    figure = figures.word_cloud([*tags, ("never", 0), (" ", 4)], seed=1).figure()
    words = figure.axes[0].texts
    assert len(words) > 20
    assert {word.get_text() for word in words} <= {tag for tag, _ in tags}
    assert words[0].get_text() == "tag0"
    assert words[0].get_fontsize() > words[-1].get_fontsize()
    outlines = []
    for word in words:
        x, y = word.get_position()
        ink = TextPath((x, -y), word.get_text(), size=word.get_fontsize() / 0.72)
        outlines.append([Path(line) for line in ink.to_polygons()])
    for one, other in combinations(outlines, 2):
        assert not any(a.intersects_path(b, filled=False) for a, b in product(one, other))
    assert figures.word_cloud([("never", 0), (" ", 4)], seed=0).alt == "No target tag."


def test_word_cloud_has_room_for_all_target_tags():
    # As many as the study had, some of them long.
    names = (f"{'machine-learning-' * (number % 3)}{number}" for number in range(161))
    tags = [(name, 2000 - number) for number, name in enumerate(names)]
    picture = figures.word_cloud(tags, seed=1)
    words = {word.get_text() for word in picture.figure().axes[0].texts}
    assert words == {tag for tag, _ in tags}
    assert "161 target tags" in picture.alt


def test_tags_per_article_gathers_the_many_in_the_last_bar(profile):
    many = CorpusProfile(**{**vars(profile), "tags_per_article": {0: 5, 9: 1, 10: 2, 60: 3}})
    bars = axes_of(figures.tags_per_article(many)).patches
    assert [bar.get_height() for bar in bars] == [5, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5]


def test_distributions_are_exact_where_few_and_thinned_where_many(profile):
    few = CorpusProfile(**{**vars(profile), "list_sizes": {0: 7, 1: 5, 30: 2}})
    dots = axes_of(figures.list_sizes(few)).collections[0].get_offsets()
    assert dots.tolist() == [[1, 5], [30, 2]]
    sizes = {value: 1 + value % 4 for value in range(1, 1001)}
    many = CorpusProfile(**{**vars(profile), "list_sizes": sizes})
    values, numbers = axes_of(figures.list_sizes(many)).collections[0].get_offsets().T
    assert len(values) <= figures.MAX_DOTS
    assert values.min() == 1
    assert 1 <= numbers.min() <= numbers.max() <= 4


def test_precision_recall_has_a_line_per_candidate_with_the_best_on_top():
    nothing = {"none:mlp": curves(1)["features0:mlp"][:0]}
    picture = figures.precision_recall_curves(curves(12) | nothing)
    assert picture.alt.endswith("at recall 0.5 the best is features0:mlp, with precision 0.50.")
    lines = axes_of(picture).lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12
    assert lines[0].zorder > lines[1].zorder > lines[2].zorder
    np.testing.assert_allclose(lines[1].get_xydata(), [[0.25, 0.375], [0.5, 0.25], [1, 0]])
    one_point = figures.precision_recall_curves({"text:mlp": curves(1)["features0:mlp"][:1]})
    assert one_point.alt.endswith("article and tag, 1 candidate.")
    assert axes_of(one_point).lines[0].get_marker() == "o"


def test_gain_by_frequency_subtracts_tag_by_tag_in_any_order():
    before = per_tag(5)[::-1].drop(columns="support")
    picture = figures.gain_by_frequency(per_tag(4, 0.1), before, names=("a", "b"))
    assert "of 4 target tags 2 gain and 1 lose, the median is +0.05" in picture.alt
    assert picture.alt.endswith("from tag0 (-0.10) to tag3 (+0.20).")
    dots = axes_of(picture).collections[0].get_offsets()
    np.testing.assert_allclose(dots, [[1, -0.1], [2, 0], [5, 0.1], [10, 0.2]], atol=1e-9)


def test_learning_curves_are_drawn_by_share_and_name_the_best_at_the_end():
    picture = figures.learning_curves(learned(2))
    assert "features0:mlp: 0.50 with 100%, after 0.41 with 10%" in picture.alt
    lines = axes_of(picture).lines
    assert [line.get_label() for line in lines] == ["features0:mlp", "features1:mlp"]
    np.testing.assert_allclose(lines[1].get_xydata(), [[0.1, 0.39], [0.5, 0.43], [1, 0.48]])


def test_reliability_diagram_leaves_out_bins_without_pairs_and_gives_the_mean_error():
    frame = pd.DataFrame({
        "low": [0.0, 0.25, 0.5],
        "high": [0.25, 0.5, 1.0],
        "predicted": [0.1, np.nan, 0.8],
        "observed": [0.2, np.nan, 0.7],
        "pairs": [900, 0, 300],
    })
    picture = figures.reliability_diagram(frame)
    assert "in 2 bins: in the highest, 80% is predicted and 70% is right" in picture.alt
    assert "differ by 0.1000 on average" in picture.alt
    axes = axes_of(picture)
    assert axes.lines[1].get_xydata().tolist() == [[0.1, 0.2], [0.8, 0.7]]
    assert [bar.get_height() for bar in axes.child_axes[0].patches] == [900, 300]


def test_difference_intervals_are_dots_on_whiskers_in_points():
    board = intervals(3)
    # Labels that are cut to the same have places of their own.
    board["candidate"] = "x" * 50 + board["candidate"]
    picture = figures.difference_intervals(board)
    assert "beats features2:mlp by 2.0 micro-F1 points [1.5, 2.5]" in picture.alt
    axes = axes_of(picture)
    assert len(axes.get_yticklabels()) == 2
    dots = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_allclose(dots["LRAP"][:, 0], [2, 1])
    ends = [segment[:, 0] for segment in axes.collections[-1].get_segments()]
    np.testing.assert_allclose(ends, [[1.5, 2.5], [0.5, 1.5]])
