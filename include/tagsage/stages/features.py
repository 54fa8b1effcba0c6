"""The blocks that candidates use, fitted on the corpus; see :mod:`tagsage.features`."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.common import (
    CORPUS_CODE,
    GRAPHSAGE,
    IN_LIST_FILE,
    KNOWN,
    VECTORS,
    Blocks,
    Ref,
    articles_of,
    load_labels,
    wanted_blocks,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.features import Articles

logger = logging.getLogger(__name__)

FEATURES_CODE = (*CORPUS_CODE, "embed", "graph", "runner", "features")


def fit_blocks(token: Token, corpus: Ref, split: Ref, vectors: Ref, graphsage: Ref) -> Blocks:
    """Fit the blocks that some candidate uses; no tag of the test part is read.

    Returns
    -------
    dict of str to str
        Block -> ref, see :func:`tagsage.features.fitting.fit_block`; and ``vectors``, and
        ``known``: what the blocks were fitted on.
    """
    run = RunContext.of(token)
    labels = load_labels(run, split)
    return fit_on(
        run,
        corpus,
        {VECTORS: vectors, GRAPHSAGE: graphsage},
        labels.train_rows,
        labels.Y_train,
        sorted(wanted_blocks(run.settings)),
        part={"split": split, "of": "training"},
    )


def fit_on_all(
    run: RunContext, corpus: Ref, split: Ref, features: Blocks, feature_set: str
) -> Blocks:
    """Fit the blocks of a feature set that are made of tags again, on all tagged articles.

    Returns
    -------
    dict of str to str
        `features`, with these in the place of what was fitted on the training part.
    """
    from tagsage.features import BLOCKS, blocks_of

    labels = load_labels(run, split)
    names = [name for name in blocks_of(feature_set) if BLOCKS[name].needs_tags]
    part = {"split": split, "of": "all"}
    return features | fit_on(run, corpus, features, labels.rows, labels.Y, names, part=part)


def fit_on(
    run: RunContext,
    corpus: Ref,
    made: Blocks,
    rows: npt.NDArray[np.int64],
    Y: npt.NDArray[np.bool_],
    names: list[str],
    *,
    part: dict[str, str],
) -> Blocks:
    """Fit blocks, where the tags `Y` of the articles `rows` are known; `part` names them."""
    from tagsage.features import BLOCKS, Known
    from tagsage.features.fitting import fit_block
    from tagsage.learn.fitting import tuning_split
    from tagsage.runner import LocalRunner

    settings = run.settings

    # Read and made only when something is to be fitted, and once.
    @cache
    def articles() -> Articles:
        return articles_of(run, corpus, made[VECTORS])

    @cache
    def known() -> Known:
        return Known.of(articles(), rows, Y)

    def tuning() -> Known:
        inner = tuning_split(Y, seed=settings.seed)
        fitted = slice(None) if inner is None else inner.train
        return Known.of(articles(), rows[fitted], Y[fitted])

    def save_known(folder: Path) -> dict[str, Any]:
        import numpy as np

        known().save(folder)
        in_list = known().in_known_list(known().mark(articles()))
        np.save(folder / IN_LIST_FILE, in_list)
        return {"articles": len(known().ids), "tagged": len(rows), "in_lists": int(in_list.sum())}

    def artifact(name: str) -> Ref:
        block = BLOCKS[name]
        inputs: dict[str, Any] = {
            "corpus": corpus,
            "settings": {setting: getattr(settings, setting) for setting in block.settings},
        }
        trained = made.get(GRAPHSAGE, "") if name == GRAPHSAGE else ""
        inputs |= {"vectors": made[VECTORS]} if block.needs_vectors else {}
        inputs |= {"part": part, "seed": settings.seed} if block.needs_tags else {}
        inputs |= {"trained": trained} if trained else {}

        def build(folder: Path) -> dict[str, Any]:
            return fit_block(
                folder,
                name,
                articles(),
                known(),
                settings,
                LocalRunner(),
                tuning=tuning() if block.needs_tags else None,
                trained=run.workspace.open(trained).path if trained else None,
            )

        label = part["of"] if block.needs_tags else ""
        found = run.artifact(f"block_{name}", inputs, build, code=FEATURES_CODE, label=label)
        logger.info("%s: %s", name, found.summary)
        return found.ref

    saved = run.artifact(
        KNOWN, {"corpus": corpus, **part}, save_known, code=FEATURES_CODE, label=part["of"]
    )
    return {VECTORS: made[VECTORS], KNOWN: saved.ref, **{name: artifact(name) for name in names}}
