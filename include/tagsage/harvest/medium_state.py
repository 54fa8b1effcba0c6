"""Medium's state object: found in a page, its references followed, its posts read.

The object is the cache of Apollo Client: entities by `Type:id`, answers by their queries under
ROOT_QUERY, and ``{"__ref": "Type:id"}`` in the place of an entity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from tagsage.corpus.fields import NULLS, beginning, parse_date
from tagsage.corpus.keys import Address, parse_address
from tagsage.harvest.items import Article, PageError, Source

TITLE: Final = 1000  # characters; what is longer is cut between words
SUBTITLE: Final = 5000
NAME: Final = 200
MOST_TAGS: Final = 100

_ASSIGNMENT = re.compile(r"__APOLLO_STATE__\s*=(?!=)\s*")
_DECODER = json.JSONDecoder(strict=False)  # Medium serves control characters within texts
_GONE = re.compile(r"NotFound|Deleted|Gone|Suspended|Unavailable|Withheld")
_PRIVATE = re.compile(r"Forbidden|Unauthorized")
_POST_ID = re.compile(r"[0-9a-f]{8,12}")
_UNUSABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_FIRST_MS, _LAST_MS = 631_152_000_000, 4_133_980_800_000  # 1990 to 2100


class State:
    """A state object, or the data of a GraphQL answer, which has no references."""

    def __init__(self, objects: Mapping[str, Any]) -> None:
        self.objects = objects

    def follow(self, value: object) -> dict[str, Any] | None:
        """Return the object that a value is or refers to; None when there is none."""
        for _ in range(8):
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
        return self.follow(self.objects.get("ROOT_QUERY")) or {}


def find_state(html: str) -> State:
    """Find the state object in a page, which is searched as text.

    Raises `PageError` when there is none, it is broken, or it is older than October 2020.
    """
    why = "the page has no state object"
    for found in list(_ASSIGNMENT.finditer(html))[:8]:  # an article may quote such an assignment
        try:
            value = read_json(html, found.end())
        except ValueError as error:
            why = f"the state object is broken: {error}"
            continue
        if isinstance(value, dict) and isinstance(value.get("ROOT_QUERY"), dict):
            if _is_old(value):
                raise PageError("the state object has the form of before October 2020")
            return State(value)
    raise PageError(why)


def read_json(text: str, start: int = 0) -> Any:
    """Read the untrusted JSON value at an offset of a text; raises `ValueError`."""
    try:
        return _DECODER.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos:,}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply") from None


def attribute(thing: Mapping[str, Any], name: str) -> Any:
    """Return a field of an object, whatever arguments it was queried with; None when absent.

    Apollo appends the arguments to the name: ``itemsConnection:(limit:20)``.
    """
    for key, value in thing.items():
        if value is not None and is_field(key, name):
            return value
    return None


def is_field(key: str, name: str) -> bool:
    """Return whether a key stands for a field, with or without arguments."""
    return key == name or key.startswith((f"{name}(", f"{name}:"))


def gone_or_private(thing: Mapping[str, Any]) -> str:
    """Return ``gone`` or ``private`` when an object says only that."""
    kind = str(thing.get("__typename", ""))
    if _PRIVATE.search(kind):
        return "private"
    return "gone" if _GONE.search(kind) else ""


def post_id(value: object) -> str | None:
    """Return a post's id, 8 to 12 hexadecimal digits, or None."""
    return value if isinstance(value, str) and _POST_ID.fullmatch(value) else None


def reference(value: object, kind: str) -> str:
    """Return the id in a reference to an object of a kind, such as ``Post``; empty when none."""
    name = value.get("__ref") if isinstance(value, dict) else None
    found = isinstance(name, str) and name.startswith(f"{kind}:")
    return str(name)[len(kind) + 1 :] if found else ""


def read_post(state: State, value: object, source: Source, origin: str) -> Article | None:
    """Read a post or a reference to one; None when it has neither an id nor an address.

    `origin` is the host that served it: the post's address is there if it names no other.
    """
    post = state.follow(value) or {}
    identity = post_id(post.get("id")) or post_id(reference(value, "Post"))
    address = web_address(post.get("mediumUrl"))
    if address is not None and identity and post_id(address.key) not in {None, identity}:
        address = None  # another post's address would make the two one article
    if identity is None and address is None:
        return None
    url = address.url if address else f"{origin}/p/{identity}"
    missing: dict[str, str] = {}
    creator = state.follow(attribute(post, "creator")) or {}
    return Article(
        key=identity or (address.key if address else ""),
        url=url,
        source=source,
        title=line(post.get("title"), TITLE) or None,
        subtitle=_subtitle(state, post),
        author=line(creator.get("name"), NAME) or None,
        published_ms=milliseconds(post.get("firstPublishedAt"), missing),
        tags=_tags(state, attribute(post, "tags"), missing),
        missing=missing,
    )


def line(value: object, limit: int) -> str | None:
    """Return a text on one line without control characters, or None when it is no text."""
    if not isinstance(value, str):
        return None
    return beginning(usable(value.strip()), limit)


def usable(text: str) -> str:
    """Replace control characters and halves of surrogate pairs."""
    return _UNUSABLE.sub("\ufffd", text)


def tag_names(values: list[str | None]) -> tuple[str, ...]:
    """Return tags on one line each, without blank ones and repetitions, in their order."""
    return tuple(dict.fromkeys(name for value in values[:MOST_TAGS] if (name := line(value, NAME))))


def milliseconds(value: object, missing: dict[str, str]) -> int | None:
    """Read milliseconds since 1970, or a date; the reason for failing goes into `missing`."""
    if value is None or (isinstance(value, str) and value.strip() in NULLS):
        return None
    moment: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        moment = value
    elif isinstance(value, str) and len(value) <= 64:
        seconds = parse_date(value)
        moment = None if seconds is None else seconds * 1000
    if moment is None or not _FIRST_MS <= moment < _LAST_MS:
        missing["published_ms"] = f"{str(value)[:60]!r} is no date from 1990 to 2100"
        return None
    return moment


def web_address(value: object) -> Address | None:
    """Split an http or https address; None when it is none."""
    if not isinstance(value, str) or len(value) > 2000 or _UNUSABLE.search(value):
        return None
    address = parse_address(value)
    return address if address is not None and address.scheme else None


def _is_old(objects: Mapping[str, Any]) -> bool:
    values = [
        value for each in list(objects.values())[:200] if isinstance(each, dict)
        for value in each.values()
    ]  # fmt: skip
    return any(isinstance(value, dict) and value.get("type") == "id" for value in values)


def _subtitle(state: State, post: Mapping[str, Any]) -> str | None:
    names = ("extendedPreviewContent", "previewContent")
    previews = [state.follow(attribute(post, name)) or {} for name in names]
    lines = [line(preview.get("subtitle"), SUBTITLE) for preview in previews]
    return next((each for each in lines if each), lines[0] if lines[0] is not None else lines[1])


def _tags(state: State, value: object, missing: dict[str, str]) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        missing["tags"] = "tags are no list"
        return None
    found: list[str | None] = []
    for entry in value[:MOST_TAGS]:
        tag = state.follow(entry) or {}
        names = (tag.get("displayTitle"), tag.get("id"), reference(entry, "Tag"))
        found.append(next((name for each in names if (name := line(each, NAME))), None))
    if None in found:
        missing["tags"] = f"{found.count(None)} of {len(found)} tags cannot be read"
        # An article whose tags are all broken is not one without tags.
        return tag_names(found) or None
    return tag_names(found)
