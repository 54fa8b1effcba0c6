"""Where the settings keep what was harvested."""

from __future__ import annotations

from pathlib import Path

from tagsage.errors import TagsageError
from tagsage.harvest.collection import FILE, Collection
from tagsage.settings import Settings
from tagsage.workspace import Workspace


def harvest_folder(settings: Settings) -> Path:
    """Return the folder of what was harvested; it has to be the same for every worker."""
    if settings.harvest_folder:
        return Path(settings.harvest_folder).expanduser()
    return Workspace(settings.workspace).local_path / "harvest"


def make_folder(settings: Settings) -> Path:
    """Return the folder to harvest into; the workspace that it lies in is made."""
    if not settings.harvest_folder:
        Workspace(settings.workspace).claim()
    return harvest_folder(settings)


def existing_collection(settings: Settings) -> Collection:
    """Open what was harvested; raises `TagsageError` when nothing was yet."""
    folder = harvest_folder(settings)
    if not (folder / FILE).exists():
        msg = f"Nothing was harvested in {folder} yet; start with `tagsage harvest`."
        raise TagsageError(msg)
    return Collection(folder)
