"""What the server charged, for which texts, and whether the answers arrived.

The log holds one JSON object a line, appended at once, so that it survives the server:

    {"charge": 3, "kind": "online", "model": M, "dimensions": D, "tokens": T, "texts": [...]}
    {"outcome": "delivered" | "lost", "charge": 3, "why": "..."}
    {"outcome": "bad", "charge": 3, "why": "...", "texts": [...]}      # those that were spoilt
    {"request": "POST /v1/embeddings", "status": 200, "texts": 2048}
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scripts.openai_api.vectors import JsonObject


class Charged(NamedTuple):
    """What is paid for: a text, as seen by one model at one length."""

    model: str
    dimensions: int
    text: str


@dataclass
class Charge:
    """One answer that was computed.

    Attributes
    ----------
    kind : str
        online or batch.
    items : list of Charged
        What it held, repeated where the request repeated it.
    tokens : int
        As the server counts them.
    outcome : str
        sent (no more is known), delivered (the client read it to its end), lost, bad.
    why : str
        What happened to a lost or bad answer.
    spoilt : set of Charged
        What the client could not use of it: everything, when lost.
    """

    kind: str
    items: list[Charged]
    tokens: int
    outcome: str = "sent"
    why: str = ""
    spoilt: set[Charged] = field(default_factory=set)


class Books:
    """The accounts of a server, kept in memory and appended to a file.

    Parameters
    ----------
    log : pathlib.Path, optional
        The file; it is continued when it exists.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.charges: list[Charge] = []
        self.requests: list[tuple[str, int, int]] = []
        self._lock = threading.RLock()
        self._log = -1
        if log is not None:
            if log.exists():
                self._take(log.read_text(encoding="utf-8").splitlines())
            self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @classmethod
    def read(cls, log: Path) -> Books:
        """Return the books that a server, which may still run, has written so far."""
        books = cls()
        with log.open(encoding="utf-8") as lines:
            # A line is written by one call; only the last may be under way.
            books._take(line for line in lines if line.endswith("\n"))
        return books

    def close(self) -> None:
        """Close the file; the numbers stay readable."""
        with self._lock:
            if self._log >= 0:
                os.close(self._log)
                self._log = -1

    # -- what the server writes ------------------------------------------------------------

    def charge(
        self, kind: str, model: str, dimensions: int, texts: Sequence[str], tokens: int
    ) -> int:
        """Record an answer that was computed and return its number."""
        with self._lock:
            number = len(self.charges)
            self._enter({
                **{"charge": number, "kind": kind, "model": model, "dimensions": dimensions},
                **{"tokens": tokens, "texts": list(texts)},
            })
            return number

    def delivered(self, charge: int) -> None:
        """Record that the client read an answer whole; it does not mend a bad one."""
        self._enter({"outcome": "delivered", "charge": charge})

    def lost(self, charge: int, why: str) -> None:
        """Record that an answer did not arrive whole."""
        self._enter({"outcome": "lost", "charge": charge, "why": why})

    def bad(self, charge: int, why: str, texts: Iterable[str]) -> None:
        """Record that an answer arrived with items spoilt: those of `texts`."""
        self._enter({"outcome": "bad", "charge": charge, "why": why, "texts": list(texts)})

    def request(self, line: str, status: int, texts: int = 0) -> None:
        """Record a request; status 0: the connection was reset before any answer."""
        self._enter({"request": line, "status": status, "texts": texts})

    # -- what a test reads -----------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """Tokens charged so far."""
        return sum(charge.tokens for charge in list(self.charges))

    def times_charged(self) -> Counter[Charged]:
        """Return how often each text was charged."""
        return Counter(item for charge in list(self.charges) for item in charge.items)

    def texts(self) -> set[str]:
        """Return every text that was charged."""
        return {item.text for item in self.times_charged()}

    def outcomes(self) -> Counter[str]:
        """Return how many answers were sent, delivered, lost and bad."""
        return Counter(charge.outcome for charge in list(self.charges))

    def answered(self, line: str) -> list[int]:
        """Return the status of each request whose line begins so, such as ``POST /v1/files``."""
        return [status for request, status, _ in list(self.requests) if request.startswith(line)]

    # -- both ------------------------------------------------------------------------------

    def _enter(self, entry: JsonObject) -> None:
        with self._lock:
            self._apply(entry)
            if self._log >= 0:
                _write_whole(self._log, json.dumps(entry).encode() + b"\n")

    def _take(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._apply(json.loads(line))

    def _apply(self, entry: dict[str, Any]) -> None:
        if "request" in entry:
            self.requests.append((entry["request"], entry["status"], entry["texts"]))
            return
        if "outcome" not in entry:
            model, dimensions = entry["model"], entry["dimensions"]
            items = [Charged(model, dimensions, text) for text in entry["texts"]]
            self.charges.append(Charge(entry["kind"], items, entry["tokens"]))
            return
        charge = self.charges[entry["charge"]]
        if entry["outcome"] == "delivered":
            if charge.outcome == "sent":
                charge.outcome = "delivered"
            return
        charge.outcome, charge.why = entry["outcome"], entry["why"]
        spoilt = set(entry["texts"]) if "texts" in entry else None
        charge.spoilt = {item for item in charge.items if spoilt is None or item.text in spoilt}


def _write_whole(handle: int, line: bytes) -> None:
    while line:
        line = line[os.write(handle, line) :]


def charged_twice(books: Books, *, strict: bool = False) -> dict[Charged, tuple[int, int]]:
    """Return the texts that were charged without need.

    Parameters
    ----------
    books : Books
        A server's accounts.
    strict : bool
        A lost answer excuses one more charge of each text it held. So does a bad one, in which
        some items were spoilt; when strict, only of the spoilt ones.

    Returns
    -------
    dict
        For each text charged more often than excused: how often it was charged, and how often
        that would have been right (1 + the excuses).
    """
    charges: Counter[Charged] = Counter()
    allowed: defaultdict[Charged, int] = defaultdict(lambda: 1)
    for charge in list(books.charges):
        charges.update(charge.items)
        if charge.outcome == "lost":
            excused = set(charge.items)
        elif charge.outcome == "bad":
            excused = charge.spoilt if strict else set(charge.items)
        else:
            continue
        for item in excused:
            allowed[item] += 1
    return {item: (n, allowed[item]) for item, n in charges.items() if n > allowed[item]}
