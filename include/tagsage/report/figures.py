"""The figures of the report: what the corpus looks like, how GraphSAGE learned, who won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tagsage.report.eda import CorpusProfile
from tagsage.report.picture import ROLES, Picture, draw_picture, shorten, show_thousands
from tagsage.report.word_cloud import word_cloud

FloatArray = npt.NDArray[np.float64]
MAX_DOTS = 150  # of a distribution


def tags_per_article(profile: CorpusProfile) -> Picture:
    """Draw how many tags articles have; the untagged ones are those that get predictions."""
    counts = profile.tags_per_article
    top = max((n for n in counts), default=0)
    limit = min(top, 10)
    labels = [str(n) for n in range(limit + 1)]
    values = [counts.get(n, 0) for n in range(limit + 1)]
    if top > limit:
        labels[-1] += "+"
        values[-1] = sum(count for n, count in counts.items() if n >= limit)
    colours = [ROLES["accent-soft"], *[ROLES["accent"]] * limit]

    def draw(axes: Axes) -> None:
        axes.bar(range(limit + 1), values, color=colours, width=0.82)
        axes.set_xticks(range(limit + 1), labels)
        axes.set(xlabel="tags of an article", ylabel="articles")
        show_thousands(axes.yaxis)

    total = max(sum(values), 1)
    alt = (
        f"Bar chart of tags per article: {values[0]:,} of {sum(values):,} articles "
        f"({values[0] / total:.0%}) have none; the most is {top}."
    )
    return draw_picture("tags_per_article", "Tags per article", alt, draw)


def list_sizes(profile: CorpusProfile) -> Picture:
    """Draw how many lists have how many articles, both axes logarithmic."""
    sizes = profile.list_sizes
    quantiles = profile.list_size_quantiles
    alt = (
        f"Log-log plot of list sizes: {profile.counts['lists']:,} lists; half hold at most "
        f"{quantiles['50%']:g} articles, the largest {quantiles['max']:,.0f}."
        if quantiles
        else "No list in this corpus."
    )

    def draw(axes: Axes) -> None:
        _log_log(axes, sizes, "articles in a list", "lists")

    return draw_picture("list_sizes", "List sizes", alt, draw, empty=not sizes)


def lists_per_article(profile: CorpusProfile) -> Picture:
    """Draw how many lists hold an article: the degrees of the graph of memberships."""
    counts = {degree: n for degree, n in profile.lists_per_article.items() if degree > 0}
    joined = sum(counts.values())
    alt = (
        f"Log-log plot of lists per article: {joined:,} articles are in a list; "
        f"{counts.get(1, 0):,} of them in just one, the most in {max(counts):,}."
        if counts
        else "No article is in a list."
    )

    def draw(axes: Axes) -> None:
        _log_log(axes, counts, "lists that hold an article", "articles")

    return draw_picture("lists_per_article", "Lists per article", alt, draw, empty=not counts)


def neighbours(profile: CorpusProfile) -> Picture:
    """Draw how many neighbours an article has in the projection."""
    counts = {degree: n for degree, n in profile.neighbours.items() if degree > 0}
    alt = (
        f"Log-log plot of neighbours in the projection: {sum(counts.values()):,} articles have "
        f"some, at most {max(counts):,}."
        if counts
        else "No article has a neighbour in the projection."
    )

    def draw(axes: Axes) -> None:
        _log_log(axes, counts, "neighbours in the projection", "articles")

    return draw_picture("neighbours", "Neighbours in the projection", alt, draw, empty=not counts)


def isolated_share(profile: CorpusProfile) -> Picture:
    """Draw the share of articles that join no list: those only their text can tell of."""
    counts = profile.counts
    untagged_isolated = counts["isolated"] - counts["isolated_tagged"]
    rows = [
        ("all articles", counts["isolated"], counts["articles"]),
        ("with tags", counts["isolated_tagged"], counts["tagged"]),
        ("without tags", untagged_isolated, counts["untagged"]),
    ]
    shares = [alone / total if total else 0.0 for _, alone, total in rows]

    def draw(axes: Axes) -> None:
        axes.barh(range(3), [1.0] * 3, color=ROLES["rule"], height=0.5)
        axes.barh(range(3), shares, color=ROLES["accent"], height=0.5)
        for position, ((_, alone, total), share) in enumerate(zip(rows, shares, strict=True)):
            words = f"{share:.0%}  ({alone:,} of {total:,})"
            axes.text(0, position - 0.38, words, va="bottom", ha="left")
        axes.set_yticks(range(3), [name for name, _, _ in rows])
        axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axes.set(xlim=(0, 1), ylim=(2.5, -0.8), xlabel="share in no list")
        axes.grid(visible=False)

    alt = (
        f"Share of articles in no list: {shares[0]:.0%} of all, {shares[1]:.0%} of those with "
        f"tags, {shares[2]:.0%} of those without."
    )
    return draw_picture("isolated", "Articles in no list", alt, draw)


def loss_curve(losses: Sequence[float]) -> Picture:
    """Draw GraphSAGE's mean loss of each epoch."""
    epochs = range(1, len(losses) + 1)

    def draw(axes: Axes) -> None:
        axes.plot(epochs, losses, color=ROLES["accent"], linewidth=1.8, marker="o", markersize=3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="mean loss of a node")

    alt = (
        f"GraphSAGE's loss falls from {losses[0]:.2f} in the first epoch to {losses[-1]:.2f} in "
        f"epoch {len(losses)}."
        if losses
        else "GraphSAGE was not trained."
    )
    return draw_picture("graphsage_loss", "GraphSAGE training loss", alt, draw, empty=not losses)


def leaderboard_bars(leaderboard: pd.DataFrame) -> Picture:
    """Draw micro- and macro-F1 of every candidate, best first.

    Parameters
    ----------
    leaderboard : pandas.DataFrame
        Columns ``candidate`` (str), ``micro_f1``, ``macro_f1`` (float), best first.
    """
    n = len(leaderboard)
    rows = np.arange(n)
    micro = leaderboard["micro_f1"].to_numpy(dtype=float)
    macro = leaderboard["macro_f1"].to_numpy(dtype=float)

    def draw(axes: Axes) -> None:
        axes.barh(rows - 0.2, micro, 0.38, color=ROLES["accent"], label="micro-F1")
        axes.barh(rows + 0.2, macro, 0.38, color=ROLES["accent-soft"], label="macro-F1")
        axes.set_yticks(rows, [shorten(name, 30) for name in leaderboard["candidate"]])
        axes.set(xlabel="F1 on the test part", ylim=(n - 0.4, -0.6), xlim=(0, None))
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))

    alt = f"Micro- and macro-F1 of {n} candidates; best is {_first(leaderboard, 'candidate')}."
    size = (5.6, 1.0 + 0.34 * max(n, 1))
    return draw_picture("leaderboard", "Leaderboard", alt, draw, size=size, empty=not n)


def f1_by_frequency(per_tag: pd.DataFrame) -> Picture:
    """Draw each target tag's F1 against how many test articles have it.

    Parameters
    ----------
    per_tag : pandas.DataFrame
        Columns ``tag`` (str), ``f1`` (float), ``support`` (int): articles of the test part.
    """
    f1 = per_tag["f1"].to_numpy(dtype=float)
    support = per_tag["support"].to_numpy(dtype=float)

    def draw(axes: Axes) -> None:
        axes.scatter(
            np.maximum(support, 1), f1, s=16, color=ROLES["accent"], alpha=0.65, linewidths=0
        )
        if support.max() >= 10 * max(support.min(), 1):
            axes.set_xscale("log")
        axes.grid(visible=True, axis="x")
        axes.set(xlabel="test articles with the tag", ylabel="F1", ylim=(-0.03, 1.03))
        show_thousands(axes.xaxis)

    alt = (
        f"Scatter plot of F1 against frequency for {len(f1)} target tags: median F1 "
        f"{np.median(f1):.2f}, from {f1.min():.2f} to {f1.max():.2f}."
        if len(f1)
        else "No per-tag scores."
    )
    title = "F1 of each tag, by how frequent it is"
    return draw_picture("per_tag_f1", title, alt, draw, empty=not len(f1))


def corpus_pictures(profile: CorpusProfile, *, seed: int = 0) -> list[Picture]:
    """Draw every figure that needs only the corpus.

    Parameters
    ----------
    profile : CorpusProfile
        The numbers.
    seed : int
        Seed of the word cloud's layout.

    Returns
    -------
    list of Picture
        Deterministic: the same numbers give the same bytes.
    """
    pictures = [
        tags_per_article(profile),
        list_sizes(profile),
        lists_per_article(profile),
        isolated_share(profile),
    ]
    if profile.neighbours:
        pictures.append(neighbours(profile))
    return [*pictures, word_cloud(profile.tag_articles, seed=seed)]


def _log_log(axes: Axes, counts: Mapping[int, int], xlabel: str, ylabel: str) -> None:
    """Plot a histogram of a heavy tail as dots."""
    values, numbers = _thinned(counts)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.scatter(values, numbers, s=9, color=ROLES["accent"], alpha=0.7, linewidths=0)
    axes.grid(visible=True, axis="x")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_xlim(0.8, max(values.max(initial=1.0) * 1.6, 12))
    axes.set_ylim(min(numbers.min(initial=1.0), 1.0) * 0.7, max(numbers.max(initial=1.0) * 1.8, 12))
    show_thousands(axes.xaxis)
    show_thousands(axes.yaxis)


def _thinned(counts: Mapping[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return values and counts to plot: exact ones, or, where they are many, means of log bins.

    The mean is over every value of the bin, also those that do not occur: in the thin tail it is
    below 1.
    """
    values = np.array([value for value in counts if value > 0], dtype=float)
    numbers = np.array([count for value, count in counts.items() if value > 0], dtype=float)
    if len(values) <= MAX_DOTS:
        return values, numbers
    edges = np.unique(np.ceil(np.geomspace(1, values.max() + 1, MAX_DOTS)))
    sums, _ = np.histogram(values, bins=edges, weights=numbers)
    centres = np.sqrt(edges[:-1] * (edges[1:] - 1))
    seen = sums > 0
    return centres[seen], (sums / np.diff(edges))[seen]


def _first(frame: pd.DataFrame, column: str) -> str:
    return str(frame[column].iloc[0]) if len(frame) else "none"
