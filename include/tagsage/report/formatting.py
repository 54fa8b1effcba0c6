"""How numbers and texts are written in the report and on the pages, without pandas."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Metric:
    """A column of the leaderboard: its key, its heading, and a sentence that explains it."""

    key: str
    name: str
    meaning: str


METRICS = (
    Metric(
        "micro_f1",
        "Micro-F1",
        "Harmonic mean of precision and recall over all (article, tag) decisions together; "
        "the leaderboard is ranked by it.",
    ),
    Metric(
        "macro_f1",
        "Macro-F1",
        "F1 of each tag, averaged over the tags: rare tags count as much as frequent ones.",
    ),
    Metric("p_at_5", "P@5", "Share of an article's five best tags that it really has, on average."),
    Metric(
        "psp_at_5",
        "PSP@5",
        "P@5 in which rare tags count more (propensity-scored), as a share of the best possible.",
    ),
    Metric(
        "lrap",
        "LRAP",
        "Label ranking average precision: how high an article's own tags stand in its ranking; "
        "1 is perfect.",
    ),
    Metric(
        "accuracy",
        "Accuracy",
        "Share of articles whose tags are all exactly right. It hardly moves with many tags.",
    ),
    Metric(
        "macro_precision",
        "Macro prec.",
        "Precision of each tag, averaged over the tags; a tag that is never assigned counts 0.",
    ),
    Metric(
        "weighted_precision",
        "Weighted prec.",
        "Precision of each tag, averaged by how many test articles have the tag.",
    ),
)


def number(value: float | None) -> str:
    """Return a count or another number: 63,436; 10.6; an en dash for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.3g}"
    return f"{int(value):,}"


def score(value: float | None) -> str:
    """Return a score between 0 and 1 with three digits: .661."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def points(value: float | None) -> str:
    """Return a difference of scores in points, that is hundredths: +8.4."""
    if value is None or math.isnan(value):
        return "–"
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "\u2212")


def measure(value: float | None) -> str:
    """Return a measured value in its own unit: 0.013, 1,000; an en dash for none."""
    if value is None or math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"
    return text.rstrip("0").rstrip(".") or "0"


def share(part: float, whole: float) -> str:
    """Return a share in percent; an en dash when there is no whole."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1%"
    return f"{min(round(percent), 99) if part < whole else 100}%"


def duration(seconds: float | None) -> str:
    """Return a time: 4 min 05 s, 12.3 s."""
    if seconds is None or math.isnan(seconds):
        return "–"
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.1f} s"


def clean(text: object) -> str:
    """Return a text without the control characters that HTML forbids or that reverse the text."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", str(text))


def cut(text: object, limit: int) -> str:
    """Return a text of at most `limit` characters on one line, without control characters."""
    cleaned = " ".join(clean(str(text)[: limit * 20]).split())
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1].rstrip()}…"


def link(url: object) -> str:
    """Return a web address as it is, and an empty text for anything else."""
    text = str(url).strip()
    return text if re.match(r"https?://[^\s\"'<>\x00-\x20]+$", text) and len(text) < 2000 else ""


def breakable(text: str) -> Markup:
    """Let the name of a candidate break between its parts on a narrow screen."""
    name = escape(text)
    for joint in (":", "+"):
        name = name.replace(joint, Markup(f"{joint}<wbr>"))  # ruff: ignore[unsafe-markup-use]
    return name


def counted(number: int, what: str) -> str:
    """Return a count of things: 1 row, 1,204 rows."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


_OF_NUMBERS = (number, score, points, measure, share, duration)
_OF_TEXTS = (clean, cut, link, breakable)
FILTERS = {function.__name__: function for function in (*_OF_NUMBERS, *_OF_TEXTS)}
