"""The figures of the report, one function each; every function returns a :class:`Picture`.

:func:`corpus_figures` and :func:`comparison_figures` list those that the page shows together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tagsage.evaluate.findings import difference_sentence
from tagsage.evaluate.metrics import METRIC_NAMES
from tagsage.report.corpus_profile import CorpusProfile
from tagsage.report.formatting import counted, cut
from tagsage.report.picture import ROLES, Picture
from tagsage.report.report_data import Comparison

WIDTH = 5.6  # inches, of figures that name candidates
NAME_LIMIT = 30
MAX_DOTS = 150  # of a distribution
# Twelve lines that differ by colour or dashes: 4 and 3 have no common divisor.
LINES: list[dict[str, Any]] = [
    {
        "color": ROLES[("accent", "ink", "muted", "accent-soft")[place % 4]],
        "linestyle": ("-", "--", ":")[place % 3],
    }
    for place in range(12)
]
# Mark and colour of each metric.
MARKS = {
    "micro_f1": ("o", ROLES["accent"]),
    "macro_f1": ("s", ROLES["ink"]),
    "p_at_5": ("^", ROLES["muted"]),
    "lrap": ("D", ROLES["accent"]),
}
CLOUD_WIDTH, CLOUD_HEIGHT = 900, 420  # pixels; it grows in height until all words have room
CLOUD_WORDS = 200
CLOUD_FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
# The frequent third stands out.
CLOUD_COLOURS = (ROLES["accent"], ROLES["ink"], ROLES["muted"])


def corpus_figures(profile: CorpusProfile, *, seed: int = 0) -> list[Picture]:
    """Return the figures that need only the corpus; `seed` lays out the word cloud."""
    figures = [
        tags_per_article(profile),
        list_sizes(profile),
        lists_per_article(profile),
        isolated_share(profile),
    ]
    if profile.neighbours:
        figures.append(neighbours(profile))
    return [*figures, word_cloud(profile.tag_articles, seed=seed)]


def comparison_figures(comparison: Comparison) -> list[Picture]:
    """Return the figures that compare the best candidate with lists to the best on text."""
    names = (comparison.graph, comparison.text)
    figures = [
        difference_intervals(comparison.intervals),
        gain_by_frequency(*(comparison.per_tag[name] for name in names), names=names),
        precision_recall_curves(comparison.curves),
        reliability_diagram(comparison.reliability),
    ]
    if len(comparison.learning):
        figures.append(learning_curves(comparison.learning))
    return figures


def tags_per_article(profile: CorpusProfile) -> Picture:
    """Draw how many tags articles have."""
    counts = profile.tags_per_article
    most = max(counts, default=0)
    last = min(most, 10)
    values = [counts.get(n, 0) for n in range(last)]
    values.append(sum(count for n, count in counts.items() if n >= last))

    def draw(axes: Axes) -> None:
        colours = [ROLES["accent-soft"], *[ROLES["accent"]] * last]
        axes.bar(range(last + 1), values, color=colours, width=0.82)
        labels = [*map(str, range(last)), f"{last}+" if most > last else str(last)]
        axes.set_xticks(range(last + 1), labels)
        axes.set(xlabel="tags of an article", ylabel="articles")
        _thousands(axes.yaxis)

    none, total = counts.get(0, 0), sum(values)
    alt = (
        f"Bar chart of tags per article: {none:,} of {total:,} articles "
        f"({none / max(total, 1):.0%}) have none; the most is {most}."
    )
    return Picture("tags_per_article", "Tags per article", alt, draw)


def list_sizes(profile: CorpusProfile) -> Picture:
    """Draw how many lists have how many articles."""
    quantiles = profile.list_size_quantiles
    alt = "No list in this corpus."
    if quantiles:
        alt = (
            f"Log-log plot of list sizes: {profile.counts['lists']:,} lists; half hold at most "
            f"{quantiles['50%']:g} articles, the largest {quantiles['max']:,.0f}."
        )
    axes = ("articles in a list", "lists")
    return _distribution("list_sizes", "List sizes", alt, profile.list_sizes, axes)


def lists_per_article(profile: CorpusProfile) -> Picture:
    """Draw how many lists hold an article."""
    counts = {n: articles for n, articles in profile.lists_per_article.items() if n > 0}
    alt = "No article is in a list."
    if counts:
        alt = (
            f"Log-log plot of lists per article: {sum(counts.values()):,} articles are in a list; "
            f"{counts.get(1, 0):,} of them in just one, the most in {max(counts):,}."
        )
    axes = ("lists that hold an article", "articles")
    return _distribution("lists_per_article", "Lists per article", alt, counts, axes)


def neighbours(profile: CorpusProfile) -> Picture:
    """Draw how many neighbours articles have in the projection."""
    counts = {n: articles for n, articles in profile.neighbours.items() if n > 0}
    alt = "No article has a neighbour in the projection."
    if counts:
        alt = (
            f"Log-log plot of neighbours in the projection: {sum(counts.values()):,} articles have "
            f"some, at most {max(counts):,}."
        )
    axes = ("neighbours in the projection", "articles")
    return _distribution("neighbours", "Neighbours in the projection", alt, counts, axes)


def isolated_share(profile: CorpusProfile) -> Picture:
    """Draw the share of articles in no list."""
    counts = profile.counts
    rows = {
        "all articles": (counts["isolated"], counts["articles"]),
        "with tags": (counts["isolated_tagged"], counts["tagged"]),
        "without tags": (counts["isolated"] - counts["isolated_tagged"], counts["untagged"]),
    }
    shares = [isolated / total if total else 0.0 for isolated, total in rows.values()]

    def draw(axes: Axes) -> None:
        axes.barh(range(3), [1.0] * 3, color=ROLES["rule"], height=0.5)
        axes.barh(range(3), shares, color=ROLES["accent"], height=0.5)
        for place, (isolated, total) in enumerate(rows.values()):
            text = f"{shares[place]:.0%}  ({isolated:,} of {total:,})"
            axes.text(0, place - 0.38, text, va="bottom", ha="left")
        axes.set_yticks(range(3), list(rows))
        axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axes.set(xlim=(0, 1), ylim=(2.5, -0.8), xlabel="share in no list")
        axes.grid(visible=False)

    alt = (
        f"Share of articles in no list: {shares[0]:.0%} of all, {shares[1]:.0%} of those with "
        f"tags, {shares[2]:.0%} of those without."
    )
    return Picture("isolated", "Articles in no list", alt, draw)


def word_cloud(tag_articles: Sequence[tuple[str, int]], *, seed: int) -> Picture:
    """Draw the target tags, larger the more articles have them; `tag_articles` by falling count."""
    words = {
        cut(tag, 40): count for tag, count in tag_articles[:CLOUD_WORDS] if count and tag.strip()
    }
    width, height = CLOUD_WIDTH, CLOUD_HEIGHT
    layout = _cloud_layout(words, height, seed)
    while len(layout) < len(words):
        height = height * 4 // 3
        layout = _cloud_layout(words, height, seed)

    def draw(axes: Axes) -> None:
        from PIL import ImageFont

        axes.set_axis_off()
        # Room for the title of a PNG.
        axes.set(xlim=(0, width), ylim=(height, 0), position=(0, 0, 1, height / (height + 25)))
        for rank, ((word, _), size, (y, x), _, _) in enumerate(layout):
            colour = CLOUD_COLOURS[rank * 3 // len(layout)]
            # The layout gives the left and the top of a word's ink, matplotlib wants its baseline.
            left, top, _, _ = ImageFont.truetype(str(CLOUD_FONT), size).getbbox(word, anchor="ls")
            # A pixel of the layout is 0.72 points, because 900 of them are 9 inches.
            axes.text(x - left, y - top, word, fontsize=0.72 * size, color=colour, in_layout=False)

    alt = "No target tag."
    if words:
        first = ", ".join(f"{tag} ({count:,})" for tag, count in list(words.items())[:3])
        alt = f"Word cloud of {len(words)} target tags; the most frequent are {first}."
    size = (width / 100, (height + 25) / 100)
    return Picture("word_cloud", "Target tags", alt, draw if words else None, size)


def _cloud_layout(words: Mapping[str, int], height: int, seed: int) -> list[Any]:
    """Place the words, those that have room."""
    if not words:
        return []
    from wordcloud import WordCloud

    cloud = WordCloud(
        width=CLOUD_WIDTH,
        height=height,
        max_words=len(words),
        font_path=str(CLOUD_FONT),
        prefer_horizontal=1.0,
        relative_scaling=0.45,
        min_font_size=12,
        max_font_size=60,
        margin=8,
        random_state=seed,
    )
    layout: list[Any] = cloud.generate_from_frequencies(words).layout_
    return layout


def loss_curve(losses: Sequence[float]) -> Picture:
    """Draw GraphSAGE's mean loss of each epoch."""

    def draw(axes: Axes) -> None:
        epochs = range(1, len(losses) + 1)
        axes.plot(epochs, losses, color=ROLES["accent"], linewidth=1.8, marker="o", markersize=3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="mean loss of a node")

    alt = "GraphSAGE was not trained."
    if losses:
        alt = (
            f"GraphSAGE's loss goes from {losses[0]:.2f} in the first epoch to {losses[-1]:.2f} in "
            f"epoch {len(losses)}."
        )
    return Picture("graphsage_loss", "GraphSAGE training loss", alt, draw if losses else None)


def leaderboard_bars(leaderboard: pd.DataFrame) -> Picture:
    """Draw micro- and macro-F1 of each candidate; columns as in ``leaderboard.csv``."""
    names = [_label(name) for name in leaderboard["candidate"]]
    rows = np.arange(len(names))

    def draw(axes: Axes) -> None:
        soft, accent = ROLES["accent-soft"], ROLES["accent"]
        axes.barh(rows - 0.2, leaderboard["micro_f1"], 0.38, color=accent, label="micro-F1")
        axes.barh(rows + 0.2, leaderboard["macro_f1"], 0.38, color=soft, label="macro-F1")
        axes.set_yticks(rows, names)
        axes.set(xlabel="F1 on the test part", ylim=(len(names) - 0.4, -0.6), xlim=(0, None))
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        _legend_above(axes)

    alt = "No candidate was compared."
    if names:
        alt = f"Micro- and macro-F1 of {counted(len(names), 'candidate')}; best is {names[0]}."
    size = (WIDTH, 1.0 + 0.34 * max(len(names), 1))
    return Picture("leaderboard", "Leaderboard", alt, draw if names else None, size)


def f1_by_frequency(per_tag: pd.DataFrame) -> Picture:
    """Draw the F1 of each target tag against its support, the test articles that have it."""
    f1 = per_tag["f1"].to_numpy(dtype=float)

    def draw(axes: Axes) -> None:
        _scatter_by_support(axes, per_tag["support"], f1, ROLES["accent"])
        axes.set(ylabel="F1", ylim=(-0.03, 1.03))

    alt = "No tag has scores."
    if len(f1):
        alt = (
            f"Scatter plot of F1 against frequency for {counted(len(f1), 'target tag')}: median F1 "
            f"{np.median(f1):.2f}, from {f1.min():.2f} to {f1.max():.2f}."
        )
    title = "F1 of each tag, by how frequent it is"
    return Picture("per_tag_f1", title, alt, draw if len(f1) else None)


def precision_recall_curves(curves: Mapping[str, pd.DataFrame]) -> Picture:
    """Draw precision against recall over all pairs, for each candidate, the best first."""
    curves = {name: curve for name, curve in curves.items() if len(curve)}

    def draw(axes: Axes) -> None:
        for place, (name, curve) in enumerate(curves.items()):
            axes.plot(
                curve["recall"],
                curve["precision"],
                **LINES[place % len(LINES)],
                marker="o" if len(curve) == 1 else None,
                label=_label(name),
                zorder=3 - place / len(curves),  # the best on top
            )
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.grid(visible=True, axis="x")
        _legend_above(axes)

    alt = "No candidate has a curve of precision and recall."
    if curves:
        alt = (
            "Precision against recall over all pairs of article and tag, "
            f"{counted(len(curves), 'candidate')}"
        )
        at_half = {
            name: curve.loc[curve["recall"] >= 0.5, "precision"].iloc[0]
            for name, curve in curves.items()
            if curve["recall"].max() >= 0.5
        }
        if at_half:
            best = max(at_half, key=lambda name: float(at_half[name]))
            alt += f"; at recall 0.5 the best is {best}, with precision {at_half[best]:.2f}"
        alt += "."
    size = (WIDTH, 2.8 + _legend_height(len(curves)))
    title = "Precision against recall"
    return Picture("precision_recall", title, alt, draw if curves else None, size)


def gain_by_frequency(
    system: pd.DataFrame, baseline: pd.DataFrame, *, names: tuple[str, str]
) -> Picture:
    """Draw what each tag gains in average precision over the baseline, against its support."""
    score = "average_precision"
    both = system.merge(baseline[["tag", score]], on="tag", suffixes=("", "_before"))
    gain = (both[score] - both[f"{score}_before"]).to_numpy(dtype=float)

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=ROLES["ink"], linewidth=0.8)
        colours = np.where(gain >= 0, ROLES["accent"], ROLES["muted"])
        _scatter_by_support(axes, both["support"], gain, colours)
        axes.set(ylabel="gain in average precision")

    alt = f"No tag has scores of both {names[0]} and {names[1]}."
    if len(gain):
        least, most = (f"{both['tag'][i]} ({gain[i]:+.2f})" for i in (gain.argmin(), gain.argmax()))
        alt = (
            f"Scatter plot of each tag's gain in average precision by {names[0]} over {names[1]}, "
            f"against frequency: of {counted(len(gain), 'target tag')} {(gain > 0).sum()} gain and "
            f"{(gain < 0).sum()} lose, the median is {np.median(gain):+.2f}; "
            f"from {least} to {most}."
        )
    title = f"What each tag gains by {_label(names[0])}"
    return Picture("gain_per_tag", title, alt, draw if len(gain) else None)


def learning_curves(scores: pd.DataFrame) -> Picture:
    """Draw macro-F1 against the share of the training part that candidates were fitted on."""
    lines = {
        str(name): line.sort_values("share")
        for name, line in scores.groupby("candidate", sort=False)
    }

    def draw(axes: Axes) -> None:
        for place, (name, line) in enumerate(lines.items()):
            style: dict[str, Any] = LINES[place % len(LINES)] | {"marker": "o", "markersize": 3.5}
            axes.plot(line["share"], line["macro_f1"], **style, label=_label(name))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set(xlabel="share of the training articles", ylabel="macro-F1", xlim=(0, 1.03))
        axes.grid(visible=True, axis="x")
        _legend_above(axes)

    alt = "No learning curve was measured."
    if lines:
        best = max(lines, key=lambda name: float(lines[name]["macro_f1"].iloc[-1]))
        first, last = lines[best].iloc[0], lines[best].iloc[-1]
        alt = (
            "Learning curve: macro-F1 against the share of the training articles, "
            f"{counted(len(lines), 'candidate')}; best at the end is {best}: "
            f"{last['macro_f1']:.2f} with {last['share']:.0%}, after {first['macro_f1']:.2f} with "
            f"{first['share']:.0%}."
        )
    size = (WIDTH, 2.6 + _legend_height(len(lines)))
    title = "Learning curve: macro-F1"
    return Picture("learning_curve", title, alt, draw if lines else None, size)


def reliability_diagram(bins: pd.DataFrame) -> Picture:
    """Draw how often predictions come true, from :func:`tagsage.evaluate.metrics.reliability`."""
    bins = bins[bins["pairs"] > 0]
    low, high, predicted, observed, pairs = (
        bins[name].to_numpy(dtype=float)
        for name in ("low", "high", "predicted", "observed", "pairs")
    )

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=ROLES["muted"], linewidth=0.8, linestyle=":")
        axes.plot(predicted, observed, color=ROLES["accent"], marker="o", markersize=4)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set(xlabel="predicted probability", ylabel="share that is right")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03), xticks=ticks, yticks=ticks)
        axes.grid(visible=True, axis="x")
        above = axes.inset_axes((0, 1.06, 1, 0.28), sharex=axes)
        above.bar(low, pairs, width=0.94 * (high - low), align="edge", color=ROLES["accent-soft"])
        above.set(yscale="log", ylabel="pairs", ylim=(0.7, pairs.max() * 2))
        above.tick_params(labelbottom=False, bottom=False)
        _thousands(above.yaxis)

    alt = "No pair of article and tag has a predicted probability."
    if len(bins):
        error = np.abs(predicted - observed) @ pairs / pairs.sum()
        alt = (
            f"Reliability diagram of {pairs.sum():,.0f} pairs of article and tag in "
            f"{counted(len(bins), 'bin')}: in the highest, {predicted[-1]:.0%} is predicted and "
            f"{observed[-1]:.0%} is right; the two differ by {error:.4f} on average over pairs."
        )
    title = "Predicted probability and share that is right"
    return Picture("reliability", title, alt, draw if len(bins) else None, (4.0, 3.6))


def difference_intervals(intervals: pd.DataFrame) -> Picture:
    """Draw the differences of :func:`tagsage.evaluate.bootstrap.paired_bootstrap`, in points."""
    rows = intervals[intervals["baseline"].notna()]
    pairs = rows[["candidate", "baseline"]].drop_duplicates()
    level = f"{100 * rows['level'].iloc[0]:g}%" if len(rows) else ""

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=ROLES["ink"], linewidth=0.8)
        place = pairs.assign(place=np.arange(len(pairs)))
        for offset, (metric, (mark, colour)) in zip(
            (-0.3, -0.1, 0.1, 0.3), MARKS.items(), strict=True
        ):
            points = rows[rows["metric"] == metric].merge(place, on=["candidate", "baseline"])
            y = points["place"] + offset
            axes.hlines(y, 100 * points["low"], 100 * points["high"], color=colour, linewidth=1.2)
            label = METRIC_NAMES[metric]
            axes.plot(100 * points["value"], y, mark, color=colour, markersize=4.5, label=label)
        labels = [f"{_label(one)}\nover {_label(other)}" for one, other in pairs.to_numpy()]
        axes.set_yticks(range(len(pairs)), labels)
        axes.set(xlabel=f"points gained and {level} interval", ylim=(len(pairs) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        _legend_above(axes, columns=len(MARKS))

    alt = "No candidates were compared."
    if len(rows):
        columns = ["candidate", "baseline", "metric", "value", "low", "high"]
        first = rows.loc[rows["metric"] == "micro_f1", columns].head(3)
        sentences = [
            difference_sentence(system, baseline, metric, value=value, low=low, high=high)
            for system, baseline, metric, value, low, high in first.to_numpy().tolist()
        ]
        alt = f"Differences between candidates with {level} intervals: {'; '.join(sentences)}."
    size = (WIDTH, 1.2 + 0.6 * len(pairs))
    title = "Differences and their intervals"
    return Picture("difference_intervals", title, alt, draw if len(rows) else None, size)


def _distribution(
    name: str, title: str, alt: str, counts: Mapping[int, int], labels: tuple[str, str]
) -> Picture:
    """Plot a histogram with a heavy tail as dots, both axes logarithmic."""

    def draw(axes: Axes) -> None:
        values, numbers = _thinned(counts)
        axes.scatter(values, numbers, s=9, color=ROLES["accent"], alpha=0.7, linewidths=0)
        axes.grid(visible=True, axis="x")
        axes.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
        axes.set_xlim(0.8, max(values.max() * 1.6, 12))
        axes.set_ylim(min(numbers.min(), 1.0) * 0.7, max(numbers.max() * 1.8, 12))
        _thousands(axes.xaxis)
        _thousands(axes.yaxis)

    return Picture(name, title, alt, draw if any(counts) else None)


def _thinned(
    counts: Mapping[int, int],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return values and counts to plot: exact ones, or, where they are many, means of log bins."""
    values = np.array([value for value in counts if value > 0], dtype=float)
    numbers = np.array([count for value, count in counts.items() if value > 0], dtype=float)
    if len(values) <= MAX_DOTS:
        return values, numbers
    edges = np.unique(np.ceil(np.geomspace(1, values.max() + 1, MAX_DOTS)))
    sums, _ = np.histogram(values, bins=edges, weights=numbers)
    centres = np.sqrt(edges[:-1] * (edges[1:] - 1))
    return centres[sums > 0], (sums / np.diff(edges))[sums > 0]


def _scatter_by_support(
    axes: Axes, support: pd.Series[int], y: npt.NDArray[np.float64], colours: Any
) -> None:
    """Plot a dot for each tag, against how many test articles have it."""
    x = support.to_numpy(dtype=float).clip(min=1)
    axes.scatter(x, y, s=16, color=colours, alpha=0.65, linewidths=0)
    if x.max() >= 10 * x.min():
        axes.set_xscale("log")
    axes.grid(visible=True, axis="x")
    axes.set(xlabel="test articles with the tag")
    _thousands(axes.xaxis)


def _thousands(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _legend_above(axes: Axes, *, columns: int = 2) -> None:
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    axes.legend(frameon=False, ncols=columns, columnspacing=1.2, **place)


def _legend_height(names: int) -> float:
    """Return the height in inches of a legend with two columns."""
    return 0.17 * ((names + 1) // 2)


def _label(name: object) -> str:
    return cut(name, NAME_LIMIT)
