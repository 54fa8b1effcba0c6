"""A line per series, drawn as SVG by a template: no library for figures is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Small, so that its labels can be read on a phone.
WIDTH, HEIGHT = 480, 180
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 8, 22
X_LABELS = 5


@dataclass(frozen=True)
class Dot:
    """A value in the drawing, and its tooltip."""

    x: float
    y: float
    text: str
    marked: bool


@dataclass(frozen=True)
class Line:
    """A drawn series; its SVG path breaks where a value is missing."""

    name: str
    path: str
    dots: Sequence[Dot]


@dataclass(frozen=True)
class Plot:
    """A drawing, :data:`WIDTH` by :data:`HEIGHT`; `alt` describes it, the first line stands out."""

    lines: Sequence[Line]
    x_labels: Sequence[tuple[float, str]]
    y_labels: Sequence[tuple[float, str]]
    alt: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def draw_plot(
    series: Mapping[str, Sequence[float | None]], labels: Sequence[str], marked: Sequence[bool]
) -> Plot | None:
    """Draw scores (0 to 1) run by run; None when there is no value at all.

    `series` has the values of each line by its name, None where there is none; `labels` name the
    runs; `marked` says which dots of the first line stand out.
    """
    known = [value for values in series.values() for value in values if value is not None]
    if not known:
        return None
    low, high, step = _axis(min(known), max(known))
    n = len(labels)

    def x(place: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (place / (n - 1) if n > 1 else 0.5), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low), 1)

    lines = []
    for number, (name, values) in enumerate(series.items()):
        dots, path, pen = [], [], "M"
        for place, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{x(place)} {y(value)}")
            pen = "L"
            stands_out = number == 0 and marked[place]
            text = f"{labels[place]}: {value:.3f}{', new champion' if stands_out else ''}"
            dots.append(Dot(x(place), y(value), text, stands_out))
        if dots:
            lines.append(Line(name, " ".join(path), dots))
    ticks = round((high - low) / step)
    every = max(math.ceil(n / X_LABELS), 1)
    latest = ", ".join(
        f"{name.lower()} {values[-1]:.3f}"
        for name, values in series.items()
        if values[-1] is not None
    )
    return Plot(
        lines,
        [(x(place), labels[place]) for place in range(n - 1, -1, -every)],
        [(y(low + step * tick), f"{low + step * tick:.2f}") for tick in range(ticks + 1)],
        f"Micro-F1 over {n} runs, from {labels[0]} to {labels[-1]}; last run: {latest}.",
    )


def _axis(lowest: float, highest: float) -> tuple[float, float, float]:
    """Return the ends of an axis and its step: round numbers, four or five steps."""
    span = max(highest - lowest, 0.02)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0) if span / step <= 4)
    low = math.floor(lowest / step) * step
    high = math.ceil(highest / step) * step
    return low, high if high > low else low + step, step
