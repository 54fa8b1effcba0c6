"""Features of articles: blocks of numbers side by side, read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.features.blocks import BLOCKS

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

FloatArray: TypeAlias = npt.NDArray[np.float32]
IndexArray: TypeAlias = npt.NDArray[np.integer]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


class FeatureMatrix:
    """Feature blocks side by side, [n, d_b] each, perhaps memory-mapped and float16.

    `kinds` are the blocks they are parts of (by default ``text``), `in_list` says which articles
    are in a known list (by default all). Rows are asked for by the numbers of articles. `articles`
    [n], ascending, are those whose rows the blocks hold: by default the articles 0 … n-1.
    """

    def __init__(
        self,
        blocks: Sequence[npt.NDArray[np.floating] | Csr],
        *,
        kinds: Sequence[str] | None = None,
        in_list: npt.NDArray[np.bool_] | None = None,
        articles: IndexArray | None = None,
    ) -> None:
        self.blocks: tuple[Any, ...] = tuple(blocks)
        shapes = [block.shape for block in self.blocks]
        if len({rows for rows, _ in shapes}) != 1:
            raise ValueError(f"blocks must have one number of rows, not the shapes {shapes}")
        self.block_widths = tuple(int(shape[1]) for shape in shapes)
        self.shape = (int(shapes[0][0]), sum(self.block_widths))
        self.kinds = ("text",) * len(shapes) if kinds is None else tuple(kinds)
        self.in_list = np.ones(len(self), dtype=np.bool_) if in_list is None else in_list
        self.articles = articles

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, index: IndexArray) -> FloatArray:
        """Return some articles' rows of all blocks joined, a copy, [m, d]; none may be sparse."""
        index = self._places(index)
        joined = np.empty((len(index), self.shape[1]), dtype=np.float32)
        start = 0
        for block, width in zip(self.blocks, self.block_widths, strict=True):
            if sp.issparse(block):
                raise ValueError(f"{self.kinds} has sparse blocks; ask for sparse_rows")
            joined[:, start : start + width] = block[index]
            start += width
        return joined

    def sparse_rows(self, index: IndexArray) -> Csr:
        """Return some articles' rows of all blocks joined, [m, d]."""
        index = self._places(index)
        # What scipy doesn't take as it is, is half precision.
        parts = [sp.csr_array(block[index].astype(np.float32)) for block in self.blocks]
        joined: Csr = sp.hstack(parts, format="csr")
        return joined

    def list_free(self) -> FeatureMatrix | None:
        """Return the blocks that don't need lists; None when there are none."""
        return self._some([not BLOCKS[kind].needs_lists for kind in self.kinds])

    def sparse_part(self) -> FeatureMatrix | None:
        """Return the blocks with a column per word, list or author; None when there are none."""
        return self._some([BLOCKS[kind].sparse for kind in self.kinds])

    def dense_part(self) -> FeatureMatrix | None:
        """Return the other blocks; None when there are none."""
        return self._some([not BLOCKS[kind].sparse for kind in self.kinds])

    def _some(self, wanted: Sequence[bool]) -> FeatureMatrix | None:
        kept = np.flatnonzero(wanted).tolist()
        if not kept:
            return None
        return FeatureMatrix(
            [self.blocks[place] for place in kept],
            kinds=[self.kinds[place] for place in kept],
            in_list=self.in_list,
            articles=self.articles,
        )

    def _places(self, index: IndexArray) -> IndexArray:
        """Return where the rows of some articles are."""
        if self.articles is None:
            return index
        places = np.searchsorted(self.articles, index)
        if not np.array_equal(self.articles.take(places, mode="clip"), index):
            raise ValueError("features were not made for some of these articles")
        return places

    @property
    def needs_lists(self) -> bool:
        """Whether some block has nothing for articles in no list."""
        return any(BLOCKS[kind].needs_lists for kind in self.kinds)


def unit_blocks(X: FeatureMatrix) -> list[bool]:
    """Return which blocks are scaled row by row; a single column is not: its length says all."""
    return [
        width > 1 and BLOCKS[kind].unit_rows
        for width, kind in zip(X.block_widths, X.kinds, strict=True)
    ]


def unit_rows(features: FloatArray, widths: Sequence[int], unit: Sequence[bool]) -> FloatArray:
    """Scale rows of some blocks (`widths` columns each) to unit length, in place; zeros stay."""
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
