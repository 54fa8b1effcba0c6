"""How many of the tags that are missing are suggested, and how many suggestions are of these.

From a fifth of the articles with two target tags or more, one of them is taken away, drawn at
random; then a whole run learns from what is left, and suggests. A suggestion that is a tag taken
away is right for sure; of the others nobody knows, for the corpus lacks tags of its own. So both
shares that are right are at least what the table says. How large they are depends on how often a
tag is missing: among articles that lack one it is large, in a corpus that lacks hardly any small.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

CANDIDATE = "text+lists+labels+authors:mlp"
SHARE = 0.2
SEED = 42
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def main(corpus: str) -> str:
    """Take tags away, run a run, and count.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        Markdown.
    """
    from tagsage.pipeline import run_pipeline
    from tagsage.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        articles, workspace = Path(folder) / "articles.csv", Path(folder) / "workspace"
        hidden = take_away(Path(corpus) / "articles.csv.gz", articles, Settings().min_tag_articles)
        run_pipeline({
            "articles": str(articles),
            "lists": str(Path(corpus) / "lists.csv.gz"),
            "workspace": str(workspace),
            "candidates": CANDIDATE,
            "suggest_min_score": min(LEVELS),
        })
        suggested = pd.read_csv(workspace / "suggestions.csv", keep_default_na=False)
    return tell(suggested, hidden)


def take_away(source: Path, target: Path, min_tag_articles: int) -> dict[str, str]:
    """Copy the articles without some of their tags; return those by story."""
    frame = pd.read_csv(source, keep_default_na=False)
    tags = frame["tags"].map(json.loads)
    counts = tags.explode().value_counts()
    targets = set(counts.index[counts > min_tag_articles])
    rng = np.random.default_rng(SEED)
    hidden = {}
    for row in range(len(frame)):
        known = [tag for tag in tags[row] if tag in targets]
        if len(known) >= 2 and rng.random() < SHARE:
            gone = known[rng.integers(len(known))]
            tags[row] = [tag for tag in tags[row] if tag != gone]
            hidden[frame["story"][row]] = gone
    frame.assign(tags=tags.map(json.dumps)).to_csv(target, index=False)
    return hidden


def tell(suggested: pd.DataFrame, hidden: dict[str, str]) -> str:
    """Return the table."""
    of_hidden = suggested["story"].map(hidden)
    lines = [
        "| score at least | suggestions | right for sure | share of them "
        "| to articles that lack one | right among these | share of the missing found |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for level in LEVELS:
        some = suggested["score"] >= level
        to_hidden = int((some & of_hidden.notna()).sum())
        right = int((some & (of_hidden == suggested["tag"])).sum())
        shares = [
            f"{right / whole:.2f}" if whole else "–"
            for whole in (int(some.sum()), to_hidden, len(hidden))
        ]
        lines.append(
            f"| {level} | {int(some.sum()):,} | {right:,} | {shares[0]} | {to_hidden:,} "
            f"| {shares[1]} | {shares[2]} |"
        )
    return "\n".join([f"{len(hidden):,} tags were taken away.", "", *lines])
