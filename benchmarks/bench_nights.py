"""Ten nights with 1% new articles each: incremental runs beside runs that compare all candidates.

A tenth of the tagged articles lose their tags in every corpus: a night's champion tags them, and is
scored on what it wrote. `TAGSAGE_BENCH_NIGHTS=3` in the environment simulates fewer nights.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

NIGHTS = int(os.environ.pop("TAGSAGE_BENCH_NIGHTS", "10"))
NEW_SHARE, SCORED_SHARE, SEED = 0.01, 0.1, 0
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "incremental": {},
    "all": {"compare": "all", "lsa_refit_share": "0"},
}


def main(corpus: str) -> str:
    """Simulate the nights; return a table in Markdown."""
    articles = pd.read_csv(Path(corpus) / "articles.csv.gz", dtype=str, keep_default_na=False)
    lists = pd.read_csv(Path(corpus) / "lists.csv.gz", dtype=str, keep_default_na=False)
    random = np.random.default_rng(SEED)
    is_tagged = articles["tags"].map(lambda tags: bool(json.loads(tags))).to_numpy()
    scored = is_tagged & (random.random(len(articles)) < SCORED_SHARE)
    truth = articles[scored].set_index("story")["tags"].map(json.loads)
    articles.loc[scored, "tags"] = "[]"
    # The night in which each article comes; 0: it is there at first.
    night_of = np.zeros(len(articles), dtype=int)
    late = random.permutation(len(articles))[: int(NIGHTS * NEW_SHARE * len(articles))]
    night_of[late] = 1 + np.arange(len(late)) * NIGHTS // len(late)
    lines = [
        "| night | articles | processor s, incremental | all | ratio | of the first night | "
        "micro-F1, incremental | difference to all | macro-F1 | difference to all |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    first = 0.0
    with tempfile.TemporaryDirectory(prefix="nights-") as scratch:
        folder = Path(scratch)
        for night in range(NIGHTS + 1):
            there = articles[night_of <= night]
            there.to_csv(folder / "articles.csv", index=False)
            is_known = lists["article"].isin(set(there["story"]))
            lists[is_known].to_csv(folder / "lists.csv", index=False)
            seconds, scores = {}, {}
            for name, settings in VARIANTS.items():
                seconds[name] = run(folder, folder / name, settings)
                scores[name] = f1_scores(folder / name / "predictions.csv", truth)
            mine, other = seconds["incremental"], seconds["all"]
            first = first or mine
            (micro, macro), (other_micro, other_macro) = scores["incremental"], scores["all"]
            lines.append(
                f"| {night} | {len(there):,} | {mine:.0f} | {other:.0f} | {mine / other:.2f} | "
                f"{mine / first:.2f} | {micro:.4f} | {micro - other_micro:+.4f} | {macro:.4f} | "
                f"{macro - other_macro:+.4f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def run(folder: Path, workspace: Path, settings: Mapping[str, str]) -> float:
    """Run a night on the files in a folder; return the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    files = ("--articles", folder / "articles.csv", "--lists", folder / "lists.csv")
    command = [sys.executable, "-m", "tagsage.cli", "run", *files, "--workspace", workspace]
    subprocess.run([*map(str, command), *pairs], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def f1_scores(predictions: Path, truth: pd.Series[list[str]]) -> tuple[float, float]:
    """Return micro- and macro-F1 of the assigned tags, over the tags that are predicted at all."""
    frame = pd.read_csv(predictions, dtype={"story": str, "tag": str}, keep_default_na=False)
    tags = frame["tag"].unique()
    frame = frame[frame["story"].isin(truth.index)]
    there = truth[truth.index.isin(frame["story"])].explode()
    true = pd.MultiIndex.from_arrays([there.index, there.to_numpy()])
    true = true[true.get_level_values(1).isin(tags)]
    assigned = frame[frame["assigned"] == 1]
    found = pd.MultiIndex.from_frame(assigned[["story", "tag"]])
    right = assigned[found.isin(true)]
    counts = pd.DataFrame(
        {
            "right": right["tag"].value_counts(),
            "assigned": assigned["tag"].value_counts(),
            "true": pd.Series(true.get_level_values(1)).value_counts(),
        },
        index=tags,
    ).fillna(0)
    pairs = counts["assigned"] + counts["true"]
    f1 = (2 * counts["right"] / pairs.where(pairs > 0, 1)).to_numpy()
    return float(2 * counts["right"].sum() / pairs.sum()), float(f1.mean())
