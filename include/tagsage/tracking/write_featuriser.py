"""What a featuriser needs of the corpus, gathered in a folder of arrays and JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.features import BLOCKS
from tagsage.graph.fastrp import FastRpConfig, projection_matrix
from tagsage.learn.features import blocks_of
from tagsage.tracking.companions import write_companions
from tagsage.tracking.fastrp_projection import FastRpProjection
from tagsage.tracking.featuriser import (
    AUTHORS,
    COMPANIONS,
    EMBEDDER,
    FASTRP,
    FEATURISER,
    GRAPHSAGE,
    LABELS,
    LISTS,
    MEMBERSHIPS,
    OF_VECTORS,
    SPARSE,
)
from tagsage.tracking.list_blocks import write_list_vectors, write_named_lists
from tagsage.vectors.lsa import MODEL_FILE

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr


def write_featuriser(
    folder: Path,
    *,
    feature_set: str,
    dimensions: int,
    embedder: Path | None,
    graphsage: Path | None = None,
    graphsage_dimensions: int = 0,
    fastrp: FastRpConfig | None = None,
    list_names: npt.NDArray[Any] | None = None,
    incidence: Csr | None = None,
    hop_inputs: Sequence[npt.NDArray[np.floating]] = (),
    size_discount: float | None = None,
    topic_sharpness: float = 0.0,
    list_factors: Path | None = None,
    list_labels: Path | None = None,
    author_names: npt.NDArray[Any] | None = None,
    author_labels: Path | None = None,
    article_keys: Sequence[str] | None = None,
    corpus_digest: str = "",
    graph: Mapping[str, str] | None = None,
    sparse: Mapping[str, Path] | None = None,
) -> None:
    """Write everything that a feature set needs of the corpus to a folder.

    Parameters
    ----------
    folder : pathlib.Path
        An existing empty folder.
    feature_set : str
        ``text``, ``text+lists``, …: block names joined by ``+``.
    dimensions : int
        Numbers in a text vector.
    embedder : pathlib.Path or None
        Folder of the saved embedder; None when vectors were given.
    graphsage : pathlib.Path, optional
        Folder of the saved GraphSAGE model; None when it was not trained.
    graphsage_dimensions : int
        Numbers in a GraphSAGE embedding.
    fastrp : FastRpConfig, optional
        The settings that made the training features; needed for the block ``fastrp``.
    list_names : str array, shape [n_lists], optional
        The lists' names; needed for the blocks ``lists``, ``memberships`` and ``labels``. The next
        three are needed for ``lists``.
    incidence : csr_array, shape [n_articles, n_lists], optional
        Which article is in which list.
    hop_inputs : sequence of float arrays, shape [n_articles, d]
        What is averaged at each hop: the text vectors for the first, the vectors after one hop for
        the second. They may be memory-mapped.
    size_discount : float, optional
        As in the propagation that made the training features: a list weighs
        size ** -size_discount.
    topic_sharpness : float
        As in that propagation; see :func:`tagsage.graph.topic_fit.topic_fit`.
    list_factors : pathlib.Path, optional
        Folder of the saved :class:`~tagsage.graph.memberships.ListFactors`; needed for the block
        ``memberships``.
    list_labels : pathlib.Path, optional
        Folder of the saved :class:`~tagsage.graph.labels.ListLabels` of the fit; needed for the
        block ``labels``.
    author_names : str array, shape [n_authors], optional
        The authors' names; needed for the block ``authors``.
    author_labels : pathlib.Path, optional
        The same as `list_labels`, of authors; needed for the block ``authors``.
    article_keys : sequence of str, length n_articles, optional
        The articles' keys; with `incidence` companions are understood, where lists matter.
    corpus_digest : str
        Digest of the corpus.
    graph : mapping of str to str, optional
        The artifacts of the blocks that only the corpus' graph has, and of ``linked``.
    sparse : mapping of str to pathlib.Path, optional
        Folders of the saved blocks with a column per word, list or author.

    Raises
    ------
    ValueError
        When a block is unknown, or lacks its inputs.
    """
    blocks = blocks_of(feature_set)
    hops = len(hop_inputs) if "lists" in blocks else 0
    if "lists" in blocks:
        if list_names is None or incidence is None or not hops or size_discount is None:
            raise ValueError(
                "the block lists needs list_names, incidence, hop_inputs and size_discount"
            )
        write_list_vectors(folder / LISTS, list_names, incidence, hop_inputs, size_discount)
    if MEMBERSHIPS in blocks:
        if list_names is None or list_factors is None:
            raise ValueError("the block memberships needs list_names and list_factors")
        write_named_lists(folder / MEMBERSHIPS, list_names, list_factors)
    if "labels" in blocks:
        if list_names is None or list_labels is None:
            raise ValueError("the block labels needs list_names and list_labels")
        write_named_lists(folder / LABELS, list_names, list_labels)
    if "authors" in blocks:
        if author_names is None or author_labels is None:
            raise ValueError("the block authors needs author_names and author_labels")
        write_named_lists(folder / AUTHORS, author_names, author_labels)
    if set(OF_VECTORS).isdisjoint(blocks):
        embedder = None
    if embedder is not None:
        shutil.copytree(embedder, folder / EMBEDDER)
    trained = "graphsage" in blocks and graphsage is not None
    if trained and graphsage is not None:
        shutil.copytree(graphsage, folder / GRAPHSAGE)
    if "fastrp" in blocks:
        if fastrp is None:
            raise ValueError("the block fastrp needs its settings")
        matrix = projection_matrix(dimensions, fastrp)
        FastRpProjection(fastrp, matrix).save(folder / FASTRP)
    states = sparse or {}
    for block in set(BLOCKS) & set(blocks):
        if block not in states:
            raise ValueError(f"the block {block} needs its state")
        shutil.copytree(states[block], folder / SPARSE / block)
    by_name = not {LISTS, MEMBERSHIPS, LABELS, "list_ids"}.isdisjoint(blocks)
    companions = False
    if by_name and article_keys is not None and incidence is not None:
        companions = True
        write_companions(folder / COMPANIONS, article_keys, incidence)
    about = {
        "blocks": blocks,
        "dimensions": dimensions,
        "embedder": _kind_of(embedder),
        "graphsage": trained,
        "graphsage_dimensions": graphsage_dimensions,
        "fastrp": "fastrp" in blocks,
        "hops": hops,
        "topic_sharpness": topic_sharpness,
        "companions": companions,
        "corpus_digest": corpus_digest,
        "graph": dict(graph or {}),
        # A folder that says so and has no digests lost them.
        "sealed": True,
    }
    (folder / FEATURISER).write_text(json.dumps(about, indent=1), encoding="utf-8")


def _kind_of(embedder: Path | None) -> str:
    if embedder is None:
        return ""
    return "lsa" if (embedder / MODEL_FILE).is_file() else "openai"
