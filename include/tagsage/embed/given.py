"""Vectors that someone else made: a CSV of URL and JSON list, by position."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.json
from numpy.typing import NDArray

from tagsage.corpus.keys import article_key
from tagsage.corpus.quarantine import REJECTED, SUPERSEDED, Quarantine
from tagsage.errors import TagsageError
from tagsage.progress import track

# Rows whose URLs are matched at once; the first batch also decides the number of dimensions.
BATCH_ROWS = 1000
# A vector of 100,000 numbers fits; an unclosed quote does not swallow the rest of a large file.
FIELD_LIMIT = 4_000_000
# Nothing but numbers: no text of this form can end the JSON it is put into.
PLAIN_LIST = re.compile(r"\s*\[[-+0-9eE., \t\r\n]*\]\s*", re.ASCII)
LISTS = pyarrow.schema([("v", pyarrow.list_(pyarrow.float64()))])

NOT_TWO_FIELDS = "not two fields, URL and JSON list"
NOT_CSV = "not CSV: a field is too long, is a quote left open?"
NOT_A_URL = "not an http or https URL"
UNKNOWN_URL = "no article has this URL"
NOT_A_LIST = "not a JSON list of numbers"
NOT_FINITE = "a number is not finite or beyond float32"
WRONG_LENGTH = "not as many numbers as most of the first rows"
LATER_ROW = "a later row has a vector for the same article"


@dataclass(frozen=True)
class GivenVectors:
    """Imported vectors.

    Attributes
    ----------
    vectors : numpy.ndarray of float32, shape (n, d)
        One row an article, in the snapshot's order, as given (not scaled); zero where none is.
    found : numpy.ndarray of bool, shape (n,)
        Which articles have a given vector.
    quarantine : pandas.DataFrame
        Rejected and superseded rows, as in :class:`tagsage.corpus.model.Corpus`.
    rows : int
        Rows of the file, a header not counted.
    """

    vectors: NDArray[np.float32]
    found: NDArray[np.bool_]
    quarantine: pd.DataFrame
    rows: int


@dataclass(frozen=True)
class _Row:
    line: int
    url: str
    text: str


def import_vectors(
    path: str, snapshot_articles: pd.DataFrame, *, out: Path | None = None
) -> GivenVectors:
    """Read a CSV of vectors and align it with the articles.

    Columns count by position: URL, JSON list of numbers. A first row whose second field is no list
    and whose first is no address is a header. The number of dimensions is the commonest length in
    the first batch (1,000 rows) that has a good vector; rows of another length are rejected. Of
    several rows for one article the last counts.

    Parameters
    ----------
    path : str
        File or fsspec URL; gzip is detected by content.
    snapshot_articles : pandas.DataFrame
        Column ``key``, unique; n rows.
    out : pathlib.Path, optional
        File to write as .npy, memory-mapped; it appears whole or not at all. Without it the
        vectors are kept in memory.

    Returns
    -------
    GivenVectors
        The vectors, which articles have one, and what was rejected.

    Raises
    ------
    TagsageError
        When the file cannot be read to its end, or holds no vector of any article.
    """
    temporary = out.with_name(f".{out.name}") if out is not None else None
    try:
        given = _read(path, pd.Index(snapshot_articles["key"]), temporary)
        if out is None or temporary is None:
            return given
        cast("np.memmap[Any, Any]", given.vectors).flush()
        temporary.replace(out)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return replace(given, vectors=np.load(out, mmap_mode="r", allow_pickle=False))


@dataclass(frozen=True)
class GivenBatch:
    """Good rows of a batch.

    Attributes
    ----------
    rows : int
        How many rows the batch had in the file.
    lines : numpy.ndarray of int64, shape (m,)
        Where each good row begins, from 1.
    urls : list of str, length m
        Their addresses as they are in the file.
    articles : numpy.ndarray of int64, shape (m,)
        Whose vectors they are, as positions in the keys.
    vectors : numpy.ndarray of float32, shape (m, d)
        The vectors.
    """

    rows: int
    lines: NDArray[np.int64]
    urls: list[str]
    articles: NDArray[np.int64]
    vectors: NDArray[np.float32]


def read_given(path: str, keys: pd.Index[Any], quarantine: Quarantine) -> Iterator[GivenBatch]:
    """Read a CSV of vectors batch by batch; see :func:`import_vectors`.

    Parameters
    ----------
    path : str
        File or fsspec URL.
    keys : pandas.Index of str
        Keys of the articles, unique.
    quarantine : Quarantine
        Takes the rejected rows.

    Yields
    ------
    GivenBatch
        Of which there may be several for one article, also in one batch.

    Raises
    ------
    TagsageError
        When the file cannot be read to its end, or holds no vector of any article.
    """
    rows = dimensions = 0
    # Parsing is the work; the batches are told, as nobody knows the number of rows beforehand.
    for batch in track(_batches(path, quarantine), f"importing {Path(path).name} by the thousand"):
        rows += len(batch)
        parsed = list(_parse(path, batch, keys, quarantine))
        if not dimensions and parsed:
            dimensions = Counter(len(vector) for _, _, vector in parsed).most_common(1)[0][0]
        good = [each for each in parsed if len(each[2]) == dimensions]
        for row, _, vector in parsed:
            if len(vector) != dimensions:
                quarantine.add(path, row.line, REJECTED, WRONG_LENGTH, row.url)
        yield GivenBatch(
            len(batch),
            np.array([row.line for row, _, _ in good], np.int64),
            [row.url for row, _, _ in good],
            np.array([index for _, index, _ in good], np.int64),
            np.array([vector for _, _, vector in good], np.float32).reshape(len(good), dimensions),
        )
    if not dimensions:
        recorded = quarantine.frame()
        raise TagsageError(_nothing_matched(path, rows + rows_not_read(recorded), recorded))


def rows_not_read(quarantine: pd.DataFrame) -> int:
    """Return how many rejected rows are counted in no batch."""
    return int(quarantine["reason"].isin([NOT_CSV, NOT_TWO_FIELDS]).sum())


def _read(path: str, keys: pd.Index[Any], file: Path | None) -> GivenVectors:
    quarantine = Quarantine()
    line_of = np.zeros(len(keys), np.int64)
    vectors = np.zeros((0, 0), np.float32)
    rows = 0
    for batch in read_given(path, keys, quarantine):
        rows += batch.rows
        if not vectors.size and batch.vectors.size:
            vectors = _zeros((len(keys), batch.vectors.shape[1]), file)
        found = zip(batch.lines.tolist(), batch.urls, batch.articles, batch.vectors, strict=True)
        for line, url, article, vector in found:
            if line_of[article]:
                quarantine.add(path, int(line_of[article]), SUPERSEDED, LATER_ROW, url)
            vectors[article] = vector
            line_of[article] = line
    recorded = quarantine.frame()
    return GivenVectors(vectors, line_of > 0, recorded, rows + rows_not_read(recorded))


def _zeros(shape: tuple[int, int], file: Path | None) -> NDArray[np.float32]:
    if file is None:
        return np.zeros(shape, np.float32)
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)


def _parse(
    path: str, batch: list[_Row], keys: pd.Index[Any], quarantine: Quarantine
) -> Iterator[tuple[_Row, int, NDArray[np.float32]]]:
    """Yield row, article index and vector of the good rows; reject the others."""
    wanted: list[str | None] = []
    for row in batch:
        try:
            wanted.append(article_key(row.url))
        except ValueError:
            wanted.append(None)
    indices = keys.get_indexer(pd.Index([key or "" for key in wanted]))
    matched: list[tuple[_Row, int]] = []
    for row, key, index in zip(batch, wanted, indices, strict=True):
        if key is None:
            quarantine.add(path, row.line, REJECTED, NOT_A_URL, row.url)
        elif index < 0:
            # Only the URL: a file of other articles' vectors must not be copied into memory.
            quarantine.add(path, row.line, REJECTED, UNKNOWN_URL, row.url)
        else:
            matched.append((row, int(index)))
    vectors = _vectors([row.text for row, _ in matched])
    for (row, article), vector in zip(matched, vectors, strict=True):
        if isinstance(vector, str):
            quarantine.add(path, row.line, REJECTED, vector, f"{row.url},{row.text[:500]}")
        else:
            yield row, article, vector


def _vectors(texts: list[str]) -> list[NDArray[np.float32] | str]:
    """Return the vector that each JSON list says, or why it says none.

    Arrow parses many lists at once, several times faster than Python, but gives up on all when one
    is broken; then they are parsed one by one.
    """
    if not texts or not all(PLAIN_LIST.fullmatch(text) for text in texts):
        return [_vector(text) for text in texts]
    lines = "".join('{"v":' + " ".join(text.splitlines()) + "}\n" for text in texts).encode()
    try:
        column = pyarrow.json.read_json(
            io.BytesIO(lines),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=LISTS),
        )["v"].combine_chunks()
    except pyarrow.ArrowInvalid:
        return [_vector(text) for text in texts]
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy()
    if len(column) != len(texts) or column.null_count or not np.isfinite(numbers).all():
        return [_vector(text) for text in texts]
    return [_as_float32(numbers[start:stop]) for start, stop in pairwise(offsets)]


def _vector(text: str) -> NDArray[np.float32] | str:
    """Return the vector that a JSON list says, or why it says none."""
    try:
        values = json.loads(text)
        array = np.array(values)
    except (ValueError, RecursionError):  # broken JSON; lists of different lengths in a list
        return NOT_A_LIST
    if not isinstance(values, list) or array.ndim != 1:
        return NOT_A_LIST
    if array.dtype.kind not in "iuf" or "true" in text or "false" in text:
        # Strings, nulls, true (which numpy takes for 1 among numbers); or integers beyond 64 bits.
        if not all(type(value) in {int, float} for value in values):
            return NOT_A_LIST
        try:
            array = np.array([float(value) for value in values])
        except OverflowError:
            return NOT_FINITE
    return _as_float32(array.astype(np.float64))


def _as_float32(array: NDArray[Any]) -> NDArray[np.float32] | str:
    if not len(array):
        return NOT_A_LIST
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the overflow is looked for below
        vector = array.astype(np.float32)
    return vector if np.isfinite(vector).all() else NOT_FINITE


def _batches(path: str, quarantine: Quarantine) -> Iterator[list[_Row]]:
    rows = _rows(path, quarantine)
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _rows(path: str, quarantine: Quarantine) -> Generator[_Row, None, None]:
    """Yield the rows of two fields or more with the line each begins at; reject the others."""
    with _text_file(path) as file, _field_limit():
        reader = csv.reader(file)
        is_first = True
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                quarantine.add(path, line, REJECTED, NOT_CSV, str(error))
                continue
            except (EOFError, zlib.error, OSError) as error:
                msg = (
                    f"{path} cannot be read beyond line {line} ({error}); it is cut off or "
                    "damaged: copy it again."
                )
                raise TagsageError(msg) from error
            if not fields:
                continue
            could_be_header = is_first
            is_first = False
            if could_be_header and _is_header(fields):
                continue
            if len(fields) == 1:
                quarantine.add(path, line, REJECTED, NOT_TWO_FIELDS, fields[0])
                continue
            # A list written without quotes was cut at its commas.
            yield _Row(line, fields[0], ",".join(fields[1:]))


def _is_header(fields: list[str]) -> bool:
    return "://" not in fields[0] and not any(field.lstrip().startswith("[") for field in fields)


@contextmanager
def _text_file(path: str) -> Generator[io.TextIOWrapper, None, None]:
    try:
        opened = fsspec.open(path, "rb").open()
    except (OSError, ValueError, ImportError) as error:
        msg = f"Cannot open the vectors {path} ({error}); check `vectors`."
        raise TagsageError(msg) from error
    with opened as raw:
        buffered = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
        is_gzip = buffered.peek(2)[:2] == b"\x1f\x8b"
        binary = cast("BinaryIO", gzip.GzipFile(fileobj=buffered) if is_gzip else buffered)
        # A byte that is not UTF-8 spoils its row, not the file.
        yield io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="")


@contextmanager
def _field_limit() -> Generator[None, None, None]:
    before = csv.field_size_limit(FIELD_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _nothing_matched(path: str, rows: int, quarantine: pd.DataFrame) -> str:
    if not rows and quarantine.empty:
        return f"{path} holds no vector: it is empty; give a CSV of URL and JSON list."
    counts = Counter(quarantine["reason"]).most_common(3)
    told = "; ".join(f"{reason} ({count:,} rows)" for reason, count in counts)
    return (
        f"{path} holds no vector of any article: {told}; give a CSV of URL and JSON list for the "
        "articles of this corpus."
    )
