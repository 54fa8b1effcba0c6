"""The blocks that candidates use, fitted on the corpus; see :mod:`tagsage.features`."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import (
    CORPUS_CODE,
    IN_LIST_FILE,
    KNOWN,
    VECTORS,
    Blocks,
    Ref,
    load_articles,
    load_labels,
)
from tagsage.stages.backends import runner_of
from tagsage.stages.candidates import wanted_blocks

if TYPE_CHECKING:
    from tagsage.features import Articles, KnownArticles
    from tagsage.learn.labels import Labels

logger = logging.getLogger(__name__)

TRAINING = "training"

FEATURES_CODE = (*CORPUS_CODE, "embed", "graph", "runner", "features")


def fit_blocks(token: Token, corpus: Ref, split: Ref, vectors: Ref, graph: Ref) -> Blocks:
    """Fit the blocks that some candidate uses; no tag of the test part is read.

    Returns block -> ref, see :func:`tagsage.features.fitting.fit_block`; and ``vectors``, and
    ``known``: what the blocks were fitted on.
    """
    run = RunContext.of(token)
    part = {"split": split, "of": TRAINING}
    fitter = _Fitter(run, corpus, vectors, load_labels(run, split), part)
    return {VECTORS: vectors, **fitter.fit(sorted(wanted_blocks(run)), graph)}


def fit_on_all(
    run: RunContext, corpus: Ref, split: Ref, features: Blocks, feature_set: str
) -> Blocks:
    """Fit a feature set's blocks that are made of tags again, on all tagged articles."""
    from tagsage.features import BLOCKS, blocks_of

    names = [name for name in blocks_of(feature_set) if BLOCKS[name].needs_tags]
    part = {"split": split, "of": "all"}
    fitter = _Fitter(run, corpus, features[VECTORS], load_labels(run, split), part)
    return features | fitter.fit(names)


@dataclass
class _Fitter:
    """Fits blocks on the tags of a part of the labelled articles, and makes features of all these.

    The corpus is read only when needed.
    """

    run: RunContext
    corpus: Ref
    vectors: Ref
    labels: Labels
    part: dict[str, str]

    @cached_property
    def articles(self) -> Articles:
        return load_articles(self.run, self.corpus, self.vectors)

    @cached_property
    def known(self) -> KnownArticles:
        from tagsage.features import KnownArticles

        labels = self.labels
        if self.part["of"] == TRAINING:
            return KnownArticles.of(self.articles, labels.train_rows, labels.Y_train)
        return KnownArticles.of(self.articles, labels.rows, labels.Y)

    @cached_property
    def tuning(self) -> KnownArticles | None:
        """What is known while the training part is tuned."""
        from tagsage.features import KnownArticles
        from tagsage.learn.fitting import tuning_split

        if self.part["of"] != TRAINING:
            return None
        rows, Y = self.labels.train_rows, self.labels.Y_train
        inner = tuning_split(Y, seed=self.run.settings.seed)
        fitted = slice(None) if inner is None else inner.train
        return KnownArticles.of(self.articles, rows[fitted], Y[fitted])

    def fit(self, names: list[str], graph: Ref = "") -> Blocks:
        """Return the ref of each block, and of what is known."""
        saved = self.run.artifact(
            KNOWN,
            {"corpus": self.corpus, **self.part},
            self._save_known,
            code=FEATURES_CODE,
            label=self.part["of"],
        )
        return {KNOWN: saved.ref, **{name: self._fit_one(name, graph) for name in names}}

    def _save_known(self, folder: Path) -> dict[str, Any]:
        import numpy as np

        known = self.known
        known.save(folder)
        in_list = known.in_known_list(known.mark(self.articles))
        np.save(folder / IN_LIST_FILE, in_list)
        return {
            "articles": len(known.ids),
            "tagged": int(known.labelled.sum()),
            "in_lists": int(in_list.sum()),
        }

    def _fit_one(self, name: str, graph: Ref) -> Ref:
        from tagsage.features import BLOCKS
        from tagsage.features.fitting import fit_block
        from tagsage.features.graphsage import GraphSage

        block, settings = BLOCKS[name], self.run.settings
        inputs: dict[str, Any] = {
            "corpus": self.corpus,
            "rows": hashlib.sha256(self.labels.rows.tobytes()).hexdigest(),
            "settings": settings.model_dump(include={*block.settings}),
        }
        inputs |= {"vectors": self.vectors} if block.needs_vectors else {}
        inputs |= {"part": self.part, "seed": settings.seed} if block.needs_tags else {}
        inputs |= {"graph": graph} if block is GraphSage else {}

        def build(folder: Path) -> dict[str, Any]:
            return fit_block(
                folder,
                name,
                self.articles,
                self.known,
                settings,
                runner_of(self.run),
                rows=self.labels.rows,
                tuning=self.tuning if block.needs_tags else None,
                graph=self.run.workspace.open(graph).path if graph else None,
            )

        label = self.part["of"] if block.needs_tags else ""
        found = self.run.artifact(f"block_{name}", inputs, build, code=FEATURES_CODE, label=label)
        logger.info("%s: %s", name, found.summary)
        return found.ref
