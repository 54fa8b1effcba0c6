"""The part of the report that compares: what the lists gain over text, when, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tagsage.report.comparison_figures import (
    difference_intervals,
    gain_by_frequency,
    learning_curves,
    precision_recall_curves,
    reliability_diagram,
)
from tagsage.report.data import Comparison
from tagsage.report.picture import Picture

SCENARIOS: Mapping[str, str] = {
    "transductive": "Articles in the graph (transductive)",
    "inductive": "Articles that came later (inductive)",
    "cold_start": "Articles in no list (cold start)",
    "time": "Later articles, earlier labels (time)",
    "share": "A share of the training part",
}
SLICE_KINDS: Mapping[str, str] = {
    "list_degree": "Lists that hold the article",
    "text_words": "Words of the text",
    "tag_count": "Tags of the article",
    "tag_support": "Training articles of the tag",
}


def comparison_pictures(comparison: Comparison) -> list[Picture]:
    """Return the figures of a comparison, for MLflow and the report alike."""
    differences = comparison.intervals[comparison.intervals["baseline"].notna()]
    names = (comparison.graph, comparison.text)
    pictures = [
        difference_intervals(differences),
        gain_by_frequency(*(comparison.per_tag[name] for name in names), names=names),
        precision_recall_curves(comparison.curves),
        reliability_diagram(comparison.reliability),
    ]
    if len(comparison.learning):
        pictures.append(learning_curves(comparison.learning))
    return pictures


def gain_lines(gains: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a line for each scenario, with a cell for each metric: text, graph, gain, bounds."""
    lines = []
    for scenario in dict.fromkeys(gains["scenario"]) if len(gains) else ():
        if scenario == "share":
            continue
        of_scenario = (
            gains[gains["scenario"] == scenario].set_index("metric").to_dict(orient="index")
        )
        first = next(iter(of_scenario.values()))
        lines.append({
            "scenario": SCENARIOS.get(scenario, scenario),
            "splits": int(first["splits"]),
            "cells": of_scenario,
        })
    return lines


def slice_lines(slices: pd.DataFrame, comparison: Comparison) -> list[dict[str, Any]]:
    """Return a table for each kind of slice: its lines hold both candidates' macro-F1 and micro-F1.

    Slices without articles are left out.
    """
    tables = []
    for kind in dict.fromkeys(slices["slice_kind"]) if len(slices) else ():
        of_kind = slices[(slices["slice_kind"] == kind) & (slices["articles"] > 0)]
        by_candidate = {
            name: of_kind[of_kind["candidate"] == name].set_index("slice")
            for name in (comparison.text, comparison.graph)
        }
        text, graph = by_candidate[comparison.text], by_candidate[comparison.graph]
        lines = [
            {
                "slice": name,
                "articles": int(graph.loc[name, "articles"]),
                "tags": int(graph.loc[name, "tags"]),
                "text": text.loc[name].to_dict(),
                "graph": graph.loc[name].to_dict(),
            }
            for name in graph.index
        ]
        tables.append({"kind": SLICE_KINDS.get(kind, kind), "lines": lines})
    return tables
