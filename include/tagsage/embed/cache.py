"""Vectors kept by text hash and model, so that only new texts are embedded.

A cache is a folder of immutable segments. A segment is written under a temporary name, brought to
the disk and then renamed. So any number of processes may put and read at the same time, a killed
one leaves nothing half-written, and what was put survives a power failure. Small segments are
joined as they come; who does that holds a lock, and readers are kept out only for the moment in
which the joined ones leave.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagsage.embed.files import (
    finished_folders,
    hide_folder,
    locked,
    new_folder,
    safe_name,
    set_aside,
)
from tagsage.embed.segments import JoinedRows, Rows, Segment, let_go, write_segment
from tagsage.embed.text import EMPTY_HASH, HASH_DTYPE, unique_texts
from tagsage.progress import track

# Readers hold it shared; who takes segments away holds it alone.
LOCK = ".lock"
# Rows gathered at once. A mapped row brings some pages around it with it.
GATHERED_ROWS = 1024

# Held by who joins segments.
JOINING = ".joining"

# Of segments of about the same size, this many are left as they are. A row is then copied at most
# once for every time that the cache grows sixteenfold.
MAX_ALIKE = 16
# Larger ones are never joined.
SMALL_SEGMENT_ROWS = 262_144
# About the same size: the number of rows has as many binary digits, to four.
GROWTH_BITS = 4
# At once, because each may hold a file open.
MAX_JOINED = 128


class VectorCache:
    """The vectors of one model.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of all caches; the segments of this one lie in a folder below it that is named after
        model and dimensions.
    model_id : str
        Any string; vectors of different models never meet.
    dimensions : int
        Numbers in a vector; vectors of different length never meet either.

    Raises
    ------
    ValueError
        When `dimensions` is below 1.
    """

    def __init__(self, folder: Path, model_id: str, dimensions: int) -> None:
        if dimensions < 1:
            raise ValueError(f"{dimensions=} must be at least 1")
        self.folder = folder / safe_name(model_id) / str(dimensions)
        self.model_id = model_id
        self.dimensions = dimensions
        self._opened: dict[str, Segment] = {}
        self._sound: set[str] = set()

    def missing(self, hashes: NDArray[Any]) -> NDArray[np.int64]:
        """Return which texts have no vector yet.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            From :func:`tagsage.embed.text.text_hashes`; may repeat.

        Returns
        -------
        numpy.ndarray of int64
            Rows of `hashes`, ascending: the first of each hash that the cache does not hold.
            Empty texts are never missing: their vector is zero.
        """
        rows = unique_texts(hashes)
        segments = self._segments()
        if not len(rows) or not segments:
            return rows
        order = np.argsort(hashes[rows])
        wanted = hashes[rows][order]
        found = np.zeros(len(rows), bool)
        for segment in segments:
            found[order[segment.match(wanted)[0]]] = True
        return rows[~found]

    def hashes(self) -> NDArray[np.bytes_]:
        """Return the hashes of all texts that have a vector, sorted: S32, shape (n,)."""
        return np.unique(np.concatenate([np.zeros(0, HASH_DTYPE), *_keys(self._segments())]))

    def put(self, hashes: NDArray[Any], vectors: NDArray[np.float32]) -> None:
        """Keep vectors; idempotent, and safe while other processes put and read.

        When it returns, they are on the disk.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            The texts' hashes; of equal ones the first counts.
        vectors : numpy.ndarray of float32, shape (n, dimensions)
            Their vectors.

        Raises
        ------
        ValueError
            When the shapes do not agree or a number is not finite.
        """
        if vectors.shape != (len(hashes), self.dimensions):
            shape = (len(hashes), self.dimensions)
            raise ValueError(f"vectors have shape {vectors.shape}, not {shape}")
        if not np.isfinite(vectors).all():
            raise ValueError("vectors hold a number that is not finite")
        keys, first = np.unique(np.asarray(hashes, HASH_DTYPE), return_index=True)
        if len(keys):
            self._write(keys, vectors[first])
            self.compact()

    def gather(self, hashes: NDArray[Any], out: NDArray[np.float32]) -> int:
        """Copy the vectors of texts, in their order, block by block.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            The texts' hashes; may repeat.
        out : numpy.ndarray of float32, shape (n, dimensions)
            Written in place, usually a memory map; rows of empty and of missing texts become zero.

        Returns
        -------
        int
            How many different texts are missing.

        Raises
        ------
        ValueError
            When `out` has another shape.
        """
        if out.shape != (len(hashes), self.dimensions):
            shape = (len(hashes), self.dimensions)
            raise ValueError(f"out has shape {out.shape}, not {shape}")
        unique, position = np.unique(np.asarray(hashes, HASH_DTYPE), return_inverse=True)
        source, row, arrays = self._sources(unique)
        for start in track(range(0, len(hashes), GATHERED_ROWS), "gathering vectors"):
            block = position[start : start + GATHERED_ROWS]
            part = np.zeros((len(block), self.dimensions), np.float32)
            for number in np.unique(source[block]):
                if number >= 0:
                    here = source[block] == number
                    part[here] = arrays[number][row[block[here]]]
            out[start : start + GATHERED_ROWS] = part
            # Else the whole cache and the whole result would be in memory at the end.
            for mapped in (*arrays, out):
                let_go(mapped)
        return int(np.sum((source < 0) & (unique != EMPTY_HASH)))

    def _sources(
        self, unique: NDArray[np.bytes_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], list[NDArray[np.float32]]]:
        """Find each hash's segment (-1: none) and row; open the vectors, which are sound."""
        while True:
            source = np.full(len(unique), -1, np.int32)
            row = np.zeros(len(unique), np.int64)
            used: list[Segment] = []
            for segment in self._segments():
                todo = np.flatnonzero((source < 0) & (unique != EMPTY_HASH))
                place, found = segment.match(unique[todo])
                if len(place):
                    source[todo[place]], row[todo[place]] = len(used), found
                    used.append(segment)
            # One that was joined with others meanwhile is looked for again.
            if (arrays := self._sound_vectors(used)) is not None:
                return source, row, arrays

    def compact(self) -> int:
        """Join small segments where there are many of about the same size; no vector changes.

        Other processes may put and read meanwhile. While another one joins, nothing is done.

        Returns
        -------
        int
            How many segments were joined.
        """
        if len(self._segments()) <= MAX_ALIKE:
            return 0
        joined = 0
        with locked(self.folder / JOINING, wait=False) as held:
            while held and (alike := self._alike()):
                if (vectors := self._sound_vectors(alike)) is not None:
                    self._replace(alike, vectors)
                    joined += len(alike)
        return joined

    def remove(self, hashes: NDArray[Any]) -> int:
        """Remove the vectors of texts.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            The texts' hashes; those that the cache does not hold are no matter.

        Returns
        -------
        int
            How many texts lost their vector.
        """
        if not self.folder.exists():
            return 0
        unwanted = np.unique(np.asarray(hashes, HASH_DTYPE))
        gone = np.zeros(len(unwanted), bool)
        with locked(self.folder / JOINING):
            while holder := next(
                (one for one in self._segments() if len(one.match(unwanted)[0])), None
            ):
                # Of a damaged one the sound rows are now in another, which comes next.
                if (vectors := self._sound_vectors([holder])) is not None:
                    gone[holder.match(unwanted)[0]] = True
                    self._replace([holder], vectors, unwanted)
        return int(gone.sum())

    def _write(self, keys: NDArray[np.bytes_], vectors: Rows, saved_from: str = "") -> str:
        # Named after its keys: what is put twice, after a kill say, is one segment. What is saved
        # from a damaged one may be all its keys, and must not be taken for it.
        name = hashlib.sha256(saved_from.encode() + keys.tobytes()).hexdigest()[:32]
        with new_folder(self.folder / name) as folder:
            write_segment(folder, keys, vectors, model_id=self.model_id, dimensions=self.dimensions)
        return name

    def _replace(
        self,
        segments: list[Segment],
        vectors: list[NDArray[np.float32]],
        unwanted: NDArray[np.bytes_] | None = None,
    ) -> None:
        """Write one segment instead of several, without the unwanted; the caller holds JOINING."""
        keys, first = np.unique(np.concatenate(_keys(segments)), return_index=True)
        if unwanted is not None:
            kept = ~np.isin(keys, unwanted)
            keys, first = keys[kept], first[kept]
        starts = np.cumsum([0] + [len(segment.keys) for segment in segments])
        number = np.searchsorted(starts, first, side="right") - 1
        rows = JoinedRows(vectors, number, first - starts[number])
        written = self._write(keys, rows) if len(keys) else ""
        # Who lists the segments now sees the old ones or, after them, the new one for certain.
        with locked(self.folder / LOCK):
            hidden = [
                hide_folder(segment.folder)
                for segment in segments
                # One that held the keys of all others has their name and was kept.
                if segment.folder.name != written
            ]
        for folder in hidden:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _alike(self) -> list[Segment]:
        """Return small segments of about the same size, when there are too many."""
        alike: dict[int, list[Segment]] = defaultdict(list)
        for segment in self._segments():
            if segment.rows <= SMALL_SEGMENT_ROWS:
                alike[segment.rows.bit_length() // GROWTH_BITS].append(segment)
        crowded = [segments for segments in alike.values() if len(segments) > MAX_ALIKE]
        return crowded[0][:MAX_JOINED] if crowded else []

    def _sound_vectors(self, segments: list[Segment]) -> list[NDArray[np.float32]] | None:
        """Open the vectors of segments; None when one is gone or was damaged: look again."""
        whole = True
        try:
            with self._shared():
                arrays = [segment.vectors() for segment in segments]
            for segment, vectors in zip(segments, arrays, strict=True):
                if segment.folder.name in self._sound:
                    continue
                if segment.is_sound():
                    self._sound.add(segment.folder.name)
                else:
                    self._save_from(segment, vectors)
                    whole = False
        except FileNotFoundError:
            return None
        return arrays if whole else None

    def _save_from(self, segment: Segment, vectors: NDArray[np.float32]) -> None:
        """Put the sound rows of a damaged segment into a new one, and the segment aside."""
        rows = segment.sound_rows(vectors)
        if len(rows):
            saved = JoinedRows([vectors], np.zeros_like(rows), rows)
            self._write(segment.keys[rows], saved, saved_from=segment.folder.name)
        set_aside(
            segment.folder,
            f"{segment.rows - len(rows)} of its {segment.rows} vectors are not as they were "
            "written; the others are kept",
        )

    def _segments(self) -> list[Segment]:
        """Open the segments, by name; of damaged ones the sound rows."""
        while True:
            with self._shared():
                names = [folder.name for folder in finished_folders(self.folder)]
                opened = {name: self._opened.get(name) or self._open(name) for name in names}
            self._opened = {name: one for name, one in opened.items() if one is not None}
            if len(self._opened) == len(opened):
                return list(self._opened.values())

    def _open(self, name: str) -> Segment | None:
        """Open a segment; None when it was damaged or another process put it aside."""
        folder = self.folder / name
        try:
            segment = Segment.open(folder)
            if (segment.model_id, segment.dimensions) != (self.model_id, self.dimensions):
                raise ValueError(f"it is one of {segment.model_id}, {segment.dimensions} numbers")
        # Not any OSError: too many open files are no damage.
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            set_aside(folder, str(error))
            return None
        if not segment.keys_are_sound():
            self._save_from(segment, segment.vectors())
            return None
        return segment

    @contextmanager
    def _shared(self) -> Generator[None, None, None]:
        """Keep segments from being taken away."""
        if not self.folder.exists():
            yield
            return
        with locked(self.folder / LOCK, shared=True):
            yield


def _keys(segments: Sequence[Segment]) -> list[NDArray[np.bytes_]]:
    return [segment.keys for segment in segments]
