"""Texts embedded on line: packed into requests, several in flight, none paid for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tagsage.embed.cache import VectorCache
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.openai.online_run import OnlineRun
from tagsage.embed.openai.requests import Sender
from tagsage.embed.openai.spool import CACHE, recover
from tagsage.embed.openai.tokens import prepare
from tagsage.openai_connection import OpenAiConnection


@dataclass(frozen=True)
class OnlineReport:
    """What became of the texts.

    Attributes
    ----------
    texts : int
        Different texts that the cache lacked.
    embedded : int
        Those that this process got vectors for.
    rejected : dict of bytes to str
        Hashes of those that have none, and why; of earlier runs too.
    cut : int
        How many were too long and were cut.
    in_jobs : int
        How many were left to batches that are under way.
    """

    texts: int
    embedded: int
    rejected: dict[bytes, str]
    cut: int
    in_jobs: int


def embed_online(
    connection: OpenAiConnection,
    config: OpenAiConfig,
    texts: Sequence[str],
    hashes: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    *,
    folder: Path,
    dimensions: int | None,
    run_id: str,
    price: float,
    ceiling: Ceiling,
) -> OnlineReport:
    """Get vectors for the texts that the cache lacks.

    Parameters
    ----------
    connection : OpenAiConnection
        The server.
    config : OpenAiConfig
        Model and manners.
    texts, hashes : sequence of str and numpy.ndarray of S32, length n
        The exact texts, and their hashes.
    rows : int64 array
        Which of them are wanted.
    folder : pathlib.Path
        Folder of cache, ledger and spool.
    dimensions : int or None
        Numbers in a vector; None, where nobody knows yet, allows a single row.
    run_id : str
        Who pays.
    price : float
        US dollars a million tokens.
    ceiling : Ceiling
        What the run may spend.

    Returns
    -------
    OnlineReport
        What became of them; texts another process has in hand are waited for.

    Raises
    ------
    CeilingReachedError
        When the next request could cross the ceiling; what was answered is kept.
    TagsageError
        When the server refuses us, is away for too long or out of quota; what was answered is kept.
    ValueError
        When `dimensions` is None and there are several rows.
    """
    if dimensions is None and len(rows) > 1:
        raise ValueError("without dimensions only one text can be embedded")
    with Ledger(folder) as ledger:
        recover(ledger, folder)
        cache = (
            None if dimensions is None else VectorCache(folder / CACHE, config.model_id, dimensions)
        )
        todo = rows if cache is None else rows[cache.missing(hashes[rows])]
        known = ledger.rejected(config.model_id)
        rejected = {
            bytes(each): known[bytes(each)] for each in hashes[todo] if bytes(each) in known
        }
        todo = np.array(
            [row for row in todo.tolist() if bytes(hashes[row]) not in rejected], np.int64
        )
        if not len(todo):
            return OnlineReport(len(rejected), 0, rejected, 0, 0)
        prepared = prepare([texts[row] for row in todo.tolist()])
        sender = Sender(
            connection,
            config,
            ledger,
            folder=folder,
            dimensions=dimensions,
            run_id=run_id,
            price=price,
            ceiling=ceiling,
        )
        wanted = [bytes(each) for each in hashes[todo]]
        run = OnlineRun(sender, cache, wanted, prepared)
        _finish(run.embed())
    return OnlineReport(
        len(todo) + len(rejected),
        run.embedded,
        rejected | run.rejected,
        len(run.cut),
        run.in_jobs,
    )


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end; within an event loop, a notebook's say, in a thread."""
    if not _within_loop():
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def _within_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
