"""One retry policy: waits that double, with chance in them, and what servers ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

T = TypeVar("T")


def retry(
    call: Callable[[], T],
    *,
    when: Callable[[BaseException], bool],
    attempts: int = 5,
    first_s: float = 1.0,
    most_s: float = 60.0,
) -> T:
    """Call again after failures that may pass, and wait between.

    Parameters
    ----------
    call : callable
        What is tried; repeating it must be harmless.
    when : callable
        Tells whether an exception may pass.
    attempts : int
        Calls at most.
    first_s, most_s : float
        The limit of the first wait, which doubles each time, and the longest wait, in seconds.

    Returns
    -------
    object
        What `call` returned; its last exception is raised when no call succeeded.
    """
    policy = Retrying(
        retry=retry_if_exception(when),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=first_s, max=most_s),
        reraise=True,
    )
    return policy(call)


def retry_after(header: str, now: float) -> float | None:
    """Return how many seconds a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3).

    Parameters
    ----------
    header : str
        Seconds, or an HTTP date (without a zone: UTC).
    now : float
        The present, in seconds since 1970.

    Returns
    -------
    float or None
        0 for a moment that has passed; None when the header is neither.

    Examples
    --------
    >>> retry_after("120", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 30.0)
    (120.0, 30.0)
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
