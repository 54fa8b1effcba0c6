"""The fields of a row: dates, tags, authors. Pure functions: text in, value out."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# The study's rules: a blank date and a null author are kept as these.
DEFAULT_DATE_S = 631_152_000  # 1990-01-01, in seconds since 1970
UNKNOWN_AUTHOR = "Unknown"

# What `parse_date` reads, in words.
DATE_FORMS = (
    "2025-12-31 (ISO 8601), seconds or milliseconds since 1970, "
    "Wed, 31 Dec 2025 08:00:00 +0000 (RSS)"
)

# What programs write for "nothing" into a CSV file.
NULLS = frozenset({"", "null", "NULL", "None", "nan", "NaN", "NaT"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_MS = re.compile(r"(\d{11,14})(?:\.0*)?")
_EPOCH_S = re.compile(r"(\d{9,10})(?:\.0*)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TOO_DEEP = (RecursionError, MemoryError)


class FieldError(ValueError):
    """A field that cannot be read; the message is the reason for the quarantine."""


def parse_date(text: str) -> int | None:
    """Read a date as whole seconds since 1970, UTC; None when the text is no date.

    ISO 8601 (without a zone: UTC), milliseconds since 1970 (11 to 14 digits; 9 or 10 digits are
    seconds), or RFC 2822 as in RSS; blank or null is 1990-01-01.
    """
    text = text.strip()
    if text in NULLS:
        return DEFAULT_DATE_S
    if "-" not in text:
        if milliseconds := _EPOCH_MS.fullmatch(text):
            return int(milliseconds[1]) // 1000
        if seconds := _EPOCH_S.fullmatch(text):
            return int(seconds[1])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, IndexError, OverflowError):
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    passed = moment - _EPOCH  # works for all years, unlike a conversion to UTC
    return passed.days * 86_400 + passed.seconds


def parse_tags(text: str) -> tuple[list[str], bool]:
    """Read a JSON list of tags; blank or null is no tag.

    Returns the distinct tags in their order, and whether characters that cannot be stored were
    replaced. Raises `FieldError` when the text is not such a list.
    """
    if text == "[]" or text.strip() in NULLS:
        return [], False
    try:
        value = json.loads(text)
    except (ValueError, *_TOO_DEEP):
        raise FieldError("tags are broken JSON") from None
    return _tag_list(value)


def parse_python_tags(text: str) -> tuple[list[str], bool]:
    """Read a list of tags in Python's notation, as in Kaggle's file; see `parse_tags`."""
    return _tag_list(_python_value(text, "tags are not a Python list"))


def parse_python_authors(text: str) -> str:
    """Read the authors, a Python list of names, as one text: ``Ann Lee, Bo Chen``."""
    names, _ = _tag_list(_python_value(text, "authors are not a Python list"))
    return ", ".join(names) or UNKNOWN_AUTHOR


def parse_author(text: str) -> str:
    """Return the author; ``Unknown`` for a blank or null one."""
    author = text.strip()
    return UNKNOWN_AUTHOR if author in NULLS else author


def beginning(text: str, limit: int) -> str:
    """Return the first words of a text, up to `limit` characters, on one line."""
    # Only a part is split: the text may be long.
    words = " ".join(text[: 4 * limit].split())
    if len(words) <= limit:
        return words
    return words[: limit + 1].rsplit(" ", 1)[0][:limit]


def _python_value(text: str, reason: str) -> object:
    if text == "[]" or text.strip() in NULLS:
        return []
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, *_TOO_DEEP):
        raise FieldError(reason) from None


def _tag_list(value: object) -> tuple[list[str], bool]:
    if value is None:
        return [], False
    if not isinstance(value, list):
        raise FieldError("tags are not a list")
    try:
        together = "".join(value)
    except TypeError:
        raise FieldError("a tag is not a text") from None
    # JSON's escapes can produce what a text in UTF-8 cannot or should not hold.
    replace = "\0" in together or _SURROGATE.search(together) is not None
    if replace:
        value = [_SURROGATE.sub("�", tag.replace("\0", "")) for tag in value]
    return list(dict.fromkeys(filter(None, map(str.strip, value)))), replace
