"""Neo4j Graph Data Science beside the local engine, stage by stage, in one run on one corpus.

Both have the study's settings and the same LSA vectors of 256 numbers. The server is started here,
with a heap of 4 GiB; the clock of its rows is the client's, from the call of the procedure to its
answer. GraphSAGE's row of the local engine is timed after compilation; a run pays for that
once, which the rows from end to end show.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bench_graph
from benchmarks.runner import Measure, Row, measure, memory, prepared, reset_peak, table
from scripts.neo4j_server import Neo4jServer, free_port, missing_tools
from tagsage.graph.base import SampleConfig
from tagsage.graph.csr import load_csr
from tagsage.graph.graphsage.config import GDS_CONCURRENCY, GraphSageConfig
from tagsage.graph.similarity import SimilarityConfig
from tagsage.neo4j_connection import Neo4jConnection

HEAP_MB = 4096
REPEATS = 3
VECTORS = "lsaEmbedding"
SAGE = GraphSageConfig(seed=bench_graph.SEED)
SAMPLE = SampleConfig(seed=bench_graph.SEED)
LOCAL, GDS = "tagsage, local engine", "Neo4j GDS"


@dataclass(frozen=True)
class Stage:
    """One stage on both sides.

    Attributes
    ----------
    title : str
        Heads its table.
    local, gds : callable
        What is measured, each in a fresh process.
    columns : callable
        Makes further cells from a result.
    repeats : int
        Rounds; the median counts.
    """

    title: str
    local: Callable[[], Any]
    gds: Callable[[], Any]
    columns: Callable[[Any], Mapping[str, object]]
    repeats: int = REPEATS


def main(corpus: str) -> str:
    """Measure every stage on both sides.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        A Markdown table a stage, or one line when there is no Java or Maven.
    """
    if missing := missing_tools():
        return f"Left out: it starts Neo4j, which needs {' and '.join(missing)} on this machine."
    with (
        tempfile.TemporaryDirectory() as name,
        Neo4jServer(Path(name) / "neo4j", port=free_port(), heap_mb=HEAP_MB) as server,
    ):
        folder = Path(name) / "inputs"
        folder.mkdir()
        about = bench_graph.prepare(corpus, folder)
        fill(corpus, folder, server.uri)
        prepare_server(folder, server.uri)
        parts = [
            about.partition("; ")[0] + ". Medians of the rounds, each in a process of its own. "
            "*peak MiB* is that of the process that computes: Python's, or the server's, of which "
            f"{HEAP_MB} may be heap; *client's MiB* that of the process that asked the server.",
        ]
        for stage in stages(folder, server.uri):
            parts += [f"### {stage.title}", table(both(stage, server))]
    return "\n\n".join(parts)


def both(stage: Stage, server: Neo4jServer) -> list[Row]:
    """Measure one stage in turn on both sides, and take medians."""
    assert server.process is not None
    pid = server.process.pid
    runs: dict[str, list[tuple[Measure[Any], float, float]]] = {LOCAL: [], GDS: []}
    for _ in range(stage.repeats):
        local = measure(stage.local)
        runs[LOCAL].append((local, local.peak_mb, local.extra_mb))
        reset_peak(pid)
        before = memory("VmRSS", pid)
        remote = measure(stage.gds)
        peak = memory("VmHWM", pid)
        runs[GDS].append((remote, peak, peak - before))
    return [
        Row(
            name,
            statistics.median(run.seconds for run, _, _ in measured),
            statistics.median(peak for _, peak, _ in measured),
            statistics.median(extra for _, _, extra in measured),
            {
                "client's MiB": "–"
                if name == LOCAL
                else f"{statistics.median(run.peak_mb for run, _, _ in measured):,.0f}",
                **stage.columns(measured[-1][0].result),
            },
        )
        for name, measured in runs.items()
    ]


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


def stages(folder: Path, uri: str) -> list[Stage]:
    """Return what is compared."""
    graph = partial(bench_graph._similarity, folder)
    return [
        Stage(
            "Similarity (Jaccard, topK 2000)",
            prepared(partial(bench_graph._incidence, folder), bench_graph.similarity_blocks),
            prepared(partial(projected_anew, folder, uri), gds_similarity),
            lambda pairs: {"relationships": f"{pairs:,}"},
        ),
        Stage(
            "Components",
            prepared(graph, local_components),
            prepared(partial(opened, folder, uri), gds_components),
            lambda count: {"components": f"{count:,}"},
        ),
        Stage(
            "Sample (random walks with restarts, 20%)",
            prepared(partial(bench_graph._graph_and_start, folder), local_sample),
            prepared(partial(opened, folder, uri), gds_sample),
            lambda count: {"articles": f"{count:,}"},
        ),
        Stage(
            "GraphSAGE: training",
            prepared(partial(bench_graph.warm_training, folder), bench_graph.train),
            prepared(partial(opened, folder, uri), gds_train),
            lambda losses: {
                "epochs": len(losses),
                "first epoch's loss": f"{losses[0]:.1f}",
                "mean of the last five": f"{np.mean(losses[-5:]):.2f}",
            },
        ),
        Stage(
            "GraphSAGE: embeddings of all articles, in hand",
            prepared(partial(bench_graph.inference_inputs, folder), local_infer),
            prepared(partial(opened, folder, uri), gds_infer),
            lambda count: {"embeddings": f"{count:,}"},
        ),
        Stage(
            "From end to end: memberships and vectors to embeddings on disk, import of libraries "
            "and compilation counted",
            prepared(partial(inputs, folder), partial(end_to_end, None)),
            prepared(partial(inputs, folder), partial(end_to_end, uri)),
            lambda done: {
                "embeddings": f"{done['embeddings']:,}",
                "mean of the last five": f"{np.mean(done['losses'][-5:]):.2f}",
            },
            repeats=1,
        ),
    ]


# -- the local engine ----------------------------------------------------------------------------


def local_components(graph: Any) -> int:
    return int(bench_graph.connected_components(graph).max()) + 1


def local_sample(ready: tuple[Any, list[int]]) -> int:
    return len(bench_graph.random_walk_sample(*ready, seed=bench_graph.SEED))


def local_infer(ready: tuple[Any, Any, Any]) -> int:
    return len(bench_graph.infer_graphsage(*ready, seed=bench_graph.SEED))


# -- GDS -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """An open server that holds the graphs and the model of a run."""

    engine: Any
    server: Any
    nodes: Any
    opening: Any
    """Kept, since the connection is closed with it."""


def opened(folder: Path, uri: str, run_id: str = "benchmark") -> Ready:
    """Open the server; the process ends after one measurement, and the connection with it."""
    from tagsage.graph.gds.articles import find_articles
    from tagsage.graph.gds.server import open_gds

    keys, incidence, _ = inputs(folder)
    opening = open_gds(Neo4jConnection(uri), GDS_CONCURRENCY)
    server = opening.__enter__()
    nodes = find_articles(server, keys, int(incidence.nnz))
    return Ready(_engine(uri, run_id), server, nodes, opening)


def projected_anew(folder: Path, uri: str) -> Ready:
    """Open the server with a new projection, without similarity."""
    keys, incidence, _ = inputs(folder)
    with tempfile.TemporaryDirectory() as name:
        _engine(uri, "similarity").project(
            Path(name), incidence, keys=keys, vector_property=VECTORS
        )
    return opened(folder, uri, "similarity")


def prepare_server(folder: Path, uri: str) -> None:
    """Leave projection, similarity, sample and model of the run ``benchmark`` on the server."""
    keys, incidence, _ = inputs(folder)
    engine = _engine(uri, "benchmark")
    with tempfile.TemporaryDirectory() as name:
        projection, similarity, sample = (Path(name) / part for part in ("p", "s", "sample"))
        for part in (projection, similarity, sample):
            part.mkdir()
        engine.project(projection, incidence, keys=keys, vector_property=VECTORS)
        engine.similarity(similarity, projection, SimilarityConfig(top_k=bench_graph.TOP_K))
        engine.sample(sample, similarity, int(np.load(folder / "start.npy")), SAMPLE)
    gds_train(opened(folder, uri))


def gds_similarity(ready: Ready) -> int:
    server = ready.server
    result = server.gds.node_similarity.mutate(
        server.gds.graph.get(ready.engine._names.graph),
        "SIMILAR",
        "score",
        top_k=bench_graph.TOP_K,
        concurrency=server.concurrency,
        log_progress=False,
    )
    return int(result.relationships_written)


def gds_components(ready: Ready) -> int:
    server = ready.server
    frame = server.gds.wcc.stream(
        server.gds.graph.get(ready.engine._names.graph),
        relationship_types=["SIMILAR"],
        node_labels=["Article"],
        concurrency=server.concurrency,
        log_progress=False,
    )
    return int(frame["componentId"].nunique())


def gds_sample(ready: Ready) -> int:
    from tagsage.graph.gds import catalog
    from tagsage.graph.gds.recipe import SampleRecipe

    graph = ready.server.gds.graph.get(ready.engine._names.graph)
    recipe = SampleRecipe(SAMPLE, 0)
    sample = catalog.sample_anew(ready.server, ready.engine._names, graph, recipe, ready.nodes)
    return int(sample.node_count())


def gds_train(ready: Ready) -> list[float]:
    from tagsage.graph.gds.embeddings import train_graphsage

    server, names = ready.server, ready.engine._names
    sample = server.gds.graph.get(names.sample)
    count = int(sample.node_count())
    metrics = train_graphsage(server, names.model, sample, count, VECTORS, SAGE)
    return [float(loss) for loss in metrics["epochLosses"]]


def gds_infer(ready: Ready) -> int:
    from tagsage.graph.gds.embeddings import embed_by_graphsage

    server, names = ready.server, ready.engine._names
    out = np.zeros((len(ready.nodes.ids), SAGE.dimensions), dtype=np.float32)
    graph = server.gds.graph.get(names.graph)
    embed_by_graphsage(server, names.model, graph, ready.nodes, out)
    return len(out)


# -- from end to end -----------------------------------------------------------------------------


def inputs(folder: Path) -> tuple[list[str], Any, Path]:
    keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    return keys, load_csr(folder / "incidence", mmap=False), folder / "vectors.npy"


def end_to_end(uri: str | None, ready: tuple[list[str], Any, Path]) -> dict[str, Any]:
    keys, incidence, vectors = ready
    with tempfile.TemporaryDirectory() as name:
        folders = {
            stage: Path(name) / stage
            for stage in ("projection", "similarity", "components", "sample", "graphsage")
        }
        for folder in folders.values():
            folder.mkdir()
        engine = _engine(uri, "end-to-end")
        engine.project(folders["projection"], incidence, keys=keys, vector_property=VECTORS)
        config = SimilarityConfig(top_k=bench_graph.TOP_K)
        engine.similarity(folders["similarity"], folders["projection"], config)
        found = engine.components(folders["components"], folders["similarity"])
        engine.sample(folders["sample"], folders["similarity"], found["start_node"], SAMPLE)
        done = engine.graphsage(
            folders["graphsage"], folders["similarity"], folders["sample"], vectors, SAGE
        )
        engine.teardown()
        count = len(np.load(folders["graphsage"] / "embeddings.npy", mmap_mode="r"))
        return {"embeddings": count, "losses": done["epoch_losses"]}


def _engine(uri: str | None, run_id: str) -> Any:
    if uri is None:
        from tagsage.graph.local import LocalEngine

        return LocalEngine()
    from tagsage.graph.gds.engine import GdsEngine

    # An owner each, lest one run drop what another left.
    return GdsEngine(Neo4jConnection(uri), run_id=run_id, owner=run_id.replace("-", ""))
