"""The blocks of :mod:`tagsage.features`, fitted on the corpus: a state, and every article's row."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.night import Night, Token
from tagsage.stages.common import (
    CORPUS_CODE,
    MATRIX_FOLDER,
    STATE_FOLDER,
    Blocks,
    Ref,
    load_snapshot,
    wanted_blocks,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

BLOCKS_CODE = (*CORPUS_CODE, "vectors", "runner", "features")


def fit_blocks(token: Token, corpus: Ref) -> Blocks:
    """Fit the blocks that some candidate uses; see :func:`fit_block` for the artifacts.

    Returns
    -------
    dict of str to str
        Block -> ref.
    """
    from tagsage.features import BLOCKS

    night = Night.of(token)
    wanted = wanted_blocks(night.settings)

    def artifact(block: str) -> Ref:
        def build(folder: Path) -> dict[str, Any]:
            return fit_block(folder, block, load_snapshot(night, corpus))

        return night.artifact(f"block_{block}", {"corpus": corpus}, build, code=BLOCKS_CODE).ref

    return {block: artifact(block) for block in BLOCKS if block in wanted}


def fit_block(
    folder: Path,
    block: str,
    snapshot: Snapshot,
    *,
    hidden: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Fit a block, and make its features of every article.

    Parameters
    ----------
    folder : pathlib.Path
        An existing empty folder; gets ``state/`` and ``matrix/``, a CSR matrix.
    block : str
        Its name.
    snapshot : Snapshot
        The corpus.
    hidden : int64 array, optional
        Articles that are not there yet while the state is fitted.

    Returns
    -------
    dict
        ``articles`` and ``columns``, their numbers.
    """
    import numpy as np

    from tagsage.features import BLOCKS, Articles
    from tagsage.graph.csr import save_csr
    from tagsage.runner import LocalRunner

    articles = Articles.of_snapshot(snapshot)
    known = articles
    if hidden is not None:
        known = articles.take(np.setdiff1d(np.arange(len(articles)), hidden))
    fitted = BLOCKS[block].fit(known, LocalRunner())
    fitted.save(folder / STATE_FOLDER)
    matrix = fitted.transform(articles)
    save_csr(folder / MATRIX_FOLDER, matrix)
    logger.info("%s: %d articles, %d columns", block, *matrix.shape)
    return {"articles": matrix.shape[0], "columns": matrix.shape[1]}
