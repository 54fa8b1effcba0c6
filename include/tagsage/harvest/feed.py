"""Feeds: RSS 2.0 as Medium serves it, ten items without subtitles."""

from __future__ import annotations

import re

from lxml import etree

from tagsage.harvest.items import Article, PageError
from tagsage.harvest.medium_state import (
    NAME,
    TITLE,
    line,
    milliseconds,
    post_id,
    tag_names,
    usable,
    web_address,
)

_DECLARATION = re.compile(r"\A\s*\ufeff?\s*(?:<\?xml[^>]*\?>)?\s*")
_CREATOR = "{http://purl.org/dc/elements/1.1/}creator"


def parse_feed(body: str) -> tuple[Article, ...]:
    """Read the articles that have an address, each once; raises `PageError` if it is no RSS."""
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, recover=True
    )
    # The text is already decoded, so the XML declaration's encoding does not count.
    text = _DECLARATION.sub("", usable(body))
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        root = None
    if root is None or root.tag != "rss":
        raise PageError("this is no RSS feed")
    articles: dict[str, Article] = {}
    items = list(root.iter("item"))
    if "</rss>" not in body[-200:]:
        del items[-1:]  # the feed was cut off within it
    for item in items:
        article = _article(item)
        if article is not None:
            articles.setdefault(article.key, article)
    return tuple(articles.values())


def _article(item: etree._Element) -> Article | None:
    address = web_address(_text(item, "link").strip())
    guid = web_address(_text(item, "guid").strip())
    address = address or guid
    if address is None:
        return None
    key = address.key
    # Medium's guid names the post where a custom domain's link does not.
    if guid and post_id(guid.key) and guid.url.startswith("https://medium.com/p/"):
        key = guid.key
    missing: dict[str, str] = {}
    categories = ["".join(each.itertext()) for each in item.iterchildren("category")]
    return Article(
        key=key,
        url=address.url,
        source="feed",
        title=line(_text(item, "title"), TITLE) or None,
        author=line(_text(item, _CREATOR), NAME) or None,
        published_ms=milliseconds(_text(item, "pubDate"), missing),
        # A feed without categories does not mean that its articles have no tags.
        tags=tag_names([*categories]) or None,
        missing=missing,
    )


def _text(item: etree._Element, name: str) -> str:
    child = next(item.iterchildren(name), None)
    return "" if child is None else "".join(child.itertext())
