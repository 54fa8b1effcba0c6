"""The last run and those before it: what the first page tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tagsage.app.database import fact
from tagsage.app.plot import Plot, Series, draw_plot
from tagsage.settings.candidates import TEXT_SETS

METRIC = "micro_f1"


@dataclass(frozen=True)
class RunState:
    """The latest run of the DAG as Airflow knows it.

    Attributes
    ----------
    run_id : str
        Airflow's name of the run, which is tagsage's, too.
    state : str
        ``queued``, ``running``, ``success``, ``failed``.
    since : str
        When it came into this state, for people.
    """

    run_id: str
    state: str
    since: str


@dataclass(frozen=True)
class RunLine:
    """One run in numbers.

    Attributes
    ----------
    run_id, started : str
        Which run, and when it began, for people.
    winner : str
        The best candidate.
    scores : mapping of str to float
        The winner's metrics.
    promoted : bool
        Whether the winner became champion.
    """

    run_id: str
    started: str
    winner: str
    scores: Mapping[str, float]
    promoted: bool


@dataclass(frozen=True)
class Home:
    """All that the first page tells.

    Attributes
    ----------
    run : mapping
        Facts of the run in the catalogue, as :mod:`tagsage.stages.catalogue` gathers them.
    runs : sequence of RunLine
        The runs before and this one, the latest first.
    plot : Plot or None
        The winner and the best candidate on text alone, run by run; None for a single run.
    """

    run: Mapping[str, Any]
    runs: Sequence[RunLine] = field(default=())
    plot: Plot | None = None


def read_home(connection: sqlite3.Connection) -> Home:
    """Return what the first page tells."""
    remembered = fact(connection, "runs") or []
    runs = [
        RunLine(
            run_id=str(one["run_id"]),
            started=str(one["started"]),
            winner=str(one["winner"]),
            scores=one["scores"].get(one["winner"], {}),
            promoted=bool(one["promoted"]),
        )
        for one in remembered
    ]
    return Home(fact(connection, "run") or {}, runs[::-1], _plot(remembered))


def _plot(remembered: Sequence[Mapping[str, Any]]) -> Plot | None:
    if len(remembered) < 2:
        return None
    best = [_best(one["scores"]) for one in remembered]
    text = [
        _best({
            name: scores
            for name, scores in one["scores"].items()
            if name.partition(":")[0] in TEXT_SETS
        })
        for one in remembered
    ]
    return draw_plot(
        [Series("Best candidate", best), Series("Best on text alone", text)],
        [_day(str(one["at"])) for one in remembered],
        [bool(one["promoted"]) for one in remembered],
    )


def _day(at: str) -> str:
    """Return a day for an axis: 22 Nov."""
    return f"{datetime.fromisoformat(at):%d %b}".lstrip("0")


def _best(scores: Mapping[str, Mapping[str, float]]) -> float | None:
    return max(
        (one[METRIC] for one in scores.values() if one.get(METRIC) is not None), default=None
    )
