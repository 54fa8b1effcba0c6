"""FastRP for articles that are not in the graph."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from tagsage.graph.csr import FloatArray
from tagsage.graph.fastrp import FastRpConfig


@dataclass(frozen=True)
class FastRpProjection:
    """How FastRP embeds an article that is not in the graph.

    Attributes
    ----------
    config : FastRpConfig
        The settings of the training features.
    matrix : float32 array, shape [dimensions, property dimensions]
        What vectors are multiplied by.
    """

    config: FastRpConfig
    matrix: FloatArray

    def save(self, folder: Path) -> None:
        """Write it to a folder, which is made."""
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(asdict(self.config)), encoding="utf-8")
        np.save(folder / "matrix.npy", self.matrix, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["iteration_weights"] = tuple(config["iteration_weights"])
        return cls(FastRpConfig(**config), np.load(folder / "matrix.npy", allow_pickle=False))
