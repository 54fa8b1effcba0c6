"""Values that the processes of a cluster hand each other: files in a folder that all of them see.

They are pickled, as Spark itself sends functions, and live as long as a job. A large array is a
file of its own, written once however many values hold it, and memory-mapped where it is read. An
array that lies in a file of the workspace already is not written at all.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import cloudpickle
import numpy as np
import numpy.typing as npt
from upath import UPath

# Smaller arrays are part of the value that holds them.
LARGE_BYTES = 1 << 16
# Arrays that a process keeps open, because the next partition refers to them, too.
KEPT_OPEN = 32


class Exchange:
    """Writes values into a folder (or fsspec URL); `seen` is a folder whose files need no copy."""

    def __init__(self, folder: str, seen: str = "") -> None:
        self.folder, self.seen = folder, seen
        self._written: dict[int, tuple[weakref.ref[npt.NDArray[Any]], str]] = {}

    def save(self, value: object) -> str:
        """Write a value under a new name, whatever was written before; return its address."""
        path = UPath(self.folder) / uuid.uuid4().hex
        with path.open("wb") as file:
            _Pickler(file, self).dump(value)
        return str(path)

    def reduced(self, array: npt.NDArray[Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return how to open an array, for pickle; write it where that is necessary."""
        if self.seen and (place := _place_in_file(array)) is not None:
            file, *shape = place
            if Path(file).is_relative_to(self.seen):
                return _map_file, (file, *shape)
        known, address = self._written.get(id(array), (None, ""))
        # The number of an array that is gone may be given to another.
        if known is None or known() is not array:
            address = self._save_array(array)
            self._written[id(array)] = weakref.ref(array), address
        return open_array, (address,)

    def _save_array(self, array: npt.NDArray[Any]) -> str:
        if array.dtype == object:
            return self.save(array.tolist())
        path = UPath(self.folder) / f"{uuid.uuid4().hex}.npy"
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        return str(path)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # its stubs don't know the base
    def __init__(self, file: IO[bytes], exchange: Exchange) -> None:
        super().__init__(file)
        self._exchange = exchange

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray) and obj.nbytes >= LARGE_BYTES:
            return self._exchange.reduced(obj)
        return super().reducer_override(obj)


def load_value(address: str) -> Any:
    """Read what :meth:`Exchange.save` wrote; large arrays are memory-mapped, read-only."""
    with UPath(address).open("rb") as file:
        return cloudpickle.load(file)


@lru_cache(maxsize=KEPT_OPEN)
def open_array(address: str) -> npt.NDArray[Any]:
    """Open an array that :meth:`Exchange.reduced` wrote."""
    if not address.endswith(".npy"):
        values = load_value(address)
        objects = np.empty(len(values), dtype=object)
        objects[:] = values
        return objects
    with _local_file(address) as file:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _map_file(
    file: str, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int
) -> npt.NDArray[Any]:
    return np.asarray(np.memmap(file, dtype, "r", offset, shape))


def _place_in_file(array: npt.NDArray[Any]) -> tuple[str, np.dtype[Any], Any, int] | None:
    """Return file, dtype, shape and offset of a memory-mapped array; None of another one."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    if not isinstance(owner, np.memmap) or not owner.filename or not array.flags.c_contiguous:
        return None
    if owner.mode != "r":
        owner.flush()
    # A view says the offset of the whole, so the offset is found by the place in memory.
    begin = owner.offset - owner.offset % mmap.ALLOCATIONGRANULARITY
    mapped = np.frombuffer(owner._mmap, dtype=np.uint8)  # type: ignore[attr-defined]
    offset = begin + array.ctypes.data - mapped.ctypes.data
    return str(owner.filename), array.dtype, array.shape, offset


@contextmanager
def _local_file(address: str) -> Generator[str]:
    """Give the path of a file; of a copy, which is removed, where it is remote."""
    path = UPath(address)
    if path.protocol in {"", "file", "local"}:
        yield path.path
        return
    with tempfile.NamedTemporaryFile() as copy, path.open("rb") as source:
        shutil.copyfileobj(source, copy, 1 << 20)
        copy.flush()
        yield copy.name
