"""The figures of a comparison: how sure scores are, and where a candidate gains on another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from tagsage.evaluate.findings import METRIC_NAMES, difference_sentence
from tagsage.report.picture import ROLES, Picture, draw_picture, shorten, show_thousands

NAME_LIMIT = 30
WIDTH = 5.6  # inches, of figures that name candidates
# Twelve lines that differ by colour, by dashes, or by both: 4 and 3 have no common divisor.
LINES = [
    (ROLES[("accent", "ink", "muted", "accent-soft")[place % 4]], ("-", "--", ":")[place % 3])
    for place in range(12)
]
# Mark and role of each metric, told apart by shape as well.
MARKS = {
    "micro_f1": ("o", "accent"),
    "macro_f1": ("s", "ink"),
    "p_at_5": ("^", "muted"),
    "lrap": ("D", "accent"),
}
TOLD_DIFFERENCES = 3  # in words, for those who do not see the picture
SCORES_OF_TAGS = {"f1": "F1", "average_precision": "average precision"}


def precision_recall_curves(curves: Mapping[str, pd.DataFrame]) -> Picture:
    """Draw precision against recall over all (article, tag) pairs.

    Parameters
    ----------
    curves : mapping of str to pandas.DataFrame
        By candidate, the best first: columns ``recall`` (rising), ``precision`` (float); such as
        those of :func:`tagsage.evaluate.curves.precision_recall`.
    """
    drawn = {name: curve for name, curve in curves.items() if len(curve)}

    def draw(axes: Axes) -> None:
        for place, (name, curve) in enumerate(drawn.items()):
            colour, dashes = LINES[place % len(LINES)]
            axes.plot(
                curve["recall"],
                curve["precision"],
                dashes,
                color=colour,
                marker="o" if len(curve) == 1 else None,
                label=_label(name),
                zorder=3 - place / len(drawn),  # the best on top
            )
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.grid(visible=True, axis="x")
        _legend_above(axes)

    half = {
        name: float(curve.loc[curve["recall"] >= 0.5, "precision"].iloc[0])
        for name, curve in drawn.items()
        if (curve["recall"] >= 0.5).any()
    }
    best = max(half, key=half.__getitem__, default="")
    alt = (
        "Precision against recall over all pairs of article and tag, "
        f"{_count(len(drawn), 'candidate')}"
        if drawn
        else "No candidate has a curve of precision and recall"
    )
    if best:
        alt += (
            f"; where half of the right tags are found, {best} is best: {half[best]:.0%} are right"
        )
    alt += "."
    title = "Precision against recall"
    size = (WIDTH, 2.8 + _legend_height(len(drawn)))
    return draw_picture("precision_recall", title, alt, draw, size=size, empty=not drawn)


def gain_by_frequency(
    system: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    names: tuple[str, str],
    score: str = "average_precision",
) -> Picture:
    """Draw what each tag gains by one candidate over another, against how frequent the tag is.

    Parameters
    ----------
    system, baseline : pandas.DataFrame
        Columns ``tag`` (str), ``support`` (int: articles of the test part) and `score` (float), on
        the same articles. Only tags of both are drawn.
    names : (str, str)
        What the two are called.
    score : str
        ``average_precision`` or ``f1``; the former does not depend on thresholds.
    """
    columns = ["tag", score]
    both = system[[*columns, "support"]].merge(
        baseline[columns], on="tag", suffixes=("", "_before")
    )
    gain = (both[score] - both[f"{score}_before"]).to_numpy(dtype=float)
    support = np.maximum(both["support"].to_numpy(dtype=float), 1)
    what = SCORES_OF_TAGS[score]
    one, other = names

    def draw(axes: Axes) -> None:
        colours = np.where(gain >= 0, ROLES["accent"], ROLES["muted"])
        axes.axhline(0, color=ROLES["ink"], linewidth=0.8)
        axes.scatter(support, gain, s=16, color=colours, alpha=0.65, linewidths=0)
        if support.max() >= 10 * support.min():
            axes.set_xscale("log")
        axes.grid(visible=True, axis="x")
        axes.set(xlabel="test articles with the tag", ylabel=f"gain in {what}")
        show_thousands(axes.xaxis)

    def extreme(place: int) -> str:
        return f"{both['tag'].iloc[place]} ({gain[place]:+.2f})"

    alt = (
        f"Scatter plot of each tag's gain in {what} by {one} over {other}, against frequency: of "
        f"{_count(len(gain), 'target tag')} {(gain > 0).sum()} gain and {(gain < 0).sum()} lose, "
        f"the median is {np.median(gain):+.2f}; from {extreme(int(gain.argmin()))} to "
        f"{extreme(int(gain.argmax()))}."
        if len(gain)
        else f"No tag has scores of both {one} and {other}."
    )
    title = f"What each tag gains by {shorten(one, NAME_LIMIT)}"
    return draw_picture("gain_per_tag", title, alt, draw, empty=not len(gain))


def learning_curves(scores: pd.DataFrame, *, metric: str = "macro_f1") -> Picture:
    """Draw a metric against the share of the training part that candidates were fitted on.

    Parameters
    ----------
    scores : pandas.DataFrame
        A line for each candidate and share: columns ``candidate`` (str), ``share`` (float, above 0
        to 1), and `metric` (float).
    metric : str
        One of those that rank.
    """
    lines = {
        str(name): line.sort_values("share", kind="stable")
        for name, line in scores.groupby("candidate", sort=False)
    }
    what = METRIC_NAMES[metric]

    def draw(axes: Axes) -> None:
        for place, (name, line) in enumerate(lines.items()):
            colour, dashes = LINES[place % len(LINES)]
            axes.plot(
                line["share"],
                line[metric],
                dashes,
                color=colour,
                marker="o",
                markersize=3.5,
                label=_label(name),
            )
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set(xlabel="share of the training articles", ylabel=what, xlim=(0, 1.03))
        axes.grid(visible=True, axis="x")
        _legend_above(axes)

    alt = "No learning curve was measured."
    if lines:
        best = max(lines, key=lambda name: float(lines[name][metric].iloc[-1]))
        first, last = lines[best].iloc[0], lines[best].iloc[-1]
        alt = (
            f"Learning curve: {what} against the share of the training articles, "
            f"{_count(len(lines), 'candidate')}; best at the end is {best}: {last[metric]:.2f} "
            f"with {last['share']:.0%}, after {first[metric]:.2f} with {first['share']:.0%}."
        )
    size = (WIDTH, 2.6 + _legend_height(len(lines)))
    title = f"Learning curve: {what}"
    return draw_picture("learning_curve", title, alt, draw, size=size, empty=not lines)


def reliability_diagram(bins: pd.DataFrame) -> Picture:
    """Draw how often predictions come true against how probable they were said to be.

    Parameters
    ----------
    bins : pandas.DataFrame
        A line for each bin of probabilities, ascending: columns ``low``, ``high`` (its ends),
        ``predicted`` (mean probability), ``observed`` (share of pairs that are right), ``pairs``
        (int: (article, tag) pairs in it). Bins without pairs are left out.
    """
    bins = bins[bins["pairs"] > 0]
    pairs = bins["pairs"].to_numpy(dtype=float)
    predicted = bins["predicted"].to_numpy(dtype=float)
    observed = bins["observed"].to_numpy(dtype=float)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=ROLES["muted"], linewidth=0.8, linestyle=":")
        axes.plot(predicted, observed, color=ROLES["accent"], marker="o", markersize=4)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set(xlabel="predicted probability", ylabel="share that is right")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03), xticks=ticks, yticks=ticks)
        axes.grid(visible=True, axis="x")
        above = axes.inset_axes((0, 1.06, 1, 0.28), sharex=axes)
        low, high = (bins[end].to_numpy(dtype=float) for end in ("low", "high"))
        above.bar(low, pairs, width=0.94 * (high - low), align="edge", color=ROLES["accent-soft"])
        above.set(yscale="log", ylabel="pairs", ylim=(0.7, pairs.max() * 2))
        above.tick_params(labelbottom=False, bottom=False)
        show_thousands(above.yaxis)

    alt = "No pair of article and tag has a predicted probability."
    if len(bins):
        error = np.abs(predicted - observed) @ pairs / pairs.sum()
        alt = (
            f"Reliability diagram of {pairs.sum():,.0f} pairs of article and tag in "
            f"{_count(len(bins), 'bin')}: in the highest, {predicted[-1]:.0%} is predicted and "
            f"{observed[-1]:.0%} is right; the two differ by {error:.4f} on average over pairs."
        )
    title = "Predicted probability and what comes true"
    return draw_picture("reliability", title, alt, draw, size=(4.0, 3.6), empty=not len(bins))


def score_intervals(intervals: pd.DataFrame) -> Picture:
    """Draw the four metrics of every candidate with their intervals.

    Parameters
    ----------
    intervals : pandas.DataFrame
        From :func:`tagsage.evaluate.bootstrap.paired_bootstrap`; lines of differences are left out.
    """
    scores = intervals[intervals["baseline"].isna()]
    level = _level(scores)
    place, names = pd.factorize(scores["candidate"].astype(object))

    def draw(axes: Axes) -> None:
        _whiskers(axes, scores, place)
        axes.set_yticks(range(len(names)), [_label(name) for name in names])
        axes.set_xlabel(f"score and {level} interval")

    alt = "No candidate has intervals."
    if len(scores):
        told = ", ".join(
            f"{METRIC_NAMES[line['metric']]} {line['value']:.3f} "
            f"[{line['low']:.3f}, {line['high']:.3f}]"
            for line in scores[place == 0].to_dict("records")
        )
        count = _count(len(names), "candidate")
        alt = f"Scores with {level} intervals, {count}; of {names[0]}: {told}."
    title = "Scores and how sure they are"
    size = (WIDTH, 1.2 + 0.55 * len(names))
    return draw_picture("intervals", title, alt, draw, size=size, empty=not len(scores))


def difference_intervals(intervals: pd.DataFrame) -> Picture:
    """Draw the differences between candidates with their intervals, in points (hundredths).

    Parameters
    ----------
    intervals : pandas.DataFrame
        From :func:`tagsage.evaluate.bootstrap.paired_bootstrap`; only lines of differences are
        drawn.
    """
    found = intervals[intervals["baseline"].notna()]
    level = _level(found)
    pairs = pd.MultiIndex.from_frame(found[["candidate", "baseline"]])
    place, names = pd.factorize(pairs)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=ROLES["ink"], linewidth=0.8)
        points = found.assign(**{name: 100 * found[name] for name in ("value", "low", "high")})
        _whiskers(axes, points, place)
        labels = [f"{_label(one)}\nover {_label(other)}" for one, other in names]
        axes.set_yticks(range(len(names)), labels)
        axes.set_xlabel(f"points gained and {level} interval")

    alt = "No candidates were compared."
    if len(found):
        lines = found[found["metric"] == "micro_f1"].head(TOLD_DIFFERENCES)
        told = "; ".join(
            difference_sentence(
                str(line["candidate"]),
                str(line["baseline"]),
                "micro_f1",
                value=line["value"],
                low=line["low"],
                high=line["high"],
            )
            for line in lines.to_dict("records")
        )
        alt = f"Differences between candidates with {level} intervals: {told}."
    title = "Differences and how sure they are"
    size = (WIDTH, 1.2 + 0.6 * len(names))
    return draw_picture("difference_intervals", title, alt, draw, size=size, empty=not len(found))


def _whiskers(axes: Axes, lines: pd.DataFrame, place: npt.NDArray[np.integer]) -> None:
    """Draw a dot and its interval for each line; metrics of one place stand below each other."""
    for index, (metric, (mark, role)) in enumerate(MARKS.items()):
        own = (lines["metric"] == metric).to_numpy()
        height = place[own] + 0.2 * (index - (len(MARKS) - 1) / 2)
        colour = ROLES[role]
        axes.hlines(height, lines["low"][own], lines["high"][own], color=colour, linewidth=1.2)
        axes.plot(
            lines["value"][own],
            height,
            mark,
            color=colour,
            markersize=4.5,
            label=METRIC_NAMES[metric],
        )
    axes.set_ylim(place.max() + 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    _legend_above(axes, columns=len(MARKS))


def _legend_above(axes: Axes, *, columns: int = 2) -> None:
    axes.legend(
        frameon=False, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), columnspacing=1.2
    )


def _legend_height(names: int) -> float:
    """Return the inches that a legend of two columns takes."""
    return 0.17 * ((names + 1) // 2)


def _label(name: object) -> str:
    return shorten(str(name), NAME_LIMIT)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _level(lines: pd.DataFrame) -> str:
    return f"{100 * lines['level'].iloc[0]:g}%" if len(lines) else ""
