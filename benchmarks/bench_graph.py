"""Each stage of the local graph engine beside the obvious way to compute the same.

GraphSAGE has the study's settings and is timed after compilation, which has a row of its own. The
vectors are LSA with 256 numbers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse import csgraph

from benchmarks.runner import Row, measure, prepared, side_by_side, table
from tagsage.features import Articles, KnownArticles
from tagsage.features.lists import Lists
from tagsage.graph.components import connected_components, start_node
from tagsage.graph.csr import induced_subgraph, load_csr, save_csr
from tagsage.graph.graphsage.model import GraphSageModel, infer_graphsage, layer_seed
from tagsage.graph.graphsage.train import sample_trees, train_graphsage
from tagsage.graph.sampling import random_walk_sample
from tagsage.graph.similarity import jaccard_similarity
from tagsage.runner import LocalRunner
from tagsage.settings import Settings

SEED = 42
SETTINGS = Settings(seed=SEED)
TOP_K, RATIO = SETTINGS.similarity_top_k, SETTINGS.sample_ratio
REPEATS = 3
DIMENSIONS = 256
# Losses of the last five epochs that Neo4j GDS 2.13 ended at with these settings on its reference
# data (citeulike): 14.4 +- 0.3. On other corpora it is no reference.
GDS_LOSS = 14.5


def main(corpus: str) -> str:
    """Measure every stage.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.

    Returns
    -------
    str
        A Markdown table a stage.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about = prepare(corpus, folder)
        parts = [
            about,
            "### Similarity (Jaccard, topK 2000)",
            table(similarity_rows(folder)),
            "### Components",
            table(component_rows(folder)),
            "### Sample (random walks with restarts, 20%)",
            table(sample_rows(folder)),
            "### GraphSAGE: training",
            table(training_rows(folder)),
            "### GraphSAGE: inference for all articles",
            table(inference_rows(folder)),
            "### Propagation over lists (2 hops)",
            table(list_rows(folder)),
        ]
    return "\n\n".join(parts)


def prepare(corpus: str, folder: Path) -> str:
    """Write what the stages read: incidence, vectors, similarity, sample, model."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.embed.lsa import LsaEmbedder
    from tagsage.embed.text import article_texts

    read = read_csv_corpus(
        str(Path(corpus) / "articles.csv.gz"),
        str(Path(corpus) / "lists.csv.gz"),
        max_rejected_share=0.05,
    )
    articles = read.articles.sort_values("key", ignore_index=True)
    list_index, lists = pd.factorize(read.memberships["list"], sort=True)
    article_index = pd.Index(articles["key"]).get_indexer(read.memberships["article"])
    ones = np.ones(len(list_index), dtype=np.float32)
    incidence = sp.csr_array((ones, (article_index, list_index)), shape=(len(articles), len(lists)))
    texts = article_texts(articles)
    embedder = LsaEmbedder.fit(texts, dimensions=DIMENSIONS, seed=SEED)
    vectors = embedder.embed(texts)
    similarity = jaccard_similarity(incidence, top_k=TOP_K)
    start = start_node(connected_components(similarity), np.diff(similarity.indptr))
    sample = random_walk_sample(similarity, start, ratio=RATIO, seed=SEED)
    save_csr(folder / "incidence", incidence)
    save_csr(folder / "similarity", similarity)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "sample.npy", sample)
    np.save(folder / "start.npy", start)
    graph = induced_subgraph(similarity, sample)
    train_graphsage(graph, vectors[sample], SETTINGS).save(folder / "model")
    return (
        f"{len(articles):,} articles, {len(lists):,} lists, {incidence.nnz:,} memberships, "
        f"{similarity.nnz:,} SIMILAR relationships; {len(sample):,} articles sampled, with "
        f"{graph.nnz:,} relationships. Medians of {REPEATS} runs, each in a process of its own, "
        "except in the second and third row of training."
    )


def _incidence(folder: Path) -> Any:
    return load_csr(folder / "incidence")


def _similarity(folder: Path) -> Any:
    return load_csr(folder / "similarity")


# -- similarity --------------------------------------------------------------------------------


def similarity_rows(folder: Path) -> list[Row]:
    read = partial(_incidence, folder)
    return side_by_side(
        {
            "tagsage: row blocks, top K by partition": prepared(read, similarity_blocks),
            "one sparse product, top K row by row": prepared(read, similarity_one_product),
            "Python: a counter over the lists of each article": prepared(read, similarity_counter),
        },
        repeats=REPEATS,
        columns=lambda pairs: {"relationships": f"{pairs:,}"},
    )


def similarity_blocks(incidence: Any) -> int:
    return int(jaccard_similarity(incidence, top_k=TOP_K).nnz)


def similarity_one_product(incidence: Any) -> int:
    shared = (incidence @ incidence.T).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    shared.sort_indices()
    degrees = np.diff(incidence.indptr)
    kept = 0
    for article in range(shared.shape[0]):
        row = slice(shared.indptr[article], shared.indptr[article + 1])
        count, others = shared.data[row], shared.indices[row]
        similarity = count / (degrees[article] + degrees[others] - count)
        kept += len(np.argsort(-similarity, kind="stable")[:TOP_K])
    return kept


def similarity_counter(incidence: Any) -> int:
    def rows(matrix: Any) -> list[list[int]]:
        return [part.tolist() for part in np.split(matrix.indices, matrix.indptr[1:-1])]

    lists_of, members_of = rows(incidence), rows(incidence.T.tocsr())
    kept = 0
    for article, lists in enumerate(lists_of):
        shared = Counter(other for name in lists for other in members_of[name])
        del shared[article]
        pairs = (
            (-count / (len(lists) + len(lists_of[other]) - count), other)
            for other, count in shared.items()
        )
        kept += len(nsmallest(TOP_K, pairs))
    return kept


# -- components and sample ---------------------------------------------------------------------


def component_rows(folder: Path) -> list[Row]:
    read = partial(_similarity, folder)
    return side_by_side(
        {
            "tagsage: block by block": prepared(read, lambda g: connected_components(g).max() + 1),
            "scipy on the whole graph": prepared(
                read, lambda g: csgraph.connected_components(g, directed=False)[0]
            ),
        },
        repeats=REPEATS,
        columns=lambda count: {"components": f"{count:,}"},
    )


def sample_rows(folder: Path) -> list[Row]:
    read = partial(_graph_and_start, folder)
    return side_by_side(
        {
            "tagsage": prepared(
                read, lambda ready: random_walk_sample(*ready, ratio=RATIO, seed=SEED)
            ),
            "the same walks over arrays, a random number at a time": prepared(read, sample_plainly),
        },
        repeats=REPEATS,
        columns=lambda nodes: {"articles": f"{len(nodes):,}"},
    )


def _graph_and_start(folder: Path) -> tuple[Any, int]:
    return _similarity(folder), int(np.load(folder / "start.npy"))


def sample_plainly(ready: tuple[Any, int]) -> list[int]:
    graph, first = ready
    random = np.random.default_rng(SEED)
    n = graph.shape[0]
    seen: set[int] = set()
    qualities = {first: 1.0}
    started = {first}
    while True:
        start = int(random.choice(list(qualities)))
        walks = int(qualities[start] * 100 + 0.5)
        while True:
            node, added, visited = start, 0, 0
            while True:
                visited += 1
                if node not in seen:
                    seen.add(node)
                    added += 1
                    if len(seen) == round(0.2 * n):
                        return sorted(seen)
                targets = graph.indices[graph.indptr[node] : graph.indptr[node + 1]]
                if not len(targets) or random.random() < 0.1:
                    break
                node = int(random.choice(targets))
            qualities[start] = 0.9 * qualities[start] + 0.1 * added / visited
            walks -= 1
            if walks < 0 or qualities[start] <= 0.05:
                break
        if qualities[start] < 0.01:
            del qualities[start]
        total = sum(qualities.values())
        if not total or sum(q * q for q in qualities.values()) / total < 0.05:
            fresh = int(random.integers(n))
            while fresh in started:
                fresh = int(random.integers(n))
            started.add(fresh)
            qualities[fresh] = 1.0


# -- GraphSAGE ---------------------------------------------------------------------------------


def training_rows(folder: Path) -> list[Row]:
    def columns(losses: list[float]) -> dict[str, object]:
        return {
            "epochs": len(losses),
            "first epoch's loss": f"{losses[0]:.1f}",
            "mean of the last five": f"{np.mean(losses[-5:]):.2f}",
        }

    rows = side_by_side(
        {"tagsage, compiled before": prepared(partial(warm_training, folder), train)},
        repeats=REPEATS,
        columns=columns,
    )
    # Slow, and far from the first row: one run each will do.
    once = {
        "tagsage, with import and compilation of JAX": train,
        "the same step by step, not compiled": train_uncompiled,
    }
    for name, call in once.items():
        run = measure(prepared(partial(training_inputs, folder), call))
        rows.append(Row(name, run.seconds, run.peak_mb, run.extra_mb, columns(run.result)))
    nan = float("nan")
    rows.append(
        Row(
            "(Neo4j GDS 2.13 on citeulike, for the loss only)",
            nan,
            columns={
                "epochs": 20,
                "first epoch's loss": "22.5",
                "mean of the last five": f"{GDS_LOSS:.2f}",
            },
        )
    )
    return rows


def training_inputs(folder: Path) -> tuple[Any, Any]:
    sample = np.load(folder / "sample.npy")
    return induced_subgraph(_similarity(folder), sample), np.load(folder / "vectors.npy")[sample]


def warm_training(folder: Path) -> tuple[Any, Any]:
    graph, features = training_inputs(folder)
    train_graphsage(graph, features, SETTINGS.model_copy(update={"graphsage_epochs": 1}))
    return graph, features


def train(ready: tuple[Any, Any]) -> list[float]:
    return train_graphsage(*ready, SETTINGS).epoch_losses


def train_uncompiled(ready: tuple[Any, Any]) -> list[float]:
    import jax

    with jax.disable_jit():
        return train(ready)


def inference_rows(folder: Path) -> list[Row]:
    read = partial(inference_inputs, folder)
    return side_by_side(
        {
            "tagsage: layer by layer": prepared(read, infer),
            "batch by batch, each with its own neighbourhood": prepared(read, infer_by_batches),
        },
        repeats=REPEATS,
        columns=lambda check: {"sum of the first column": f"{check:.3f}"},
    )


def inference_inputs(folder: Path) -> tuple[Any, Any, Any]:
    import jax

    jax.numpy.zeros(1).block_until_ready()
    vectors = np.load(folder / "vectors.npy")
    return GraphSageModel.load(folder / "model"), _similarity(folder), vectors


def infer(ready: tuple[Any, Any, Any]) -> float:
    return float(infer_graphsage(*ready)[:, 0].sum(dtype=np.float64))


def infer_by_batches(ready: tuple[Any, Any, Any]) -> float:
    import jax

    from tagsage.graph.graphsage import network

    model, graph, features = ready
    forward = jax.jit(partial(network.forward, activation="relu"))
    seeds = [layer_seed(SEED, 0, layer) for layer in range(2)]
    n, batch, total = graph.shape[0], 100, 0.0
    for start in range(0, n, batch):
        # The last batch is filled up, so that one shape is compiled.
        nodes = np.minimum(np.arange(start, start + batch), n - 1)
        (tree,) = sample_trees(graph, features, nodes[None], SETTINGS, seeds)
        rows = np.asarray(forward(model.weights, tree))
        total += float(rows[: n - start, 0].sum(dtype=np.float64))
    return total


# -- propagation over lists --------------------------------------------------------------------


def list_rows(folder: Path) -> list[Row]:
    read = partial(list_inputs, folder)
    return side_by_side(
        {
            "tagsage: articles to lists to articles": prepared(read, propagate),
            "a matrix of article pairs, twice": prepared(read, propagate_by_pairs),
        },
        repeats=REPEATS,
        columns=lambda check: {"sum of squares": f"{check:.2f}"},
    )


def list_inputs(folder: Path) -> tuple[Any, Any]:
    return _incidence(folder), np.load(folder / "vectors.npy")


def propagate(ready: tuple[Any, Any]) -> float:
    members, vectors = ready
    n, n_lists = members.shape
    articles = Articles(
        np.arange(1, n + 1, dtype=np.uint64),
        [""] * n,
        np.full(n, "", dtype=object),
        members,
        np.arange(n_lists).astype(str).astype(object),
        vectors,
    )
    # No tags: they do nothing here.
    known = KnownArticles.of(
        articles, np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=np.bool_)
    )
    marked = known.mark(articles)
    block = Lists.fit(marked, SETTINGS, LocalRunner())
    return float((block.transform(marked)[-1] ** 2).sum(dtype=np.float64))


def propagate_by_pairs(ready: tuple[Any, Any]) -> float:
    incidence, vectors = ready
    current = vectors
    for _ in range(2):
        known = current.any(axis=1).astype(np.float32)
        members = incidence.T @ known
        weight = (members > 0).astype(np.float32)
        factor = sp.diags_array((weight / np.maximum(members, 1)).astype(np.float32))
        pairs = incidence @ factor @ incidence.T
        total = incidence @ weight
        scale = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        current = ((pairs @ current) * scale[:, None]).astype(np.float32)
    return float((current**2).sum(dtype=np.float64))
