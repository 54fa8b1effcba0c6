"""Rate limits as OpenAI sets them: buckets of requests and tokens that fill again steadily."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RateLimit:
    """How much a client may ask for.

    Attributes
    ----------
    requests, tokens : int
        How many a window; also what can be saved up.
    window_s : float
        Length of the window.
    """

    requests: int = 3000
    tokens: int = 1_000_000
    window_s: float = 60.0


class Buckets:
    """The two buckets of one client.

    Parameters
    ----------
    limit : RateLimit
        Their sizes.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._at = clock()
        self._have = [float(limit.requests), float(limit.tokens)]

    def take(self, tokens: int) -> tuple[float, str, dict[str, str]]:
        """Take one request of so many tokens, if there is room for it.

        Returns
        -------
        tuple
            Seconds to wait (0: taken; infinite: it will never fit), which bucket was short
            (requests or tokens), and the headers that tell the state of both.
        """
        limits = (self.limit.requests, self.limit.tokens)
        names = ("requests", "tokens")
        with self._lock:
            now = self._clock()
            share = (now - self._at) / self.limit.window_s
            self._at = now
            for bucket, most in enumerate(limits):
                self._have[bucket] = min(most, self._have[bucket] + most * share)
            waits = []
            for want, have, most in zip((1, tokens), self._have, limits, strict=True):
                wait = max(0.0, (want - have) / most * self.limit.window_s) if most else math.inf
                waits.append(wait if want <= most else math.inf)
            wait = max(waits)
            if wait == 0:
                self._have[0] -= 1
                self._have[1] -= tokens
            headers = {}
            for name, most, have in zip(names, limits, self._have, strict=True):
                full_in = (most - have) / most * self.limit.window_s if most else 0.0
                headers[f"x-ratelimit-limit-{name}"] = str(most)
                headers[f"x-ratelimit-remaining-{name}"] = str(int(have))
                headers[f"x-ratelimit-reset-{name}"] = duration(full_in)
            return wait, names[waits.index(wait)], headers


def duration(seconds: float) -> str:
    """Write a time as OpenAI's headers do: ``120ms``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    milliseconds = math.ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    whole, rest = divmod(milliseconds, 1000)
    text = f"{whole % 60}.{rest:03d}".rstrip("0").rstrip(".") if rest else str(whole % 60)
    if whole < 60:
        return f"{text}s"
    if whole < 3600:
        return f"{whole // 60}m{text}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m{text}s"
