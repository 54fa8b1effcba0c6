"""Features of articles: blocks of numbers side by side, read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.features.registry import BLOCKS

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

FloatArray: TypeAlias = npt.NDArray[np.float32]
IndexArray: TypeAlias = npt.NDArray[np.integer]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


class FeatureMatrix:
    """Feature blocks side by side, without a joined copy.

    The blocks may be memory-mapped and float16: only the rows asked for are read and converted.
    Scaling is the classifier's business, from training rows only.

    Parameters
    ----------
    blocks : sequence of float arrays or csr_arrays, shape [n, d_b]
        One row per article, the same articles in the same order.
    kinds : sequence of str, optional
        The block that each is a part of, of :data:`tagsage.features.BLOCKS`; by default ``text``.
    in_list : bool array, shape [n], optional
        Which articles are in a known list; all of them by default.
    """

    def __init__(
        self,
        blocks: Sequence[npt.NDArray[np.floating] | Csr],
        *,
        kinds: Sequence[str] | None = None,
        in_list: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.blocks: tuple[Any, ...] = tuple(blocks)
        if not self.blocks:
            raise ValueError("a feature matrix needs at least one block")
        shapes = [block.shape for block in self.blocks]
        if any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
            raise ValueError(f"blocks must be matrices of one number of rows, not {shapes}")
        self.block_widths = tuple(int(shape[1]) for shape in shapes)
        self.shape = (int(shapes[0][0]), sum(self.block_widths))
        self.kinds = ("text",) * len(shapes) if kinds is None else tuple(kinds)
        if len(self.kinds) != len(shapes):
            raise ValueError(f"{len(shapes)} blocks need as many kinds, not {len(self.kinds)}")
        self.in_list = np.ones(len(self), dtype=np.bool_) if in_list is None else in_list
        if self.in_list.shape != (len(self),):
            raise ValueError(f"in_list must be one flag an article, not {self.in_list.shape}")

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, index: IndexArray) -> FloatArray:
        """Return some rows of all blocks joined, a copy, float32 [m, d].

        A ValueError says when a block is sparse: its columns are too many to be held as zeros.
        """
        joined = np.empty((len(index), self.shape[1]), dtype=np.float32)
        start = 0
        for block, width in zip(self.blocks, self.block_widths, strict=True):
            if sp.issparse(block):
                raise ValueError(f"{self.kinds} has sparse blocks; ask for sparse_rows")
            joined[:, start : start + width] = block[index]
            start += width
        return joined

    def sparse_rows(self, index: IndexArray) -> Csr:
        """Return some rows of all blocks joined, csr_array of float32 [m, d]."""
        # What scipy doesn't take as it is, is half precision.
        parts = [sp.csr_array(block[index].astype(np.float32)) for block in self.blocks]
        joined: Csr = sp.hstack(parts, format="csr")
        return joined

    def list_free(self) -> FeatureMatrix | None:
        """Return the blocks that an article in no list has, too; None when there are none."""
        kept = [place for place, kind in enumerate(self.kinds) if not BLOCKS[kind].needs_lists]
        if not kept:
            return None
        return FeatureMatrix(
            [self.blocks[place] for place in kept],
            kinds=[self.kinds[place] for place in kept],
            in_list=self.in_list,
        )

    @property
    def needs_lists(self) -> bool:
        """Whether a block says nothing of articles in no list."""
        return any(BLOCKS[kind].needs_lists for kind in self.kinds)

    def columns_of(self, kind: str) -> slice:
        """Return which columns are those of a block of one part; none where it isn't there."""
        first = 0
        for width, name in zip(self.block_widths, self.kinds, strict=True):
            if name == kind:
                return slice(first, first + width)
            first += width
        return slice(first, first)


def unit_blocks(X: FeatureMatrix) -> list[bool]:
    """Return which blocks are scaled row by row: not one of a single column, whose length is all.

    See :attr:`tagsage.features.Block.unit_rows`.
    """
    return [
        width > 1 and BLOCKS[kind].unit_rows
        for width, kind in zip(X.block_widths, X.kinds, strict=True)
    ]


def unit_rows(features: FloatArray, widths: Sequence[int], unit: Sequence[bool]) -> FloatArray:
    """Scale each row of some blocks to unit length, in place; zero rows stay zero.

    `features` [m, d] holds rows of blocks side by side, of so many columns each; `unit` says which
    blocks to scale, see :func:`unit_blocks`. Returns `features` itself.
    """
    start = 0
    for width, scaled in zip(widths, unit, strict=True):
        block = features[:, start : start + width]
        start += width
        if scaled:
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            block /= np.where(norms > 0, norms, 1)[:, None]
    return features


def row_blocks(rows: IndexArray, size: int) -> Iterator[tuple[slice, IndexArray]]:
    """Yield the rows in blocks: where each lies in `rows`, and the block itself."""
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        yield part, rows[part]
