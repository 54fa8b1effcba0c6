"""Vectors into a cache: what :mod:`tagsage.embed.exporting` wrote, and the study's CSV.

What a cache has already is never changed by an import.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tagsage.corpus.quarantine import REJECTED, Quarantine
from tagsage.embed.cache import VectorCache
from tagsage.embed.exporting import BLOCK_ROWS, DIMENSIONS, FORMAT, HASH_TYPE, MODEL, VERSION
from tagsage.embed.given import NOT_FINITE, read_given, rows_not_read
from tagsage.embed.text import EMPTY_HASH, HASH_DTYPE, article_texts, text_hashes
from tagsage.errors import TagsageError
from tagsage.progress import track

MAGIC = b"PAR1"
# Looking up a row maps some pages around it too; more rows at once map the whole cache.
COMPARED_ROWS = 256

ZERO = "every number is zero"
NO_TEXT = "its article has no text"
NOT_A_HASH = "not a hash of 32 hexadecimal digits"


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of a file.

    Attributes
    ----------
    model_id : str
        Whose vectors they are.
    dimensions : int
        Numbers in a vector.
    rows : int
        Rows of the file.
    added : int
        Texts that the cache did not have.
    known : int
        Rows of texts whose vector was there, with the same numbers.
    differing : int
        Rows of texts whose vector was there, with other numbers; it was kept.
    quarantine : pandas.DataFrame
        Rejected rows, as in :class:`tagsage.corpus.model.Corpus`; of Parquet, `line` is the row.
    """

    model_id: str
    dimensions: int
    rows: int
    added: int
    known: int
    differing: int
    quarantine: pd.DataFrame


def import_parquet(path: str, folder: Path, *, model_id: str | None = None) -> ImportReport:
    """Put what :func:`export_parquet` wrote into the cache of the same model.

    Parameters
    ----------
    path : str
        File or fsspec URL.
    folder : pathlib.Path
        Folder of all caches.
    model_id : str, optional
        What the model must be; by default any.

    Returns
    -------
    ImportReport
        What became of the rows. After a kill the import is simply run again.

    Raises
    ------
    TagsageError
        When the file is not such a file, is damaged, or holds vectors of another model.
    """
    quarantine = Quarantine()
    counts = np.zeros(3, np.int64)
    rows = 0
    with _opened(path) as source:
        with _damage_told(path):
            file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
        found, dimensions = _about(path, file.schema_arrow)
        if model_id is not None and found != model_id:
            msg = (
                f"{path} holds vectors of {found}, not of {model_id}; leave --model away, or give "
                "another file."
            )
            raise TagsageError(msg)
        cache = VectorCache(folder, found, dimensions)
        total = -(-file.metadata.num_rows // BLOCK_ROWS)
        for batch in track(_batches(path, file), f"importing {Path(path).name}", total):
            hashes, vectors, reasons = _from_arrow(batch, dimensions)
            for row in np.flatnonzero(reasons != ""):
                shown = hashes[row].decode("ascii", "replace")
                quarantine.add(path, rows + int(row) + 1, REJECTED, str(reasons[row]), shown)
            good = reasons == ""
            counts += _keep(cache, hashes[good], vectors[good])
            rows += len(batch)
    return _report(cache, rows, counts, quarantine)


def import_csv(
    path: str, articles: pd.DataFrame, folder: Path, *, model_id: str, dimensions: int | None
) -> ImportReport:
    """Put given vectors, as the study publishes them, into the cache of the model that made them.

    A row counts for the exact text of the article with its URL: title and subtitle as they are
    now. Of several rows for one text the first counts.

    Parameters
    ----------
    path : str
        File or fsspec URL of a CSV; see :func:`tagsage.embed.given.import_vectors`.
    articles : pandas.DataFrame
        Columns ``key``, ``title``, ``subtitle``, ``is_stub``.
    folder : pathlib.Path
        Folder of all caches.
    model_id : str
        Which model made the vectors: the file does not say.
    dimensions : int or None
        How many numbers its vectors have; None: as many as the file's.

    Returns
    -------
    ImportReport
        What became of the rows. After a kill the import is simply run again.

    Raises
    ------
    TagsageError
        When the file cannot be read to its end, holds no vector of any article, or vectors of
        another length; nothing is put then except what was read before.
    """
    quarantine = Quarantine()
    counts = np.zeros(3, np.int64)
    rows = 0
    hashes = text_hashes(article_texts(articles))
    cache: VectorCache | None = None
    held: list[tuple[NDArray[np.bytes_], NDArray[np.float32]]] = []

    def flush() -> None:
        if cache is not None and held:
            parts, vectors = zip(*held, strict=True)
            counts[:] += _keep(cache, np.concatenate(parts), np.concatenate(vectors))
            held.clear()

    for batch in read_given(path, pd.Index(articles["key"]), quarantine):
        rows += batch.rows
        if cache is None and len(batch.vectors):
            length = batch.vectors.shape[1]
            if dimensions is not None and length != dimensions:
                msg = (
                    f"{path} holds vectors of {length:,} numbers, but {model_id} has "
                    f"{dimensions:,}; name the model that made them with --model."
                )
                raise TagsageError(msg)
            cache = VectorCache(folder, model_id, length)
        part = hashes[batch.articles]
        reasons = _reasons(part, batch.vectors)
        for row in np.flatnonzero(reasons != ""):
            line = int(batch.lines[row])
            quarantine.add(path, line, REJECTED, str(reasons[row]), batch.urls[row])
        good = reasons == ""
        held.append((part[good], batch.vectors[good]))
        if sum(len(each) for each, _ in held) >= BLOCK_ROWS:
            flush()
    flush()
    # Without a vector of any article, the reading has failed.
    found = cast("VectorCache", cache)
    return _report(found, rows + rows_not_read(quarantine.frame()), counts, quarantine)


def is_parquet(path: str) -> bool:
    """Tell by its beginning whether a file, which may be an fsspec URL, is Parquet."""
    with _opened(path) as source:
        return bool(source.read(len(MAGIC)) == MAGIC)


def _batches(path: str, file: pq.ParquetFile) -> Iterator[Any]:
    with _damage_told(path):
        yield from file.iter_batches(BLOCK_ROWS, columns=["hash", "vector"])


def _keep(
    cache: VectorCache, hashes: NDArray[np.bytes_], vectors: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Put the vectors that the cache lacks; count: added, there alike, there with others."""
    new = cache.missing(hashes)
    cache.put(hashes[new], vectors[new])
    same = np.zeros(len(hashes), bool)
    for start in range(0, len(hashes), COMPARED_ROWS):
        block = slice(start, start + COMPARED_ROWS)
        kept = np.empty_like(vectors[block])
        cache.gather(hashes[block], kept)
        same[block] = (kept == vectors[block]).all(axis=1)
    same[new] = True
    differing = int((~same).sum())
    return np.array([len(new), len(hashes) - len(new) - differing, differing])


def _reasons(hashes: NDArray[np.bytes_], vectors: NDArray[np.float32]) -> NDArray[Any]:
    """Return why each row cannot be taken; empty where it can."""
    reasons = np.full(len(hashes), "", object)
    reasons[hashes == EMPTY_HASH] = NO_TEXT
    reasons[~vectors.any(axis=1)] = ZERO
    reasons[~np.isfinite(vectors).all(axis=1)] = NOT_FINITE
    return reasons


def _from_arrow(
    batch: Any, dimensions: int
) -> tuple[NDArray[np.bytes_], NDArray[np.float32], NDArray[Any]]:
    """Return hashes, vectors and why a row cannot be taken."""
    # Parquet of Arrow's holds no null among lists of one length; a null number becomes NaN.
    numbers = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
    vectors = numbers.reshape(len(batch), dimensions)
    texts = [value or b"" for value in batch.column("hash").to_pylist()]
    hashes = np.array(texts, HASH_DTYPE)
    letters = hashes.view(np.uint8).reshape(len(hashes), HASH_DTYPE.itemsize)
    is_hash = np.isin(letters, np.frombuffer(b"0123456789abcdef", np.uint8)).all(axis=1)
    reasons = _reasons(hashes, vectors)
    reasons[~is_hash] = NOT_A_HASH
    return hashes, vectors, reasons


def _about(path: str, schema: Any) -> tuple[str, int]:
    """Return model and dimensions of an exported file."""
    about = schema.metadata or {}
    try:
        if about[FORMAT] != VERSION:
            raise ValueError(f"it has version {about[FORMAT].decode('ascii', 'replace')}")
        model_id = about[MODEL].decode("utf-8", "surrogatepass")
        dimensions = int(about[DIMENSIONS])
        wanted = {"hash": HASH_TYPE, "vector": pa.list_(pa.float32(), dimensions)}
        for name, kind in wanted.items():
            if schema.field(name).type != kind:
                raise ValueError(f"its column {name} is {schema.field(name).type}, not {kind}")
    except (KeyError, ValueError, pa.ArrowException) as error:
        msg = f"{path} is no export of `tagsage vectors export` ({error}); give one of these."
        raise TagsageError(msg) from error
    return model_id, dimensions


def _report(
    cache: VectorCache, rows: int, counts: NDArray[np.int64], quarantine: Quarantine
) -> ImportReport:
    added, known, differing = counts.tolist()
    return ImportReport(
        cache.model_id, cache.dimensions, rows, added, known, differing, quarantine.frame()
    )


@contextmanager
def _opened(path: str) -> Generator[Any, None, None]:
    try:
        opened = fsspec.open(path, "rb").open()
    except (OSError, ValueError, ImportError) as error:
        raise TagsageError(f"Cannot open the vectors {path} ({error}); check the name.") from error
    with opened as source:
        yield source


@contextmanager
def _damage_told(path: str) -> Generator[None, None, None]:
    """Word what Arrow complains of; a checksum that does not match is an OSError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        msg = f"{path} cannot be read to its end ({said}); it is damaged: copy it again."
        raise TagsageError(msg) from error
