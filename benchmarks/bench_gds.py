"""Neo4j Graph Data Science beside the local engine, stage by stage, in one run on one corpus.

Both have the study's settings and the same LSA vectors of 256 numbers. The server is started here,
with a heap of 4 GiB. GraphSAGE's row trains and embeds all articles; of the local engine it counts
the compilation, too.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bench_graph
from benchmarks.runner import Row, measure, memory, reset_peak, table
from scripts.neo4j_server import Neo4jServer, free_port, missing_tools
from tagsage.graph.components import start_node
from tagsage.graph.csr import load_csr
from tagsage.neo4j_connection import Neo4jConnection
from tagsage.settings import Settings

HEAP_MB = 4096
REPEATS = 3
VECTORS = "lsaEmbedding"
SETTINGS = Settings(seed=bench_graph.SEED)
LOCAL, GDS = "tagsage, local engine", "Neo4j GDS"
STEPS = ("open", "similarity", "components", "sample", "graphsage")


def main(corpus: str) -> str:
    """Measure every step with both engines, in turn.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        A Markdown table per step, or one line when there is no Java or Maven.
    """
    if missing := missing_tools():
        return f"Left out: it starts Neo4j, which needs {' and '.join(missing)} on this machine."
    with (
        tempfile.TemporaryDirectory() as name,
        Neo4jServer(Path(name) / "neo4j", port=free_port(), heap_mb=HEAP_MB) as server,
    ):
        folder = Path(name)
        about = bench_graph.prepare(corpus, folder)
        fill(corpus, folder, server.uri)
        assert server.process is not None
        runs: dict[str, list[dict[str, float]]] = {LOCAL: [], GDS: []}
        peaks: dict[str, list[float]] = {LOCAL: [], GDS: []}
        for _ in range(REPEATS):
            local = measure(partial(study, folder, None))
            runs[LOCAL].append(local.result)
            peaks[LOCAL].append(local.peak_mb)
            reset_peak(server.process.pid)
            runs[GDS].append(measure(partial(study, folder, server.uri)).result)
            peaks[GDS].append(memory("VmHWM", server.process.pid))
    parts = [
        about.partition("; ")[0] + f". Medians of {REPEATS} runs, each in a process of its own. "
        f"*peak MiB* is that of a whole run: Python's, or the server's, with {HEAP_MB} of heap.",
    ]
    for step in STEPS:
        rows = [
            Row(
                engine,
                float(np.median([run[step] for run in runs[engine]])),
                float(np.median(peaks[engine])),
                0.0,
                {"found": f"{runs[engine][-1][f'{step} found']:,.6g}"},
            )
            for engine in runs
        ]
        parts += [f"### {step.capitalize()}", table(rows)]
    return "\n\n".join(parts)


def fill(corpus: str, folder: Path, uri: str) -> None:
    """Bring the corpus and its vectors into the server, as the nightly run does."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.store.neo4j import Neo4jStore

    read = read_csv_corpus(
        str(Path(corpus) / "articles.csv.gz"),
        str(Path(corpus) / "lists.csv.gz"),
        max_rejected_share=0.05,
    )
    with Neo4jStore(Neo4jConnection(uri)) as store:
        store.load(read)
        keys = store.snapshot().articles["key"].tolist()
        store.write_vectors(VECTORS, keys, np.load(folder / "vectors.npy"), digest="benchmark")
    (folder / "keys.json").write_text(json.dumps(keys), encoding="utf-8")


def study(folder: Path, uri: str | None) -> dict[str, float]:
    """Take the study's steps; return the seconds of each, and a number of what it found."""
    keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    members = load_csr(folder / "incidence")
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    out = np.zeros((len(keys), SETTINGS.graphsage_dimensions), dtype=np.float32)
    done: dict[str, float] = {}

    def timed(step: str, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = call()
        done[step] = time.perf_counter() - started
        return result

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        where = {"folder": Path(name), "keys": keys, "vector_property": VECTORS}
        opened = _engine(uri).open(members, vectors, SETTINGS, **where)
        graph = timed("open", lambda: stack.enter_context(opened))
        degrees = timed("similarity", graph.similarity)
        labels = timed("components", graph.components)
        sample = timed("sample", lambda: graph.sample(start_node(labels, degrees)))
        trained = timed("graphsage", lambda: graph.graphsage(sample.articles, out))
    return {
        **done,
        "open found": len(keys),
        "similarity found": float(degrees.sum()),
        "components found": float(labels.max() + 1),
        "sample found": len(sample.articles),
        # The mean loss of the last five epochs.
        "graphsage found": float(np.mean(trained.epoch_losses[-5:])),
    }


def _engine(uri: str | None) -> Any:
    if uri is None:
        from tagsage.graph.local import LocalEngine

        return LocalEngine()
    from tagsage.graph.gds import GdsEngine

    return GdsEngine(Neo4jConnection(uri), owner="benchmark")
