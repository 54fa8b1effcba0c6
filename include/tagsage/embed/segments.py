"""Segments of the cache: what lies in the folder of one, and what of a damaged one is sound.

Sorted keys, their vectors, and a JSON that holds a checksum for every 1,024 rows of both.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tagsage.embed.text import HASH_DTYPE

KEYS_FILE = "keys.npy"
VECTORS_FILE = "vectors.npy"
CHECK_FILE = "segment.json"

VECTOR_DTYPE = np.dtype("<f4")
# Rows that are copied at once.
BLOCK_ROWS = 4096
# Rows that share a checksum: of a damaged segment the others are still good.
CHECK_ROWS = 1024
# Smaller files are read, not mapped: every mapping holds a file open.
MAPPED_BYTES = 1 << 18


class Rows(Protocol):
    """Vectors of which slices are taken: an array, or several as if they were one."""

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """Return some rows."""
        ...


class JoinedRows:
    """Rows picked from several arrays as if they were one; only slices are ever in memory.

    Parameters
    ----------
    arrays : sequence of numpy.ndarray of float32, shape (any, d)
        At least one.
    number, row : numpy.ndarray of int64, shape (n,)
        Which array each row is taken from, and which row of it.
    """

    def __init__(
        self,
        arrays: Sequence[NDArray[np.float32]],
        number: NDArray[np.int64],
        row: NDArray[np.int64],
    ) -> None:
        self.arrays, self.number, self.row = arrays, number, row

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        number, row = self.number[rows], self.row[rows]
        part = np.empty((len(row), self.arrays[0].shape[1]), np.float32)
        for source in np.unique(number):
            part[number == source] = self.arrays[source][row[number == source]]
        return part


@dataclass(frozen=True)
class Segment:
    """One segment, open.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies.
    model_id : str
        Whose vectors they are.
    dimensions : int
        Numbers in a vector.
    rows : int
        How many vectors were written.
    keys : numpy.ndarray of S32, shape (n,)
        Sorted and unique hashes; n is `rows`, or less when the file was cut off.
    key_checks, vector_checks : tuple of int
        The checksums written, one for 1,024 rows.
    """

    folder: Path
    model_id: str
    dimensions: int
    rows: int
    keys: NDArray[np.bytes_]
    key_checks: tuple[int, ...]
    vector_checks: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path) -> Segment:
        """Open a segment; its vectors stay on the disk.

        Raises
        ------
        FileNotFoundError
            When a file is missing.
        ValueError, KeyError, TypeError
            When it is so damaged that nothing of it can be told good from bad.
        """
        about = json.loads((folder / CHECK_FILE).read_text(encoding="utf-8"))
        rows = int(about["rows"])
        return cls(
            folder,
            str(about["model_id"]),
            int(about["dimensions"]),
            rows,
            _rows_of(folder / KEYS_FILE, HASH_DTYPE, (rows,)),
            tuple(map(int, about["keys"])),
            tuple(map(int, about["vectors"])),
        )

    def vectors(self) -> NDArray[np.float32]:
        """Open the vectors, shape (n, dimensions), float32; n is `rows` unless some are lost.

        Raises
        ------
        FileNotFoundError
            When the segment is gone.
        """
        try:
            shape = (self.rows, self.dimensions)
            return _rows_of(self.folder / VECTORS_FILE, VECTOR_DTYPE, shape)
        except FileNotFoundError:
            if not self.folder.exists():
                raise
        except ValueError:
            pass
        return np.zeros((0, self.dimensions), VECTOR_DTYPE)

    def match(self, wanted: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find hashes.

        Parameters
        ----------
        wanted : numpy.ndarray of S32, shape (m,)
            Sorted and unique.

        Returns
        -------
        tuple of numpy.ndarray of int64
            Which of `wanted` the segment holds, ascending, and in which of its rows.
        """
        # The fewer are looked up among the more: a cache may have many a small segment.
        if len(self.keys) < len(wanted):
            place = np.searchsorted(wanted, self.keys)
            found = np.flatnonzero(wanted[np.minimum(place, len(wanted) - 1)] == self.keys)
            return place[found].astype(np.int64), found.astype(np.int64)
        if not len(self.keys):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        row = np.searchsorted(self.keys, wanted)
        found = np.flatnonzero(self.keys[np.minimum(row, len(self.keys) - 1)] == wanted)
        return found.astype(np.int64), row[found].astype(np.int64)

    def keys_are_sound(self) -> bool:
        """Tell whether all keys are still those that were written."""
        return len(self.keys) == self.rows and checksums(self.keys) == self.key_checks

    def is_sound(self) -> bool:
        """Tell whether all vectors are still those that were written.

        They are read, not mapped: a look through a large file must not fill the memory.

        Raises
        ------
        FileNotFoundError
            When the segment is gone.
        """
        try:
            with (self.folder / VECTORS_FILE).open("rb") as file:
                shape, dtype = _header(file)
                if (shape, dtype) != ((self.rows, self.dimensions), VECTOR_DTYPE):
                    return False
                block_bytes = CHECK_ROWS * self.dimensions * VECTOR_DTYPE.itemsize
                for check in self.vector_checks:
                    if zlib.crc32(file.read(block_bytes)) != check:
                        return False
        except FileNotFoundError:
            if not self.folder.exists():
                raise
            return False
        except ValueError:
            return False
        return True

    def sound_rows(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the rows of a damaged segment whose keys and vectors are as they were written."""
        n = min(len(self.keys), len(vectors))
        good = np.zeros(n, bool)
        checks = zip(self.key_checks, self.vector_checks, strict=False)
        for start, (of_keys, of_vectors) in zip(range(0, n, CHECK_ROWS), checks, strict=False):
            # Compared as wholes, a last block that was cut off is no good.
            block = slice(start, start + CHECK_ROWS)
            good[block] = _checksum(self.keys[block]) == of_keys
            good[block] &= _checksum(vectors[block]) == of_vectors
        return np.flatnonzero(good)


def write_segment(
    folder: Path, keys: NDArray[np.bytes_], vectors: Rows, *, model_id: str, dimensions: int
) -> None:
    """Write a segment into an empty folder, block by block.

    Parameters
    ----------
    folder : pathlib.Path
        Where to.
    keys : numpy.ndarray of S32, shape (n,)
        Sorted and unique.
    vectors : numpy.ndarray of float32, shape (n, dimensions), or what gives slices of one
        In the order of the keys.
    model_id : str
        Whose vectors they are.
    dimensions : int
        Numbers in a vector.
    """
    np.save(folder / KEYS_FILE, keys, allow_pickle=False)
    checks: list[int] = []
    with (folder / VECTORS_FILE).open("wb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(VECTOR_DTYPE),
            "fortran_order": False,
            "shape": (len(keys), dimensions),
        }
        np.lib.format.write_array_header_1_0(file, header)
        step = max(BLOCK_ROWS // CHECK_ROWS, 1) * CHECK_ROWS
        for start in range(0, len(keys), step):
            block = np.ascontiguousarray(vectors[start : start + step], VECTOR_DTYPE)
            checks += checksums(block)
            file.write(block.data)
    about = {
        "model_id": model_id,
        "dimensions": dimensions,
        "rows": len(keys),
        "keys": checksums(keys),
        "vectors": checks,
    }
    (folder / CHECK_FILE).write_text(json.dumps(about), encoding="utf-8")


def checksums(array: NDArray[Any]) -> tuple[int, ...]:
    """Return a checksum for every 1,024 rows."""
    return tuple(
        _checksum(array[start : start + CHECK_ROWS]) for start in range(0, len(array), CHECK_ROWS)
    )


def _checksum(block: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(block).data)


def let_go(array: NDArray[Any]) -> None:
    """Give back the memory of a mapped file's pages; they are read again when they are needed.

    What was written into a shared mapping stays. Nothing happens to other arrays.
    """
    mapped = array if isinstance(array, np.memmap) else array.base
    if isinstance(mapped, np.memmap) and mapped.mode != "c":
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def _rows_of(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the whole rows that an .npy file has, also when its end or its header is damaged.

    Parameters
    ----------
    file : pathlib.Path
        The file.
    dtype, shape
        What was written into it.

    Raises
    ------
    ValueError
        When nobody can tell where its numbers begin.
    """
    rows, *row = shape
    row_bytes = dtype.itemsize * int(np.prod(row, dtype=np.int64))
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            said, found = _header(opened)
            begin = opened.tell()
    except ValueError:
        said, found, begin = (0,), None, 0
    left = size - begin - said[0] * row_bytes
    # A header is right when the file ends where it says, or earlier and it says what was written.
    if (said[1:], found) != (tuple(row), dtype) or (left and (left > 0 or said[0] != rows)):
        # The numbers come last. Whether they are what they were, their checksums tell.
        said, begin = shape, size - rows * row_bytes
        if begin <= 0:
            raise ValueError(
                f"the header of {file.name} is damaged, and some of its end is missing"
            )
    n = min(said[0], (size - begin) // row_bytes)
    count = n * row_bytes // dtype.itemsize
    if n * row_bytes < MAPPED_BYTES:
        return np.fromfile(file, dtype, count, offset=begin).reshape(n, *row)
    return np.asarray(np.memmap(file, dtype, "r", begin, (n, *row)))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of an .npy file; its numbers come next."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"the unknown version {version} of .npy")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or not shape:
        raise ValueError("the numbers are not row by row")
    return shape, dtype
