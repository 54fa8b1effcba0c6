"""What goes wrong on purpose for a while, and when.

    429_seconds, 429_date, 429_bare   too many requests; Retry-After in seconds, as a date, none
    503, 503_seconds                  unavailable, without and with Retry-After
    reset_before                      connection reset instead of an answer
    reset_headers, reset_body         connection reset in the middle of the headers, of the body
    truncated, chunk_cut              closed too early: before Content-Length, before the last chunk
    drip                              a byte now and then, for longer than anybody waits
    gzip_bomb, deflate_bomb, brotli_bomb   a small body that becomes a huge one
    wrong_type                        a picture
    garbage                           bytes that are no text, in an encoding that they are not in
    cut, bare                         pages: the state is cut off; and nothing else tells anything
    challenge_403, challenge_503, challenge_200   pages: a challenge, in three forms
    errors, null_data, html           GraphQL: errors, nothing, a page instead of JSON
    cut_xml                           feeds: the document ends in the middle

Whether a request goes wrong depends on the seed, the address and how often it was asked for, not on
the order of requests; every address has `times` faults at most, so that everything is reachable.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.medium_site.world import share

ANY = (
    *("429_seconds", "429_date", "429_bare", "503", "503_seconds"),
    *("reset_before", "reset_headers", "reset_body", "truncated", "chunk_cut", "drip"),
    *("gzip_bomb", "deflate_bomb", "brotli_bomb", "wrong_type", "garbage"),
)
CHALLENGES = ("challenge_403", "challenge_503", "challenge_200")
PAGE = ("cut", "bare", *CHALLENGES)
KINDS: Mapping[str, tuple[str, ...]] = {
    "robots": ("503", "429_seconds", "reset_before", "drip"),
    "list": (*ANY, *PAGE),
    "article": (*ANY, *PAGE),
    "graphql": (*ANY, *CHALLENGES, "errors", "null_data", "html"),
    "feed": (*ANY, *CHALLENGES, "cut_xml"),
}


@dataclass
class Faults:
    """Which faults happen.

    Attributes
    ----------
    probabilities : mapping
        Fault -> how likely it is at each request of a kind that has it.
    times : int
        How many faults an address has at most.
    robots_503 : int
        How often each host's robots.txt is unavailable at first; -1: always.
    seed : int
        Of the draw.
    retry_after_s : int
        What refusals ask for.
    drip_s : float
        How long a dripping answer goes on when nobody hangs up.
    bomb_mb : int
        What a bomb becomes.
    """

    probabilities: Mapping[str, float] = field(default_factory=dict)
    times: int = 2
    robots_503: int = 0
    seed: int = 0
    retry_after_s: int = 1
    drip_s: float = 60.0
    bomb_mb: int = 64

    def __post_init__(self) -> None:
        known = {fault for faults in KINDS.values() for fault in faults}
        if unknown := self.probabilities.keys() - known:
            raise ValueError(f"no fault {', '.join(sorted(unknown))}; there are {sorted(known)}")
        if not 0 <= sum(self.probabilities.values()) <= 1:
            raise ValueError("the probabilities must add up to at most 1")
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._scripts: dict[str, deque[str | None]] = {}

    @classmethod
    def load(cls, file: Path) -> Faults:
        """Read them from a JSON file with these attributes as members."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def next(self, path: str, *faults: str | None) -> None:
        """Say what happens at the coming requests of a path, on any host; None: nothing."""
        self._check(faults)
        with self._lock:
            self._scripts.setdefault(path, deque()).extend(faults)

    def draw(self, kind: str, host: str, path: str, part: str = "") -> str | None:
        """Return what happens to a request: what was said, else what chance wants.

        Parameters
        ----------
        kind : str
            One of KINDS.
        host, path : str
            Its address; the host by its name in the site.
        part : str
            What of the address is asked for: list and cursor.
        """
        address = f"{host} {path} {part}"
        with self._lock:
            if script := self._scripts.get(path):
                return script.popleft()
            if kind not in KINDS:
                return None
            number = self._asked[address]
            self._asked[address] += 1
            if kind == "robots" and (self.robots_503 < 0 or number < self.robots_503):
                return "503"
            if self._done[address] >= self.times:
                return None
            point = share("fault", self.seed, address, number)
            for fault, probability in self.probabilities.items():
                if fault not in KINDS[kind]:
                    continue
                point -= probability
                if point < 0:
                    self._done[address] += 1
                    return fault
            return None

    @staticmethod
    def _check(faults: Iterable[str | None]) -> None:
        known = {fault for table in KINDS.values() for fault in table}
        for fault in faults:
            if fault is not None and fault not in known:
                raise ValueError(f"no fault {fault!r}; there are {sorted(known)}")
