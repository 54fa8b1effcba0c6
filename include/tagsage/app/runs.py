"""The published run and those before it: what the first page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from tagsage.app.plot import Plot, draw_plot
from tagsage.app.published import read_facts
from tagsage.settings.candidates import is_text_alone
from tagsage.store.tables import RUNS

METRIC = "micro_f1"
RUNS_SHOWN = 60


@dataclass(frozen=True)
class RunState:
    """The latest run of the DAG as Airflow knows it; `since` is when its state began."""

    run_id: str
    state: str
    since: str


@dataclass(frozen=True)
class Home:
    """What the first page shows; the latest run comes first."""

    run: Mapping[str, Any]
    runs: Sequence[Mapping[str, Any]]
    plot: Plot | None


def read_home(connection: Connection) -> Home:
    """Read what the first page shows."""
    latest = select(RUNS.c.entry).order_by(RUNS.c.at.desc(), RUNS.c.run_id.desc())
    runs = [json.loads(one) for one in connection.execute(latest.limit(RUNS_SHOWN)).scalars()]
    return Home(read_facts(connection) or {}, runs, _plot(runs[::-1]))


def _plot(entries: Sequence[Mapping[str, Any]]) -> Plot | None:
    if len(entries) < 2:
        return None
    best = [_best(one["scores"]) for one in entries]
    text = [
        _best({name: scores for name, scores in one["scores"].items() if is_text_alone(name)})
        for one in entries
    ]
    return draw_plot(
        {"Best candidate": best, "Best on text alone": text},
        [_day(str(one["at"])) for one in entries],
        [bool(one["promoted"]) for one in entries],
    )


def _day(at: str) -> str:
    return f"{datetime.fromisoformat(at):%d %b}".lstrip("0")


def _best(scores: Mapping[str, Mapping[str, float]]) -> float | None:
    return max(
        (one[METRIC] for one in scores.values() if one.get(METRIC) is not None), default=None
    )
