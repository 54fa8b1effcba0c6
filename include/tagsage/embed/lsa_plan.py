"""Which LSA model embeds this run's texts, and which of them it has not embedded yet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagsage.embed.files import set_aside
from tagsage.embed.lsa import LsaEmbedder, LsaParameters
from tagsage.embed.lsa_models import earlier_models, save_model
from tagsage.embed.plan import MODELS, Plan, plan_missing
from tagsage.embed.text import unique_texts
from tagsage.errors import TagsageError

logger = logging.getLogger(__name__)

LSA_BATCH_SIZE = 100_000


def plan_lsa(
    texts: Sequence[str],
    hashes: NDArray[Any],
    *,
    folder: Path,
    dimensions: int,
    max_terms: int,
    refit_share: float,
    seed: int,
) -> Plan:
    """Find the LSA model that still fits the texts, or fit one; then plan what is missing.

    Of the models below `folder` with the same parameters, the one that saw the most of today's
    texts at its fit is kept when the share it did not see is at most `refit_share`; otherwise a
    model is fitted on today's texts. The same texts and the same folder decide alike.

    Parameters
    ----------
    texts : sequence of str, length n
        One an article; see :func:`tagsage.embed.text.article_texts`.
    hashes : numpy.ndarray of S32, shape (n,)
        Their hashes.
    folder : pathlib.Path
        Folder of models and caches.
    dimensions : int
        Numbers in a vector.
    max_terms : int
        Vocabulary limit.
    refit_share : float
        Largest share of different texts, not seen at the fit, with which a model is kept.
    seed : int
        Seed of the fit.

    Returns
    -------
    Plan
        Its summary says ``refitted`` (bool), ``unseen_share`` (of the best earlier model; None
        without one), ``terms``, and ``warning`` when no text holds a word.
    """
    parameters = LsaParameters(dimensions=dimensions, max_terms=max_terms, seed=seed)
    rows = unique_texts(hashes)
    unique = np.sort(hashes[rows])
    model, unseen_share = None, None
    for unseen_share, path in earlier_models(folder / MODELS, parameters, unique):
        if unseen_share > refit_share:
            break
        try:
            model = LsaEmbedder.load(path)
        except TagsageError as error:
            set_aside(path, str(error))
            continue
        break
    if model is not None and not model.vocabulary and len(unique):
        model = None  # fitted when there was no text at all: it would never learn a word
    refitted = model is None
    if model is None:
        model = LsaEmbedder.fit(
            [texts[row] for row in rows], dimensions=dimensions, max_terms=max_terms, seed=seed
        )
        save_model(model, unique, folder / MODELS)
    summary: dict[str, Any] = {
        "embedder": "lsa",
        "refitted": refitted,
        "unseen_share": None if unseen_share is None else round(unseen_share, 6),
        "terms": len(model.vocabulary),
    }
    if not model.vocabulary:
        summary["warning"] = "No text holds a word: every vector is zero."
        logger.warning(summary["warning"])
    return plan_missing(
        hashes,
        folder=folder,
        model_id=model.model_id,
        dimensions=dimensions,
        batch_size=LSA_BATCH_SIZE,
        summary=summary,
        model_folder=folder / MODELS / model.model_id,
    )
