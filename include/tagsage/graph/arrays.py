"""Arrays that may be larger than memory, and products whose digits don't depend on the batch."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from tagsage.errors import TagsageError

if TYPE_CHECKING:
    from tagsage.graph.csr import FloatArray

ROW_BLOCK = 1 << 14
# A temporary array of more numbers than this goes to a file: 1 GB.
MEMORY_NUMBERS = 1 << 28
# Rows that are multiplied at once where a row's result must not depend on its neighbours.
FIXED_ROWS = 32
_LOCK = Lock()


def load_array(file: Path) -> npt.NDArray[np.float32]:
    """Memory-map an array; a TagsageError says when the file is missing or isn't an array."""
    try:
        array: npt.NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        msg = f"Cannot read the array {file} ({error}); run the stage that makes it again."
        raise TagsageError(msg) from error
    return array


def create_array(
    file: Path, shape: tuple[int, int]
) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    """Make a memory-mapped .npy file of zeros."""
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)


def scratch_array(rows: int, columns: int) -> FloatArray:
    """Return an uninitialised array, in a temporary file when it is large."""
    if rows * columns <= MEMORY_NUMBERS:
        return np.empty((rows, columns), dtype=np.float32)
    # The file has no name any more and vanishes with the array.
    with tempfile.TemporaryFile() as file:
        scratch: FloatArray = np.memmap(file, dtype=np.float32, mode="w+", shape=(rows, columns))
    return scratch


def row_slices(rows: int) -> Iterator[slice]:
    """Yield slices that cover the rows block by block."""
    for start in range(0, rows, ROW_BLOCK):
        yield slice(start, min(start + ROW_BLOCK, rows))


def take_rows(array: npt.NDArray[np.floating], rows: npt.NDArray[np.integer]) -> FloatArray:
    """Copy some rows of an array that may be memory-mapped, as float32, in the order given."""
    taken = scratch_array(len(rows), array.shape[1])
    for block in row_slices(len(rows)):
        taken[block] = array[rows[block]]
    return taken


def check_vectors(vectors: npt.NDArray[np.floating], articles: int) -> None:
    """Raise a TagsageError unless there is one vector of finite numbers per article."""
    if vectors.ndim != 2 or len(vectors) != articles:
        msg = (
            f"There are vectors of shape {vectors.shape} for {articles} articles of the graph; "
            "run the stages from the embeddings on again."
        )
        raise TagsageError(msg)
    for rows in row_slices(articles):
        bad = ~np.isfinite(vectors[rows]).all(axis=1)
        if bad.any():
            msg = (
                f"The vector of article {rows.start + int(bad.argmax())} holds a value that is "
                "not a finite number; compute or import the vectors again."
            )
            raise TagsageError(msg)


def fixed_product(rows: npt.NDArray[np.floating], matrix: FloatArray) -> FloatArray:
    """Return rows [n, d] times a matrix [d, k], each row's result depending on that row only.

    The last digits of a product depend on the number of rows and threads: here 32 and 1.
    """
    result = np.empty((len(rows), matrix.shape[1]), dtype=np.float32)
    with one_blas_thread():
        for start in range(0, len(rows), FIXED_ROWS):
            part = np.asarray(rows[start : start + FIXED_ROWS], dtype=np.float32)
            result[start : start + FIXED_ROWS] = (padded(part) @ matrix)[: len(part)]
    return result


def sigmoid(z: FloatArray) -> FloatArray:
    """Return the logistic function, without an exp that could overflow."""
    result: FloatArray = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * z))
    return result


def padded(part: FloatArray) -> FloatArray:
    """Return at most `FIXED_ROWS` rows as exactly that many, with zeros below."""
    if len(part) == FIXED_ROWS:
        return part
    full = np.zeros((FIXED_ROWS, part.shape[1]), dtype=np.float32)
    full[: len(part)] = part
    return full


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Limit BLAS to one thread in the whole process.

    Of overlapping callers, only the first sets the number of threads and restores it. A later one
    would find the 1 that the first has set, and restore that.
    """
    if not _LOCK.acquire(blocking=False):
        yield
        return
    try:
        # OpenMP's number is each thread's own.
        with _pools().limit(limits=1, user_api="blas"):
            yield
    finally:
        _LOCK.release()


@lru_cache(maxsize=1)
def _pools() -> ThreadpoolController:
    # To look for them takes longer than a request.
    return ThreadpoolController()
