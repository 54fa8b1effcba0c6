"""The report: one HTML file that needs no network, on a screen, a phone or paper."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tagsage.report.comparison import comparison_pictures, gain_lines, slice_lines
from tagsage.report.data import Comparison, ReportData
from tagsage.report.figures import corpus_pictures, f1_by_frequency, loss_curve
from tagsage.report.picture import Picture

TEMPLATES = Path(__file__).parent / "templates"
TITLE_LIMIT = 140
TEXT_LIMIT = 220
SHOWN_TAGS = 6
PER_TAG_ENDS = 10  # tags shown at each end before the full table
CORPUS_FIGURES = ("tags_per_article", "isolated", "list_sizes", "lists_per_article")
# Not `tokens`, of which a setting may be a count.
SECRET = re.compile(r"password|secret|token(?!s)|api_key", re.IGNORECASE)


@dataclass(frozen=True)
class Metric:
    """A column of the leaderboard.

    Attributes
    ----------
    key : str
        Column of the frame.
    name : str
        Heading.
    meaning : str
        One sentence for readers who do not know it.
    """

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
        "lrap",
        "LRAP",
        "Label ranking average precision: how far up an article's own tags stand in its ranking; "
        "1 is perfect.",
    ),
    Metric(
        "accuracy",
        "Accuracy",
        "Share of articles whose tags are exactly right, all of them. Hardly moves with many tags.",
    ),
    Metric(
        "macro_precision",
        "Macro prec.",
        "Precision of each tag, averaged over the tags; a tag never assigned counts 0.",
    ),
    Metric(
        "weighted_precision",
        "Weighted prec.",
        "Precision of each tag, averaged by how many test articles have the tag.",
    ),
)


def render_report(data: ReportData, path: Path) -> None:
    """Write the report of a night.

    Parameters
    ----------
    data : ReportData
        What to tell.
    path : pathlib.Path
        The file; it appears whole or not at all, replacing an older one. It is UTF-8, holds its
        style and figures inside, no script, and a content security policy that lets nothing load.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "score": _score,
        "share": _share,
        "duration": _duration,
        "cut": _cut,
        "clean": _clean,
        "link": _link,
        "breakable": _breakable,
        "points": _points,
        "measure": _measure,
    }
    page = environment.get_template("report.html.j2").render(**_context(data))
    temporary = path.with_name(f".{path.name}.tmp")
    # A lone surrogate from a broken source must not cost the night its report.
    temporary.write_bytes(page.encode("utf-8", errors="replace"))
    temporary.replace(path)


def _context(data: ReportData) -> dict[str, Any]:
    board = data.leaderboard
    candidates = board.to_dict("records")
    best = candidates[0] if candidates else None
    baseline = next((row for row in candidates if _feature_set(row) == "text"), None)
    gain = None
    if best and baseline and best is not baseline:
        gain = best.get("micro_f1", math.nan) - baseline.get("micro_f1", math.nan)
    ranked = sorted(data.per_tag.to_dict("records"), key=lambda row: (-row["f1"], str(row["tag"])))
    stages = _grouped(data.stages)
    seed = int(data.split.get("seed", 0))
    drawn = corpus_pictures(data.profile, seed=seed)
    corpus = {picture.name: _drawn(picture) for picture in drawn}
    return {
        "data": data,
        **_comparison_context(data.comparison),
        "counts": data.profile.counts,
        "quantiles": data.profile.list_size_quantiles,
        "candidates": candidates,
        "best": best,
        "baseline": baseline,
        "gain": gain,
        "metrics": [metric for metric in METRICS if metric.key in board.columns],
        "all_metrics": METRICS,
        "has_fit_seconds": "fit_seconds" in board.columns,
        "top_score": max((row.get("micro_f1", 0.0) for row in candidates), default=0.0),
        "per_tag": ranked,
        "ends": PER_TAG_ENDS,
        "per_tag_figure": _drawn(f1_by_frequency(data.per_tag)) if len(ranked) else None,
        "shown_tags": SHOWN_TAGS,
        "title_limit": TITLE_LIMIT,
        "text_limit": TEXT_LIMIT,
        "figures": [corpus[name] for name in CORPUS_FIGURES],
        "neighbours": corpus.get("neighbours"),
        "cloud": corpus["word_cloud"],
        "loss_figure": _drawn(loss_curve(data.graphsage_losses)),
        "quarantine": data.quarantine.to_dict("records"),
        "stages": stages,
        "total_seconds": sum(row["seconds"] for row in stages),
        "longest": max((row["seconds"] for row in stages), default=0.0),
        "settings": _shown_settings(data.settings),
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # ruff: ignore[unsafe-markup-use]
    }


def _comparison_context(comparison: Comparison | None) -> dict[str, Any]:
    """Return what the template of the comparison needs."""
    if comparison is None:
        return {"comparison": None}
    return {
        "comparison": comparison,
        "gain_lines": gain_lines(comparison.gains),
        "gain_metrics": [
            (metric.key, metric.name)
            for metric in METRICS
            if metric.key in {"micro_f1", "macro_f1", "p_at_5", "lrap"}
        ],
        "comparison_figures": [_drawn(picture) for picture in comparison_pictures(comparison)],
        "slice_tables": slice_lines(comparison.slices, comparison),
    }


def _grouped(stages: pd.DataFrame) -> list[dict[str, Any]]:
    """Add up stages of one name, such as the candidates: name, seconds, how many times."""
    if stages.empty:
        return []
    seconds = stages.groupby("stage", sort=False)["seconds"]
    totals, times = seconds.sum(), seconds.count()
    return [
        {"stage": stage, "seconds": float(totals[stage]), "times": int(times[stage])}
        for stage in totals.index
    ]


def _feature_set(row: Mapping[Any, Any]) -> str:
    return str(row["candidate"]).partition(":")[0]


def _drawn(picture: Picture) -> dict[str, str]:
    # The SVG comes from our own drawing code, which escapes every text in it.
    return {
        "name": picture.name,
        "title": picture.title,
        "alt": picture.alt,
        "svg": Markup(picture.svg()),  # ruff: ignore[unsafe-markup-use]
    }


def _shown_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings as text, without anything that could be a secret."""
    shown = []
    for name, value in settings.items():
        text = re.sub(r"(://)[^/\s]*@", r"\1***@", str(value))
        shown.append((name, "***" if SECRET.search(name) and text else text))
    return shown


def _number(value: float | None) -> str:
    """Return a count or a number for people: 63,436; 10.6; an en dash for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.3g}"
    return f"{int(value):,}"


def _score(value: float | None) -> str:
    """Return a score between 0 and 1 with three digits: .661."""
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _points(value: float | None) -> str:
    """Return a difference of scores in points, that is hundredths: +8.4."""
    if value is None or pd.isna(value):
        return "–"
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "\u2212")


def _measure(value: float | None) -> str:
    """Return what a guard measured, in its own unit: 0.013, 1,000; an en dash for none."""
    if value is None or pd.isna(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"
    return text.rstrip("0").rstrip(".") or "0"


def _share(part: float, whole: float) -> str:
    """Return a share in percent; an en dash when there is no whole."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1%"
    return f"{min(round(percent), 99) if part < whole else 100}%"


def _duration(seconds: float | None) -> str:
    """Return a time for people: 4 min 05 s, 12.3 s."""
    if seconds is None or pd.isna(seconds):
        return "–"
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.1f} s"


def _clean(text: object) -> str:
    """Return a text without control characters: HTML forbids them, or they turn the page around."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", str(text))


def _cut(text: object, limit: int) -> str:
    """Return a text that is short enough to show, without control characters."""
    cleaned = " ".join(_clean(str(text)[: limit * 20]).split())
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1].rstrip()}…"


def _link(url: object) -> str:
    """Return a web address as it is, and nothing for any other kind of address."""
    text = str(url).strip()
    return text if re.match(r"https?://[^\s\"'<>\x00-\x20]+$", text) and len(text) < 2000 else ""


def _breakable(text: str) -> Markup:
    """Let the name of a candidate break where its parts meet, on a narrow screen."""
    name = escape(text)
    for joint in (":", "+"):
        name = name.replace(joint, Markup(f"{joint}<wbr>"))  # ruff: ignore[unsafe-markup-use]
    return name
