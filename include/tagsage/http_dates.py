"""Dates as HTTP headers have them."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_until(date: str, now: float) -> float | None:
    """Return how many seconds are left until an HTTP date.

    Parameters
    ----------
    date : str
        Such as ``Thu, 01 Jan 1970 00:01:00 GMT`` (RFC 9110, 5.6.7); without a zone: UTC.
    now : float
        The present, in seconds since 1970.

    Returns
    -------
    float or None
        0 for one that has passed; None when it is no date.

    Examples
    --------
    >>> seconds_until("Thu, 01 Jan 1970 00:01:00 GMT", 30.0)
    30.0
    """
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # Some numbers make a date that no calendar has.
        return max(moment.timestamp() - now, 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
