"""Sparse matrices on disk and by blocks: memory-mapped, written as they are computed."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self

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

    scipy gives `indices` the type of `indptr`: an int64 `indptr` would make it copy, and read
    whole, a memory-mapped int32 `indices`. So `indptr` is made int32 as long as its numbers fit.
    """
    if len(data) <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=shape)


def save_csr(folder: Path, matrix: Csr) -> None:
    """Write a sparse matrix as separate arrays, so that it can be memory-mapped.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it does not exist; gets ``indptr.npy`` (int64 [rows + 1]), ``indices.npy`` (int32
        [nnz]), ``data.npy`` (float32 [nnz]) and ``shape.npy`` (int64 [2]).
    matrix : scipy.sparse.csr_array, shape [rows, columns]
        The matrix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / INDPTR, matrix.indptr.astype(np.int64))
    np.save(folder / INDICES, matrix.indices.astype(np.int32))
    np.save(folder / DATA, matrix.data.astype(np.float32))
    np.save(folder / SHAPE, np.array(matrix.shape, dtype=np.int64))


def load_csr(folder: Path, *, mmap: bool = True) -> Csr:
    """Open a sparse matrix that :func:`save_csr` or :class:`CsrWriter` wrote.

    Parameters
    ----------
    folder : pathlib.Path
        The folder with the arrays.
    mmap : bool
        Whether indices and data stay on disk until they are read.

    Returns
    -------
    scipy.sparse.csr_array
        float32, with the column indices int32.

    Raises
    ------
    TagsageError
        When the folder holds no sparse matrix.
    """
    mode: Literal["r"] | None = "r" if mmap else None
    try:
        indptr = np.load(folder / INDPTR, allow_pickle=False)
        indices = np.load(folder / INDICES, mmap_mode=mode, allow_pickle=False)
        data = np.load(folder / DATA, mmap_mode=mode, allow_pickle=False)
        rows, columns = np.load(folder / SHAPE, allow_pickle=False).tolist()
    except (OSError, ValueError, EOFError) as error:
        msg = (
            f"Cannot read a sparse matrix in {folder} ({error}); run the stage that makes it again."
        )
        raise TagsageError(msg) from error
    return make_csr(data, indices, indptr, (rows, columns))


class _GrowingArray:
    """A one-dimensional .npy file whose length is known only at the end."""

    # numpy leaves room in a header for a longer first axis exactly for this use.
    def __init__(self, file: Path, dtype: type[np.generic]) -> None:
        self.dtype = np.dtype(dtype)
        self.length = 0
        self.stream: IO[bytes] = file.open("wb+")
        self._write_header()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.length,),
        }
        np.lib.format.write_array_header_1_0(self.stream, header)

    def append(self, values: npt.NDArray[Any]) -> None:
        self.stream.write(np.ascontiguousarray(values, dtype=self.dtype).data)
        self.length += len(values)

    def close(self) -> None:
        start = struct.unpack("<H", self._peek(8, 2))[0] + 10
        self.stream.seek(0)
        self._write_header()
        if self.stream.tell() != start:
            raise RuntimeError("the header of a .npy file grew beyond the room left for it")
        self.stream.close()

    def _peek(self, offset: int, size: int) -> bytes:
        self.stream.flush()
        self.stream.seek(offset)
        return self.stream.read(size)


class CsrWriter:
    """Write a sparse matrix row block by row block; readable by :func:`load_csr` afterwards.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it does not exist.
    columns : int
        The number of columns.
    """

    def __init__(self, folder: Path, columns: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.columns = columns
        self._counts: list[LongArray] = []
        self._indices = _GrowingArray(folder / INDICES, np.int32)
        self._data = _GrowingArray(folder / DATA, np.float32)

    def append(self, block: Csr) -> None:
        """Add the next rows."""
        self._counts.append(np.diff(block.indptr).astype(np.int64))
        self._indices.append(block.indices)
        self._data.append(block.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._indices.close()
        self._data.close()
        counts = np.concatenate([np.zeros(1, dtype=np.int64), *self._counts])
        np.save(self.folder / INDPTR, np.cumsum(counts))
        np.save(
            self.folder / SHAPE,
            np.array([len(counts) - 1, self.columns], dtype=np.int64),
        )


def row_blocks(cost: npt.NDArray[Any], budget: float) -> Iterator[tuple[int, int]]:
    """Cut the rows into consecutive blocks whose summed cost stays within a budget.

    Parameters
    ----------
    cost : numeric array, shape [rows]
        What each row costs, at least 0. A row that alone exceeds the budget is a block of its own.
    budget : float
        The largest cost of a block.

    Yields
    ------
    (int, int)
        First row and last row + 1.
    """
    total = np.concatenate([np.zeros(1), np.cumsum(cost, dtype=np.float64)])
    start, rows = 0, len(cost)
    while start < rows:
        stop = int(np.searchsorted(total, total[start] + budget, side="right")) - 1
        stop = min(max(stop, start + 1), rows)
        yield start, stop
        start = stop


def vertical_stack(blocks: Sequence[Csr]) -> Csr:
    """Put blocks of rows below each other; there must be at least one."""
    counts = [np.zeros(1, dtype=np.int64), *(np.diff(block.indptr) for block in blocks)]
    return make_csr(
        np.concatenate([block.data for block in blocks]),
        np.concatenate([block.indices for block in blocks]),
        np.cumsum(np.concatenate(counts)),
        (sum(block.shape[0] for block in blocks), blocks[0].shape[1]),
    )


def entry_rows(matrix: Csr, start: int, stop: int) -> LongArray:
    """Return the row of every entry in the rows ``start:stop``, int64 [entries]."""
    return np.repeat(
        np.arange(start, stop, dtype=np.int64), np.diff(matrix.indptr[start : stop + 1])
    )


def induced_subgraph(matrix: Csr, nodes: npt.NDArray[np.integer]) -> Csr:
    """Keep some nodes of a graph and the relationships between them.

    Parameters
    ----------
    matrix : csr_array, shape [n, n]
        The graph; it may be memory-mapped.
    nodes : int array, shape [m], sorted, unique
        The nodes that stay; node ``nodes[i]`` becomes node ``i``.

    Returns
    -------
    csr_array, shape [m, m]
    """
    new_id = np.full(matrix.shape[1], -1, dtype=np.int32)
    new_id[nodes] = np.arange(len(nodes), dtype=np.int32)
    degrees = np.diff(matrix.indptr)[nodes]
    indices: list[IntArray] = [np.zeros(0, dtype=np.int32)]
    data: list[FloatArray] = [np.zeros(0, dtype=np.float32)]
    counts: list[LongArray] = [np.zeros(1, dtype=np.int64)]
    for start, stop in row_blocks(degrees, 1 << 24):
        entries, lengths = gather_entries(matrix.indptr, nodes[start:stop])
        targets = new_id[matrix.indices[entries]]
        keep = targets >= 0
        indices.append(targets[keep])
        data.append(np.asarray(matrix.data[entries[keep]], dtype=np.float32))
        rows = np.repeat(np.arange(stop - start), lengths)
        counts.append(np.bincount(rows[keep], minlength=stop - start).astype(np.int64))
    indptr = np.cumsum(np.concatenate(counts))
    return make_csr(np.concatenate(data), np.concatenate(indices), indptr, (len(nodes), len(nodes)))


def gather_entries(
    indptr: npt.NDArray[np.integer], rows: npt.NDArray[np.integer]
) -> tuple[LongArray, LongArray]:
    """Return the positions of the entries of some rows, one row after the other.

    Parameters
    ----------
    indptr : int array, shape [n + 1]
        Where each row starts.
    rows : int array, shape [m]
        The rows wanted.

    Returns
    -------
    (int64 [entries], int64 [m])
        Positions in the matrix's indices and data, and how many entries each row has.
    """
    starts = indptr[rows].astype(np.int64)
    lengths = indptr[np.asarray(rows) + 1].astype(np.int64) - starts
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    positions = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return positions, lengths
