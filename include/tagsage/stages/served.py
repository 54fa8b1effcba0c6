"""A served model among the articles of a night: what it is given instead of making it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tagsage.night import Night
from tagsage.stages.common import Blocks, feature_matrix, matrix_of
from tagsage.stages.embed_openai import embed_as, open_cache
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.store.snapshot import Snapshot
    from tagsage.tracking.servable import Tagger

    Reader = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
    BlocksReader = Callable[[npt.NDArray[np.int64]], Mapping[str, npt.NDArray[np.float32]]]


def vectors_for(
    night: Night, tagger: Tagger, snapshot: Snapshot, features: Blocks
) -> Reader | None:
    """Return what gives a model the vectors of articles by row; None when it makes them itself.

    Those of tonight, when they are of the same model; another model's of OpenAI through the cache:
    what was paid for is not paid for again.
    """
    from tagsage.vectors.openai.embedder import OpenAiEmbedder
    from tagsage.vectors.text import article_texts

    embedder = tagger.featuriser.embedder
    tonight = night.workspace.open(features["text"]).summary["model_id"]
    if embedder is None or embedder.model_id == tonight:
        return feature_matrix(night, features, "text").rows
    if not isinstance(embedder, OpenAiEmbedder):
        return None
    # One for all blocks: it checks every vector it holds, once.
    cache = open_cache(night.settings, embedder)
    return lambda rows: embed_as(
        night, embedder, cache, article_texts(snapshot.articles.iloc[rows])
    )


def projection_blocks(
    workspace: Workspace, features: Blocks, blocks: Iterable[str]
) -> BlocksReader | None:
    """Return what gives articles by row the blocks that only the graph of a night has.

    Parameters
    ----------
    workspace : Workspace
        Where they are.
    features : dict of str to str
        Block -> ref, of the night.
    blocks : iterable of str
        The blocks of a feature set.

    Returns
    -------
    callable, or None
        None where none of `blocks` is of that kind.
    """
    from tagsage.learn.features import PROJECTION_BLOCKS

    wanted = [block for block in blocks if block in PROJECTION_BLOCKS]
    if not wanted:
        return None
    folders = {block: workspace.open(ref).path for block, ref in features.items() if ref}
    matrices = {block: matrix_of(folders, block) for block in wanted}
    return lambda rows: {block: matrix.rows(rows) for block, matrix in matrices.items()}
