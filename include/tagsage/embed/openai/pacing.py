"""When the next request may go: rate-limit headers, ``retry-after``, and pauses that grow."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping

from tagsage.retry import retry_after as seconds_asked_for

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
LONGEST_PAUSE_ALIVE_S = 4.0

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_KINDS = ("requests", "tokens")


def duration(text: str) -> float | None:
    """Return the seconds of a duration as the rate-limit headers have it, such as ``6m0s``.

    Examples
    --------
    >>> duration("1h2m0.5s"), duration("120ms"), duration("soon")
    (3720.5, 0.12, None)
    """
    text = text.strip()
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds an answer asks to wait; None when it does not say.

    ``retry-after-ms``, then ``retry-after`` in seconds or as an HTTP date (RFC 9110, 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    seconds = _number(said)
    if seconds is not None or not said:
        return seconds
    return seconds_asked_for(said, time.time())


def growing_pause(failures: int, longest_s: float | None = None) -> float:
    """Return how long to wait after the n-th failure in a row: doubled each time, by chance less.

    Chance keeps requests that failed together from coming back together.
    """
    longest_s = LONGEST_PAUSE_S if longest_s is None else longest_s
    longest = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), longest_s)
    return longest * random.uniform(0.5, 1.0)  # ruff: ignore[suspicious-non-cryptographic-random-usage]


def again_at(failures: int, wait_s: float | None, *, alive: bool) -> float:
    """Return when a failed request may be sent again, by the monotonic clock.

    Parameters
    ----------
    failures : int
        How often it failed in a row.
    wait_s : float or None
        How long the server asks to wait.
    alive : bool
        Whether the server answers others: then waiting long does not help.
    """
    if wait_s is None:
        wait_s = growing_pause(failures, LONGEST_PAUSE_ALIVE_S if alive else None)
    return time.monotonic() + wait_s


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


class Pacer:
    """Keeps the requests of one process within the server's rate limits."""

    def __init__(self) -> None:
        self._not_before = 0.0
        # What the server said is left, less what was sent since, and until when that holds.
        self._left: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def record(self, headers: Mapping[str, str]) -> None:
        """Take in the rate-limit headers of an answer."""
        for kind in _KINDS:
            left = _number(headers.get(f"x-ratelimit-remaining-{kind}", ""))
            reset = duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
            if left is None or reset is None:
                continue
            self._left[kind] = left
            self._until[kind] = time.monotonic() + reset

    def count(self, tokens: int) -> None:
        """Count a request of so many tokens as sent."""
        for kind, needed in zip(_KINDS, (1, tokens), strict=True):
            if kind in self._left:
                self._left[kind] -= needed

    def delay(self, tokens: int) -> float:
        """Return how many seconds a request of so many tokens has to wait; none when not above 0.

        Parameters
        ----------
        tokens : int
            About how many it has.
        """
        now = time.monotonic()
        delay = self._not_before - now
        for kind, needed in zip(_KINDS, (1, tokens), strict=True):
            if kind not in self._left:
                continue
            if now >= self._until[kind]:
                del self._left[kind], self._until[kind]
            elif self._left[kind] < needed:
                delay = max(delay, self._until[kind] - now)
        return delay
