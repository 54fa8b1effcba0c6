"""Pages as Medium serves them: HTML with the state object, JSON-LD and meta elements."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal

from scripts.medium_site.filler import VARIANTS, Piece, piece, state_filler, text_filler
from scripts.medium_site.world import Item, Place, Post, ReadingList, World, share, tag_slug

JsonObject = dict[str, Any]
# Turns a place into a URL.
UrlOf = Callable[[Place], str]
PAGE_ITEMS = 20
# cut: the state object ends in the middle; bare: and the page has no JSON-LD and no meta either.
Damage = Literal["", "cut", "bare"]


def list_page(world: World, a_list: ReadingList, url_of: UrlOf, damage: Damage = "") -> list[Piece]:
    """Return the page of a list: its first 20 items, without tags."""
    state, name = _list_state(world, a_list, url_of)
    title = f"List: {name} | Curated on Medium" if name else "Medium"
    head = f"<title>{escape(title)}</title>"
    if damage != "bare":
        head += f'<meta property="og:title" content="{escape(title)}">'
    return _page(world, a_list.id, head, "<h2>List</h2>", state, damage)


def article_page(world: World, post: Post, url_of: UrlOf, damage: Damage = "") -> list[Piece]:
    """Return the page of a post."""
    url = url_of(post.places[0])
    state: JsonObject = {"ROOT_QUERY": _root()}
    reference = {"__ref": f"Post:{post.id}"}
    state["ROOT_QUERY"][f'postResult({{"id":"{post.id}"}})'] = reference
    state.update(_post_state(post, url, with_tags=True))
    state.update({
        f"Tag:{tag_slug(tag)}": {
            "__typename": "Tag",
            "id": tag_slug(tag),
            # Older pages name a tag by its id alone.
            **({} if tag_slug(tag) == tag else {"displayTitle": tag}),
            "normalizedTagSlug": tag_slug(tag),
        }
        for tag in post.tags
    })
    # Others that the page recommends; none of them is the page's own.
    state.update(_recommended(world, post, url_of))
    head = "<title>Medium</title>"
    body = '<h1 class="pw-post-title">Story</h1>'
    if damage != "bare":
        head = _article_head(post, url)
        body = (
            f'<h1 class="pw-post-title">{escape(post.title)}</h1>'
            f'<h2 class="pw-subtitle-paragraph">{escape(post.subtitle)}</h2>'
        )
    return _page(world, post.id, head, body, state, damage)


def gone_page() -> list[Piece]:
    """Return what is there instead of a post or a list that is not there any more."""
    html = (
        "<!doctype html><html><head><title>Medium</title></head>"
        '<body><div class="gone">PAGE NOT FOUND</div><p>404. Out of nothing, something.</p>'
        "<script>window.__APOLLO_STATE__ = {}</script></body></html>"
    )
    return [piece(html.encode())]


def members_page() -> list[Piece]:
    """Return what a guest sees where only members may read."""
    html = (
        "<!doctype html><html><head><title>Member-only story | Medium</title></head>"
        "<body><p>Create an account to read the full story.</p></body></html>"
    )
    return [piece(html.encode())]


def challenge_page() -> list[Piece]:
    """Return a page as Cloudflare shows it to a client it takes for a robot."""
    html = (
        '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title>'
        '<meta name="robots" content="noindex,nofollow"></head><body>'
        '<div class="main-wrapper"><noscript>Enable JavaScript and cookies to continue</noscript>'
        "</div><script>(function(){window._cf_chl_opt={cvId:'3',cType:'managed'};"
        "var a=document.createElement('script');"
        "a.src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1';"
        "document.getElementsByTagName('head')[0].appendChild(a);})();</script></body></html>"
    )
    return [piece(html.encode())]


def item_url(post: Post, a_list: ReadingList, url_of: UrlOf) -> str | None:
    """Return the address by which a list names a post: any of its addresses, or none."""
    if not post.tells_url:
        return None
    number = int(share(post.id, a_list.id) * len(post.places))
    url = url_of(post.places[number])
    return f"{url}?source=list" if share(a_list.id, post.id) < 0.1 else url


def one_line(text: str) -> str:
    """Return the text as it is shown: on one line."""
    return " ".join(text.split())


def _root() -> JsonObject:
    return {"__typename": "Query", "viewer": None, "isLoggedIn": False}


def _list_state(world: World, a_list: ReadingList, url_of: UrlOf) -> tuple[JsonObject, str | None]:
    root = _root()
    state: JsonObject = {"ROOT_QUERY": root}
    query = f'catalogById({{"catalogId":"{a_list.id}"}})'
    if a_list.status == "private":
        root[query] = {"__typename": "Forbidden"}
        return state, None
    if a_list.status != "open":
        root[query] = {"__typename": "NotFound"}
        return state, None
    root[query] = {"__ref": f"Catalog:{a_list.id}"}
    owner = a_list.owner
    state[f"User:{owner.id}"] = _user(owner.id, owner.name, owner.username)
    shown = a_list.items[:PAGE_ITEMS]
    for item in shown:
        state[f"CatalogItemV2:{item.id}"] = _item_state(item)
        if item.kind == "post":
            post = world.posts[item.post]
            state.update(_post_state(post, item_url(post, a_list, url_of), with_tags=False))
        elif item.kind == "other":
            state[f"Book:{item.id}"] = {"__typename": "Book", "id": item.id, "title": "A book"}
    state[f"Catalog:{a_list.id}"] = {
        "__typename": "Catalog",
        "id": a_list.id,
        "name": a_list.name,
        "description": "",
        "type": "LISTS",
        "visibility": "PUBLIC",
        "creator": {"__ref": f"User:{owner.id}"},
        _items_key(a_list.id): {
            "__typename": "CatalogItemsConnection",
            "items": [{"__ref": f"CatalogItemV2:{item.id}"} for item in shown],
            "paging": {
                "__typename": "CatalogPagingOptionsResult",
                "count": len(a_list.items),
                "nextPageCursor": _cursor(PAGE_ITEMS, len(a_list.items)),
            },
        },
    }
    return state, a_list.name


def _items_key(list_id: str) -> str:
    forms = (
        "itemsConnection:(limit:20)",
        'itemsConnection({"pagingOptions":{"limit":20}})',
        'itemsConnection:{"pagingOptions":{"limit":20}}',
    )
    return forms[int(share(list_id) * len(forms))]


def _cursor(offset: int, total: int) -> JsonObject | None:
    return {"__typename": "PageCursor", "id": f"offset:{offset}"} if offset < total else None


def _item_state(item: Item) -> JsonObject:
    entity: JsonObject | None = None
    if item.kind == "post":
        entity = {"__ref": f"Post:{item.post}"}
    elif item.kind == "other":
        entity = {"__ref": f"Book:{item.id}"}
    return {
        "__typename": "CatalogItemV2",
        "catalogItemId": item.id,
        "entityType": "BOOK" if item.kind == "other" else "POST",
        "entity": entity,
    }


def _user(user_id: str, name: str, username: str) -> JsonObject:
    return {
        "__typename": "User",
        "id": user_id,
        "name": name,
        "username": username,
        "mediumMemberAt": 0,
        "socialStats": {"__typename": "SocialStats", "followerCount": 12},
    }


def _post_state(post: Post, url: str | None, *, with_tags: bool) -> JsonObject:
    preview = "previewContent" if post.has_old_subtitle else "extendedPreviewContent"
    author = post.author
    value: JsonObject = {
        "__typename": "Post",
        "id": post.id,
        "title": post.title,
        "mediumUrl": url,
        "firstPublishedAt": post.published_ms,
        "latestPublishedAt": post.published_ms + 1000,
        "creator": {"__ref": f"User:{author.id}"},
        preview: {
            "__typename": "PreviewContent",
            "subtitle": post.subtitle,
            "isFullContent": False,
        },
        "clapCount": 12,
        "isLocked": False,
        "visibility": "PUBLIC",
    }
    if with_tags:
        value["tags"] = [{"__ref": f"Tag:{tag_slug(tag)}"} for tag in post.tags]
    return {
        f"Post:{post.id}": value,
        f"User:{author.id}": _user(author.id, author.name, author.username),
    }


def _recommended(world: World, post: Post, url_of: UrlOf) -> JsonObject:
    ids = list(world.posts)
    start = int(share("recommended", post.id) * len(ids))
    state: JsonObject = {}
    for other in (world.posts[ids[(start + step) % len(ids)]] for step in range(4)):
        if other.id != post.id:
            found = _post_state(other, url_of(other.places[0]), with_tags=False)
            state[f"Post:{other.id}"] = found[f"Post:{other.id}"]
            # The page's own author stays as it is.
            state[f"User:{other.author.id}"] = found[f"User:{other.author.id}"]
    return state


def _article_head(post: Post, url: str) -> str:
    published = datetime.fromtimestamp(post.published_ms / 1000, UTC)
    moment = published.strftime("%Y-%m-%dT%H:%M:%S.") + f"{post.published_ms % 1000:03d}Z"
    linked: JsonObject = {
        "@context": "http://schema.org",
        "@type": "NewsArticle",
        "url": url,
        "dateCreated": moment,
        "datePublished": moment,
        "dateModified": moment,
        "headline": post.title,
        "name": post.title,
        "description": post.subtitle,
        "identifier": post.id,
        "author": {
            "@type": "Person",
            "name": post.author.name,
            "url": f"https://medium.com/@{post.author.username}",
        },
        "creator": [post.author.name],
        "publisher": {"@type": "Organization", "name": "Medium", "url": "https://medium.com/"},
        "mainEntityOfPage": url,
        "isAccessibleForFree": "True",
        "keywords": [
            "Lite:true",
            *(f"Tag:{tag}" for tag in post.tags),
            "Elevated:false",
            "LayerCake:3",
            "Publication:some-publication",
        ],
    }
    title = f"{post.title} | by {post.author.name} | Medium" if post.title else "Medium"
    return (
        f"<title>{escape(title)}</title>"
        f'<meta property="article:published_time" content="{moment}">'
        f'<meta name="author" content="{escape(post.author.name)}">'
        f'<meta property="og:title" content="{escape(post.title)}">'
        f'<meta property="og:description" content="{escape(post.subtitle)}">'
        f'<link rel="canonical" href="{escape(url)}">'
        f'<script type="application/ld+json">{script_json(linked)}</script>'
    )


def script_json(value: object) -> str:
    """Write JSON as it is written into script elements: no tag can end the element early."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>/\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04X}")
    return text


def _page(
    world: World, key: str, head: str, body: str, state: Mapping[str, Any], damage: Damage
) -> list[Piece]:
    smallest, largest = world.config.page_kb
    # Steps of 20 kB: what is shared between pages stays little.
    kb = max(1, (smallest + int(share("size", key) * (largest - smallest))) // 20 * 10)
    variant = int(share("filler", key) * VARIANTS)
    first = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}</head>'
        f'<body><div id="root"><article>{body}'
    )
    preloaded = script_json({"config": {"nodeEnv": "production"}, "session": {"xsrf": ""}})
    text = script_json(state)
    second = (
        f"</article></div><script>window.__PRELOADED_STATE__ = {preloaded}</script>"
        f"<script>window.__APOLLO_STATE__ = {text.removesuffix('}')}"
    )
    last = "}</script><script>window.main();</script></body></html>"
    if damage:
        # Cut in the middle of what is the page's own: the rest is there, as it is.
        second = second[: len(second) - 2 * len(text) // 3]
        last = "</script></body></html>"
        return [
            piece(first.encode()),
            text_filler(variant, kb),
            piece((second + last).encode()),
        ]
    return [
        piece(first.encode()),
        text_filler(variant, kb),
        piece(second.encode()),
        state_filler(variant, kb),
        piece(last.encode()),
    ]
