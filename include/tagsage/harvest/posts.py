"""A post of Medium, as state objects and GraphQL answers hold it, becomes an article."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tagsage.harvest.article_fields import ArticleFields
from tagsage.harvest.medium_state import MediumState, attribute, reference
from tagsage.harvest.page_values import (
    MOST_TAGS,
    NAME,
    SUBTITLE,
    TITLE,
    DateError,
    distinct,
    filled_line,
    milliseconds,
    one_line,
    post_id,
    web_address,
)

# Names of the kinds that stand in the place of what is gone, or not for everybody.
GONE = re.compile(r"NotFound|Deleted|Gone|Suspended|Unavailable|Withheld")
PRIVATE = re.compile(r"Forbidden|Unauthorized")
# The newer pages have the first; where there are both, it is the one that is not cut.
_SUBTITLES = ("extendedPreviewContent", "previewContent")


def read_post(state: MediumState, post: Mapping[str, Any]) -> tuple[ArticleFields, list[str]]:
    """Read a post's fields.

    Parameters
    ----------
    state : MediumState
        What the post's references refer to.
    post : mapping
        The post.

    Returns
    -------
    tuple of (ArticleFields, list of str)
        The fields; and what is there but cannot be read.
    """
    damage: list[str] = []
    try:
        published_ms = milliseconds(post.get("firstPublishedAt"))
    except DateError as error:
        published_ms = None
        damage.append(f"firstPublishedAt: {error}")
    creator = state.follow(attribute(post, "creator")) or {}
    fields = ArticleFields(
        title=filled_line(post.get("title"), TITLE),
        subtitle=_subtitle(state, post),
        author=filled_line(creator.get("name"), NAME),
        published_ms=published_ms,
        tags=_tags(state, attribute(post, "tags"), damage),
    )
    return fields, damage


def post_address(
    post: Mapping[str, Any], identity: str | None, origin: str
) -> tuple[str, str] | None:
    """Return a post's key and address.

    Parameters
    ----------
    post : mapping
        The post.
    identity : str or None
        Its id.
    origin : str
        Of the host that told of it, such as ``https://medium.com``: where its address is when the
        post does not tell.

    Returns
    -------
    tuple of (str, str) or None
        Key and address; None when it has neither an id nor an address.
    """
    address = web_address(post.get("mediumUrl"))
    # Another post's address would make the two one article wherever addresses are the keys.
    is_own = address is not None and post_id(address.key) in {None, identity}
    if address is not None and (identity is None or is_own):
        return identity or address.key, address.url
    if identity is None or not origin:
        return None
    return identity, f"{origin}/p/{identity}"


def identity_of(value: object, post: Mapping[str, Any] | None) -> str | None:
    """Return the id of a post: its own, or that of the reference to it."""
    return post_id((post or {}).get("id")) or post_id(reference(value, "Post"))


def _subtitle(state: MediumState, post: Mapping[str, Any]) -> str | None:
    found: str | None = None
    for name in _SUBTITLES:
        preview = state.follow(attribute(post, name)) or {}
        line = one_line(preview.get("subtitle"), SUBTITLE)
        if line:
            return line
        found = found if line is None else line
    return found


def _tags(state: MediumState, value: object, damage: list[str]) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        damage.append("tags are no list")
        return None
    names = [_tag(state, entry) for entry in value[:MOST_TAGS]]
    if len(value) > MOST_TAGS:
        damage.append(f"{len(value) - MOST_TAGS:,} tags after the first {MOST_TAGS}")
    tags = distinct([name for name in names if name])
    if "" in names:
        damage.append(f"{names.count('')} of {len(names)} tags cannot be read")
        # An article whose tags are all broken is not one without tags.
        return tags or None
    return tags


def _tag(state: MediumState, entry: object) -> str:
    tag = state.follow(entry) or {}
    names = (tag.get("displayTitle"), tag.get("id"), reference(entry, "Tag"), entry)
    return next((line for name in names if (line := filled_line(name, NAME))), "")
