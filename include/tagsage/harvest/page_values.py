"""Values out of pages: whatever a page holds in their place, they come out clean or not at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from tagsage.corpus.fields import beginning, parse_date
from tagsage.corpus.keys import Address, parse_address

# Characters; what is longer is cut between words.
TITLE = 1000
SUBTITLE = 5000
NAME = 200
# An article has five at Medium, some more elsewhere.
MOST_TAGS = 100
REASON = 300
_MOST_REASONS = 30
_LONGEST_URL = 2000
_LONGEST_DATE = 64
_FIRST_MS = 631_152_000_000  # 1990-01-01
_LAST_MS = 4_133_980_800_000  # 2101-01-01
_EPOCH_MS = re.compile(r"([0-9]{11,14})(?:\.0*)?")
_POST_ID = re.compile(r"[0-9a-f]{8,12}")
# Line ends and tabs are no part of it: they are spaces.
_UNUSABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


class DateError(ValueError):
    """What stands in a date's place is none; the message is the reason."""


def usable(text: str) -> str:
    """Replace what no file in UTF-8 should hold: control characters, halves of surrogate pairs."""
    return _UNUSABLE.sub("�", text)


def one_line(value: object, limit: int) -> str | None:
    """Return a text on one line.

    Parameters
    ----------
    value : object
        What the page has in its place.
    limit : int
        The most characters it may have.

    Returns
    -------
    str or None
        Stripped, with single spaces and without control characters; None when it is no text.
    """
    if not isinstance(value, str):
        return None
    # Cut first: many places may refer to one text of megabytes.
    return beginning(usable(value[: 16 * limit].strip()[: 4 * limit]), limit)


def filled_line(value: object, limit: int) -> str | None:
    """Return a text on one line, or None when it is no text or blank."""
    return one_line(value, limit) or None


def reason(text: str) -> str:
    """Return a reason in which a page is quoted: one line, short."""
    return one_line(text, REASON) or ""


def reasons(found: Iterable[str]) -> tuple[str, ...]:
    """Return what is told of a page's damage: each reason once, and the first ones of many."""
    each = tuple(dict.fromkeys(map(reason, found)))
    if len(each) <= _MOST_REASONS:
        return each
    return (*each[:_MOST_REASONS], f"and {len(each) - _MOST_REASONS:,} reasons more")


def distinct(values: Iterable[object]) -> tuple[str, ...]:
    """Return tags on one line each, without blank ones and repetitions, in their order."""
    lines = (filled_line(value, NAME) for value in values)
    return tuple(dict.fromkeys(line for line in lines if line is not None))


def milliseconds(value: object) -> int | None:
    """Read a moment.

    Parameters
    ----------
    value : object
        Milliseconds since 1970 (a number, or its digits), or a date in ISO 8601 or RFC 2822.

    Returns
    -------
    int or None
        Milliseconds since 1970, UTC; None for null and blank.

    Raises
    ------
    DateError
        When it is none, or no moment from 1990 to 2100.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    moment = _moment(value)
    if moment is None or not _FIRST_MS <= moment < _LAST_MS:
        shown = repr(value)[:80] if isinstance(value, str | int | float) else type(value).__name__
        raise DateError(reason(f"{shown} is no date from 1990 to 2100"))
    return moment


def web_address(value: object) -> Address | None:
    """Take an http or https address apart; None when it is none, or longer than 2,000 characters.

    Unlike elsewhere, the scheme is required: in a page, `graphs` is a word and no host.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_URL or _UNUSABLE.search(value):
        return None
    address = parse_address(value)
    return address if address is not None and address.scheme else None


def origin(url: str) -> str:
    """Return where the paths of a host begin, such as ``https://medium.com``; empty if nowhere."""
    address = web_address(url if "://" in url else f"https://{url}")
    if address is None:
        return ""
    scheme, separator, rest = address.url.partition("://")
    return scheme + separator + rest.partition("/")[0]


def host(url: str) -> str:
    """Return the name and port that an address is at, without the usual ports; empty if nowhere.

    http and https of one name are one host here, as they are in the keys of articles.
    """
    return origin(url).partition("://")[2]


def post_id(value: object) -> str | None:
    """Return a post's id, or None when it is none: 8 to 12 hexadecimal digits."""
    return value if isinstance(value, str) and _POST_ID.fullmatch(value) else None


def _moment(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > _LONGEST_DATE:
        return None
    if digits := _EPOCH_MS.fullmatch(value.strip()):
        return int(digits[1])
    seconds = parse_date(value)
    return None if seconds is None else seconds * 1000
