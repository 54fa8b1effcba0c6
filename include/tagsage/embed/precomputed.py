"""The embedder ``precomputed``: vectors made elsewhere, in a CSV of URL and JSON list."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic_core import from_json
from upath import UPath

from tagsage.corpus.csv_file import CsvFile
from tagsage.corpus.keys import article_key
from tagsage.corpus.quarantine import REJECTED, SUPERSEDED, Quarantine
from tagsage.embed.embedders import CorpusVectors
from tagsage.errors import NonRetryableError
from tagsage.files import sha256_of
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.settings import Settings

# So many first rows decide the length of the file's vectors: the most frequent one.
FIRST_ROWS = 1000
COLUMNS = ("story", "vector")

NOT_A_URL = "not an http or https URL"
UNKNOWN_URL = "no article has this URL"
NOT_A_LIST = "not a JSON list of numbers"
NOT_FINITE = "a number is not finite or beyond float32"
WRONG_LENGTH = "not as many numbers as most of the first rows"
LATER_ROW = "a later row has a vector for the same article"


def depends_on(settings: Settings) -> dict[str, Any]:
    """Return the digest of the file; raises `TagsageError` when there is none."""
    file = UPath(settings.vectors)
    if not file.is_file():
        msg = f"There is no file {settings.vectors}; name a CSV of vectors with --vectors."
        raise NonRetryableError(msg)
    return {"file": sha256_of(file)}


def embed_corpus(
    articles: pd.DataFrame,
    settings: Settings,
    *,
    out: Path,
    run_id: str,  # ruff: ignore[unused-function-argument]
) -> CorpusVectors:
    """Read the file of vectors and align it with the articles; `run_id` is not used.

    Columns count by position: URL, JSON list; a first row that is neither is a header. Rows of
    another length than most of the first 1,000 are rejected; of several rows for one article the
    last counts; articles without one have a zero vector. Raises `TagsageError` when the file cannot
    be read, has no vector of any article, or has too many bad rows.
    """
    path = settings.vectors
    quarantine = Quarantine()
    index = pd.Index(articles["key"])
    line_of = np.zeros(len(index), np.int64)
    vectors: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)
    with CsvFile(path) as file:
        rows = _vectors(file, index, quarantine)
        first = list(islice(rows, FIRST_ROWS))
        lengths = [len(vector) for *_, vector in first]
        dimensions = max(sorted(set(lengths)), key=lengths.count, default=0)
        if dimensions:
            vectors = np.lib.format.open_memmap(
                out, mode="w+", dtype=np.float32, shape=(len(index), dimensions)
            )
        for line, url, article, vector in track(chain(first, rows), f"reading {file.name}"):
            if len(vector) != dimensions:
                quarantine.add(file.name, line, REJECTED, WRONG_LENGTH, url)
                continue
            if line_of[article]:
                quarantine.add(file.name, int(line_of[article]), SUPERSEDED, LATER_ROW, url)
            vectors[article] = vector
            line_of[article] = line
        count = file.rows_read
    _check(path, count, quarantine.frame(), dimensions, settings.max_rejected_share)
    digest = depends_on(settings)["file"]
    return CorpusVectors(
        f"precomputed-{digest[:12]}",
        dimensions,
        quarantine=quarantine.frame(),
        counts={"articles_without_vector": int((line_of == 0).sum())},
    )


def _vectors(
    file: CsvFile, index: pd.Index[Any], quarantine: Quarantine
) -> Iterator[tuple[int, str, int, npt.NDArray[np.float32]]]:
    for line, url, text in _rows(file, quarantine):
        try:
            key = article_key(url)
        except ValueError:
            quarantine.add(file.name, line, REJECTED, NOT_A_URL, url)
            continue
        if key not in index:
            # Only the URL: a file of other articles' vectors must not be copied into memory.
            quarantine.add(file.name, line, REJECTED, UNKNOWN_URL, url)
            continue
        vector = _vector(text)
        if isinstance(vector, str):
            quarantine.add(file.name, line, REJECTED, vector, f"{url},{text[:500]}")
        else:
            yield line, url, int(cast("int", index.get_loc(key))), vector


def _rows(file: CsvFile, quarantine: Quarantine) -> Iterator[tuple[int, str, str]]:
    header = file.header()
    if "://" in "".join(header[:1]) or any(field.startswith("[") for field in header):
        # No header but a row, which `header` has made lower case.
        text = io.StringIO(file.content(), newline="")
        fields = next(filter(None, csv.reader(text)))
        file.rows_read += 1
        yield 1, fields[0], ",".join(fields[1:])
    for line, fields in file.rows(COLUMNS, quarantine):
        yield line, fields[0], fields[1]


def _vector(text: str) -> npt.NDArray[np.float32] | str:
    """Return the vector in a JSON list, or the reason why there is none."""
    values: Any = None
    with suppress(ValueError, RecursionError):
        values = from_json(text)
    if not isinstance(values, list) or not values:
        return NOT_A_LIST
    if not all(type(value) in {int, float} for value in values):
        return NOT_A_LIST
    try:
        with np.errstate(over="ignore"):
            vector = np.array(values, dtype=np.float64).astype(np.float32)
    except OverflowError:
        return NOT_FINITE
    return vector if np.isfinite(vector).all() else NOT_FINITE


def _check(
    path: str, rows: int, quarantine: pd.DataFrame, dimensions: int, max_rejected_share: float
) -> None:
    """Refuse a file without vectors or with too many bad rows; unknown articles are fine."""
    rejected = quarantine[quarantine["kind"] == REJECTED]
    if not dimensions:
        counts = rejected["reason"].value_counts()
        why = "; ".join(f"{reason} ({n:,} rows)" for reason, n in counts.head(3).items())
        msg = (
            f"{path} holds no vector of any article ({why or 'it is empty'}); give a CSV of URL "
            "and JSON list for the articles of this corpus."
        )
        raise NonRetryableError(msg)
    bad = rejected[rejected["reason"] != UNKNOWN_URL]
    if len(bad) > max_rejected_share * rows:
        msg = (
            f"{path}: {len(bad):,} of {rows:,} rows were rejected, more than "
            f"max_rejected_share={max_rejected_share:g} allows; the first is line "
            f"{bad.iloc[0]['line']}: {bad.iloc[0]['reason']}."
        )
        raise NonRetryableError(msg)
