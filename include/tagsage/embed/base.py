"""What every embedder offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns texts into vectors.

    Attributes
    ----------
    model_id : str
        Names the model and everything that decides its vectors: two embedders with the same
        `model_id` return the same vectors.
    dimensions : int
        Numbers in a vector.
    """

    @property
    def model_id(self) -> str:
        """Name of the model; equal names mean equal vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str, length n
            The texts; an empty one gets a zero vector.

        Returns
        -------
        numpy.ndarray of float32, shape (n, dimensions)
            One vector a text; a zero row for a text without a known term.
        """
        ...
