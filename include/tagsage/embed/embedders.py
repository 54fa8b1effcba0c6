"""The embedders by name: a new one is one module, and one line in `EMBEDDERS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tagsage.errors import TagsageError
from tagsage.files import read_json

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.settings import Settings
    from tagsage.settings.embed import EmbedderName

# The settings know the same names: `EmbedderName`.
EMBEDDERS: Final[Mapping[EmbedderName, str]] = {
    "lsa": "tagsage.embed.lsa",
    "e5": "tagsage.embed.e5",
    "openai": "tagsage.embed.openai.embedder",
    "precomputed": "tagsage.embed.precomputed",
}
# In the folder of a saved embedder: its name under "embedder", and what the embedder adds.
ABOUT_FILE = "embedder.json"


class Embedder(Protocol):
    """Turns texts into vectors; equal `model_id` means equal vectors."""

    @property
    def model_id(self) -> str: ...  # ruff: ignore[undocumented-public-method]

    @property
    def dimensions(self) -> int: ...  # ruff: ignore[undocumented-public-method]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, float32 [n, dimensions]; zero for an empty text."""
        ...

    def embed_cached(
        self, texts: Sequence[str], settings: Settings, *, run_id: str
    ) -> NDArray[np.float32]:
        """Return the same vectors; those that the cache of the settings holds are not made again.

        What the others cost is on the account of the run.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write arrays and JSON to a folder that does not exist yet."""
        ...


@dataclass(frozen=True)
class CorpusVectors:
    """How a corpus' vectors were made; without an `embedder`, later articles must bring theirs."""

    model_id: str
    dimensions: int
    embedder: Embedder | None = None
    quarantine: pd.DataFrame | None = None
    counts: dict[str, int] = field(default_factory=dict)


class EmbedderModule(Protocol):
    """What an embedder's module offers."""

    def depends_on(self, settings: Settings) -> dict[str, Any]:
        """Return what the vectors depend on besides the corpus, as JSON-able values."""
        ...

    def embed_corpus(
        self, articles: pd.DataFrame, settings: Settings, *, out: Path, run_id: str
    ) -> CorpusVectors:
        """Write one vector per article to the file `out` (.npy, float32 [n, dimensions])."""
        ...

    def load(self, folder: Path) -> Embedder:
        """Read a saved embedder; missing where none is saved."""
        ...


def embedder_module(name: EmbedderName) -> EmbedderModule:
    """Return the module of an embedder; it is imported only now."""
    return cast("EmbedderModule", import_module(EMBEDDERS[name]))


def saved_embedder(folder: Path) -> EmbedderName:
    """Return the name of a folder's embedder; raises `TagsageError` when there is none."""
    name = (read_json(folder / ABOUT_FILE) or {}).get("embedder")
    if name not in EMBEDDERS:
        raise TagsageError(f"There is no embedder in {folder}; train the model anew.")
    return cast("EmbedderName", name)


def load_embedder(folder: Path) -> Embedder:
    """Read a saved embedder; raises `TagsageError` when it is missing or damaged."""
    return embedder_module(saved_embedder(folder)).load(folder)
