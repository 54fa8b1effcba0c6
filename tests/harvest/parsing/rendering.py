"""Posts and lists as Medium's pages hold them, from plain values; for tests that read them back."""

from __future__ import annotations

import json
from typing import Any

Tags = list[tuple[str, str]]


def post_objects(
    identity: str,
    *,
    title: str,
    subtitle: str,
    author: str,
    published_ms: int,
    tags: Tags,
    url: str,
    older: bool,
) -> dict[str, Any]:
    """Return the objects that a state holds for one post; tags are pairs of id and title."""
    form = "previewContent" if older else 'extendedPreviewContent({"truncationConfig":{}})'
    return {
        f"Post:{identity}": {
            "__typename": "Post",
            "id": identity,
            "title": title,
            "mediumUrl": url,
            "firstPublishedAt": published_ms,
            "creator": {"__ref": f"User:of-{identity}"},
            "tags": [{"__ref": f"Tag:{slug}"} for slug, _ in tags],
            form: {"__typename": "PreviewContent", "subtitle": subtitle},
        },
        f"User:of-{identity}": {"__typename": "User", "name": author},
        **{
            f"Tag:{slug}": {"__typename": "Tag", "id": slug, "displayTitle": name}
            for slug, name in tags
        },
    }


def list_objects(list_id: str, posts: list[str], *, size: int, following: str | None):
    """Return the objects that a state holds for a list of posts."""
    names = [f"CatalogItemV2:{list_id}-{number}" for number in range(len(posts))]
    cursor = None if following is None else {"__typename": "CatalogPagingCursor", "id": following}
    return {
        "ROOT_QUERY": {
            f'catalogById({{"catalogId":"{list_id}"}})': {"__ref": f"Catalog:{list_id}"}
        },
        f"Catalog:{list_id}": {
            "__typename": "Catalog",
            "id": list_id,
            "name": "A list",
            "itemsConnection:(limit:20)": {
                "items": [{"__ref": name} for name in names],
                "paging": {"count": size, "nextPageCursor": cursor},
            },
        },
        **{
            name: {
                "catalogItemId": name.partition(":")[2],
                "entityType": "POST",
                "entity": {"__ref": f"Post:{post}"},
            }
            for name, post in zip(names, posts, strict=True)
        },
    }


def page_of(state: Any, head: str = "") -> str:
    """Return a page that embeds a state."""
    text = json.dumps(state, ensure_ascii=False).replace("<", "\\u003c")
    script = f"<script>window.__APOLLO_STATE__ = {text}</script>"
    return f"<!doctype html><html><head>{head}</head><body><p>Text</p>{script}</body></html>"
