"""The embedder of a served model: new titles are sent to whatever server its user has."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tagsage.embed.cache import VectorCache
from tagsage.embed.files import new_folder
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.online import embed_online
from tagsage.embed.openai.spool import CACHE
from tagsage.embed.text import text_hashes, unique_texts
from tagsage.errors import TagsageError
from tagsage.openai_connection import resolve_openai_connection

FILE = "openai.json"
# Who asks a served model for tags decides how much; there is no run to hold to a budget.
NO_CEILING = Ceiling(dollars=float("inf"), tokens=2**62)


@dataclass(frozen=True)
class OpenAiEmbedder:
    """Embeds texts with a model behind OpenAI's API, without memory of earlier ones.

    Attributes
    ----------
    config : OpenAiConfig
        Model and manners; no key and no address.
    dimensions : int
        Numbers in a vector.
    """

    config: OpenAiConfig
    dimensions: int

    @property
    def model_id(self) -> str:
        """Name of the model; equal names mean equal vectors."""
        return self.config.model_id

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts through the connection of this process's environment.

        Parameters
        ----------
        texts : sequence of str, length n
            The texts; an empty one gets a zero vector, and is not sent.

        Returns
        -------
        numpy.ndarray of float32, shape (n, dimensions)
            One vector a text; a zero row for one that the server does not take.

        Raises
        ------
        TagsageError
            When the server is away or refuses us.
        """
        hashes = text_hashes(texts)
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        rows = unique_texts(hashes)
        if not len(rows):
            return vectors
        with tempfile.TemporaryDirectory(prefix="tagsage-") as name:
            folder = Path(name)
            embed_online(
                resolve_openai_connection(),
                self.config,
                texts,
                hashes,
                rows,
                folder=folder,
                dimensions=self.dimensions,
                run_id="served",
                price=0.0,
                ceiling=NO_CEILING,
            )
            VectorCache(folder / CACHE, self.model_id, self.dimensions).gather(hashes, vectors)
        return vectors

    def save(self, folder: Path) -> None:
        """Write model and manners as JSON to a folder that does not exist yet."""
        with new_folder(folder) as temporary:
            about = {"config": vars(self.config), "dimensions": self.dimensions}
            (temporary / FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        TagsageError
            When it is missing or damaged.
        """
        try:
            about = json.loads((folder / FILE).read_text(encoding="utf-8"))
            return cls(OpenAiConfig(**about["config"]), int(about["dimensions"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"Cannot read the embedder in {folder} ({error}); train the model anew."
            raise TagsageError(msg) from error
