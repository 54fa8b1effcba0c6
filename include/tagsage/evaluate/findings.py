"""What a comparison found: intervals, gains, slices, and sentences about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.evaluate.bootstrap import Winner, paired_bootstrap
from tagsage.evaluate.leaderboard import GRAPH, TEXT
from tagsage.evaluate.metrics import METRIC_NAMES, METRICS
from tagsage.evaluate.scenarios import (
    COLD_START,
    GROUPED,
    INDUCTIVE,
    SHARE,
    TIME,
    TRANSDUCTIVE,
)
from tagsage.evaluate.slices import article_slices, slice_scores, tag_slices

if TYPE_CHECKING:
    from tagsage.evaluate.article_results import ArticleResults
    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.learn.labels import IntArray, Labels
    from tagsage.settings import Settings

SCENARIO_COLUMNS = ("scenario", "role", "candidate", "seed")
SLICE_COLUMNS = ("slice_kind", "slice", "articles", "tags", "candidate")
GAIN_COLUMNS = (
    *("scenario", "metric", "text", "graph", "gain", "spread", "splits"),
    *("on_run", "low", "high"),
)


@dataclass(frozen=True)
class ScenarioResults:
    """What was scored in a scenario; `text` is None where it is that of the run's test part."""

    test: IntArray  # positions of the test articles among the labelled ones
    graph: ArticleResults
    text: ArticleResults | None = None


def findings_tables(
    scored: Mapping[str, ScoredCandidate],
    labels: Labels,
    rows: Sequence[Mapping[str, Any]],
    *,
    best: Mapping[str, str],
    scenarios: Mapping[str, ScenarioResults],
    list_degree: npt.NDArray[np.integer],
    texts: Sequence[str],
    settings: Settings,
) -> dict[str, pd.DataFrame]:
    """Return the tables ``intervals``, ``scenarios``, ``gains`` and ``slices``.

    `best` names the best candidate per role (``text``, ``graph``; one may be missing), `scenarios`
    has what they scored in other scenarios; for `rows` see :func:`gains`. `list_degree` says how
    many lists hold each test article. Families of near-copies are the clusters of all intervals.
    """
    seed, text = settings.seed, best.get(TEXT)
    gained = pd.DataFrame(columns=[*GAIN_COLUMNS])
    if text and GRAPH in best:
        plain = {TEXT: scored[text].results, TRANSDUCTIVE: scored[best[GRAPH]].results}
        gained = gains(rows, scenario_differences(labels, plain, scenarios, seed=seed))
    of_articles = article_slices(list_degree=list_degree, texts=texts, Y=labels.Y_test)
    of_tags = tag_slices(labels.Y_train.sum(axis=0), settings.min_tag_articles)
    # A file without a header could not be read.
    lines = pd.DataFrame(rows, columns=None if rows else [*SCENARIO_COLUMNS])
    slices = pd.DataFrame(columns=[*SLICE_COLUMNS])
    if best:
        sliced = {
            name: slice_scores(scored[name].results, labels.Y_test, of_articles, of_tags)
            for name in best.values()
        }
        slices = pd.concat([of.assign(candidate=name) for name, of in sliced.items()])
    return {
        "intervals": paired_bootstrap(
            labels.Y_test,
            {name: one.results for name, one in scored.items()},
            clusters=labels.families[labels.test],
            pairs=[(name, text) for name in scored if text and name != text],
            seed=seed,
        ),
        "scenarios": lines.drop(columns="folder", errors="ignore"),
        "gains": gained,
        "slices": slices,
    }


def scenario_differences(
    labels: Labels,
    plain: Mapping[str, ArticleResults],
    scenarios: Mapping[str, ScenarioResults],
    *,
    seed: int,
) -> pd.DataFrame:
    """Bootstrap what lists gain over text in each scenario, with a column ``scenario``.

    `plain` has ``text`` and ``transductive`` on the run's test part.
    """
    on_test = {name: one.graph for name, one in scenarios.items() if one.text is None}
    parts = [(labels.test, {**plain, **on_test})]
    parts += [
        (one.test, {TEXT: one.text, name: one.graph})
        for name, one in scenarios.items()
        if one.text is not None
    ]
    found = pd.concat(
        paired_bootstrap(
            labels.Y[test],
            results,
            clusters=labels.families[test],
            pairs=[(name, TEXT) for name in results if name != TEXT],
            seed=seed,
        )
        for test, results in parts
    )
    return found[found["baseline"].notna()].rename(columns={"candidate": "scenario"})


def gains(rows: Sequence[Mapping[str, Any]], intervals: pd.DataFrame) -> pd.DataFrame:
    """Return what the lists gain over text: one row per scenario and metric, `GAIN_COLUMNS`.

    `rows` has one row per scored candidate: ``scenario``, ``role`` (``text`` or ``graph``),
    ``seed`` (of the split), and the four metrics. A scenario without a text row is compared with
    the transductive one of the same split. Returned are means over the splits, ``gain`` = graph -
    text, ``spread`` its standard deviation over the splits, and ``on_run``, ``low`` and ``high``
    the gain on the run's split and its interval. Shares of the training part are left out.
    """
    frame = pd.DataFrame.from_records([dict(row) for row in rows])

    def scores(scenario: str, role: str) -> pd.DataFrame:
        chosen = frame[(frame["scenario"] == scenario) & (frame["role"] == role)]
        return chosen.set_index("seed")[[*METRICS]]

    lines = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        if scenario == SHARE:
            continue
        graph, text = scores(scenario, GRAPH), scores(scenario, TEXT)
        if text.empty:
            text = scores(TRANSDUCTIVE, TEXT)
        common = graph.index.intersection(text.index)
        graph, text = graph.loc[common], text.loc[common]
        for metric in METRICS if len(common) else ():
            gain = graph[metric] - text[metric]
            means = (text[metric].mean(), graph[metric].mean(), gain.mean(), gain.std(ddof=1))
            chosen = (intervals["scenario"] == scenario) & (intervals["metric"] == metric)
            bounds = intervals.loc[chosen, ["value", "low", "high"]].to_numpy(dtype=float)
            on_run = bounds[0] if len(bounds) else [float("nan")] * 3
            lines.append((scenario, metric, *means, len(common), *on_run))
    return pd.DataFrame(lines, columns=list(GAIN_COLUMNS))


def sentences(found: pd.DataFrame, *, graph: str, text: str) -> list[str]:
    """Return sentences about what :func:`gains` found, for the candidates `graph` and `text`."""
    lines = {(row["scenario"], row["metric"]): row for row in found.to_dict(orient="records")}
    said = []
    for metric in ("micro_f1", "macro_f1", "p_at_5"):
        line = lines.get((TRANSDUCTIVE, metric))
        if line is not None and pd.notna(line["low"]):
            bounds = {"value": line["on_run"], "low": line["low"], "high": line["high"]}
            said.append(difference_sentence(graph, text, metric, **bounds) + ".")
    plain = lines.get((TRANSDUCTIVE, "macro_f1"))
    for scenario, beginning in _BEGINNINGS.items():
        line = lines.get((scenario, "macro_f1"))
        if line is None or plain is None:
            continue
        share = _on_run(line) / _on_run(plain) if _on_run(plain) > 0 else 0
        kept = f", {share:.0%} of the gain above" if scenario == INDUCTIVE and share > 0 else ""
        said.append(f"{beginning} in {METRIC_NAMES['macro_f1']} is {_interval(line)}{kept}.")
    return [*said, *_cost_of_copies(lines)]


def _cost_of_copies(lines: Mapping[tuple[str, str], Mapping[Any, Any]]) -> list[str]:
    """Return a sentence about how much of the scores near-copies in the training part make."""
    plain, grouped = (lines.get((name, "micro_f1")) for name in (TRANSDUCTIVE, GROUPED))
    if plain is None or grouped is None:
        return []
    with_lists, on_text = (
        f"{grouped[role]:.3f} instead of {plain[role]:.3f}" for role in (GRAPH, TEXT)
    )
    return [
        f"Without near-copies of test articles in the training part, micro-F1 is {with_lists} with "
        f"lists, and {on_text} on text."
    ]


_BEGINNINGS: Mapping[str, str] = {
    INDUCTIVE: "On articles that were not there when list features were built, the gain",
    COLD_START: "On articles treated as being in no list, the difference to text alone",
    TIME: "Trained on earlier articles and scored on later ones, the gain",
    GROUPED: "On articles of which no near-copy was trained on, the gain",
}


def difference_sentence(
    candidate: str, baseline: str, metric: str, *, value: float, low: float, high: float
) -> str:
    """Return whether a candidate beats a baseline, in points; numbers are fractions of 1."""
    name = METRIC_NAMES[metric]
    # Adding 0 makes of -0.0, which a small loss rounds to, 0.0.
    points, start, end = (round(100 * number, 1) + 0.0 for number in (value, low, high))
    if start > 0:
        return (
            f"{candidate} beats {baseline} by {points:.1f} {name} points [{start:.1f}, {end:.1f}]"
        )
    if end < 0:
        less = f"{-points:.1f} {name} points [{-end:.1f}, {-start:.1f}]"
        return f"{candidate} falls behind {baseline} by {less}"
    sign = "+" if points > 0 else ""
    return (
        f"{candidate} and {baseline} do not differ clearly in {name}: "
        f"{sign}{points:.1f} points [{start:.1f}, {end:.1f}]"
    )


def winner_sentence(winner: Winner, candidates: int) -> str:
    """Return how good the best of so many candidates is, apart from the luck of being the best."""
    return (
        f"{winner.candidate} has micro-F1 {winner.micro_f1:.3f} on the test articles that it was "
        f"chosen on from {candidates} candidates. Corrected for the choice it is "
        f"{winner.corrected:.3f} [{winner.low:.3f}, {winner.high:.3f}]."
    )


def _interval(line: Mapping[Any, Any]) -> str:
    value = f"{100 * _on_run(line) + 0.0:+.1f} points"
    if pd.notna(line["low"]):
        value += f" [{100 * line['low']:.1f}, {100 * line['high']:.1f}]"
    return value


def _on_run(line: Mapping[Any, Any]) -> float:
    return float(line["gain"] if pd.isna(line["on_run"]) else line["on_run"])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as JSON-able values: null where a number is missing."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]
