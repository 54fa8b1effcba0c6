"""The state object that Medium's pages embed: found as text, read as JSON, followed safely.

The object is the cache of Apollo Client: entities by `Type:id`, the answers by their queries
under ROOT_QUERY, and ``{"__ref": "Type:id"}`` wherever an entity stands
(https://www.apollographql.com/docs/react/caching/overview).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tagsage.harvest.page_values import reason

# `window.__APOLLO_STATE__ = …`, but no comparison.
_ASSIGNMENT = re.compile(r"__APOLLO_STATE__[\"']?\]?\s*=(?!=)\s*")
_ROOT = "ROOT_QUERY"
# An article on Apollo may quote such assignments; that many are tried.
_ATTEMPTS = 8
_HOPS = 8
# Each takes hundreds of bytes; a page of a megabyte has some ten thousands.
_MOST_PARTS = 300_000
# Control characters within texts are forbidden in JSON, and yet served.
_DECODER = json.JSONDecoder(strict=False)
_TOO_DEEP = (RecursionError, MemoryError)


@dataclass(frozen=True)
class MediumState:
    """A state object, or the part of an answer that looks like one.

    Attributes
    ----------
    objects : mapping of str to object
        By their names, such as ``Post:1a2b3c4d5e6f``; of any shape.
    """

    objects: Mapping[str, Any] = field(default_factory=dict)

    def follow(self, value: object) -> dict[str, Any] | None:
        """Return the object that a value is or refers to; None when there is none."""
        for _ in range(_HOPS):
            if not isinstance(value, dict):
                return None
            name = value.get("__ref")
            if not isinstance(name, str):
                return value
            value = self.objects.get(name)
        return None

    @property
    def root(self) -> dict[str, Any]:
        """The answers by their queries; empty when there are none."""
        return self.follow(self.objects.get(_ROOT)) or {}


def find_state(html: str) -> tuple[MediumState | None, str]:
    """Find the state object in a page.

    Parameters
    ----------
    html : str
        The page. It is not parsed as HTML: the object is taken from wherever it is assigned.

    Returns
    -------
    tuple of (MediumState or None, str)
        The object; and when there is none, why what looks like one cannot be read. Both are empty
        when the page has none.
    """
    found: MediumState | None = None
    damage = ""
    for attempt, assignment in enumerate(_ASSIGNMENT.finditer(html)):
        if attempt == _ATTEMPTS:
            break
        try:
            _check_size(html, assignment.end())
            value, _ = _DECODER.raw_decode(html, assignment.end())
        except (ValueError, *_TOO_DEEP) as error:
            damage = damage or reason(f"the state object is broken: {_why(error)}")
            continue
        if not isinstance(value, dict):
            damage = damage or "the state object is no object"
        elif isinstance(value.get(_ROOT), dict):
            return MediumState(value), ""
        else:
            found = found or MediumState(value)
    return found, "" if found else damage


def read_json(text: str) -> Any:
    """Read JSON that comes from outside.

    Parameters
    ----------
    text : str
        JSON, of any size and depth.

    Returns
    -------
    object
        What it says.

    Raises
    ------
    ValueError
        When it is none; the message says why.
    """
    try:
        _check_size(text, 0)
        return _DECODER.decode(text)
    except (ValueError, *_TOO_DEEP) as error:
        raise ValueError(_why(error)) from None


def reference(value: object, kind: str) -> str:
    """Return the id in a reference to an object of a kind, such as ``Post``; empty when none."""
    name = value.get("__ref") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name.startswith(f"{kind}:"):
        return ""
    return name[len(kind) + 1 :]


def attribute(thing: Mapping[str, Any], name: str) -> Any:
    """Return a field of an object, whatever arguments it was asked with; None when there is none.

    Apollo appends the arguments to the name: ``extendedPreviewContent({"truncationConfig":…})``,
    ``itemsConnection:(limit:20)``.
    """
    value = thing.get(name)
    if value is not None:
        return value
    for key, other in thing.items():
        if other is not None and is_field(key, name):
            return other
    return None


def is_field(key: str, name: str) -> bool:
    """Tell whether a key of an object stands for a field, with or without arguments."""
    return key.startswith(name) and key[len(name) : len(name) + 1] in {"", "(", ":"}


def _check_size(text: str, start: int) -> None:
    """Refuse what would fill the memory: a bracket is one byte, a list more than fifty."""
    if text.count("{", start) + text.count("[", start) > _MOST_PARTS:
        raise ValueError(f"it may have more than {_MOST_PARTS:,} parts")


def _why(error: BaseException) -> str:
    if isinstance(error, _TOO_DEEP):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos:,}"
    return str(error)
