"""Vectors out of a cache: to another machine or team, or as the study publishes them.

Two formats. Parquet holds what the cache holds, to the last bit: columns ``hash`` (32 hexadecimal
digits, see :func:`tagsage.embed.text.text_hash`) and ``vector`` (float32), model and dimensions
in the metadata; no text can be read from it. CSV holds URL and JSON list by position, for the
articles of a store. :mod:`tagsage.embed.importing` reads both.
"""

from __future__ import annotations

import gzip
import io
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tagsage.embed.cache import VectorCache
from tagsage.embed.files import sync
from tagsage.embed.text import EMPTY_HASH, HASH_DTYPE, article_texts, text_hashes
from tagsage.errors import TagsageError
from tagsage.progress import track

FORMAT, MODEL, DIMENSIONS = b"tagsage.format", b"tagsage.model_id", b"tagsage.dimensions"
VERSION = b"1"
HASH_TYPE = pa.binary(HASH_DTYPE.itemsize)
# Rows in memory at once: 25 MB of the study's vectors.
BLOCK_ROWS = 4096
# As text a number takes several times the memory.
CSV_ROWS = 256


def export_parquet(cache: VectorCache, file: Path) -> int:
    """Write everything that a cache holds.

    Parameters
    ----------
    cache : VectorCache
        The cache.
    file : pathlib.Path
        Appears whole or not at all; an older one is replaced.

    Returns
    -------
    int
        How many texts it holds.

    Raises
    ------
    TagsageError
        When the cache is empty.
    """
    hashes = cache.hashes()
    if not len(hashes):
        raise TagsageError(_nothing_kept(cache))
    vector_type = pa.list_(pa.float32(), cache.dimensions)
    about = {
        FORMAT: VERSION,
        MODEL: cache.model_id.encode("utf-8", "surrogatepass"),
        DIMENSIONS: str(cache.dimensions).encode(),
    }
    columns = [pa.field("hash", HASH_TYPE), pa.field("vector", vector_type)]
    schema = pa.schema(columns, metadata=about)
    exported = 0
    with (
        _whole_file(file) as opened,
        pq.ParquetWriter(
            opened,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            # Numbers of one order of magnitude: their first bytes alone compress.
            use_byte_stream_split=["vector.list.element"],
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        for part, vectors in _blocks(cache, hashes, f"exporting {cache.model_id}"):
            data = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=vector_type)
            keys = pa.FixedSizeBinaryArray.from_buffers(
                HASH_TYPE, len(part), [None, pa.py_buffer(np.ascontiguousarray(part))]
            )
            writer.write_batch(pa.record_batch([keys, data], schema=schema))
            exported += len(part)
    return exported


def export_csv(cache: VectorCache, articles: pd.DataFrame, file: Path) -> tuple[int, int]:
    """Write URL and JSON list of the articles whose text has a vector, without a header.

    The numbers have as many digits as it takes to read the same float32 again.

    Parameters
    ----------
    cache : VectorCache
        The cache.
    articles : pandas.DataFrame
        Columns ``url``, ``title``, ``subtitle``, ``is_stub``.
    file : pathlib.Path
        Appears whole or not at all, compressed when it ends in .gz; an older one is replaced.

    Returns
    -------
    tuple of int
        How many articles were written, and how many have no vector.

    Raises
    ------
    TagsageError
        When none has a vector.
    """
    hashes = text_hashes(article_texts(articles))
    has_vector = np.isin(hashes, cache.hashes()) & (hashes != EMPTY_HASH)
    if not has_vector.any():
        raise TagsageError(_nothing_kept(cache))
    urls = articles["url"].to_numpy()[has_vector]
    start = 0
    with _whole_file(file) as raw, _maybe_gzip(raw, file.suffix == ".gz") as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        blocks = _blocks(cache, hashes[has_vector], f"exporting {cache.model_id}", CSV_ROWS)
        for part, vectors in blocks:
            lists = _json_lists(vectors)
            # By hand: the csv module looks at every character of the lists.
            text.writelines(
                f'{_field(url)},"[{one}]"\n'
                for url, one in zip(urls[start : start + len(part)], lists, strict=True)
            )
            start += len(part)
        text.detach()
    return start, len(articles) - start


def _blocks(
    cache: VectorCache, hashes: NDArray[np.bytes_], what: str, rows: int = BLOCK_ROWS
) -> Iterator[tuple[NDArray[np.bytes_], NDArray[np.float32]]]:
    for start in track(range(0, len(hashes), rows), what):
        part = hashes[start : start + rows]
        vectors = np.empty((len(part), cache.dimensions), np.float32)
        if cache.gather(part, vectors):
            msg = (
                f"Vectors of {cache.model_id} went while they were exported: they were damaged or "
                "removed; export again."
            )
            raise TagsageError(msg)
        yield part, vectors


def _json_lists(vectors: NDArray[np.float32]) -> list[str]:
    """Return each vector as JSON, without its brackets."""
    # Arrow writes the shortest text that reads as the same float32, at once for all.
    numbers = pc.cast(pa.array(vectors.ravel()), pa.string())
    bounds = pa.array(np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32))
    joined = pc.binary_join(pa.ListArray.from_arrays(bounds, numbers), ", ")
    return cast("list[str]", joined.to_pylist())


def _field(text: str) -> str:
    if not any(letter in text for letter in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _nothing_kept(cache: VectorCache) -> str:
    return (
        f"There is no vector of {cache.model_id} to export; see `tagsage vectors list` for what "
        "there is."
    )


@contextmanager
def _whole_file(file: Path) -> Generator[IO[bytes], None, None]:
    """Open a new file that takes its name when it is complete."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as opened:
            yield opened
        sync(temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _maybe_gzip(raw: IO[bytes], wanted: bool) -> Generator[IO[bytes], None, None]:
    if not wanted:
        yield raw
        return
    # Neither name nor time inside: the same vectors make the same file.
    with gzip.GzipFile("", "wb", compresslevel=5, fileobj=raw, mtime=0) as compressed:
        yield cast("IO[bytes]", compressed)
