"""An article's own page: the state object first, then JSON-LD, then meta elements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from parsel import Selector

from tagsage.corpus.keys import parse_address
from tagsage.harvest.items import FIELDS, Article, PageError
from tagsage.harvest.medium_state import (
    NAME,
    SUBTITLE,
    TITLE,
    State,
    attribute,
    find_state,
    gone_or_private,
    is_field,
    line,
    milliseconds,
    post_id,
    read_json,
    read_post,
    tag_names,
    usable,
    web_address,
)

_ARTICLE = re.compile(r"(?:\w*Article|\w*BlogPosting|SocialMediaPosting)")
# "Title | by Author | Publication | Medium", "Title | Medium", "Medium".
_SITE = re.compile(r"\s*\|\s*by [^|]*(?:\|[^|]*)?\| Medium$|(?:^|\s*[|–] )Medium$")


class GoneError(PageError):
    """The page says that there is no such post."""


def parse_article_page(html: str, url: str) -> Article:
    """Read an article's page; raises `GoneError` for a deleted post, else `PageError`."""
    address = parse_address(url)
    if address is None:
        raise PageError("the page's address is no http or https URL")
    page = Selector(text=usable(html), type="html")
    metas = _metas(page)
    parts: list[Article] = []
    broken = ""
    try:
        state = find_state(html)
    except PageError as error:
        broken = str(error)
    else:
        parts += _from_state(state, post_id(address.key), url)
    if metas.get("og:type", "").lower() != "article":
        raise PageError("the page says of itself that it is no article")
    canonical = web_address(page.xpath("//link[@rel='canonical']/@href").get())
    if canonical is None or canonical.url.split("/")[2] != address.url.split("/")[2]:
        canonical = address  # a page must not replace another host's article
    if parts:
        identity, shown = parts[0].key, parts[0].url
    else:
        identity = address.key if post_id(address.key) else canonical.key
        shown = canonical.url if canonical.key == identity else address.url
    blank = Article(identity, shown, "page")
    parts += _from_json_ld(page, blank, metas)
    parts.append(_from_metas(page, metas, blank))
    article = _first_of_each(blank, parts)
    if article.title is None and broken:
        return replace(article, missing={**article.missing, "title": broken})
    return article


def _from_state(state: State, identity: str | None, url: str) -> Iterator[Article]:
    origin = "/".join(url.split("/")[:3])
    answers = [value for key, value in state.root.items() if is_field(key, "postResult")]
    named: object = {"__ref": f"Post:{identity}"} if identity else None
    if state.follow(named) is None and answers:
        named = answers[0]
        if named is None or gone_or_private(state.follow(named) or {}):
            raise GoneError("the page says that its post is gone or private")
    post = state.follow(named)
    if post is not None and ("title" in post or "firstPublishedAt" in post):
        article = read_post(state, named, "page", origin)
        if article is not None and (identity is None or article.key == identity):
            yield article


def _from_json_ld(page: Selector, blank: Article, metas: Mapping[str, str]) -> Iterator[Article]:
    for text in page.xpath("//script[@type='application/ld+json']/text()").getall():
        try:
            node = read_json(text.strip())
        except ValueError:
            continue
        if not isinstance(node, dict) or not _ARTICLE.fullmatch(str(node.get("@type", ""))):
            continue
        missing: dict[str, str] = {}
        yield replace(
            blank,
            title=line(node.get("headline"), TITLE) or None,
            # Where both exist, og:description is the subtitle.
            subtitle=line(metas.get("og:description"), SUBTITLE)
            or line(node.get("description"), SUBTITLE),
            author=_author(node),
            published_ms=milliseconds(node.get("datePublished"), missing),
            tags=_keywords(node.get("keywords")),
            missing=missing,
        )
        return


def _from_metas(page: Selector, metas: Mapping[str, str], blank: Article) -> Article:
    title = line(metas.get("og:title"), TITLE) or line(page.xpath("//title/text()").get(), TITLE)
    subtitle = page.xpath("string(//*[contains(@class, 'pw-subtitle-paragraph')])").get()
    missing: dict[str, str] = {}
    return replace(
        blank,
        title=_SITE.sub("", title or "").strip() or None,
        subtitle=line(metas.get("og:description"), SUBTITLE) or line(subtitle, SUBTITLE) or None,
        author=line(metas.get("author"), NAME) or None,
        # The last publication's date, perhaps months later than the first.
        published_ms=milliseconds(metas.get("article:published_time"), missing),
        missing=missing,
    )


def _first_of_each(blank: Article, parts: list[Article]) -> Article:
    values: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for part in parts:
        for name in FIELDS:
            if values.get(name) is None:
                values[name] = getattr(part, name)
        missing = {**part.missing, **missing}
    unread = {name: why for name, why in missing.items() if values[name] is None or name == "tags"}
    return replace(blank, **values, missing=unread)


def _metas(page: Selector) -> dict[str, str]:
    found: dict[str, str] = {}
    for element in page.xpath("//meta[@content]"):
        name = element.root.get("property") or element.root.get("name")
        if name:
            found.setdefault(name.strip().lower(), element.root.get("content"))
    return found


def _author(node: Mapping[str, Any]) -> str | None:
    author = attribute(node, "author")
    author = author[0] if isinstance(author, list) and author else author
    name = author.get("name") if isinstance(author, dict) else author
    return line(name, NAME) or None


def _keywords(value: object) -> tuple[str, ...] | None:
    """Return the tags among Medium's keywords, which are pairs such as ``Tag:Graphs``."""
    if not isinstance(value, list):
        return None
    words = [word for word in value if isinstance(word, str)]
    return tag_names([word[4:] for word in words if word.startswith("Tag:")])
