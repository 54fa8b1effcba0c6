"""All caches below a folder: what they hold, and what may go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tagsage.embed.cache import VectorCache
from tagsage.embed.files import (
    damaged_folders,
    finished_folders,
    remove_folder,
    remove_stale,
    safe_name,
)
from tagsage.embed.segments import Segment


@dataclass(frozen=True)
class CacheContent:
    """What a cache holds.

    Attributes
    ----------
    model_id : str
        The model.
    dimensions : int
        Numbers in a vector.
    texts : int
        Different texts that have a vector.
    size : int
        Bytes on the disk, damaged segments included.
    segments : int
        How many segments there are.
    damaged : int
        How many were set aside because something in them was damaged.
    """

    model_id: str
    dimensions: int
    texts: int
    size: int
    segments: int
    damaged: int


def survey(folder: Path) -> list[CacheContent]:
    """Tell what the caches below a folder hold, by model and dimensions.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of all caches; need not exist.
    """
    contents = []
    for cache in caches(folder):
        texts = len(cache.hashes())
        size = sum(file.stat().st_size for file in cache.folder.rglob("*") if file.is_file())
        segments, damaged = finished_folders(cache.folder), damaged_folders(cache.folder)
        contents.append(
            CacheContent(cache.model_id, cache.dimensions, texts, size, len(segments), len(damaged))
        )
    return contents


def caches(folder: Path) -> list[VectorCache]:
    """Open every cache below a folder, by model and dimensions."""
    return [
        VectorCache(folder, model_id, int(cache.name))
        for model in finished_folders(folder)
        for cache in finished_folders(model)
        if (model_id := _model_id(cache)) is not None
    ]


def _model_id(cache: Path) -> str | None:
    """Return whose vectors lie in the folder of a cache; None when nothing there tells."""
    for segment in finished_folders(cache):
        try:
            return Segment.open(segment).model_id
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # it is set aside when the cache is read
    return None


def prune_caches(folder: Path, keep: Collection[str]) -> set[str]:
    """Remove the caches of other models, and leftovers of killed processes.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of all caches.
    keep : collection of str
        Ids of the models whose vectors stay.

    Returns
    -------
    set of str
        Names of the folders that were removed.
    """
    kept = {safe_name(model_id) for model_id in keep}
    removed = {model.name for model in finished_folders(folder) if model.name not in kept}
    for name in removed:
        remove_folder(folder / name)
    for model in finished_folders(folder):
        for cache in finished_folders(model):
            remove_stale(cache)
    return removed
