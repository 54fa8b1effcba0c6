"""The report: one HTML file that needs no network, on a screen, a phone or paper."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tagsage.report.comparison import comparison_pictures, gain_lines, slice_lines
from tagsage.report.data import Comparison, ReportData
from tagsage.report.figures import corpus_pictures, f1_by_frequency, loss_curve
from tagsage.report.picture import Picture
from tagsage.report.words import FILTERS, METRICS
from tagsage.settings.candidates import TEXT_SETS

TEMPLATES = Path(__file__).parent / "templates"
TITLE_LIMIT = 140
TEXT_LIMIT = 220
SHOWN_TAGS = 6
PER_TAG_ENDS = 10  # tags shown at each end before the full table
CORPUS_FIGURES = ("tags_per_article", "isolated", "list_sizes", "lists_per_article")
# Not `tokens`, of which a setting may be a count.
SECRET = re.compile(r"password|secret|token(?!s)|api_key", re.IGNORECASE)


def render_report(data: ReportData, path: Path) -> None:
    """Write the report of a run.

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
    environment.filters |= FILTERS
    page = environment.get_template("report.html.j2").render(**_context(data))
    temporary = path.with_name(f".{path.name}.tmp")
    # A lone surrogate from a broken source must not cost the run its report.
    temporary.write_bytes(page.encode("utf-8", errors="replace"))
    temporary.replace(path)


def _context(data: ReportData) -> dict[str, Any]:
    board = data.leaderboard
    candidates = board.to_dict("records")
    best = candidates[0] if candidates else None
    baseline = next((row for row in candidates if _feature_set(row) in TEXT_SETS), None)
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
        "intervals": _intervals(data.comparison),
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


def _intervals(comparison: Comparison | None) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the intervals of scores by candidate and metric; none without a comparison."""
    if comparison is None:
        return {}
    scores = comparison.intervals[comparison.intervals["baseline"].isna()]
    return {
        (row["candidate"], row["metric"]): (row["low"], row["high"])
        for row in scores.to_dict("records")
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
