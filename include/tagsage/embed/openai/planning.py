"""What is to be sent this run, and what it will cost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tagsage.embed.caches import caches
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.openai.prices import dollars, price_of
from tagsage.embed.openai.spool import CACHE, recover
from tagsage.embed.openai.tokens import prepare
from tagsage.embed.plan import Plan, plan_missing
from tagsage.embed.text import unique_texts
from tagsage.errors import TagsageError
from tagsage.openai_connection import OpenAiConnection

logger = logging.getLogger(__name__)

# Texts tried, one after the other, to learn how long a model's vectors are.
PROBES = 3


def plan_openai(
    texts: Sequence[str],
    hashes: npt.NDArray[Any],
    *,
    folder: Path,
    config: OpenAiConfig,
    connect: Callable[[], OpenAiConnection],
    prices: str,
    batch: bool,
    batch_size: int,
    probe: Callable[[npt.NDArray[np.int64]], object] | None = None,
) -> Plan:
    """Plan what has to be sent: the texts that were never paid for, nor refused before.

    Parameters
    ----------
    texts, hashes : sequence of str and numpy.ndarray of S32, length n
        One text an article, and their hashes.
    folder : pathlib.Path
        Folder of cache, ledger and spool.
    config : OpenAiConfig
        Model and manners.
    connect : callable
        Returns the connection; called only when there is something to send.
    prices : str
        The user's corrections of prices; see :func:`tagsage.embed.openai.prices.price_of`.
    batch : bool
        Whether the Batch API is to be used.
    batch_size : int
        Texts of one task.
    probe : callable, optional
        Embeds the given row, when the length of the model's vectors is not known yet. Without it
        nothing at all is sent, and the plan may say 0 dimensions.

    Returns
    -------
    Plan
        Its summary says ``embedder``, ``new_texts``, ``estimated_tokens``, ``price`` (US dollars a
        million tokens), ``estimated_dollars``, ``cut_texts``, ``rejected_texts``.

    Raises
    ------
    TagsageError
        When the price of a model at OpenAI is not known, or the server cannot be asked.
    """
    with Ledger(folder) as ledger:
        # What a killed run has paid for is not missing.
        recover(ledger, folder)
        rejected = ledger.rejected(config.model_id)
    dimensions = config.known_dimensions or kept_dimensions(folder, config.model_id)
    if dimensions is None and probe is not None:
        dimensions = _learn_dimensions(hashes, folder, config, probe)
    plan = plan_missing(
        hashes,
        folder=folder,
        model_id=config.model_id,
        dimensions=dimensions or 1,
        batch_size=batch_size,
        left_out=rejected,
    )
    prepared = prepare([texts[row] for row in plan.missing.tolist()])
    price = 0.0
    if len(plan.missing):
        connection = connect()
        if probe is not None:
            # Before tasks begin to send; who only wants to know the price needs no key.
            connection.require_key()
        price = price_of(config.model, official=connection.official, table=prices, batch=batch)
    tokens = int(prepared.estimates.sum())
    summary = plan.summary | {
        "embedder": "openai",
        "dimensions": dimensions or 0,
        "estimated_tokens": tokens,
        "price": price,
        "estimated_dollars": round(dollars(tokens, price), 6),
        "cut_texts": int(prepared.cut.sum()),
        "rejected_texts": int(np.isin(hashes, np.array(sorted(rejected), dtype="S32")).sum()),
    }
    return replace(plan, dimensions=dimensions or 0, summary=summary)


def kept_dimensions(folder: Path, model_id: str) -> int | None:
    """Return how long the vectors of a model in the cache are; None when there is none."""
    for cache in caches(folder / CACHE):
        if cache.model_id == model_id:
            return cache.dimensions
    return None


def _learn_dimensions(
    hashes: npt.NDArray[Any],
    folder: Path,
    config: OpenAiConfig,
    probe: Callable[[npt.NDArray[np.int64]], object],
) -> int | None:
    rows = unique_texts(hashes)
    for row in rows[:PROBES].tolist():
        probe(np.array([row], dtype=np.int64))
        dimensions = kept_dimensions(folder, config.model_id)
        if dimensions is not None:
            logger.info("openai: a vector of %s has %d numbers", config.model, dimensions)
            return dimensions
    if len(rows):
        msg = (
            f"{config.model} gave no vector for any of {min(PROBES, len(rows))} texts, so nobody "
            "knows how long its vectors are; set openai_dimensions, or choose another model."
        )
        raise TagsageError(msg)
    return None
