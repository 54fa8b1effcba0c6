"""A registered model for the articles of a run, which has their vectors already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tagsage.errors import TagsageError
from tagsage.progress import track
from tagsage.run_context import RunContext
from tagsage.stages.artifacts import (
    MODEL_CODE,
    VECTORS,
    Blocks,
    Ref,
    load_labels,
    load_snapshot,
    load_vectors,
)
from tagsage.stages.backends import runner_of, tracking_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.features import Articles, FeatureMatrix
    from tagsage.registry.tagger import Tagger
    from tagsage.registry.versions import Version
    from tagsage.store.snapshot import Snapshot
    from tagsage.workspace import Artifact

    VectorsOfRows = Callable[[npt.NDArray[np.int64] | slice], npt.NDArray[np.float32]]

logger = logging.getLogger(__name__)

BLOCK_ROWS = 8192


class UnusableModelError(TagsageError):
    """A model cannot tag the articles of a corpus; the message is only the reason."""


@dataclass(frozen=True)
class LoadedTagger:
    """A version of the model, ready for the articles of a run."""

    tagger: Tagger
    model_id: str
    vectors: VectorsOfRows | None  # of articles by row; None: it needs none

    def features(self, corpus: Articles, rows: npt.NDArray[np.int64]) -> FeatureMatrix:
        """Return the features of some articles of the corpus."""
        return self.tagger.features.transform(self.articles(corpus, rows))

    def all_articles(self, corpus: Articles, file: Path) -> Articles:
        """Return the corpus with the vectors that the model needs, in a file."""
        from tagsage.graph.arrays import create_array

        if not self.vectors:
            return corpus
        made = create_array(file, (len(corpus), self.tagger.dimensions))
        for start in track(range(0, len(corpus), BLOCK_ROWS), "vectors: blocks of articles"):
            block = slice(start, start + BLOCK_ROWS)
            made[block] = self.vectors(block)
        return corpus.with_vectors(made)

    def parts(
        self, corpus: Articles, rows: npt.NDArray[np.int64]
    ) -> Iterator[tuple[npt.NDArray[np.int64], Articles]]:
        """Yield some articles of the corpus in parts: their rows, and themselves."""
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            yield part, self.articles(corpus, part)

    def articles(self, corpus: Articles, rows: npt.NDArray[np.int64]) -> Articles:
        """Return some articles of the corpus, with the vectors that the model needs."""
        articles = corpus.take(rows)
        return articles.with_vectors(self.vectors(rows)) if self.vectors else articles


def load_tagger(
    run: RunContext, version: str, snapshot: Snapshot, features: Blocks
) -> LoadedTagger:
    """Load a version of the model from the registry, for the articles of a run.

    Raises `UnusableModelError` when files are not those registered, or it lacks what it needs; and
    `TagsageError` when MLflow does not answer: a later try may succeed.
    """
    from tagsage.registry.checksums import DamagedModelError
    from tagsage.registry.pyfunc import tagger_of
    from tagsage.registry.versions import load_version

    settings = run.settings
    try:
        model = load_version(tracking_of(settings), settings.registered_model, version)
    except DamagedModelError as error:
        logger.warning("%s", error)
        raise UnusableModelError("The champion's files were changed or are gone") from error
    tagger = tagger_of(model)
    vectors = _vectors_for(run, tagger, snapshot, features)
    return LoadedTagger(tagger, str(model.metadata.model_uuid), vectors)


def is_outdated(run: RunContext, version: Version, corpus: Ref) -> bool:
    """Return whether a version has list means, label sums or author sums of another corpus."""
    from tagsage.features import BLOCKS, blocks_of
    from tagsage.registry.versions import DATA_DIGEST, STATES_DIGEST

    known = version.tags.get(STATES_DIGEST, version.tags[DATA_DIGEST])
    blocks = blocks_of(version.candidate.partition(":")[0])
    return known != run.workspace.open(corpus).summary["digest"] and any(
        BLOCKS[name].refreshable for name in blocks
    )


def refreshed_tagger(
    run: RunContext, loaded: LoadedTagger, corpus: Ref, split: Ref, features: Blocks
) -> Artifact:
    """Fit a model's list means, label sums and author sums again, on the articles of the split."""

    def build(folder: Path) -> None:
        from tagsage.features import Articles
        from tagsage.learn.labels import label_matrix

        snapshot = load_snapshot(run, corpus)
        tagger, rows = loaded.tagger, load_labels(run, split).rows
        Y = label_matrix(snapshot.articles["tags"].iloc[rows].tolist(), tagger.candidate.tags)
        with run.workspace.scratch() as scratch:
            articles = loaded.all_articles(Articles.of_snapshot(snapshot), scratch / "vectors.npy")
            refreshed = tagger.features.refreshed(articles, rows, Y, runner_of(run))
        replace(tagger, features=refreshed).save(folder)

    inputs = {
        "model": loaded.model_id,
        "corpus": corpus,
        "split": split,
        "vectors": features[VECTORS],
    }
    return run.artifact("refreshed", inputs, build, code=MODEL_CODE)


def _vectors_for(
    run: RunContext, tagger: Tagger, snapshot: Snapshot, features: Blocks
) -> VectorsOfRows | None:
    """Return the run's own vectors where they are of the same model, else the model's own."""
    from tagsage.embed.text import article_texts

    if not tagger.features.needs_vectors:
        return None
    embedder, vectors = tagger.embedder, load_vectors(run, features[VECTORS])
    if embedder is None:
        if run.settings.embedder != "precomputed" or vectors.shape[1] != tagger.dimensions:
            raise UnusableModelError(
                f"The champion was trained on precomputed vectors of {tagger.dimensions} numbers, "
                "and this run's are others"
            )
        return vectors.__getitem__
    if embedder.model_id == run.workspace.open(features[VECTORS]).summary["model_id"]:
        return vectors.__getitem__
    return lambda rows: embedder.embed_cached(
        article_texts(snapshot.articles.iloc[rows]), run.settings, run_id=run.run_id
    )
