"""Time, memory and disk of a whole run by the number of articles, stage by stage.

Corpora are made up, see :mod:`benchmarks.made_corpus`. Each is run by ``tagsage run`` in a process
of its own, in an empty workspace.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pandas as pd

from benchmarks.made_corpus import ARTICLES, write_corpus
from benchmarks.runner import MB, MeasureError, memory, number, reset_peak

# A stage ends with such a line in the log.
ENDED = re.compile(r"✓ (.+) \(([\d.]+) s\)")
SAMPLE_S = 0.1
# Shorter stages are put together.
SHOWN_S = 1.0


def main(articles: Sequence[int] | None, settings: Sequence[str]) -> str:
    """Run corpora of some sizes, the smallest first; returns a table in Markdown per size.

    By default they have the study's size and ten times that. `settings` are given to each run as
    ``--set``.
    """
    parts, runs = [], {}
    for size in sorted(articles or (ARTICLES, 10 * ARTICLES)):
        runs[size] = measured(size, settings)
        parts.append(f"### {size:,} articles\n\n{table(runs[size])}")
    sizes = sorted(runs)
    for small, large in pairwise(sizes):
        seconds = [runs[size]["seconds"].sum() for size in (small, large)]
        exponent = math.log(seconds[1] / seconds[0]) / math.log(large / small)
        parts.append(f"Exponent of time from {small:,} to {large:,} articles: {exponent:.2f}")
    return "\n\n".join(parts)


def measured(articles: int, settings: Sequence[str]) -> pd.DataFrame:
    """Run a corpus of so many articles; return seconds, memory and disk of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), articles)
        return run(Path(folder), settings)


def run(folder: Path, settings: Sequence[str]) -> pd.DataFrame:
    """Run the corpus in a folder; its workspace is made there."""
    workspace = folder / "workspace"
    command = [sys.executable, "-m", "tagsage.cli", "run", "--workspace", str(workspace)]
    for name in ("articles", "lists"):
        command += [f"--{name}", str(folder / f"{name}.csv.gz")]
    for setting in settings:
        command += ["--set", setting]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    stages, said = [], []
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        watched = _Watch(process.pid)
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if ended := ENDED.search(line):
                stages.append({
                    "stage": ended[1],
                    "seconds": float(ended[2]),
                    **watched.peaks(),
                    "disk": _size(workspace) / MB,
                })
    if process.returncode:
        raise MeasureError(f"tagsage run failed: {''.join(said[-20:])}")
    return pd.DataFrame(stages)


@dataclass
class _Watch:
    """The peaks of a process' memory since they were last asked for, in MiB."""

    pid: int
    own: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while not math.isnan(now := memory("RssAnon", self.pid)):
            with self.lock:
                self.own = max(self.own, now)
            threading.Event().wait(SAMPLE_S)

    def peaks(self) -> dict[str, float]:
        """Return all that was resident (``peak``), and of it what no file backs (``own``)."""
        with self.lock:
            found = {"peak": memory("VmHWM", self.pid), "own": self.own}
            self.own = 0.0
        reset_peak(self.pid)
        return found


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size
        except FileNotFoundError:
            continue  # of the stage that has begun
    return total


def table(stages: pd.DataFrame) -> str:
    """Return a row per stage of some length, and one for all."""
    shown = stages[stages["seconds"] >= SHOWN_S]
    rest = stages[stages["seconds"] < SHOWN_S]
    rows = [
        (row.stage, row.seconds, row.peak, row.own, row.disk)
        for row in shown.itertuples(index=False)
    ]
    rows.append((
        f"{len(rest)} shorter ones",
        rest["seconds"].sum(),
        rest["peak"].max(),
        rest["own"].max(),
        math.nan,
    ))
    rows.append((
        "**all**",
        stages["seconds"].sum(),
        stages["peak"].max(),
        stages["own"].max(),
        stages["disk"].max(),
    ))
    lines = [
        ["stage", "seconds", "peak MiB", "of it no file's", "workspace MiB after it"],
        ["---", *["---:"] * 4],
    ]
    for name, seconds, *sizes in rows:
        lines.append([name, number(seconds, 1), *(number(size, 0) for size in sizes)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
