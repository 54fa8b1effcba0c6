"""What a page tells of its article in JSON-LD (https://schema.org/Article)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tagsage.harvest.article_fields import ArticleFields
from tagsage.harvest.medium_state import read_json
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
    web_address,
)

_ARTICLE = re.compile(r"(?:.*[/#])?(?:\w*Article|\w*BlogPosting|SocialMediaPosting|Report)")
# Medium's keywords are pairs; of these only the tags are keywords.
_TAG = "Tag:"
_PAIR = re.compile(r"(?:Tag|Topic|Publication|Lite|Elevated|LockedPostSource|LayerCake):")
_MOST_NODES = 1000
# Tags among them; and names of authors.
_MOST_WORDS = 1000
_ADDRESSES = ("url", "mainEntityOfPage", "@id")


def article_nodes(scripts: Iterable[str], key: str, damage: list[str]) -> list[Mapping[str, Any]]:
    """Find the articles in a page's blocks of JSON-LD.

    Parameters
    ----------
    scripts : iterable of str
        The blocks' texts.
    key : str
        The key of the article that is looked for.
    damage : list of str
        Gets the reasons why blocks could not be read.

    Returns
    -------
    list of mapping
        The article nodes: those whose address has the key come first.
    """
    found: list[tuple[bool, Mapping[str, Any]]] = []
    for script in scripts:
        try:
            value = read_json(script)
        except ValueError as error:
            damage.append(f"JSON-LD is broken: {error}")
            continue
        found.extend((_is_about(node, key), node) for node in _nodes(value) if _is_article(node))
    found.sort(key=lambda each: not each[0])
    return [node for _, node in found]


def read_node(node: Mapping[str, Any], damage: list[str]) -> ArticleFields:
    """Read an article node's fields; what is there but cannot be read is added to `damage`."""
    try:
        published_ms = milliseconds(node.get("datePublished"))
    except DateError as error:
        published_ms = None
        damage.append(f"datePublished: {error}")
    return ArticleFields(
        title=filled_line(node.get("headline"), TITLE) or filled_line(node.get("name"), TITLE),
        subtitle=one_line(node.get("description"), SUBTITLE),
        author=_author(node.get("author")),
        published_ms=published_ms,
        tags=_tags(node.get("keywords"), damage),
    )


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Walk through lists and graphs, in their order; their depth and number may be anything."""
    left = [value]
    for _ in range(_MOST_NODES):
        if not left:
            break
        value = left.pop()
        if isinstance(value, list):
            left.extend(reversed(value))
        elif isinstance(value, dict):
            yield value
            left.append(value.get("@graph"))


def _is_article(node: Mapping[str, Any]) -> bool:
    kinds = node.get("@type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return any(isinstance(kind, str) and _ARTICLE.fullmatch(kind[:100]) for kind in kinds)


def _is_about(node: Mapping[str, Any], key: str) -> bool:
    for name in _ADDRESSES:
        value = node.get(name)
        if isinstance(value, dict):
            value = value.get("@id")
        address = web_address(value)
        if address is not None and address.key == key:
            return True
    return False


def _author(value: object) -> str | None:
    authors = value[:_MOST_WORDS] if isinstance(value, list) else [value]
    names = [each.get("name") if isinstance(each, dict) else each for each in authors]
    return filled_line(", ".join(distinct(names)), NAME)


def _tags(value: object, damage: list[str]) -> tuple[str, ...] | None:
    if isinstance(value, str):
        value = value.split(",", _MOST_WORDS)
    if not isinstance(value, list):
        return None
    words = distinct(value[:_MOST_WORDS])
    if any(_PAIR.match(word) for word in words):
        words = distinct(word.removeprefix(_TAG) for word in words if word.startswith(_TAG))
    if len(value) > _MOST_WORDS or len(words) > MOST_TAGS:
        damage.append(f"keywords: tags after the first {MOST_TAGS}")
    return words[:MOST_TAGS]
