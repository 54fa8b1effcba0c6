"""Blocks fitted on a corpus: a folder for each, with its state and features of some articles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.features.articles import PARTITION_ROWS
from tagsage.features.blocks import BLOCKS, blocks_of
from tagsage.features.graphsage import GraphSage
from tagsage.features.matrix import FeatureMatrix, row_blocks
from tagsage.graph.arrays import create_array
from tagsage.graph.csr import csr_writer, load_csr
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.features.articles import Articles, MarkedArticles
    from tagsage.features.base import Block, Part
    from tagsage.features.known_articles import KnownArticles
    from tagsage.features.matrix import IndexArray
    from tagsage.runner import Runner
    from tagsage.settings import Settings

STATE_FOLDER, PARTS_FOLDER = "state", "parts"
TUNING_FOLDER = "tuning"
ROWS_FILE = "rows.npy"


def fit_block(
    folder: Path,
    name: str,
    articles: Articles,
    known: KnownArticles,
    settings: Settings,
    runner: Runner,
    *,
    rows: IndexArray | None = None,
    tuning: KnownArticles | None = None,
    graph: Path | None = None,
) -> dict[str, Any]:
    """Fit a block on what is known, and make its features of the articles `rows`, by default all.

    Returns the number of ``articles``, and ``columns`` of each part. `folder` exists; it gets
    ``state/``, ``parts/`` and, for a block that is made of tags, ``tuning/``: the features when
    only the tags of `tuning` are known, while thresholds and epochs are chosen. For the block
    ``graphsage``, `graph` is the folder of :func:`tagsage.graph.compute.compute_graph`, already
    trained.
    """
    marked = known.mark(articles)
    block: Block
    if name == GraphSage.name and graph is not None:
        block = GraphSage.of_study(marked, settings, graph)
    else:
        block = BLOCKS[name].fit(marked, settings, runner)
    block.save(folder / STATE_FOLDER)
    rows = np.arange(len(articles)) if rows is None else rows
    np.save(folder / ROWS_FILE, rows, allow_pickle=False)
    columns = write_parts(folder / PARTS_FOLDER, block, marked, rows, runner)
    if tuning is not None and block.needs_tags:
        marked = tuning.mark(articles)
        block = BLOCKS[name].fit(marked, settings, runner)
        write_parts(folder / TUNING_FOLDER, block, marked, rows, runner)
    return {"articles": len(rows), "columns": columns}


def write_parts(
    folder: Path, block: Block, articles: MarkedArticles, rows: IndexArray, runner: Runner
) -> list[int]:
    """Write a block's features of some articles into a new folder; return each part's columns."""
    folder.mkdir(parents=True, exist_ok=True)
    writers: list[Callable[[Any], None]] = []
    widths: list[int] = []
    with ExitStack() as stack:
        partitions = (articles.take(part) for _, part in row_blocks(rows, PARTITION_ROWS))
        made = runner.map(block.transform, partitions)
        total = math.ceil(len(rows) / PARTITION_ROWS)
        for parts in track(made, f"features {block.name}: partitions", total):
            if not writers:
                widths = [part.shape[1] for part in parts]
                writers = [
                    _open_writer(stack, folder / f"part{number:02}", part, len(rows))
                    for number, part in enumerate(parts)
                ]
            for append, part in zip(writers, parts, strict=True):
                append(part)
    return widths


def _open_writer(stack: ExitStack, path: Path, part: Part, rows: int) -> Callable[[Any], None]:
    """Open a file for a part; return the function that appends rows to it."""
    if sp.issparse(part):
        return stack.enter_context(csr_writer(path, part.shape[1]))
    array = create_array(path.with_suffix(".npy"), (rows, part.shape[1]))
    stack.callback(array.flush)
    position = 0

    def append(block: npt.NDArray[np.float32]) -> None:
        nonlocal position
        array[position : position + len(block)] = block
        position += len(block)

    return append


def open_parts(folder: Path) -> list[Part]:
    """Open what :func:`write_parts` wrote, memory-mapped."""
    return [
        load_csr(path) if path.is_dir() else np.load(path, mmap_mode="r", allow_pickle=False)
        for path in sorted(folder.glob("part*"))
    ]


def open_matrix(
    folders: Mapping[str, Path],
    feature_set: str,
    in_list: npt.NDArray[np.bool_],
    *,
    tuning: bool = False,
) -> FeatureMatrix:
    """Open the features of a feature set, memory-mapped, from the folders of :func:`fit_block`.

    With `tuning`, blocks made of tags know only those for tuning.
    """
    parts: list[Part] = []
    kinds: list[str] = []
    rows = None
    for name in blocks_of(feature_set):
        is_tuned = tuning and BLOCKS[name].needs_tags
        of_block = open_parts(folders[name] / (TUNING_FOLDER if is_tuned else PARTS_FOLDER))
        parts += of_block
        kinds += [name] * len(of_block)
        rows = np.load(folders[name] / ROWS_FILE, allow_pickle=False)
    return FeatureMatrix(parts, kinds=kinds, in_list=in_list, articles=rows)
