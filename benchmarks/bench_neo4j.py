"""Articles and vectors into Neo4j: the store beside the plain way.

Starts a server of its own, which needs Java and Maven. The plain way is what a script does: rows as
maps, vectors as lists, 1,000 rows per transaction, the driver without its extension in Rust.
``BENCH_NEO4J_ARTICLES`` sets how many articles, 55,000 (the study's size) by default; vectors have
1,536 numbers.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.runner import Row, measure, memory, number, prepared, reset_peak, table
from scripts.neo4j_server import Neo4jServer, ServerError, free_port, missing_tools

ARTICLES = int(os.environ.get("BENCH_NEO4J_ARTICLES") or 55_000)
DIMENSIONS = 1536
ROWS = 1000
WARM_UP = 500
PLAIN = "plain"
STORE = "tagsage"

MERGE = """
    UNWIND $rows AS row MERGE (a:Article {key: row.key})
    SET a.title = row.title, a.embedding = row.vector
"""
SET = "UNWIND $rows AS row MATCH (a:Article {key: row.key}) SET a.embedding = row.vector"


def main(corpus: str) -> str:
    """Measure import and writing of made-up articles; return Markdown tables."""
    del corpus
    if missing := missing_tools():
        return f"Left out: it starts Neo4j, which needs {' and '.join(missing)} on this machine."
    with tempfile.TemporaryDirectory() as name:
        try:
            with Neo4jServer(Path(name) / "server", port=free_port(), heap_mb=4096) as server:
                process = server.process
                pid = process.pid if process else 0
                return tables(server.uri, pid, Path(name), articles=ARTICLES, dimensions=DIMENSIONS)
        except ServerError as error:
            return f"Left out: {error}"


def tables(uri: str, pid: int, folder: Path, *, articles: int, dimensions: int) -> str:
    """Measure on a server whose database is empty, and leave it empty; `pid` is its process."""
    path, few = folder / "vectors.npy", folder / "few.npy"
    chance = np.random.default_rng(42)
    vectors = chance.standard_normal((articles, dimensions), dtype=np.float32) / 40
    np.save(path, vectors)
    np.save(few, vectors[:WARM_UP])
    run = partial(_row, uri=uri, pid=pid, path=path)
    empty(uri)
    # A server that has just started compiles its code and its plans: not what is compared.
    for call in (plain_import, store_import, plain_write, store_write):
        if call is store_import:
            empty(uri)
        measure(prepared(partial(prepare, uri, few, True), call))
    empty(uri)
    imported = [run(PLAIN, plain_import, rust=False)]
    empty(uri)
    imported.append(run(STORE, store_import))
    written = [run(PLAIN, plain_write, rust=False), run(STORE, store_write)]
    empty(uri)
    extension = f"neo4j-rust-ext {version('neo4j-rust-ext')}" if _has_rust() else "no extension"
    return "\n\n".join([
        f"{articles:,} articles with {dimensions:,} numbers each; driver {version('neo4j')}, "
        f"with {extension} for tagsage and without for the plain way. One run each. The plain "
        "import has the articles' keys, titles and vectors only.",
        "### Import of articles and vectors",
        table(imported),
        "### Vectors of articles that are there",
        table(written),
    ])


def _row(
    name: str,
    call: Callable[[Any], Any],
    *,
    uri: str,
    pid: int,
    path: Path,
    rust: bool = True,
) -> Row:
    reset_peak(pid)
    done = measure(prepared(partial(prepare, uri, path, rust), call))
    return Row(
        name,
        done.seconds,
        done.peak_mb,
        done.extra_mb,
        {"server peak MiB": number(memory("VmHWM", pid), 0)},
    )


def prepare(uri: str, path: Path, rust: bool) -> tuple[str, Any, list[str]]:
    """Import what the measured call needs, with or without the driver's extension."""
    if not rust:
        # Nothing has imported the driver yet in this process.
        sys.modules["neo4j._rust"] = None  # type: ignore[assignment]
    import_module("tagsage.store.neo4j")

    vectors = np.load(path, mmap_mode="r")
    return uri, vectors, [f"medium.com/p/{number:012x}" for number in range(len(vectors))]


def _connection(uri: str) -> Any:
    from tagsage.neo4j_connection import Neo4jConnection

    return Neo4jConnection(uri)


def _driver(uri: str) -> Any:
    from tagsage.neo4j_connection import create_driver

    return create_driver(_connection(uri))


def _write_plainly(given: Any, query: str) -> None:
    uri, vectors, keys = given
    with _driver(uri) as driver, driver.session() as session:
        for start in range(0, len(keys), ROWS):
            rows = [
                {"key": key, "title": f"Title of {key}", "vector": vector.tolist()}
                for key, vector in zip(
                    keys[start : start + ROWS], vectors[start : start + ROWS], strict=True
                )
            ]
            session.execute_write(lambda tx, rows=rows: tx.run(query, rows=rows).consume())


def plain_import(given: Any) -> None:
    with _driver(given[0]) as driver:
        driver.execute_query("CREATE CONSTRAINT FOR (a:Article) REQUIRE a.key IS UNIQUE")
    _write_plainly(given, MERGE)


def plain_write(given: Any) -> None:
    _write_plainly(given, SET)


def _store(uri: str) -> Any:
    from tagsage.store.neo4j import Neo4jStore

    return Neo4jStore(_connection(uri))


def store_import(given: Any) -> None:
    uri, vectors, keys = given
    with _store(uri) as store:
        store.load(_corpus(keys))
        store.write_vectors("lsaEmbedding", keys, vectors, digest="1")


def store_write(given: Any) -> None:
    uri, vectors, keys = given
    with _store(uri) as store:
        store.write_vectors("givenEmbedding", keys, vectors, digest="1")


def _corpus(keys: list[str]) -> Any:
    from tagsage.corpus.model import Corpus, text_frame

    n = len(keys)
    articles = text_frame({
        "key": keys,
        "url": [f"https://{key}" for key in keys],
        "title": [f"Title of {key}" for key in keys],
        "subtitle": [""] * n,
        "author": [f"Author {number % 7919}" for number in range(n)],
    })
    articles["date"] = pd.Series(np.full(n, "2022-01-01", dtype="datetime64[s]"))
    articles["tags"] = pd.Series([[f"tag {i % 300}", f"tag {300 + i % 7}"] for i in range(n)])
    articles["is_stub"] = False
    memberships = text_frame({
        "list": [f"list {number % 4000}" for number in range(n)],
        "article": keys,
    })
    return Corpus(articles, memberships, pd.DataFrame(), {})


def empty(uri: str) -> None:
    """Remove everything from the database."""
    with _driver(uri) as driver, driver.session() as session:
        session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 500 ROWS").consume()
        for name in session.run("SHOW CONSTRAINTS YIELD name").value():
            session.run(f"DROP CONSTRAINT `{name}`").consume()


def _has_rust() -> bool:
    return find_spec("neo4j._rust") is not None
