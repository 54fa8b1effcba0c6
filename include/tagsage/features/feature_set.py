"""The blocks of a feature set, fitted: any article in, its row of features out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from tagsage.features.base import Part
from tagsage.features.known import Known
from tagsage.features.matrix import FeatureMatrix
from tagsage.features.registry import BLOCKS, blocks_of
from tagsage.graph.arrays import create_array
from tagsage.graph.csr import CsrWriter, load_csr
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.features.base import Block

KNOWN_FOLDER = "known"


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Fitted blocks, and what they were fitted on.

    Attributes
    ----------
    known : Known
        What was counted.
    blocks : dict of str to Block
        By name, in the order of the feature set.
    """

    known: Known
    blocks: dict[str, Block]

    def transform(self, articles: Articles) -> FeatureMatrix:
        """Return the features of any articles.

        Parameters
        ----------
        articles : Articles
            Of the corpus or new, marked or not; with vectors where `needs_vectors` says so.
        """
        marked = articles if articles.known is self.known else self.known.mark(articles)
        parts: list[Part] = []
        kinds: list[str] = []
        for name, block in self.blocks.items():
            of_block = block.transform(marked)
            parts += of_block
            kinds += [name] * len(of_block)
        return FeatureMatrix(parts, kinds=kinds, in_list=self.known.in_known_list(marked))

    @property
    def needs_vectors(self) -> bool:
        """Whether a block is made of the articles' vectors."""
        return any(block.needs_vectors for block in self.blocks.values())

    @classmethod
    def load(cls, folder: Path, feature_set: str) -> Self:
        """Read what :func:`gather_feature_set` put together; large arrays are memory-mapped."""
        blocks = {name: BLOCKS[name].load(folder / name) for name in blocks_of(feature_set)}
        return cls(Known.load(folder / KNOWN_FOLDER), blocks)


def gather_feature_set(folder: Path, known: Path, states: Mapping[str, Path]) -> None:
    """Copy saved blocks, and what they were fitted on, into a folder, which is made.

    Parameters
    ----------
    folder : pathlib.Path
        Does not exist yet.
    known : pathlib.Path
        Folder of the saved :class:`Known`.
    states : mapping of str to pathlib.Path
        The folder of each saved block.
    """
    shutil.copytree(known, folder / KNOWN_FOLDER)
    for name, state in states.items():
        shutil.copytree(state, folder / name)


def write_parts(folder: Path, block: Block, articles: Articles) -> tuple[int, ...]:
    """Make a block's features of many marked articles, partition by partition, on disk.

    Parameters
    ----------
    folder : pathlib.Path
        Made; takes a file or folder per part.
    block : Block
        The block.
    articles : Articles
        The articles, marked.

    Returns
    -------
    tuple of int
        How many columns each part has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writers: list[Any] = []
    start = 0
    for partition in track(list(articles.partitions()), f"features {block.name}: partitions"):
        parts: tuple[Any, ...] = block.transform(partition)
        if not writers:
            writers = [
                _writer(folder, place, part, len(articles)) for place, part in enumerate(parts)
            ]
        for writer, part in zip(writers, parts, strict=True):
            if isinstance(writer, CsrWriter):
                writer.append(part)
            else:
                writer[start : start + len(partition)] = part
        start += len(partition)
    for writer in writers:
        if isinstance(writer, CsrWriter):
            writer.__exit__(None, None, None)
        else:
            writer.flush()
    return tuple(w.columns if isinstance(w, CsrWriter) else w.shape[1] for w in writers)


def open_parts(folder: Path) -> list[Part]:
    """Open what :func:`write_parts` wrote, memory-mapped."""
    found = sorted(folder.glob("part*"), key=lambda path: int(path.stem.removeprefix("part")))
    return [
        load_csr(path) if path.is_dir() else np.load(path, mmap_mode="r", allow_pickle=False)
        for path in found
    ]


def _writer(folder: Path, place: int, part: Part, rows: int) -> Any:
    if sp.issparse(part):
        return CsrWriter(folder / f"part{place}", part.shape[1])
    return create_array(folder / f"part{place}.npy", (rows, part.shape[1]))
