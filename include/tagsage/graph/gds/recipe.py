"""What it takes to make the server's graphs again: kept in the folders, since a server forgets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagsage.errors import TagsageError
from tagsage.graph.arrays import load_array
from tagsage.graph.base import SampleConfig
from tagsage.graph.csr import LongArray
from tagsage.graph.similarity import SimilarityConfig

RECIPE_FILE = "recipe.json"
KEYS_FILE = "keys.json"
LIST_SIZES_FILE = "list_sizes.npy"


@dataclass(frozen=True)
class Recipe:
    """How a folder's graph came to be on the server, and how to know it when it is there.

    Attributes
    ----------
    articles, memberships : int
        What the database held.
    vector_property : str
        The articles' property with their vectors; empty: projected without.
    kept_memberships : int
        Memberships in lists of at most `max_list_size` articles.
    max_list_size : int
        Longer lists are left out; 0: none is.
    similarity : SimilarityConfig, optional
        How articles were joined; None: they were not yet.
    relationships : int
        SIMILAR relationships, both directions counted.
    """

    articles: int
    memberships: int
    vector_property: str
    kept_memberships: int
    max_list_size: int = 0
    similarity: SimilarityConfig | None = None
    relationships: int = 0

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        _write(folder / RECIPE_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Recipe:
        """Read a folder's recipe.

        Raises
        ------
        TagsageError
            When there is none.
        """
        values = _read(folder / RECIPE_FILE)
        if values.get("similarity"):
            values["similarity"] = SimilarityConfig(**values["similarity"])
        return cls(**values)


@dataclass(frozen=True)
class SampleRecipe:
    """How a sample was drawn.

    Attributes
    ----------
    config : SampleConfig
        The settings.
    start_node : int, optional
        The index of the article where walks started.
    """

    config: SampleConfig
    start_node: int | None

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        _write(folder / RECIPE_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> SampleRecipe:
        """Read a folder's recipe; TagsageError when there is none."""
        values = _read(folder / RECIPE_FILE)
        return cls(SampleConfig(**values["config"]), values["start_node"])


def save_corpus(folder: Path, keys: Sequence[str], list_sizes: LongArray) -> None:
    """Write the articles' keys, in the order of the snapshot, and the lists' sizes."""
    (folder / KEYS_FILE).write_text(json.dumps(list(keys)), encoding="utf-8")
    np.save(folder / LIST_SIZES_FILE, list_sizes.astype(np.int64))


def copy_corpus(source: Path, folder: Path) -> None:
    """Give a later folder what an earlier one says of the corpus: it may outlive it."""
    for name in (KEYS_FILE, LIST_SIZES_FILE):
        shutil.copyfile(source / name, folder / name)


def load_list_sizes(folder: Path) -> LongArray:
    """Read the articles of each list, int64 [n_lists]; TagsageError when there are none."""
    return load_array(folder / LIST_SIZES_FILE).astype(np.int64)


def load_keys(folder: Path) -> list[str]:
    """Read the articles' keys; TagsageError when the folder holds none."""
    keys: list[str] = _read(folder / KEYS_FILE)
    return keys


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"Cannot read {file} ({error}); run the stage that makes it again."
        raise TagsageError(msg) from error
