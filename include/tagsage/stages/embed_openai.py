"""The embedder ``openai``: what is new is sent, what was paid for is found again."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.stages.common import (
    MODEL_FOLDER,
    VECTORS_CODE,
    Ref,
    load_snapshot,
    load_texts,
    openai_folder,
)
from tagsage.stages.spending import log_spending

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.embed.cache import VectorCache
    from tagsage.embed.openai.config import Ceiling, OpenAiConfig
    from tagsage.embed.openai.embedder import OpenAiEmbedder
    from tagsage.embed.openai.online import OnlineReport
    from tagsage.embed.plan import Plan

logger = logging.getLogger(__name__)

# Texts of one task on line: it has several requests in flight, and few such tasks run at a time.
BATCH_TEXTS = 20_000
VECTORS_FILE = "vectors.npy"
QUARANTINE_FILE = "vectors.csv"
CUT = "the text is longer than the model takes and was cut"


def config_of(settings: Settings) -> OpenAiConfig:
    """Return what is asked of the API, and how."""
    from tagsage.embed.openai.config import OpenAiConfig

    return OpenAiConfig(
        model=settings.openai_model,
        dimensions=settings.openai_dimensions,
        encoding=settings.openai_encoding,
        in_flight=settings.openai_in_flight,
        request_texts=settings.openai_request_texts,
        timeout_s=settings.openai_timeout_s,
        attempts=settings.openai_attempts,
        patience_s=settings.openai_patience_s,
    )


def ceiling_of(settings: Settings) -> Ceiling:
    """Return what the run may spend."""
    from tagsage.embed.openai.config import Ceiling

    return Ceiling(dollars=settings.openai_max_dollars, tokens=settings.openai_max_tokens)


def plan_openai(run: RunContext, corpus: Ref) -> Ref:
    """Find the texts that were never paid for, and say what they will cost.

    Nothing is sent, unless nobody knows yet how long the model's vectors are: then one text is.

    Returns
    -------
    str
        Ref of the plan.

    Raises
    ------
    TagsageError
        When it is clear already that the ceiling is too low, or there is no price to compare with.
    """
    settings = run.settings
    texts, hashes = load_texts(run, corpus)

    def probe(rows: npt.NDArray[np.int64]) -> None:
        send_online(settings, texts, hashes, rows, run_id=run.run_id, dimensions=None)

    planned = plan_texts(settings, texts, hashes, probe=probe)
    _tell_cost(settings, planned.summary)

    def build(folder: Path) -> dict[str, Any]:
        planned.save(folder)
        return {**planned.summary, "model_id": planned.model_id, "batches": len(planned.batches)}

    inputs = {
        "corpus": corpus,
        "summary": planned.summary,
        "missing": [len(planned.missing), int(planned.missing.sum())],
    }
    return run.artifact("plan", inputs, build, code=VECTORS_CODE).ref


def plan_texts(
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    *,
    probe: Callable[[npt.NDArray[np.int64]], object] | None,
) -> Plan:
    """Find the texts that the cache lacks, and what they will cost.

    Parameters
    ----------
    settings : Settings
        Model, mode, prices and folder.
    texts, hashes : sequence of str and S32 array, length n
        The exact texts, and their hashes.
    probe : callable, optional
        Sends the text in a row, so that the length of a vector is known; without, nothing is sent.
    """
    from tagsage.embed.openai import planning
    from tagsage.openai_connection import resolve_openai_connection

    return planning.plan_openai(
        texts,
        hashes,
        folder=openai_folder(settings),
        config=config_of(settings),
        # Asked only when there is something to send: a run without news needs no key.
        connect=resolve_openai_connection,
        prices=settings.openai_prices,
        batch=settings.openai_mode == "batch",
        batch_size=BATCH_TEXTS,
        probe=probe,
    )


def _tell_cost(settings: Settings, plan: Mapping[str, Any]) -> None:
    """Say before anything is sent what is to come, and stop when it cannot be afforded."""
    texts, tokens, dollars = plan["new_texts"], plan["estimated_tokens"], plan["estimated_dollars"]
    if not texts:
        logger.info("openai: no text is new; nothing is sent")
        return
    model = settings.openai_model
    ceiling = f"${settings.openai_max_dollars:,g} and {settings.openai_max_tokens:,} tokens"
    logger.info(
        "openai: %s texts are new to %s: about %s tokens, $%.4f at $%.4f a million; the ceiling is "
        "%s",
        *(f"{texts:,}", model, f"{tokens:,}", dollars, plan["price"], ceiling),
    )
    if plan["cut_texts"]:
        logger.warning("openai: %s texts are too long and are cut", f"{plan['cut_texts']:,}")
    if tokens > settings.openai_max_tokens or dollars > settings.openai_max_dollars:
        msg = (
            f"{texts:,} new texts of about {tokens:,} tokens would cost about ${dollars:,.4f}, and "
            f"the ceiling of a run is {ceiling}; raise openai_max_dollars or openai_max_tokens."
        )
        raise NonRetryableError(msg)


def embed_openai(run: RunContext, corpus: Ref, plan: Ref, batch: int) -> dict[str, int]:
    """Send one batch of the plan; what is answered is kept, whatever happens next."""
    from tagsage.embed.plan import Plan

    todo = Plan.load(run.workspace.open(plan).path)
    start, stop = todo.batches[batch]
    report = send_online(
        run.settings,
        *load_texts(run, corpus),
        todo.missing[start:stop],
        run_id=run.run_id,
        dimensions=todo.dimensions,
    )
    return {
        "texts": report.texts,
        "embedded": report.embedded,
        "rejected": len(report.rejected),
        "cut": report.cut,
    }


def send_online(
    settings: Settings,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    rows: npt.NDArray[np.int64],
    *,
    run_id: str,
    dimensions: int | None,
    config: OpenAiConfig | None = None,
) -> OnlineReport:
    """Send what of some rows is not in the cache.

    Parameters
    ----------
    settings : Settings
        Model, manners, ceiling, prices and folder.
    texts, hashes : sequence of str and S32 array, length n
        The exact texts, and their hashes.
    rows : int64 array
        Which of them are wanted.
    run_id : str
        Who pays.
    dimensions : int or None
        Numbers in a vector; None for a single first text.
    config : OpenAiConfig, optional
        Another model than that of the settings.
    """
    from tagsage.embed.openai.online import embed_online
    from tagsage.embed.openai.prices import price_of
    from tagsage.openai_connection import resolve_openai_connection

    config = config or config_of(settings)
    connection = resolve_openai_connection()
    return embed_online(
        connection,
        config,
        texts,
        hashes,
        rows,
        folder=openai_folder(settings),
        dimensions=dimensions,
        run_id=run_id,
        price=price_of(config.model, official=connection.official, table=settings.openai_prices),
        ceiling=ceiling_of(settings),
    )


def open_cache(settings: Settings, embedder: OpenAiEmbedder) -> VectorCache:
    """Open the vectors of a model that were paid for.

    It remembers what it has checked, so one is to be used for all that is read from it.
    """
    from tagsage.embed.cache import VectorCache
    from tagsage.embed.openai.spool import CACHE

    folder = openai_folder(settings) / CACHE
    return VectorCache(folder, embedder.model_id, embedder.dimensions)


def collect_openai(run: RunContext, corpus: Ref, plan: Ref) -> Ref:
    """Gather the vectors of all articles; what is missing after all is sent on line here.

    Articles whose text the server does not take have a zero vector, and are listed in
    ``quarantine/vectors.csv``; so are those whose text was cut.
    """
    import numpy as np

    from tagsage.embed.openai.embedder import OpenAiEmbedder
    from tagsage.embed.plan import Plan

    settings = run.settings
    config = config_of(settings)
    # Without any text nobody knows; every vector is zero then.
    dimensions = Plan.load(run.workspace.open(plan).path).dimensions or 1
    texts, hashes = load_texts(run, corpus)
    embedder = OpenAiEmbedder(config, dimensions)
    cache = open_cache(settings, embedder)
    rejected = _complete(run, embedder, cache, texts, hashes)

    def build(folder: Path) -> dict[str, Any]:
        embedder.save(folder / MODEL_FOLDER)
        vectors = np.lib.format.open_memmap(
            folder / VECTORS_FILE, mode="w+", dtype=np.float32, shape=(len(texts), dimensions)
        )
        _gather(cache, hashes, vectors, rejected)
        vectors.flush()
        urls = load_snapshot(run, corpus).articles["url"].tolist()
        listed = _quarantine(settings, config.model_id, urls, texts, hashes, rejected)
        listed.to_csv(folder / QUARANTINE_FILE, index=False)
        counts = listed.groupby(["file", "kind", "reason"]).size().reset_index(name="rows")
        return {
            "embedder": "openai",
            "model_id": config.model_id,
            "dimensions": dimensions,
            "articles": len(texts),
            "rejected_texts": len(rejected),
            "cut_articles": int((listed["reason"] == CUT).sum()),
            "quarantine": counts.to_dict("records"),
        }

    inputs = {
        "corpus": corpus,
        "model_id": config.model_id,
        # What the server does not take today it may take tomorrow.
        "rejected": hashlib.sha256(b"".join(sorted(rejected))).hexdigest(),
    }
    artifact = run.artifact("vectors", inputs, build, code=VECTORS_CODE)
    run.workspace.publish(artifact.path / QUARANTINE_FILE, f"quarantine/{QUARANTINE_FILE}")
    log_spending(run)
    return artifact.ref


def _complete(
    run: RunContext,
    embedder: OpenAiEmbedder,
    cache: VectorCache,
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
) -> dict[bytes, str]:
    """See that the cache holds every text; return those that have no vector, and why."""
    from tagsage.embed.openai.ledger import Ledger

    missing = cache.missing(hashes)
    if not len(missing):
        return {}
    with Ledger(openai_folder(run.settings)) as ledger:
        known = ledger.rejected(cache.model_id)
    if all(bytes(each) in known for each in hashes[missing]):
        return {bytes(each): known[bytes(each)] for each in hashes[missing]}
    return send_online(
        run.settings,
        texts,
        hashes,
        missing,
        run_id=run.run_id,
        dimensions=embedder.dimensions,
        config=embedder.config,
    ).rejected


def _gather(
    cache: VectorCache,
    hashes: npt.NDArray[np.bytes_],
    out: npt.NDArray[np.float32],
    rejected: Collection[bytes],
) -> None:
    """Copy the vectors of texts; those of rejected ones become zero.

    Raises
    ------
    TagsageError
        When others are missing too.
    """
    while absent := cache.gather(hashes, out):
        missing = cache.missing(hashes)
        if len(missing) != absent:
            # Another run has put some meanwhile.
            continue
        left = sum(bytes(each) not in rejected for each in hashes[missing])
        if left:
            msg = (
                f"{left:,} texts have no vector of {cache.model_id} in {cache.folder} yet: another "
                "run or a batch has them in hand, or the disk lost them; run again."
            )
            raise TagsageError(msg)
        return


def _quarantine(
    settings: Settings,
    model_id: str,
    urls: Sequence[str],
    texts: Sequence[str],
    hashes: npt.NDArray[np.bytes_],
    rejected: dict[bytes, str],
) -> pd.DataFrame:
    """List the articles whose text was refused or cut, as the quarantine of a file does."""
    from tagsage.corpus.quarantine import REJECTED, REPAIRED, Quarantine
    from tagsage.embed.openai.ledger import Ledger
    from tagsage.embed.openai.tokens import sendable

    with Ledger(openai_folder(settings)) as ledger:
        # At the server's demand, which may be for less than our own limit.
        cut_further = ledger.cut(model_id)
    quarantine = Quarantine()
    for row, (url, text) in enumerate(zip(urls, texts, strict=True)):
        why = rejected.get(bytes(hashes[row]))
        # The line is the article's place in the corpus: there is no file of vectors.
        if why is not None:
            quarantine.add(model_id, row + 1, REJECTED, why, url)
        elif bytes(hashes[row]) in cut_further or sendable(text)[1]:
            quarantine.add(model_id, row + 1, REPAIRED, CUT, url)
    return quarantine.frame()


def embed_as(
    run: RunContext, embedder: OpenAiEmbedder, cache: VectorCache, texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Embed texts with a model of an earlier run, through the cache and on this run's account.

    Parameters
    ----------
    run : RunContext
        Who pays.
    embedder : OpenAiEmbedder
        The model.
    cache : VectorCache
        Its vectors, from :func:`open_cache`; the same for all calls.
    texts : sequence of str, length n
        The texts.

    Returns
    -------
    float32 array, shape [n, dimensions]
        A zero row for an empty text, and for one that the server does not take.
    """
    import numpy as np

    from tagsage.embed.text import text_hashes

    hashes = text_hashes(texts)
    rejected = _complete(run, embedder, cache, texts, hashes)
    vectors = np.zeros((len(texts), embedder.dimensions), dtype=np.float32)
    _gather(cache, hashes, vectors, rejected)
    return vectors
