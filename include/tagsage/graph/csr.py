"""Sparse matrices on disk and in blocks: memory-mapped, written as they are computed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.errors import TagsageError

if TYPE_CHECKING:
    # Generic only in its stubs.
    Csr = sp.csr_array[Any, tuple[int, int]]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]

INDPTR, INDICES, DATA, SHAPE = "indptr.npy", "indices.npy", "data.npy", "shape.npy"


def make_csr(
    data: npt.NDArray[Any],
    indices: npt.NDArray[np.integer],
    indptr: npt.NDArray[np.integer],
    shape: tuple[int, int],
) -> Csr:
    """Build a sparse matrix from its arrays without copying the large ones.

    scipy gives `indices` the type of `indptr`: an int64 `indptr` would make it copy a memory-mapped
    int32 `indices`. So `indptr` is made int32 where its numbers fit.
    """
    if len(data) <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=shape)


def empty_csr(rows: int, columns: int) -> Csr:
    """Return a matrix without entries."""
    matrix: Any = sp.csr_array((rows, columns), dtype=np.float32)
    return matrix  # type: ignore[no-any-return]


def save_csr(folder: Path, matrix: Csr) -> None:
    """Write a sparse matrix as separate arrays into a folder, so that it can be memory-mapped."""
    with csr_writer(folder, matrix.shape[1]) as append:
        append(matrix)


@contextmanager
def csr_writer(folder: Path, columns: int) -> Generator[Callable[[Csr], None]]:
    """Yield a function that appends blocks of rows to a sparse matrix on disk, in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: list[LongArray] = [np.zeros(1, dtype=np.int64)]
    with (
        _growing_array(folder / INDICES, np.int32) as append_indices,
        _growing_array(folder / DATA, np.float32) as append_data,
    ):

        def append(block: Csr) -> None:
            counts.append(np.diff(block.indptr).astype(np.int64))
            append_indices(block.indices)
            append_data(block.data)

        yield append
    indptr = np.cumsum(np.concatenate(counts))
    np.save(folder / INDPTR, indptr)
    np.save(folder / SHAPE, np.array([len(indptr) - 1, columns], dtype=np.int64))


@contextmanager
def _growing_array(
    file: Path, dtype: type[np.generic]
) -> Generator[Callable[[npt.NDArray[Any]], None]]:
    length = 0
    with file.open("wb") as stream:

        def write_header() -> None:
            # numpy leaves room in a header for a longer first axis, exactly for this use.
            descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
            header = {"descr": descr, "fortran_order": False, "shape": (length,)}
            np.lib.format.write_array_header_1_0(stream, header)

        def append(values: npt.NDArray[Any]) -> None:
            nonlocal length
            stream.write(np.ascontiguousarray(values, dtype=dtype).data)
            length += len(values)

        write_header()
        try:
            yield append
        finally:
            stream.seek(0)
            write_header()


def load_csr(folder: Path) -> Csr:
    """Memory-map a sparse matrix on disk; a TagsageError says when the folder holds none."""
    try:
        indptr = np.load(folder / INDPTR, allow_pickle=False)
        indices = np.load(folder / INDICES, mmap_mode="r", allow_pickle=False)
        data = np.load(folder / DATA, mmap_mode="r", allow_pickle=False)
        rows, columns = np.load(folder / SHAPE, allow_pickle=False).tolist()
    except (OSError, ValueError, EOFError) as error:
        msg = (
            f"Cannot read a sparse matrix in {folder} ({error}); run the stage that makes it again."
        )
        raise TagsageError(msg) from error
    return make_csr(data, indices, indptr, (rows, columns))


def row_blocks(cost: npt.NDArray[Any], budget: float) -> Iterator[tuple[int, int]]:
    """Yield consecutive blocks of rows, first and last + 1, whose summed cost is within a budget.

    A row that exceeds the budget by itself is a block of its own.
    """
    total = np.concatenate([np.zeros(1), np.cumsum(cost, dtype=np.float64)])
    start, rows = 0, len(cost)
    while start < rows:
        stop = int(np.searchsorted(total, total[start] + budget, side="right")) - 1
        stop = min(max(stop, start + 1), rows)
        yield start, stop
        start = stop


def induced_subgraph(matrix: Csr, nodes: npt.NDArray[np.integer]) -> Csr:
    """Keep some nodes of a graph (ascending) and the relationships between them."""
    return sp.csr_array(matrix[nodes][:, nodes])
