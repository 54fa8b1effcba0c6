"""The report: one HTML file that needs no network, for a screen, a phone or paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tagsage.files import write_bytes
from tagsage.redact import redact
from tagsage.report.figures import comparison_figures, corpus_figures, f1_by_frequency, loss_curve
from tagsage.report.formatting import FILTERS, METRICS
from tagsage.report.picture import Picture
from tagsage.report.report_data import Comparison, ReportData
from tagsage.settings.candidates import is_text_alone

TEMPLATES = Path(__file__).parent / "templates"
PER_TAG_ENDS = 10  # tags shown at each end before the full table
CORPUS_FIGURES = ("tags_per_article", "isolated", "list_sizes", "lists_per_article")
SCENARIOS: Mapping[str, str] = {
    "transductive": "Articles in the graph (transductive)",
    "inductive": "Articles that came later (inductive)",
    "cold_start": "Articles in no list (cold start)",
    "time": "Later articles, earlier labels (time)",
    "grouped": "No near-copy in training (grouped)",
}
SLICES: Mapping[str, str] = {
    "list_degree": "Lists that hold the article",
    "text_words": "Words of the text",
    "tag_count": "Tags of the article",
    "tag_support": "Training articles of the tag",
}


def render_report(data: ReportData, path: Path) -> None:
    """Write the report of a run: a page with its style and figures, without scripts.

    Its content security policy lets nothing load. The same data give the same bytes.
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
    # A lone surrogate from a broken source must not cost the run its report.
    write_bytes(path, page.encode("utf-8", errors="replace"))


def _context(data: ReportData) -> dict[str, Any]:
    board = data.leaderboard
    candidates = board.to_dict("records")
    best = candidates[0] if candidates else None
    on_text = (row for row in candidates if is_text_alone(row["candidate"]))
    baseline = next(on_text, None)
    gain = None
    if best and baseline and best is not baseline:
        gain = best["micro_f1"] - baseline["micro_f1"]
    stages, per_tag = _added_up(data.stages), data.per_tag.to_dict("records")
    seed = int(data.split.get("seed", 0))
    corpus = {figure.name: _drawn(figure) for figure in corpus_figures(data.profile, seed=seed)}
    return {
        "data": data,
        **_comparison(data.comparison),
        "counts": data.profile.counts,
        "quantiles": data.profile.list_size_quantiles,
        "candidates": candidates,
        "best": best,
        "baseline": baseline,
        "gain": gain,
        "metrics": [metric for metric in METRICS if metric.key in board.columns],
        "all_metrics": METRICS,
        "has_fit_seconds": "fit_seconds" in board.columns,
        "top_score": max((row["micro_f1"] for row in candidates), default=0.0),
        "per_tag": sorted(per_tag, key=lambda row: (-row["f1"], str(row["tag"]))),
        "ends": PER_TAG_ENDS,
        "per_tag_figure": _drawn(f1_by_frequency(data.per_tag)) if len(data.per_tag) else None,
        "figures": [corpus[name] for name in CORPUS_FIGURES],
        "neighbours": corpus.get("neighbours"),
        "cloud": corpus["word_cloud"],
        "loss_figure": _drawn(loss_curve(data.graphsage_losses)),
        "quarantine": data.quarantine.to_dict("records"),
        "stages": stages,
        "total_seconds": sum(row["seconds"] for row in stages),
        "longest": max((row["seconds"] for row in stages), default=0.0),
        "settings": [(name, redact(str(value))) for name, value in data.settings.items()],
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # ruff: ignore[unsafe-markup-use]
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any]:
    """Return the variables of ``comparison.html.j2``, and the intervals of the leaderboard."""
    if comparison is None:
        return {"comparison": None, "intervals": {}}
    scores = comparison.intervals[comparison.intervals["baseline"].isna()]
    return {
        "comparison": comparison,
        "intervals": {
            (row["candidate"], row["metric"]): (row["low"], row["high"])
            for row in scores.to_dict("records")
        },
        "gain_rows": _gain_rows(comparison.gains),
        "comparison_figures": [_drawn(figure) for figure in comparison_figures(comparison)],
        "slice_tables": _slice_tables(comparison),
    }


def _gain_rows(gains: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per scenario, with a cell per metric: text, graph, gain, low, high, spread."""
    return [
        {
            "scenario": SCENARIOS[str(name)],
            "splits": int(of_scenario["splits"].iloc[0]),
            "cells": of_scenario.set_index("metric").to_dict(orient="index"),
        }
        for name, of_scenario in gains.groupby("scenario", sort=False)
        if name in SCENARIOS
    ]


def _slice_tables(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a table per kind of slice, whose rows hold the scores of both candidates."""
    slices = comparison.slices[comparison.slices["articles"] > 0]
    tables = []
    for kind, of_kind in slices.groupby("slice_kind", sort=False):
        text, graph = (
            of_kind[of_kind["candidate"] == name].set_index("slice").to_dict(orient="index")
            for name in (comparison.text, comparison.graph)
        )
        rows = [{"slice": name, "text": text[name], "graph": graph[name]} for name in graph]
        tables.append({"kind": SLICES.get(str(kind), kind), "rows": rows})
    return tables


def _added_up(stages: pd.DataFrame) -> list[dict[str, Any]]:
    """Add up stages of one name, such as the candidates."""
    if stages.empty:
        return []
    seconds = stages.groupby("stage", sort=False)["seconds"].agg(["sum", "count"])
    return [
        {"stage": stage, "seconds": float(row["sum"]), "times": int(row["count"])}
        for stage, row in seconds.iterrows()
    ]


def _drawn(picture: Picture) -> dict[str, str]:
    # Our own drawing code escapes every text in the SVG.
    return {"title": picture.title, "svg": Markup(picture.svg())}  # ruff: ignore[unsafe-markup-use]
