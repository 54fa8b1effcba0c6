"""Feeds: RSS 2.0 as Medium serves it (https://www.rssboard.org/rss-specification), and Atom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lxml import etree

from tagsage.corpus.keys import Address
from tagsage.harvest.article_fields import ArticleFields, article_record
from tagsage.harvest.page_values import (
    MOST_TAGS,
    NAME,
    TITLE,
    DateError,
    distinct,
    filled_line,
    milliseconds,
    post_id,
    reason,
    reasons,
    web_address,
)
from tagsage.harvest.records import ArticleRecord, Feed, PageError

_ENTRIES = frozenset({"item", "entry"})
_ROOTS = frozenset({"rss", "RDF", "feed"})
# The elements that are meant go without a prefix; media:title is not the article's.
_PREFIXES = {
    "": "",
    "http://www.w3.org/2005/Atom": "",
    "http://purl.org/rss/1.0/": "",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "",
    "http://purl.org/dc/elements/1.1/": "dc:",
}
# A feed of Medium has ten items, at most five categories each, and some thousands of elements.
_MOST_ITEMS = 1000
_MOST_ELEMENTS = 300_000
_FIRST_ELEMENT = re.compile(rb"<[A-Za-z_:\x80-\xff]")
_END = re.compile(rb"</(?:[^<>]{0,50}:)?(?:rss|RDF|feed)\s{0,50}>")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def parse_feed(body: bytes, url: str) -> Feed:
    """Read a feed.

    Parameters
    ----------
    body : bytes
        The feed, in the encoding it declares.
    url : str
        Its address.

    Returns
    -------
    Feed
        Its articles, each once.

    Raises
    ------
    PageError
        When it is no feed; or has a document type, through which entities could grow without
        bound or name files and addresses (https://owasp.org/www-community/vulnerabilities/
        XML_External_Entity_(XXE)_Processing): feeds need none.
    """
    if web_address(url) is None:
        raise PageError("the feed's address is no http or https URL")
    root, broken = _root(body)
    if _name(root) not in _ROOTS:
        raise PageError(reason(f"this is no feed: its root is {_name(root)}"))
    channel = next((child for child in root if _name(child) == "channel"), root)
    if _name(root) == "rss" and channel is root:
        raise PageError("the feed has no channel")
    damage = [broken] if broken else []
    articles: dict[str, ArticleRecord] = {}
    entries = [element for element in root.iter() if _name(element) in _ENTRIES]
    is_cut = bool(broken) and not _END.search(body[-1000:].replace(b"\0", b""))
    if is_cut and entries:
        damage.append(f"item {len(entries)} is cut off")
        del entries[-1]
    if len(entries) > _MOST_ITEMS:
        damage.append(f"{len(entries) - _MOST_ITEMS:,} items after the first {_MOST_ITEMS:,}")
    for number, entry in enumerate(entries[:_MOST_ITEMS], 1):
        record = _article(entry, number, damage)
        if record is not None:
            articles.setdefault(record.key, record)
    title = filled_line(_text(channel, "title"), TITLE) or ""
    return Feed(title, tuple(articles.values()), reasons(damage), is_cut)


def _root(body: bytes) -> tuple[etree._Element, str]:
    """Parse a feed; return its root, and what the parser had to mend."""
    # Without NUL, the look ahead sees through UTF-16 and UTF-32 too.
    flat = body.replace(b"\0", b"")
    first = _FIRST_ELEMENT.search(flat)
    before = flat[: first.start() if first else len(flat)].upper()
    if b"<!DOCTYPE" in before:
        is_html = b"<!DOCTYPE HTML" in before
        raise PageError("this is no feed but HTML" if is_html else "the feed has a document type")
    if flat.count(b"<") > 2 * _MOST_ELEMENTS:
        raise PageError(f"the feed may have more than {_MOST_ELEMENTS:,} elements")
    root, broken = _parsed(body)
    if root is None:
        # The encoding that it declares may be none, or not its own.
        text = _DECLARATION.sub("", body.decode("utf-8-sig", "replace"))
        root, _ = _parsed(text.encode())
    if root is None:
        raise PageError(broken or "the feed is empty")
    # An element in a comment can hide a document type from the look ahead.
    if root.getroottree().docinfo.internalDTD is not None:
        raise PageError("the feed has a document type")
    return root, broken


def _parsed(body: bytes) -> tuple[etree._Element | None, str]:
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        recover=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        return None, reason(f"the feed is no XML: {error}")
    errors = parser.error_log
    return root, reason(f"the feed's XML is broken: {errors[0].message}") if len(errors) else ""


def _article(entry: etree._Element, number: int, damage: list[str]) -> ArticleRecord | None:
    address = next(filter(None, map(web_address, _links(entry))), None)
    identifier = web_address(_text(entry, "guid"))
    address = address or identifier or web_address(_text(entry, "id"))
    if address is None:
        damage.append(f"item {number} has no address")
        return None
    try:
        published_ms = milliseconds(_date(entry))
    except DateError as error:
        published_ms = None
        damage.append(f"item {number}: {error}")
    tags = distinct(islice(_categories(entry), MOST_TAGS))
    fields = ArticleFields(
        title=filled_line(_text(entry, "title"), TITLE),
        author=_author(entry),
        published_ms=published_ms,
        # A feed without categories does not tell that its articles have no tags.
        tags=tags or None,
    )
    return article_record(_key(address, identifier), address.url, [("feed", fields)])


def _key(address: Address, identifier: Address | None) -> str:
    """Return the article's key: Medium's guid names the post where the link does not."""
    if identifier is None or post_id(address.key) or not post_id(identifier.key):
        return address.key
    return identifier.key if identifier.url.startswith("https://medium.com/p/") else address.key


def _links(entry: etree._Element) -> Iterator[str]:
    for link in _children(entry, "link"):
        # RSS has the address as text, Atom as an attribute.
        if link.get("rel", "alternate") == "alternate":
            yield (link.get("href") or link.text or "").strip()


def _categories(entry: etree._Element) -> Iterator[str | None]:
    for category in _children(entry, "category"):
        yield category.get("term") or _content(category)


def _author(entry: etree._Element) -> str | None:
    person = next(_children(entry, "author"), None)
    name = None if person is None else _text(person, "name") or person.text
    return filled_line(_text(entry, "dc:creator"), NAME) or filled_line(name, NAME)


def _date(entry: etree._Element) -> str | None:
    texts = (_text(entry, name) for name in ("pubDate", "published", "dc:date"))
    return next((text for text in texts if text and text.strip()), None)


def _text(element: etree._Element, name: str) -> str | None:
    child = next(_children(element, name), None)
    return None if child is None else _content(child)


def _content(element: etree._Element) -> str:
    # A title of type xhtml has elements in it, others have references to unknown entities.
    return "".join(element.itertext(with_tail=False))


def _children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return (child for child in element if _name(child) == name)


def _name(element: etree._Element) -> str:
    """Return an element's name, with the prefix that is usual; empty for what is no element."""
    tag = element.tag
    if not isinstance(tag, str):
        return ""
    namespace, _, name = tag.removeprefix("{").rpartition("}")
    return _PREFIXES.get(namespace, "other:") + name
