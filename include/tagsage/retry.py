"""How long a server asks to wait before a retry."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def retry_after(header: str, now: float) -> float | None:
    """Return how many seconds a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3).

    It has seconds or an HTTP date (without a zone: UTC); `now` is in seconds since 1970. Returns 0
    for a moment that has passed, None when the header is neither.
    """
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # Some numbers make a date that no calendar has.
        return max(moment.timestamp() - now, 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
