"""Processor time of the runner spark beside local: states of blocks, and features of all articles.

Spark has two executors on this machine, unless SPARK_MASTER names others, whose time isn't seen.
Its time includes the start of all its processes. The vectors are random: their values don't matter.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.bench_refresh import read
from benchmarks.runner import Row, measure, prepared, table
from tagsage.features import Articles, KnownArticles, blocks_of
from tagsage.features.fitting import fit_block
from tagsage.runner import LocalRunner, SparkRunner
from tagsage.settings import Settings
from tagsage.workspace import Workspace

SEED = 42
FEATURES = "words+char_ngrams+list_ids+author_ids+text+lists+labels+authors"
DIMENSIONS = 256
CLUSTER = "local-cluster[2,1,4096]"


def main(corpus: str) -> str:
    """Measure both runners; returns a table in Markdown.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.
    """
    rows = []
    for name in ("local", "spark"):
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(f"{folder}/workspace")
            load_corpus, call = partial(load, corpus, workspace), partial(work, name)
            rows.append((name, measure(prepared(load_corpus, call))))
    first = rows[0][1].result
    return f"{FEATURES}; partitions of 100,000 articles.\n\n" + table([
        Row(
            name,
            measured.seconds,
            measured.peak_mb,
            measured.extra_mb,
            {
                "processor s": f"{measured.result:,.1f}",
                "ratio of processor s": f"{measured.result / first:.2f}",
            },
        )
        for name, measured in rows
    ])


def load(corpus: str, workspace: Workspace) -> tuple[Workspace, Articles, KnownArticles]:
    """Read the corpus; its vectors are a file of the workspace, as in a run."""
    articles, labels = read(corpus)
    file = workspace.local_folder() / "vectors.npy"
    random = np.random.default_rng(SEED)
    shape = (len(articles), DIMENSIONS)
    vectors = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(vectors), 1 << 16):
        block = vectors[start : start + (1 << 16)]
        block[:] = random.standard_normal(block.shape, dtype=np.float32)
    vectors.flush()
    articles = articles.with_vectors(np.load(file, mmap_mode="r"))
    return workspace, articles, KnownArticles.of(articles, labels.train_rows, labels.Y_train)


def work(name: str, loaded: tuple[Workspace, Articles, KnownArticles]) -> float:
    """Fit all blocks and make the features of all articles; return the processor time in s."""
    workspace, articles, known = loaded
    os.environ.setdefault("SPARK_MASTER", CLUSTER)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    runner = LocalRunner() if name == "local" else SparkRunner(workspace)
    before = processor_s()
    for block in blocks_of(FEATURES):
        with workspace.scratch() as folder:
            fit_block(folder, block, articles, known, Settings(seed=SEED), runner)
    return processor_s() - before


def processor_s() -> float:
    """Return the processor time of this process and of all that it started, directly or not."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        # Its own, and that of its children that ended.
        ticks[pid] = sum(map(int, fields[11:15]))
    total = 0
    for pid, used in ticks.items():
        ancestor = pid
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        total += used * (ancestor == os.getpid())
    return total / os.sysconf("SC_CLK_TCK")
