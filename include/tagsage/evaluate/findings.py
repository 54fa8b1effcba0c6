"""What a comparison amounts to: gains with their spread and intervals, and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.evaluate.bootstrap import paired_bootstrap
from tagsage.evaluate.scenario_names import GRAPH, ROLES, TEXT, TRANSDUCTIVE
from tagsage.evaluate.slices import article_slices, slice_scores, tag_slices
from tagsage.evaluate.systems import METRICS, System
from tagsage.evaluate.wording import METRIC_NAMES, difference_sentence

if TYPE_CHECKING:
    from tagsage.evaluate.judgement import Judgement
    from tagsage.learn.labels import Labels
    from tagsage.settings import Settings

QUESTION_COLUMNS = ("question", "role", "candidate", "seed")
SLICE_COLUMNS = ("slice_kind", "slice", "articles", "tags", "candidate")
GAIN_COLUMNS = (
    *("question", "metric", "text", "graph", "gain", "spread", "splits"),
    *("on_run", "low", "high"),
)
STUDY_METRICS = ("accuracy", "macro_precision", "weighted_precision")
STUDY_CANDIDATES = ("text:label_powerset", "text+graphsage:label_powerset")


def gains(rows: Sequence[Mapping[str, Any]], intervals: pd.DataFrame) -> pd.DataFrame:
    """Return what the lists gain over text, question by question.

    Parameters
    ----------
    rows : sequence of mappings
        One a judged candidate: ``question``, ``role`` (``text`` or ``graph``), ``seed`` (of the
        split), and the four metrics. A question without a row of text is measured against the
        transductive one of the same split: text is the same there.
    intervals : pandas.DataFrame
        Of the run's split: ``question``, ``metric``, ``value``, ``low``, ``high``.

    Returns
    -------
    pandas.DataFrame
        A line for each question and metric, columns :data:`GAIN_COLUMNS`: means over the splits,
        ``gain`` = graph - text, ``spread`` its standard deviation over the splits (null for one),
        ``on_run``, ``low`` and ``high`` the gain on the run's split and its interval (null
        where there is none). Shares of the training part are left out: they are points of a curve.
    """
    frame = pd.DataFrame.from_records([dict(row) for row in rows])
    lines = []
    for question in frame["question"].unique() if len(frame) else ():
        if question == "share":
            continue
        asked = frame[frame["question"] == question]
        graph = asked[asked["role"] == "graph"].set_index("seed")
        text = asked[asked["role"] == "text"].set_index("seed")
        if text.empty:
            plain = frame[(frame["question"] == "transductive") & (frame["role"] == "text")]
            text = plain.set_index("seed")
        common = graph.index.intersection(text.index)
        for metric in METRICS if len(common) else ():
            differences = graph.loc[common, metric] - text.loc[common, metric]
            bounds = intervals[
                (intervals["question"] == question) & (intervals["metric"] == metric)
            ]
            lines.append((
                question,
                metric,
                text.loc[common, metric].mean(),
                graph.loc[common, metric].mean(),
                differences.mean(),
                differences.std(ddof=1),
                len(common),
                *(
                    bounds[name].iloc[0] if len(bounds) else float("nan")
                    for name in ("value", "low", "high")
                ),
            ))
    return pd.DataFrame(lines, columns=list(GAIN_COLUMNS))


def sentences(found: pd.DataFrame, *, graph: str, text: str) -> list[str]:
    """Tell in plain words what was found.

    Parameters
    ----------
    found : pandas.DataFrame
        What :func:`gains` returned.
    graph, text : str
        The candidates' names.

    Returns
    -------
    list of str
        A sentence for micro-F1, macro-F1 and P@5 of the transductive question, where there is an
        interval, then one a further question.
    """
    told = []
    lines = {(row["question"], row["metric"]): row for row in found.to_dict(orient="records")}
    for metric in ("micro_f1", "macro_f1", "p_at_5"):
        line = lines.get(("transductive", metric))
        if line is not None and pd.notna(line["low"]):
            bounds = {"value": line["on_run"], "low": line["low"], "high": line["high"]}
            told.append(difference_sentence(graph, text, metric, **bounds) + ".")
    plain = lines.get(("transductive", "macro_f1"))
    for question, wording in _WORDINGS.items():
        line = lines.get((question, "macro_f1"))
        if line is not None and plain is not None:
            told.append(wording(line, _on_run(plain)))
    return told


def _inductive(line: Mapping[Any, Any], transductive: float) -> str:
    share = _on_run(line) / transductive if transductive > 0 else 0
    kept = f", {share:.0%} of the gain above" if share > 0 else ""
    return (
        "Of articles that were not there when list features were built, the gain in "
        f"{METRIC_NAMES['macro_f1']} is {_points(line)}{kept}."
    )


def _cold_start(line: Mapping[Any, Any], _: float) -> str:
    return (
        "Of articles taken for being in no list, the difference to text alone in "
        f"{METRIC_NAMES['macro_f1']} is {_points(line)}."
    )


def _time(line: Mapping[Any, Any], _: float) -> str:
    return (
        "Trained on earlier articles and judged on later ones, the gain in "
        f"{METRIC_NAMES['macro_f1']} is {_points(line)}."
    )


def _points(line: Mapping[Any, Any]) -> str:
    value = f"{100 * _on_run(line) + 0.0:+.1f} points"
    if pd.notna(line["low"]):
        value += f" [{100 * line['low']:.1f}, {100 * line['high']:.1f}]"
    return value


def _on_run(line: Mapping[Any, Any]) -> float:
    """Return the gain that the interval is of; the mean where there is no interval."""
    return float(line["gain"] if pd.isna(line["on_run"]) else line["on_run"])


_WORDINGS: dict[str, Callable[[Mapping[Any, Any], float], str]] = {
    "inductive": _inductive,
    "cold_start": _cold_start,
    "time": _time,
}


def study_table(scores: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return the study's own table as it comes out here.

    Parameters
    ----------
    scores : mapping of str to mapping
        Scores by candidate.

    Returns
    -------
    pandas.DataFrame
        ``candidate``, accuracy, macro and weighted precision of the study's two models, of those
        that were compared. (The study assigns the likeliest set of tags, tagsage by thresholds.)
    """
    return pd.DataFrame(
        [
            {"candidate": name, **{metric: scores[name][metric] for metric in STUDY_METRICS}}
            for name in STUDY_CANDIDATES
            if name in scores
        ],
        columns=["candidate", *STUDY_METRICS],
    )


def findings_tables(
    judged: Mapping[str, Judgement],
    labels: Labels,
    rows: Sequence[Mapping[str, Any]],
    *,
    pair: Mapping[str, str],
    scenarios: Mapping[str, Judgement],
    list_degree: npt.NDArray[np.integer],
    texts: Sequence[str],
    settings: Settings,
) -> dict[str, pd.DataFrame]:
    """Return the tables of what was found.

    Parameters
    ----------
    judged : mapping of str to Judgement
        Every candidate's answers on the test part.
    labels : Labels
        Labels and split.
    rows : sequence of mappings
        See :func:`gains`.
    pair : mapping of str to str
        The candidates that are compared, by role; a role may be missing.
    scenarios : mapping of str to Judgement
        Answers of the one with lists on the same test part in other scenarios.
    list_degree, texts : arrays of length [test articles]
        In how many lists each test article is, and its text.
    settings : Settings
        `bootstrap_resamples`, `seed` and `min_tag_articles` are read.

    Returns
    -------
    dict of str to pandas.DataFrame
        ``intervals``, ``questions``, ``gains``, ``slices``, ``study``.
    """

    def bootstrap(systems: dict[str, System], pairs: list[tuple[str, str]]) -> pd.DataFrame:
        return paired_bootstrap(
            labels.Y_test,
            systems,
            pairs=pairs,
            resamples=settings.bootstrap_resamples,
            seed=settings.seed,
        )

    text = pair.get(TEXT)
    pairs = [(name, text) for name in judged if text and name != text]
    gained = pd.DataFrame(columns=[*GAIN_COLUMNS])
    if len(pair) == len(ROLES):
        systems = {TEXT: judged[pair[TEXT]].system, TRANSDUCTIVE: judged[pair[GRAPH]].system}
        systems |= {name: one.system for name, one in scenarios.items()}
        found = bootstrap(systems, [(name, TEXT) for name in systems if name != TEXT])
        differences = found[found["baseline"].notna()].rename(columns={"system": "question"})
        columns = ["question", "metric", "value", "low", "high"]
        gained = gains(rows, pd.DataFrame(differences[columns]))
    articles = article_slices(list_degree=list_degree, texts=texts, Y=labels.Y_test)
    tags = tag_slices(labels.Y_train.sum(axis=0), settings.min_tag_articles)
    sliced = [
        slice_scores(judged[name].system, labels.Y_test, articles, tags).assign(candidate=name)
        for name in pair.values()
    ]
    # A file without a header could not be read.
    asked = pd.DataFrame(rows, columns=None if rows else [*QUESTION_COLUMNS])
    return {
        "intervals": bootstrap({name: one.system for name, one in judged.items()}, pairs),
        "questions": asked.drop(columns="judged", errors="ignore"),
        "gains": gained,
        "slices": pd.concat(sliced, ignore_index=True)
        if sliced
        else pd.DataFrame(columns=[*SLICE_COLUMNS]),
        "study": study_table({name: one.scores for name, one in judged.items()}),
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's lines as JSON takes them: null where a number is missing."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]
