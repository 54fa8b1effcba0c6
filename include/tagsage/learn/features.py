"""Features of articles: blocks of numbers side by side, read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

FloatArray: TypeAlias = npt.NDArray[np.float32]
IndexArray: TypeAlias = npt.NDArray[np.integer]

SPARSE_BLOCKS = ("words", "list_ids", "author_ids")
"""The kinds of blocks with a column per word, list or author, of :mod:`tagsage.features`."""

BLOCKS = (
    *SPARSE_BLOCKS,
    *("text", "graphsage", "fastrp", "lists", "memberships", "labels", "authors"),
)
"""The kinds of blocks; a feature set names some of them, joined by ``+``.

``lists`` is one array a hop; ``labels`` and ``authors`` are two each: shares of tags, and how much
they rest on; the others are one each.
"""

LABEL_BLOCKS = ("labels", "authors")
"""The kinds of blocks that are made of labels."""

PROJECTION_BLOCKS = ("graphsage", "fastrp")
"""The kinds of blocks that need the projection: new articles have no neighbours in it."""

OWN_BLOCKS = ("words", "author_ids", "text", "authors")
"""The kinds of blocks that an article in no list has, too."""


def blocks_of(feature_set: str) -> tuple[str, ...]:
    """Return the kinds of blocks that a feature set joins, in order.

    Parameters
    ----------
    feature_set : str
        Such as ``text+lists+labels``.

    Raises
    ------
    ValueError
        When a block is unknown or named twice.

    Examples
    --------
    >>> blocks_of("text+lists")
    ('text', 'lists')
    """
    blocks = tuple(feature_set.split("+"))
    if set(blocks) - set(BLOCKS) or len(set(blocks)) < len(blocks):
        raise ValueError(
            f"feature set {feature_set!r} is not made of some of {', '.join(BLOCKS)}, each at most "
            "once, joined by +"
        )
    return blocks


def needs_lists(feature_set: str) -> bool:
    """Return whether a feature set knows of lists what an article in no list does not have."""
    return not set(blocks_of(feature_set)) <= set(OWN_BLOCKS)


def own_feature_set(feature_set: str) -> str:
    """Return what is left of a feature set for an article in no list; empty where nothing is.

    Examples
    --------
    >>> own_feature_set("text+lists+authors")
    'text+authors'
    """
    return "+".join(block for block in blocks_of(feature_set) if block in OWN_BLOCKS)


class FeatureMatrix:
    """Feature blocks side by side, without a joined copy.

    The blocks may be memory-mapped and float16: only the rows asked for are read and converted.
    Values are given as they are; scaling is the classifier's business, from training rows only.

    Parameters
    ----------
    blocks : sequence of float arrays or csr_arrays, shape [n, d_b]
        One row an article, the same articles in the same order.
    kinds : sequence of str, optional
        The kind of each block, of :data:`BLOCKS`; all ``text`` by default.
    linked : bool array, shape [n], optional
        Which articles are in a list; all of them by default.

    Raises
    ------
    ValueError
        When there is no block, or their numbers of rows differ.
    """

    def __init__(
        self,
        blocks: Sequence[npt.NDArray[np.floating] | Csr],
        *,
        kinds: Sequence[str] | None = None,
        linked: npt.NDArray[np.bool_] | None = None,
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
        self.linked = np.ones(len(self), dtype=np.bool_) if linked is None else linked
        if self.linked.shape != (len(self),):
            raise ValueError(f"linked must be one flag an article, not {self.linked.shape}")

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

        Raises
        ------
        ValueError
            When a block is sparse: its columns are too many to be held as zeros.
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

    def own(self) -> FeatureMatrix | None:
        """Return the blocks that an article in no list has, too; None when there are none."""
        kept = [place for place, kind in enumerate(self.kinds) if kind in OWN_BLOCKS]
        if not kept:
            return None
        return FeatureMatrix(
            [self.blocks[place] for place in kept],
            kinds=[self.kinds[place] for place in kept],
            linked=self.linked,
        )

    def unlinked(self) -> Self:
        """Return the same features, of articles that are taken for being in no list."""
        none = np.zeros(len(self), dtype=np.bool_)
        blocks = [
            sp.csr_array(block.shape, dtype=np.float32) if kind == "list_ids" else block
            for kind, block in zip(self.kinds, self.blocks, strict=True)
        ]
        return type(self)(blocks, kinds=self.kinds, linked=none)


def unit_blocks(X: FeatureMatrix) -> list[bool]:
    """Return which blocks are scaled row by row.

    Not a block of a single column: its length is all it has. Nor memberships: the length tells how
    much of an article's lists the factors hold, and without it little would be made as much of as
    all. (On the bundled corpus, validation macro-F1 of the `mlp` .463 when they were scaled, .483
    when not.)
    """
    return [
        width > 1 and kind != "memberships"
        for width, kind in zip(X.block_widths, X.kinds, strict=True)
    ]


def unit_rows(features: FloatArray, widths: Sequence[int], unit: Sequence[bool]) -> FloatArray:
    """Scale each row of some blocks to unit length, in place; zero rows stay zero.

    Parameters
    ----------
    features : float32 array, shape [m, d]
        Rows of blocks side by side; overwritten.
    widths : sequence of int
        How many columns each block has; their sum is d.
    unit : sequence of bool
        Which blocks to scale; see :func:`unit_blocks`.

    Returns
    -------
    float32 array, shape [m, d]
        `features` itself.
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
