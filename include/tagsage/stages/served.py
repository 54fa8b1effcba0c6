"""A served model among the articles of a night: what it is given instead of making it anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tagsage.errors import TagsageError
from tagsage.night import Night
from tagsage.stages.common import LINKED, Blocks, feature_matrix, matrix_of, tracking_of
from tagsage.stages.embed_openai import embed_as, open_cache
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.store.snapshot import Snapshot
    from tagsage.tracking.servable import Tagger

    Reader = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
    BlocksReader = Callable[[npt.NDArray[np.int64]], Mapping[str, npt.NDArray[Any]]]

logger = logging.getLogger(__name__)


class UnusableModelError(TagsageError):
    """A model cannot answer for the articles of a corpus; the message says why, and no more."""


@dataclass(frozen=True)
class Served:
    """A version of the model, ready to answer for the articles of a night.

    Attributes
    ----------
    tagger : Tagger
        The model.
    model_id : str
        MLflow's name of it.
    vectors : callable or None
        Gives the vectors of articles by row; None when the model makes them itself.
    given : callable or None
        Gives articles by row the blocks that only a graph has; None when the model has none.
    """

    tagger: Tagger
    model_id: str
    vectors: Reader | None
    given: BlocksReader | None


def load_served(night: Night, version: str, snapshot: Snapshot, features: Blocks) -> Served:
    """Load a version of the model from the registry, for the articles of a night.

    Raises
    ------
    UnusableModelError
        When its files are not those that were registered, or it lacks what it needs.
    TagsageError
        When MLflow cannot be asked for it; a later try may find MLflow there.
    """
    from tagsage.tracking.registry import load_champion
    from tagsage.tracking.seal import DamagedModelError
    from tagsage.tracking.servable import tagger_of

    settings = night.settings
    try:
        model = load_champion(tracking_of(settings), settings.registered_model, version=version)
    except DamagedModelError as error:
        logger.warning("version %s: %s", version, error)
        raise UnusableModelError("The champion's files were changed or are gone") from error
    tagger = tagger_of(model)
    return Served(
        tagger,
        str(model.metadata.model_uuid),
        _vectors_for(night, tagger, snapshot, features),
        graph_blocks(night.workspace, tagger, snapshot),
    )


def _vectors_for(
    night: Night, tagger: Tagger, snapshot: Snapshot, features: Blocks
) -> Reader | None:
    """Return what gives a model the vectors of articles by row; None when it makes them itself.

    Those of tonight, when they are of the same model; another model's of OpenAI through the cache:
    what was paid for is not paid for again.
    """
    from tagsage.vectors.openai.embedder import OpenAiEmbedder
    from tagsage.vectors.text import article_texts

    if not tagger.featuriser.needs_vectors:
        return None
    embedder = tagger.featuriser.embedder
    text = feature_matrix(night, features, "text")
    if embedder is None:
        width = tagger.featuriser.dimensions
        if night.settings.embedder != "none" or text.shape[1] != width:
            raise UnusableModelError(
                f"The champion was trained on given vectors of {width} numbers, and tonight's are "
                "others"
            )
        return text.rows
    if embedder.model_id == night.workspace.open(features["text"]).summary["model_id"]:
        return text.rows
    if not isinstance(embedder, OpenAiEmbedder):
        return None
    # One for all blocks: it checks every vector it holds, once.
    cache = open_cache(night.settings, embedder)
    return lambda rows: embed_as(
        night, embedder, cache, article_texts(snapshot.articles.iloc[rows])
    )


def graph_blocks(workspace: Workspace, tagger: Tagger, snapshot: Snapshot) -> BlocksReader | None:
    """Return what gives articles by row the blocks that only the graph of a corpus has.

    They are those that the model was trained on: without neighbours, or in another graph, an
    article's would be others.

    Returns
    -------
    callable, or None
        None where the model has no such block.

    Raises
    ------
    UnusableModelError
        When the corpus is another by now, or the workspace no longer holds them.
    """
    refs = tagger.featuriser.graph
    if not refs:
        return None
    blocks = [block for block in refs if block != LINKED]
    if tagger.featuriser.corpus_digest != snapshot.digest or not all(
        workspace.exists(ref) for ref in refs.values()
    ):
        raise UnusableModelError(
            f"The champion uses {' and '.join(blocks)}, embeddings of the graph of its night, and "
            "the workspace does not hold those of the corpus as it is now"
        )
    folders = {block: workspace.open(ref).path for block, ref in refs.items()}
    matrices = {block: matrix_of(folders, block) for block in blocks}
    linked = matrices[blocks[0]].linked
    return lambda rows: {
        LINKED: linked[rows],
        **{block: matrix.rows(rows) for block, matrix in matrices.items()},
    }
