"""Features of articles: blocks of numbers side by side, read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
IndexArray: TypeAlias = npt.NDArray[np.integer]

FEATURE_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "text": ("text",),
    "graphsage": ("graphsage",),
    "text+graphsage": ("text", "graphsage"),
    "fastrp": ("fastrp",),
    "text+fastrp": ("text", "fastrp"),
    "lists": ("lists",),
    "text+lists": ("text", "lists"),
    "text+lists+fastrp": ("text", "lists", "fastrp"),
    "labels": ("labels",),
    "text+labels": ("text", "labels"),
    "text+lists+labels": ("text", "lists", "labels"),
    "text+lists+labels+fastrp": ("text", "lists", "labels", "fastrp"),
    "text+authors": ("text", "authors"),
    "text+lists+labels+authors": ("text", "lists", "labels", "authors"),
})
"""Which kinds of blocks each feature set joins, in order.

``lists`` is one array a hop; ``labels`` and ``authors`` are two each: shares of tags, and how much
they rest on.
"""

LABEL_BLOCKS = ("labels", "authors")
"""The kinds of blocks that are made of labels."""


class FeatureMatrix:
    """Feature blocks side by side, without a joined copy.

    The blocks may be memory-mapped and float16: only the rows asked for are read and converted.
    Values are given as they are; scaling is the classifier's business, from training rows only.

    Parameters
    ----------
    blocks : sequence of float arrays, shape [n, d_b]
        One row an article, the same articles in the same order.

    Raises
    ------
    ValueError
        When there is no block, or their numbers of rows differ.
    """

    def __init__(self, blocks: Sequence[npt.NDArray[np.floating]]) -> None:
        self.blocks = tuple(blocks)
        if not self.blocks:
            raise ValueError("a feature matrix needs at least one block")
        shapes = [block.shape for block in self.blocks]
        if any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
            raise ValueError(f"blocks must be matrices of one number of rows, not {shapes}")
        self.block_widths = tuple(int(shape[1]) for shape in shapes)
        self.shape = (int(shapes[0][0]), sum(self.block_widths))

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, index: IndexArray) -> FloatArray:
        """Return some rows of all blocks joined.

        Parameters
        ----------
        index : integer array, shape [m]
            The rows, in any order.

        Returns
        -------
        float32 array, shape [m, d]
            A copy.
        """
        joined = np.empty((len(index), self.shape[1]), dtype=np.float32)
        start = 0
        for block, width in zip(self.blocks, self.block_widths, strict=True):
            joined[:, start : start + width] = block[index]
            start += width
        return joined


def unit_rows(features: FloatArray, widths: Sequence[int]) -> FloatArray:
    """Scale each row of each block to unit length, in place.

    Zero rows stay zero. A block of a single column is left as it is: its length is all it has.

    Parameters
    ----------
    features : float32 array, shape [m, d]
        Rows of blocks side by side; overwritten.
    widths : sequence of int
        How many columns each block has; their sum is d.

    Returns
    -------
    float32 array, shape [m, d]
        `features` itself.
    """
    start = 0
    for width in widths:
        block = features[:, start : start + width]
        start += width
        if width > 1:
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            block /= np.where(norms > 0, norms, 1)[:, None]
    return features


def row_blocks(rows: IndexArray, size: int) -> Iterator[tuple[slice, IndexArray]]:
    """Yield the rows in blocks: where each lies in `rows`, and the block itself."""
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        yield part, rows[part]
