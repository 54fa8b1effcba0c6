"""What goes wrong on purpose, and when.

Faults of any request (a request that was refused is never charged):

    400, 401, 403, 404, 500, 503     refused; 503 comes with an HTML page, as from a proxy
    429, 429_ms, 429_date, 429_bare  refused for a while: retry-after in seconds, retry-after-ms,
                                     retry-after as an HTTP date, no header at all
    quota                            429 insufficient_quota: no waiting helps
    reset_before                     connection reset before anything was done
    reset_midway                     done (and charged); reset in the middle of the answer
    reset_after                      done (and charged); reset before the first byte of the answer
    truncated_body                   closed before Content-Length bytes were sent
    truncated_json, garbage          an answer of its full length that is not JSON
    slow, drip                       right, but late, or a few bytes at a time

Faults of an answer with vectors (all charged); only the first two leave every vector usable:

    wrong_order      items shuffled, each with its right index
    no_index         items in order, without the member `index`
    duplicate_index  one item bears another's index
    missing_item     one item is not there
    additional_item  one item more, with an index past the end
    wrong_count      one item is left out and the rest numbered anew: only the count tells
    wrong_length     one vector lacks its last number
    nan, infinity, zero   one vector holds such a number, or nothing but zeros

Faults of the output of a batch, also: missing_line (neither output nor error), broken_line.
"""

from __future__ import annotations

import json
import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REFUSALS = (
    *("400", "401", "403", "404", "429", "429_ms", "429_date", "429_bare"),
    *("500", "503", "quota", "reset_before"),
)
TRANSPORT = ("reset_midway", "reset_after", "truncated_body", "truncated_json", "garbage")
PACE = ("slow", "drip")
ITEMS = (
    *("wrong_order", "no_index", "duplicate_index", "missing_item", "additional_item"),
    *("wrong_count", "wrong_length", "nan", "infinity", "zero"),
)
LINES = ("missing_line", "broken_line")
HARMLESS = ("wrong_order", "no_index", *PACE)

ENDPOINTS: Mapping[str, tuple[str, ...]] = {
    "embeddings": (*REFUSALS, *TRANSPORT, *PACE, *ITEMS),
    "batch_line": ("400", "429", "500", *ITEMS, *LINES),
    "batch_create": (*REFUSALS, *TRANSPORT, *PACE, "failed"),
    "batches": (*REFUSALS, *TRANSPORT, *PACE),
    "upload": (*REFUSALS, *TRANSPORT, *PACE),
    "files": (*REFUSALS, *TRANSPORT, *PACE),
    "content": (*REFUSALS, *TRANSPORT, *PACE),
}


@dataclass
class Faults:
    """Which faults happen.

    Attributes
    ----------
    probabilities : mapping
        Endpoint (see ENDPOINTS) -> fault -> how likely it is at each request there.
    texts : mapping
        A piece of text -> the fault of every request (400, 500, …) or item (nan, …) with it. Of
        two pieces in one text the first counts.
    times : mapping
        A piece of text -> how often its fault happens before it ends; else always.
    seed : int
        Of the generator that draws.
    slow_s : float
        How long a slow answer waits, or a dripping one takes.
    retry_after_s : float
        What a 429 drawn here asks for.
    """

    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    slow_s: float = 0.2
    retry_after_s: float = 1.0

    def __post_init__(self) -> None:
        for endpoint, table in self.probabilities.items():
            self._check(endpoint, table)
            if not 0 <= sum(table.values()) <= 1 or min(table.values(), default=0) < 0:
                raise ValueError(f"the probabilities of {endpoint!r} must add up to at most 1")
        self._check("embeddings", self.texts.values())
        self._lock = threading.Lock()
        self._random = random.Random(self.seed)  # ruff: ignore[suspicious-non-cryptographic-random-usage]
        self._scripts: dict[str, deque[str | None]] = {}
        self._left = dict(self.times)

    @classmethod
    def load(cls, file: Path) -> Faults:
        """Read them from a JSON file with these attributes as members."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def next(self, endpoint: str, *faults: str | None) -> None:
        """Say what happens at the coming requests of an endpoint; None: nothing."""
        self._check(endpoint, [fault for fault in faults if fault is not None])
        with self._lock:
            self._scripts.setdefault(endpoint, deque()).extend(faults)

    def draw(self, endpoint: str) -> str | None:
        """Return what happens to a request: what was said, else what chance wants."""
        with self._lock:
            if script := self._scripts.get(endpoint):
                return script.popleft()
            if not (table := self.probabilities.get(endpoint)):
                return None
            point = self._random.random()
            for fault, probability in table.items():
                point -= probability
                if point < 0:
                    return fault
            return None

    def of_texts(self, texts: Sequence[str]) -> dict[int, str]:
        """Return the faults that texts bring with them, by position."""
        if not self.texts:
            return {}
        found = {}
        with self._lock:
            for position, text in enumerate(texts):
                piece = next((piece for piece in self.texts if piece in text), None)
                if piece is None or self._left.get(piece, 1) <= 0:
                    continue
                if piece in self._left:
                    self._left[piece] -= 1
                found[position] = self.texts[piece]
        return found

    def choose(self, n: int) -> int:
        """Return a position below n."""
        with self._lock:
            return self._random.randrange(n)

    def shuffled(self, n: int) -> list[int]:
        """Return the positions below n in an order that is not theirs, when n > 1."""
        with self._lock:
            order = list(range(n))
            self._random.shuffle(order)
        return order if order != sorted(order) else order[::-1]

    @staticmethod
    def _check(endpoint: str, faults: Iterable[str]) -> None:
        if endpoint not in ENDPOINTS:
            raise ValueError(f"no endpoint {endpoint!r}; there are {', '.join(ENDPOINTS)}")
        for fault in faults:
            if fault not in ENDPOINTS[endpoint]:
                known = ", ".join(ENDPOINTS[endpoint])
                raise ValueError(f"{endpoint!r} has no fault {fault!r}; there are {known}")
