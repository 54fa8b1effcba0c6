"""Propagation of labels: what the model may know of tags, at each step of a night.

The block ``labels`` is propagated over lists, ``authors`` over authors: an author's articles are
taken for a list.

- While threshold and epochs are chosen: the labels of the articles fitted then, 85% of the
  training part.
- When candidates are compared: those of the training part.
- In the model that predicts: those of all tagged articles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.night import Night, Token
from tagsage.stages.common import (
    LEARN_CODE,
    TUNING_FOLDER,
    Blocks,
    Ref,
    labels_config,
    load_labels,
    load_snapshot,
    wanted_blocks,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

LISTS_FOLDER = "lists"


def propagate_labels(token: Token, corpus: Ref, split: Ref) -> Blocks:
    """Propagate the training labels over lists and authors; no other label is read.

    Fills an artifact for each block with ``shares.npy`` (float32 [n_articles, target tags]) and
    ``evidence.npy`` (float32 [n_articles, 1]), and with the same in ``tuning/`` for the choice of
    threshold and epochs.

    Returns
    -------
    dict of str to str
        Block -> ref, for the blocks that some candidate uses.
    """
    from tagsage.learn.features import LABEL_BLOCKS

    night = Night.of(token)

    def fill(folder: Path, block: str) -> dict[str, Any]:
        snapshot, labels = load_snapshot(night, corpus), load_labels(night, split)
        rows, Y = labels.train_rows, labels.Y_train
        return propagate_parts(night, folder, snapshot, rows, Y, block, seed=night.settings.seed)

    wanted = [block for block in LABEL_BLOCKS if block in wanted_blocks(night.settings)]
    if not wanted:
        logger.info("No candidate uses labels: left out.")
    return {block: _artifact(night, corpus, split, block, fill, of="training") for block in wanted}


def propagate_parts(
    night: Night,
    folder: Path,
    snapshot: Snapshot,
    rows: npt.NDArray[np.int64],
    Y: npt.NDArray[np.bool_],
    block: str,
    *,
    seed: int,
    hidden: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Propagate the labels of a training part, and, for tuning, those of the part fitted then.

    Parameters
    ----------
    night : Night
        The night.
    folder : pathlib.Path
        An existing empty folder; filled as :func:`propagate_labels` says.
    snapshot : Snapshot
        The corpus.
    rows : int64 array, shape [m]
        Article indices of the training part.
    Y : bool array, shape [m, L]
        Their labels; no others are read.
    block : str
        ``labels`` or ``authors``.
    seed : int
        Seed of the fit, on which the part for tuning depends.
    hidden : int64 array, optional
        Articles that are not there while lists are counted; none of `rows`.
    """
    from tagsage.learn.fitting import tuning_split

    # Where there are too few articles to tune on, nothing is tuned.
    inner = tuning_split(Y, seed=seed)
    fitted = slice(None) if inner is None else inner.train
    tuning = folder / TUNING_FOLDER
    tuning.mkdir()
    _propagate(night, tuning, snapshot, rows[fitted], Y[fitted], block, hidden=hidden)
    return _propagate(night, folder, snapshot, rows, Y, block, hidden=hidden)


def propagate_all_labels(night: Night, corpus: Ref, split: Ref, block: str) -> Ref:
    """Propagate the labels of all tagged articles, for the model that predicts.

    Fills the artifact as :func:`propagate_labels` does, without ``tuning/``; and ``lists/`` with
    what features of new articles are made of.
    """

    def fill(folder: Path, block: str) -> dict[str, Any]:
        snapshot, labels = load_snapshot(night, corpus), load_labels(night, split)
        return _propagate(night, folder, snapshot, labels.rows, labels.Y, block)

    return _artifact(night, corpus, split, block, fill, of="all")


def _propagate(
    night: Night,
    folder: Path,
    snapshot: Snapshot,
    rows: npt.NDArray[np.int64],
    Y: npt.NDArray[np.bool_],
    block: str,
    *,
    hidden: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    import numpy as np

    from tagsage.graph.arrays import create_array
    from tagsage.graph.csr import without_rows
    from tagsage.graph.labels import propagate_labels as propagate

    n = len(snapshot.articles)
    incidence = snapshot.authorship()[1] if block == "authors" else snapshot.incidence()
    propagated = propagate(
        incidence if hidden is None else without_rows(incidence, hidden),
        rows,
        Y,
        labels_config(night.settings, block),
        out=lambda name, width: create_array(folder / name, (n, width)),
    )
    if hidden is not None:
        further = propagated.lists.features(incidence[hidden])
        propagated.shares[hidden], propagated.evidence[hidden] = further
    for array in propagated[:2]:
        if isinstance(array, np.memmap):
            array.flush()
    propagated.lists.save(folder / LISTS_FOLDER)
    reached = propagated.evidence[:, 0] > 0
    return {"labelled_articles": len(rows), "articles_reached": int(reached.sum())}


def _artifact(
    night: Night,
    corpus: Ref,
    split: Ref,
    block: str,
    fill: Callable[[Path, str], dict[str, Any]],
    *,
    of: str,
) -> Ref:
    inputs = {
        "corpus": corpus,
        "split": split,
        "of": of,
        "seed": night.settings.seed,
        **vars(labels_config(night.settings, block)),
    }

    def build(folder: Path) -> dict[str, Any]:
        return fill(folder, block)

    artifact = night.artifact(block, inputs, build, code=(*LEARN_CODE, "graph"), label=of)
    logger.info("%s of %s articles: %s", block, of, artifact.summary)
    return artifact.ref
