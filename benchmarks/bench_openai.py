"""Texts to vectors over OpenAI's API: the embedder beside the plain way.

A server on this machine answers as OpenAI does, in a process of its own, with vectors that it
computes from the text; what is measured is therefore our own work, and *client CPU s* says how much
of it, of both cores together, is not the server's. The plain way is what a script does: the SDK,
2,048 texts a request, one request after the other, the lists it returns made into one array and
saved. It checks, keeps and accounts for nothing. ``BENCH_OPENAI_TEXTS`` sets how many texts, 55,000
(the study's size) by default; vectors have 1,536 numbers.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import ROOT, Measure, Row, measure, number, prepared, table

TEXTS = int(os.environ.get("BENCH_OPENAI_TEXTS") or 55_000)
# The plain way takes minutes with numbers as JSON.
ROUNDS = {"base64": 3, "float": 1}
MODEL = "text-embedding-ada-002"
DIMENSIONS = 1536
REQUEST_TEXTS = 2048
# Every so many vectors one is compared with what the server must have said.
CHECKED = 997
KEY = "sk-benchmark"
START_S = 30.0


@dataclass(frozen=True)
class Given:
    """What a variant gets: the server, the texts with their hashes, an empty folder."""

    base_url: str
    texts: list[str]
    hashes: Any
    folder: Path
    encoding: str


def main(corpus: str) -> str:
    """Measure both ways, with vectors as base64 and as JSON numbers.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz, whose titles and subtitles are embedded.

    Returns
    -------
    str
        A Markdown table for either form.
    """
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as base_url:
        texts = texts_of(corpus, TEXTS)
        return tables(base_url, texts, Path(name), rounds=ROUNDS)


def tables(base_url: str, texts: list[str], folder: Path, *, rounds: Mapping[str, int]) -> str:
    """Measure against a server that runs.

    Parameters
    ----------
    base_url : str
        The server's.
    texts : list of str
        What is embedded, all different.
    folder : pathlib.Path
        Takes the texts and what the variants write.
    rounds : mapping
        How often each variant is run, by the form of the vectors.

    Returns
    -------
    str
        A Markdown table for either form.
    """
    titles = folder / "texts.npy"
    np.save(titles, np.array(texts, dtype=np.str_))
    parts = [
        f"{len(texts):,} texts with {DIMENSIONS:,} numbers each; openai {version('openai')}. "
        f"Each run in a process of its own; with base64 medians of {rounds['base64']} rounds in "
        f"turn, with JSON numbers of {rounds['float']}. *texts sent*: what was paid for."
    ]
    for encoding, title in (("base64", "base64, as OpenAI sends them"), ("float", "JSON numbers")):
        parts += [
            f"### Vectors as {title}",
            table(_rows(base_url, titles, encoding, rounds[encoding])),
        ]
    return "\n\n".join(parts)


def _rows(base_url: str, titles: Path, encoding: str, rounds: int) -> list[Row]:
    measured: dict[str, list[Measure[Any]]] = {"plain": [], "tagsage": [], "tagsage again": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=titles.parent) as name:
            kept = Path(name)
            run = partial(_measured, base_url, titles, kept, encoding)
            measured["plain"].append(run(plain))
            measured["tagsage"].append(run(embed))
            # The next run: every text is in the cache.
            measured["tagsage again"].append(run(embed))
    return [
        Row(
            name,
            statistics.median(one.seconds for one in runs),
            statistics.median(one.peak_mb for one in runs),
            statistics.median(one.extra_mb for one in runs),
            {
                "client CPU s": number(statistics.median(one.result[0] for one in runs), 3),
                "texts sent": f"{runs[-1].result[1]:,}",
            },
        )
        for name, runs in measured.items()
    ]


def _measured(
    base_url: str, titles: Path, folder: Path, encoding: str, call: Callable[[Given], int]
) -> Measure[tuple[float, int]]:
    prepare_it = partial(prepare, base_url, titles, folder, encoding)
    return measure(prepared(prepare_it, partial(timed, call)))


def prepare(base_url: str, titles: Path, folder: Path, encoding: str) -> Given:
    """Read the texts, and import what the measured call needs."""
    import openai

    from tagsage.embed.text import text_hashes

    for module in ("online", "planning"):
        import_module(f"tagsage.embed.openai.{module}")
    with openai.OpenAI(api_key=KEY, base_url=base_url) as client:
        # The SDK imports much of itself only when it is first asked for something.
        client.embeddings.create(model=MODEL, input=["warm up"])
    texts = np.load(titles).tolist()
    return Given(base_url, texts, text_hashes(texts), folder, encoding)


def timed(call: Callable[[Given], int], given: Given) -> tuple[float, int]:
    """Return the CPU seconds of this process, all threads, and how many texts were sent."""
    before = time.process_time()
    sent = call(given)
    return time.process_time() - before, sent


def plain(given: Given) -> int:
    """Embed as a script does; the SDK itself decodes base64, to a list of numbers."""
    import openai

    encoding = openai.omit if given.encoding == "base64" else "float"
    found: list[list[float]] = []
    with openai.OpenAI(api_key=KEY, base_url=given.base_url) as client:
        for start in range(0, len(given.texts), REQUEST_TEXTS):
            part = given.texts[start : start + REQUEST_TEXTS]
            answer = client.embeddings.create(model=MODEL, input=part, encoding_format=encoding)
            found += [item.embedding for item in answer.data]
    vectors = np.array(found, dtype=np.float32)
    np.save(given.folder / "plain.npy", vectors)
    _check(given, vectors)
    return len(vectors)


def embed(given: Given) -> int:
    """Embed what is new as a run does, and gather the vectors of all texts into one file."""
    from tagsage.embed.cache import VectorCache
    from tagsage.embed.openai.config import Ceiling, OpenAiConfig
    from tagsage.embed.openai.online import embed_online
    from tagsage.embed.openai.planning import plan_openai
    from tagsage.embed.openai.spool import CACHE
    from tagsage.openai_connection import OpenAiConnection

    connection = OpenAiConnection(KEY, given.base_url)
    config = OpenAiConfig(MODEL, encoding=given.encoding)
    folder = given.folder / "openai"
    plan = plan_openai(
        given.texts,
        given.hashes,
        folder=folder,
        config=config,
        connect=lambda: connection,
        prices=f"{MODEL}=0.1",
        batch=False,
        batch_size=20_000,
    )
    for start, stop in plan.batches:
        embed_online(
            connection,
            config,
            given.texts,
            given.hashes,
            plan.missing[start:stop],
            folder=folder,
            dimensions=DIMENSIONS,
            run_id="benchmark",
            price=plan.summary["price"],
            ceiling=Ceiling(100.0, 10**9),
        )
    vectors = np.lib.format.open_memmap(
        given.folder / "vectors.npy",
        mode="w+",
        dtype=np.float32,
        shape=(len(given.texts), DIMENSIONS),
    )
    if VectorCache(folder / CACHE, config.model_id, DIMENSIONS).gather(given.hashes, vectors):
        raise RuntimeError("texts are left without a vector")
    vectors.flush()
    _check(given, vectors)
    return len(plan.missing)


def _check(given: Given, vectors: Any) -> None:
    from scripts.openai_server import expected_vectors

    expected = expected_vectors(given.texts[::CHECKED], MODEL)
    if not np.allclose(vectors[::CHECKED], expected, rtol=0, atol=1e-7):
        raise RuntimeError("a vector is not what the server said")


def texts_of(corpus: str, n: int) -> list[str]:
    """Return the first n different texts of a corpus that are not empty."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.embed.text import article_texts

    files = (f"{corpus}/{name}.csv.gz" for name in ("articles", "lists"))
    articles = read_csv_corpus(*files, max_rejected_share=1).articles
    return list(dict.fromkeys(filter(None, article_texts(articles))))[:n]


@contextmanager
def server(folder: Path) -> Generator[str, None, None]:
    """Start the server in a process of its own; give its base URL."""
    ready = folder / "ready"
    command = [sys.executable, str(ROOT / "scripts" / "openai_server.py")]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready), "--api-key", KEY], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("scripts/openai_server.py did not start")
            time.sleep(0.05)
        yield ready.read_text(encoding="utf-8")
    finally:
        process.terminate()
        process.wait()
