"""Answers on their way into the cache: kept from the moment they come off the network.

A request has a folder from before it is sent until its vectors are in the cache: what was asked,
and the body of the answer as far as it has come. When the process is killed in between, the next
one finds there what was paid for.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Self

import numpy as np

from tagsage.embed.cache import VectorCache
from tagsage.embed.openai.answers import Answer, BrokenAnswerError, read_answer
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.text import HASH_DTYPE

logger = logging.getLogger(__name__)

SPOOL = "spool"
CACHE = "cache"
REQUEST_FILE = "request.json"
BODY_FILE = "body"


@dataclass(frozen=True)
class Asked:
    """What a request asked for.

    Attributes
    ----------
    request_id : str
        Its name in the ledger.
    owner : str
        The process that sent it.
    model_id : str
        The vectors' name.
    dimensions : int or None
        Numbers in a vector, where that is known.
    hashes : tuple of str
        The texts' hashes, in order.
    """

    request_id: str
    owner: str
    model_id: str
    dimensions: int | None
    hashes: tuple[str, ...]

    def save(self, folder: Path) -> Path:
        """Make the request's folder in the spool; return where the body goes."""
        place = folder / SPOOL / self.request_id
        place.mkdir(parents=True)
        (place / REQUEST_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")
        return place / BODY_FILE

    @classmethod
    def load(cls, place: Path) -> Self | None:
        """Read a request's folder; None when it was not whole yet at a kill."""
        try:
            about = json.loads((place / REQUEST_FILE).read_text(encoding="utf-8"))
            known = {field.name: about[field.name] for field in fields(cls)}
            return cls(**(known | {"hashes": tuple(about["hashes"])}))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def body(self, folder: Path) -> Path:
        """Return where the body of the answer is."""
        return folder / SPOOL / self.request_id / BODY_FILE

    def forget(self, folder: Path) -> None:
        """Remove the request's folder."""
        shutil.rmtree(folder / SPOOL / self.request_id, ignore_errors=True)


def keep(asked: Asked, answer: Answer, folder: Path) -> None:
    """Put the sound vectors of an answer into the cache."""
    if not len(answer.good):
        return
    hashes = np.array(asked.hashes, dtype=HASH_DTYPE)
    cache = VectorCache(folder / CACHE, asked.model_id, answer.vectors.shape[1])
    cache.put(hashes[answer.good], answer.vectors)


def recover(ledger: Ledger, folder: Path) -> int:
    """Take what dead processes left: whole answers into the cache, the rest is settled as lost.

    Parameters
    ----------
    ledger : Ledger
        The open books.
    folder : pathlib.Path
        Their folder, with the cache and the spool.

    Returns
    -------
    int
        How many vectors were found.
    """
    left = _left(folder)
    found = 0
    with ledger.dead_owners(also={owner for owner, _ in left}) as dead:
        # Only now: a process that ended meanwhile has taken its own.
        for owner, place in _left(folder):
            if owner in dead:
                found += _take(ledger, folder, place)
    if found:
        logger.info("openai: found %s vectors that a killed run had paid for", f"{found:,}")
    return found


def _left(folder: Path) -> list[tuple[str, Path]]:
    """Return owner and folder of everything in the spool."""
    spool = folder / SPOOL
    places = sorted(spool.iterdir()) if spool.is_dir() else []
    return [(place.name.rpartition("_")[0], place) for place in places]


def _take(ledger: Ledger, folder: Path, place: Path) -> int:
    asked = Asked.load(place)
    found = 0
    if asked is not None:
        answer = _whole_answer(place / BODY_FILE, asked)
        if answer is not None:
            keep(asked, answer, folder)
            ledger.settle(asked.request_id, "done", answer.tokens)
            found = len(answer.good)
        else:
            ledger.settle(asked.request_id, "lost")
    shutil.rmtree(place, ignore_errors=True)
    return found


def _whole_answer(body: Path, asked: Asked) -> Answer | None:
    try:
        content = body.read_bytes()
        return read_answer(content, expected=len(asked.hashes), dimensions=asked.dimensions)
    except (FileNotFoundError, BrokenAnswerError):
        return None


def open_body(asked: Asked, folder: Path) -> IO[bytes]:
    """Make the request's folder and open its body; what is written is there at once."""
    # Unbuffered: what was read from the network must not wait in this process.
    return asked.save(folder).open("wb", buffering=0)


def as_text(hashes: Sequence[bytes]) -> tuple[str, ...]:
    """Return hashes as JSON has them."""
    return tuple(each.decode() for each in hashes)
