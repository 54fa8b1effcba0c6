"""Fitted LSA models kept with the texts they have seen, to decide when to fit again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagsage.embed.files import finished_folders, new_folder, set_aside
from tagsage.embed.lsa import MODEL_FILE, LsaEmbedder, LsaParameters

SEEN_FILE = "seen.npy"


def earlier_models(
    models: Path, parameters: LsaParameters, unique: NDArray[Any]
) -> list[tuple[float, Path]]:
    """Find the kept models of these parameters; damaged ones are set aside.

    Parameters
    ----------
    models : pathlib.Path
        Folder of models.
    parameters : LsaParameters
        What a model must have been fitted with.
    unique : numpy.ndarray of S32
        Hashes of today's different texts.

    Returns
    -------
    list of (float, pathlib.Path)
        The share of `unique` that each model has not seen at its fit, and its folder; the least
        share first, ties by name.
    """
    found = []
    for path in finished_folders(models):
        try:
            about = json.loads((path / MODEL_FILE).read_text(encoding="utf-8"))
            if about["parameters"] != vars(parameters):
                continue
            seen = np.load(path / SEEN_FILE, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            if path.exists():
                set_aside(path, str(error))
            continue
        unseen = int(np.sum(~np.isin(unique, seen)))
        found.append((unseen / max(len(unique), 1), path))
    return sorted(found)


def save_model(model: LsaEmbedder, seen: NDArray[Any], models: Path) -> None:
    """Keep a fitted model with the sorted hashes of the texts it was fitted on."""
    path = models / model.model_id
    if path.is_dir() and not (path / SEEN_FILE).is_file():
        set_aside(path, f"it has no {SEEN_FILE}")
    with new_folder(path) as temporary:
        model.write_files(temporary)
        np.save(temporary / SEEN_FILE, seen, allow_pickle=False)
