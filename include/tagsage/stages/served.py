"""A served model among the articles of a run: what it is given instead of making it anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagsage.errors import TagsageError
from tagsage.run_context import RunContext
from tagsage.stages.common import VECTORS, Blocks, load_vectors, tracking_of
from tagsage.stages.embed import embed_as

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.features import Articles
    from tagsage.registry.tagger import Tagger
    from tagsage.store.snapshot import Snapshot

    Reader = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]

logger = logging.getLogger(__name__)


class UnusableModelError(TagsageError):
    """A model cannot answer for the articles of a corpus; the message says why, and no more."""


@dataclass(frozen=True)
class Served:
    """A version of the model, ready to answer for the articles of a run.

    Attributes
    ----------
    tagger : Tagger
        The model.
    model_id : str
        MLflow's name of it.
    vectors : callable or None
        Gives the vectors of articles by row; None when the model makes them itself.
    """

    tagger: Tagger
    model_id: str
    vectors: Reader | None


def load_served(run: RunContext, version: str, snapshot: Snapshot, features: Blocks) -> Served:
    """Load a version of the model from the registry, for the articles of a run.

    Raises
    ------
    UnusableModelError
        When its files are not those that were registered, or it lacks what it needs.
    TagsageError
        When MLflow cannot be asked for it; a later try may find MLflow there.
    """
    from tagsage.registry.registry import load_champion
    from tagsage.registry.seal import DamagedModelError
    from tagsage.registry.servable import tagger_of

    settings = run.settings
    try:
        model = load_champion(tracking_of(settings), settings.registered_model, version=version)
    except DamagedModelError as error:
        logger.warning("version %s: %s", version, error)
        raise UnusableModelError("The champion's files were changed or are gone") from error
    tagger = tagger_of(model)
    return Served(
        tagger,
        str(model.metadata.model_uuid),
        _vectors_for(run, tagger, snapshot, features),
    )


def _vectors_for(
    run: RunContext, tagger: Tagger, snapshot: Snapshot, features: Blocks
) -> Reader | None:
    """Return what gives a model the vectors of articles by row; None when it makes them itself.

    Those of this run, when they are of the same model; another model's of OpenAI through the cache:
    what was paid for is not paid for again.
    """
    from tagsage.embed.text import article_texts

    if not tagger.features.needs_vectors:
        return None
    embedder, text = tagger.embedder, load_vectors(run, features[VECTORS])
    if embedder is None:
        width = tagger.dimensions
        if run.settings.embedder != "precomputed" or text.shape[1] != width:
            raise UnusableModelError(
                f"The champion was trained on precomputed vectors of {width} numbers, and this "
                "run's are others"
            )
        return text.__getitem__
    if embedder.model_id == run.workspace.open(features[VECTORS]).summary["model_id"]:
        return text.__getitem__
    # Looked for only then: the module needs the SDK.
    from tagsage.embed.openai.embedder import OpenAiEmbedder

    if not isinstance(embedder, OpenAiEmbedder):
        return None
    return lambda rows: embed_as(run, embedder, article_texts(snapshot.articles.iloc[rows]))


def articles_for(model: Served, corpus: Articles, rows: npt.NDArray[np.int64]) -> Articles:
    """Return some articles of a corpus, with the vectors that a model wants."""
    articles = corpus.take(rows)
    if not model.tagger.features.needs_vectors:
        return articles
    given = model.vectors
    vectors = given(rows) if given else model.tagger.vectors(articles.texts)
    return articles.with_vectors(vectors)
