"""Blocks fitted on a corpus: a folder for each, with its state and features of every article."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.features.feature_set import open_parts, write_parts
from tagsage.features.matrix import FeatureMatrix
from tagsage.features.registry import BLOCKS, blocks_of

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.features.base import Part
    from tagsage.features.known import Known
    from tagsage.runner import Runner
    from tagsage.settings import Settings

STATE_FOLDER, PARTS_FOLDER = "state", "parts"
TUNING_FOLDER = "tuning"


def fit_block(
    folder: Path,
    name: str,
    articles: Articles,
    known: Known,
    settings: Settings,
    runner: Runner,
    *,
    tuning: Known | None = None,
    trained: Path | None = None,
) -> dict[str, Any]:
    """Fit a block on what is known, and make its features of every article.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder; gets ``state/`` and ``parts/`` and, for a block that is made of tags,
        ``tuning/`` with what ``parts/`` holds when only the tags of `tuning` are known.
    name : str
        The block.
    articles : Articles
        The corpus.
    known : Known
        What of it is counted.
    settings : Settings
        Those of the block are read.
    runner : Runner
        Maps over partitions.
    tuning : Known, optional
        What is known while thresholds and epochs are chosen.
    trained : pathlib.Path, optional
        See :meth:`Block.fit`.

    Returns
    -------
    dict
        ``articles``, and ``columns`` of each part.
    """
    marked = known.mark(articles)
    block = BLOCKS[name].fit(marked, settings, runner, trained=trained)
    block.save(folder / STATE_FOLDER)
    columns = write_parts(folder / PARTS_FOLDER, block, marked)
    if tuning is not None and block.needs_tags:
        marked = tuning.mark(articles)
        write_parts(folder / TUNING_FOLDER, BLOCKS[name].fit(marked, settings, runner), marked)
    return {"articles": len(articles), "columns": list(columns)}


def open_matrix(
    folders: Mapping[str, Path],
    feature_set: str,
    in_list: npt.NDArray[np.bool_],
    *,
    tuning: bool = False,
) -> FeatureMatrix:
    """Open the features of a feature set, memory-mapped, in the corpus' order.

    Parameters
    ----------
    folders : mapping of str to pathlib.Path
        The folder of each block, from :func:`fit_block`.
    feature_set : str
        Its name.
    in_list : bool array, shape [n]
        Which articles are in a known list.
    tuning : bool
        Whether threshold and epochs are being chosen: blocks made of tags then know fewer.
    """
    parts: list[Part] = []
    kinds: list[str] = []
    for name in blocks_of(feature_set):
        is_tuned = tuning and BLOCKS[name].needs_tags
        of_block = open_parts(folders[name] / (TUNING_FOLDER if is_tuned else PARTS_FOLDER))
        parts += of_block
        kinds += [name] * len(of_block)
    return FeatureMatrix(parts, kinds=kinds, in_list=in_list)
