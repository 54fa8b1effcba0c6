"""The few elements of a page that tell of its article, found without parsing the rest.

The time that a whole page takes is for the page to say: an element with many attributes takes an
HTML parser their number squared. So the elements are cut out first, each of bounded length, and
only they are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from parsel import Selector

from tagsage.harvest.page_values import usable

_TOKEN = re.compile(r"<(?:!--|(meta|link|title|script|style|body)(?=[\s/>]))", re.IGNORECASE)
_TAG = re.compile(r"<[A-Za-z]++(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")
# A quote within a value without quotes is no quote.
_PLAIN_TAG = re.compile(r"<[A-Za-z]++[^>]*+>")
_ENDS = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("title", "script", "style")
}
_WANTED = re.compile(r"og:|published_time|author|description|canonical", re.IGNORECASE)
_JSON_LD = re.compile(r"application/ld\+json", re.IGNORECASE)
_SUBTITLE = "pw-subtitle-paragraph"
_OPENING = re.compile(r"<([A-Za-z][A-Za-z0-9]{0,9})\s[^<>]*+$")
_MOST_TOKENS = 2000
_MOST_TAGS = 100
_MOST_SUBTITLES = 5
_LONGEST_TAG = 8192


@dataclass(frozen=True)
class PageElements:
    """What a page's elements hold.

    Attributes
    ----------
    metas : mapping of str to str
        The contents of the head's meta elements by their property or name, in lower case; the
        first of each.
    canonical : str or None
        The address that the page says is its own.
    title, subtitle : str or None
        The title element's text, and that of the paragraph that Medium marks as the subtitle.
    scripts : tuple of str
        The blocks of JSON-LD.
    """

    metas: Mapping[str, str]
    canonical: str | None
    title: str | None
    subtitle: str | None
    scripts: tuple[str, ...]


def read_elements(html: str) -> PageElements:
    """Find a page's elements, in time that grows with its length alone.

    Parameters
    ----------
    html : str
        The page.

    Returns
    -------
    PageElements
        What they hold; meta, link and title elements count within the head only.
    """
    tags: list[str] = []
    scripts: list[str] = []
    for name, text in _elements(html):
        if name == "script":
            scripts.append(text)
        elif len(tags) < _MOST_TAGS and (name == "title" or _WANTED.search(text)):
            tags.append(text)
    head = _parsed("".join(tags))
    links = head.xpath("//link[@rel='canonical']/@href").getall()
    return PageElements(
        metas=MappingProxyType(dict(reversed(list(_metas(head))))),
        canonical=links[0] if links else None,
        title=head.xpath("//title/text()").get(),
        subtitle=_subtitle(html),
        scripts=tuple(scripts),
    )


def _elements(html: str) -> Iterator[tuple[str, str]]:
    """Yield the tags of meta and link elements, title elements, and the texts of JSON-LD."""
    position = 0
    within_head = True
    for _ in range(_MOST_TOKENS):
        token = _TOKEN.search(html, position)
        if token is None:
            return
        name = (token[1] or "").lower()
        if not name:
            # What is commented out is not there.
            end = html.find("-->", token.end())
            position = len(html) if end < 0 else end
            continue
        limit = token.start() + _LONGEST_TAG
        tag = _TAG.match(html, token.start(), limit) or _PLAIN_TAG.match(html, token.start(), limit)
        position = tag.end() if tag else token.end()
        within_head = within_head and name != "body"
        if name in _ENDS:
            # A text in them that looks like an element is none.
            closing = _ENDS[name].search(html, position)
            start, position = position, closing.start() if closing else len(html)
            if name == "script" and tag and _JSON_LD.search(tag[0]):
                yield name, html[start:position]
            elif name == "title" and within_head:
                yield name, f"<title>{html[start : min(position, start + _LONGEST_TAG)]}</title>"
        elif tag and within_head:
            yield name, tag[0]


def _metas(head: Selector) -> Iterator[tuple[str, str]]:
    for element in head.xpath("//meta[@content]"):
        # Only by name: listing an element's attributes fails on names that XML does not allow.
        name = element.root.get("property") or element.root.get("name")
        content = element.root.get("content")
        if name and content.strip():
            yield name.strip().lower(), content


def _subtitle(html: str) -> str | None:
    position = 0
    for _ in range(_MOST_SUBTITLES):
        position = html.find(_SUBTITLE, position)
        if position < 0:
            return None
        begin = max(0, position - _LONGEST_TAG)
        opening = _OPENING.search(html[begin:position])
        position += len(_SUBTITLE)
        if opening is not None:
            start = begin + opening.start()
            end = html.find(f"</{opening[1]}", position)
            text = html[start : min(end, start + 2 * _LONGEST_TAG) if end >= 0 else position]
            words = _parsed(text).xpath(f"string(//*[contains(@class, '{_SUBTITLE}')])").get()
            if words and words.strip():
                return words
    return None


def _parsed(html: str) -> Selector:
    # parsel removes NUL; the rest of what UTF-8 cannot hold would be an error.
    return Selector(text=usable(html), type="html")
