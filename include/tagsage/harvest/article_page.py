"""An article's own page: the state object first, then JSON-LD, then meta elements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tagsage.corpus.keys import Address
from tagsage.harvest.article_fields import ArticleFields, article_record
from tagsage.harvest.json_ld import article_nodes, read_node
from tagsage.harvest.medium_state import MediumState, find_state, is_field
from tagsage.harvest.page_elements import read_elements
from tagsage.harvest.page_values import (
    NAME,
    SUBTITLE,
    TITLE,
    DateError,
    filled_line,
    host,
    milliseconds,
    origin,
    post_id,
    reason,
    reasons,
    web_address,
)
from tagsage.harvest.posts import GONE, PRIVATE, identity_of, post_address, read_post
from tagsage.harvest.records import FIELDS, ArticlePage, PageError, Source

_QUERY_NAME = "postResult"
# Medium's own page for posts that are none, when it comes without the status 404.
_NOT_FOUND = "PAGE NOT FOUND"
# "Title | by Author | Publication | Medium", "Title | Medium", "Medium".
_SITE = re.compile(r"(?:^|\s*)\|\s*by [^|]*(?:\|[^|]*)?\| Medium$|(?:^|\s*[|–] )Medium$")


@dataclass(frozen=True)
class _Post:
    """What a page's state object tells of the page's post."""

    fields: ArticleFields
    identity: str | None
    address: tuple[str, str] | None


@dataclass(frozen=True)
class _Elements:
    """What a page's elements tell, JSON-LD and meta elements apart."""

    canonical: Address | None = None
    linked: ArticleFields | None = None
    meta: ArticleFields = field(default_factory=ArticleFields)
    is_article: bool = False


def parse_article_page(html: str, url: str) -> ArticlePage:
    """Read an article's page.

    Parameters
    ----------
    html : str
        The page.
    url : str
        Its address, after redirects.

    Returns
    -------
    ArticlePage
        Each field from the first source that tells it: the state object, JSON-LD, meta elements.
        The page is parsed as HTML only when the state object leaves a field open.

    Raises
    ------
    PageError
        When the page tells of no article.
    """
    address = web_address(url)
    if address is None:
        raise PageError("the page's address is no http or https URL")
    state, broken = find_state(html)
    damage = [broken] if broken else []
    post = None
    gone = False
    page: _Elements | None = None
    if state is not None:
        gone, found = _queried_post(state, post_id(address.key))
        if not gone and found is None:
            # Neither the address nor a query tells which of the state's posts the page is about.
            page = _elements(html, address, damage)
            found = _canonical_post(state, page)
        post = _read(state, found, origin(url), damage) if found is not None else None
    if gone:
        return ArticlePage("gone")
    if page is None and (post is None or post.fields.told() != set(FIELDS)):
        page = _elements(html, address, damage)
    page = page or _Elements()
    if post is None and not page.is_article:
        if _NOT_FOUND in html:
            return ArticlePage("gone")
        raise PageError(broken or "the page tells of no article")
    key, shown = _key_and_url(post, page.canonical, address)
    parts: list[tuple[Source, ArticleFields]] = []
    if post is not None:
        parts.append(("state", post.fields))
    if page.linked is not None:
        parts.append(("json-ld", page.linked))
    parts.append(("meta", page.meta))
    record = article_record(key, shown, parts)
    if not record.sources:
        raise PageError(reason(damage[0]) if damage else "the page tells nothing of its article")
    return ArticlePage("open", record, reasons(damage))


def _queried_post(state: MediumState, identity: str | None) -> tuple[bool, object]:
    """Return whether the page's post is gone, and a reference to it, or None."""
    answers = [(key, value) for key, value in state.root.items() if is_field(key, _QUERY_NAME)]
    if identity is not None:
        if _is_post(state, named := {"__ref": f"Post:{identity}"}):
            return False, named
        # Pages query other posts too, such as those they recommend.
        answers.sort(key=lambda answer: f'"{identity}"' not in answer[0])
    for key, value in answers[:1]:
        if _is_post(state, value):
            return False, value
        kind = (state.follow(value) or {}).get("__typename")
        name = kind if isinstance(kind, str) else ""
        is_none = value is None or any(each.search(name) for each in (GONE, PRIVATE))
        return is_none and (identity is None or f'"{identity}"' in key), None
    return False, None


def _canonical_post(state: MediumState, page: _Elements) -> object:
    identity = post_id(page.canonical.key) if page.canonical else None
    named = {"__ref": f"Post:{identity}"}
    return named if identity and _is_post(state, named) else None


def _is_post(state: MediumState, value: object) -> bool:
    post = state.follow(value)
    return post is not None and ("title" in post or "firstPublishedAt" in post)


def _read(state: MediumState, value: object, place: str, damage: list[str]) -> _Post:
    post: Mapping[str, Any] = state.follow(value) or {}
    fields, unreadable = read_post(state, post)
    damage.extend(unreadable)
    identity = identity_of(value, post)
    return _Post(fields, identity, post_address(post, identity, place))


def _key_and_url(
    post: _Post | None, canonical: Address | None, address: Address
) -> tuple[str, str]:
    """Return the article's key and the address to show.

    A link to a canonical page on another host is no proof: the page would take the place of any
    other host's article.
    """
    if canonical is None or host(canonical.url) != host(address.url):
        canonical = None
    if canonical is not None and post_id(address.key) and canonical.key != address.key:
        canonical = None
    own = canonical or address
    if post is None or post.identity is None:
        return own.key, own.url
    return post.identity, post.address[1] if post.address else own.url


def _elements(html: str, address: Address, damage: list[str]) -> _Elements:
    elements = read_elements(html)
    metas = elements.metas
    canonical = web_address(elements.canonical) or web_address(metas.get("og:url"))
    node = next(iter(article_nodes(elements.scripts, address.key, damage)), None)
    linked = read_node(node, damage) if node is not None else None
    try:
        published_ms = milliseconds(metas.get("article:published_time"))
    except DateError as error:
        published_ms = None
        damage.append(f"article:published_time: {error}")
    subtitles = (elements.subtitle, metas.get("og:description"), metas.get("description"))
    meta = ArticleFields(
        title=_titled((metas.get("og:title"), elements.title)),
        subtitle=_first_line(subtitles, SUBTITLE),
        author=filled_line(metas.get("author"), NAME),
        published_ms=published_ms,
    )
    marks = {"og:title", "article:published_time"} & metas.keys()
    return _Elements(canonical, linked, meta, linked is not None or bool(marks))


def _titled(values: Iterable[str | None]) -> str | None:
    """Return the first title; the site's name, alone or after it, is no part of one."""
    lines = (filled_line(value, TITLE) for value in values)
    return next((left for line in lines if line and (left := _SITE.sub("", line).strip())), None)


def _first_line(values: Iterable[str | None], limit: int) -> str | None:
    return next((line for value in values if (line := filled_line(value, limit))), None)
