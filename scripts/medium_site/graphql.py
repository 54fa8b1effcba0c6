"""The GraphQL endpoint: as much of the language and of Medium's schema as lists need.

Unknown fields, arguments and variables, missing or superfluous ones, ids and cursors in another
form are refused, as a GraphQL server does (specification of October 2021, section 5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.medium_site.graphql_query import Field, GraphqlError, parse_query
from scripts.medium_site.pages import PAGE_ITEMS, UrlOf, item_url
from scripts.medium_site.world import Item, Post, ReadingList, World, tag_slug

JsonObject = dict[str, Any]
LIST_ID = re.compile(r"[0-9a-f]{8,16}")
CURSOR = re.compile(r"offset:(0|[1-9][0-9]{0,6})")

# What may be asked of each type. A type in the value: an object, which needs fields of its own.
SCHEMA: Mapping[str, Mapping[str, str]] = {
    "Query": {"catalogById": "CatalogResult"},
    "CatalogResult": {},
    "Catalog": {
        **dict.fromkeys(("id", "name", "description", "type", "visibility"), ""),
        "creator": "User",
        "itemsConnection": "Connection",
    },
    "Connection": {"items": "CatalogItemV2", "paging": "Paging"},
    "CatalogItemV2": {"catalogItemId": "", "entityType": "", "entity": "Entity"},
    "Entity": {},
    "Post": {
        **dict.fromkeys(("id", "title", "mediumUrl", "firstPublishedAt", "latestPublishedAt"), ""),
        **dict.fromkeys(("extendedPreviewContent", "previewContent"), "Preview"),
        "creator": "User",
        "tags": "Tag",
        **dict.fromkeys(("clapCount", "isLocked", "visibility", "readingTime"), ""),
    },
    "Book": dict.fromkeys(("id", "title"), ""),
    "Preview": {"subtitle": ""},
    "User": dict.fromkeys(("id", "name", "username"), ""),
    "Tag": dict.fromkeys(("id", "displayTitle", "normalizedTagSlug"), ""),
    "Paging": {"count": "", "nextPageCursor": "Cursor"},
    "Cursor": {"id": ""},
}
# Types that stand for several; fields of those are asked for in `... on Type`.
ABSTRACT: Mapping[str, frozenset[str]] = {
    "CatalogResult": frozenset({"Catalog", "Forbidden", "NotFound"}),
    "Entity": frozenset({"Post", "Book"}),
}
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "catalogById": ("catalogId",),
    "itemsConnection": ("pagingOptions",),
}


@dataclass(frozen=True)
class Asked:
    """What a body asks for: the list and the part of it, for the log, and the operation."""

    list_id: str
    cursor: str
    root: Field
    is_array: bool


def read_body(body: bytes) -> Asked:
    """Read the body of a request: an object, or an array with one.

    Raises
    ------
    GraphqlError
        When it is not a valid request for a list.
    """
    try:
        value = json.loads(body)
    except ValueError:
        raise GraphqlError("The body is not JSON.") from None
    is_array = isinstance(value, list)
    if is_array and len(value) != 1:
        raise GraphqlError("A batch of one operation is expected.")
    operation = value[0] if is_array else value
    if not isinstance(operation, dict) or not isinstance(operation.get("query"), str):
        raise GraphqlError("The operation has no query.")
    if unknown := operation.keys() - {"query", "variables", "operationName", "extensions"}:
        raise GraphqlError(f"Unknown members: {', '.join(sorted(unknown))}.")
    root = parse_query(operation["query"], operation.get("variables") or {})
    check(root, "Query")
    if [part.name for part in root.fields] != ["catalogById"]:
        raise GraphqlError("One catalogById is expected.")
    list_id = root.fields[0].arguments.get("catalogId")
    if not isinstance(list_id, str) or not LIST_ID.fullmatch(list_id):
        raise GraphqlError(f"catalogId {list_id!r} is no id.")
    return Asked(list_id, _cursor_of(root.fields[0]), root, is_array)


def check(asked: Field, type_name: str) -> None:
    """Refuse what the schema does not have."""
    known = SCHEMA[type_name]
    if not asked.fields:
        raise GraphqlError(f"{asked.name} is an object: name its fields.")
    for part in asked.fields:
        if part.on:
            if part.on != type_name and part.on not in ABSTRACT.get(type_name, ()):
                raise GraphqlError(f"{type_name} is never {part.on}.")
            if part.on in SCHEMA:
                check(part, part.on)
        elif part.name != "__typename":
            if part.name not in known:
                raise GraphqlError(f'Cannot query field "{part.name}" on type "{type_name}".')
            if unknown := part.arguments.keys() - set(ARGUMENTS.get(part.name, ())):
                raise GraphqlError(f"{part.name} takes no {', '.join(sorted(unknown))}.")
            if known[part.name]:
                check(part, known[part.name])
            elif part.fields:
                raise GraphqlError(f"{part.name} has no fields.")


def answer(world: World, asked: Asked, url_of: UrlOf) -> JsonObject:
    """Return the answer to a valid request."""
    a_list = world.lists.get(asked.list_id)
    value: JsonObject
    if a_list is None or a_list.status in {"404", "410", "not_found"}:
        value = {"__typename": "NotFound"}
    elif a_list.status == "private":
        value = {"__typename": "Forbidden"}
    else:
        value = _catalog(world, a_list, asked.cursor, url_of)
    return {"data": _select({"__typename": "Query", "catalogById": value}, asked.root.fields)}


def _catalog(world: World, a_list: ReadingList, cursor: str, url_of: UrlOf) -> JsonObject:
    start = int(cursor.partition(":")[2] or 0)
    stop = start + PAGE_ITEMS
    total = len(a_list.items)
    more = {"__typename": "PageCursor", "id": f"offset:{stop}"} if stop < total else None
    return {
        "__typename": "Catalog",
        "id": a_list.id,
        "name": a_list.name,
        "description": "",
        "type": "LISTS",
        "visibility": "PUBLIC",
        "creator": {
            "__typename": "User",
            "id": a_list.owner.id,
            "name": a_list.owner.name,
            "username": a_list.owner.username,
        },
        "itemsConnection": {
            "__typename": "CatalogItemsConnection",
            "items": [_item(world, a_list, item, url_of) for item in a_list.items[start:stop]],
            "paging": {"__typename": "Paging", "count": total, "nextPageCursor": more},
        },
    }


def _item(world: World, a_list: ReadingList, item: Item, url_of: UrlOf) -> JsonObject:
    entity: JsonObject | None = None
    if item.kind == "post":
        post = world.posts[item.post]
        entity = _post(post, item_url(post, a_list, url_of))
    elif item.kind == "other":
        entity = {"__typename": "Book", "id": item.id, "title": "A book"}
    return {
        "__typename": "CatalogItemV2",
        "catalogItemId": item.id,
        "entityType": "BOOK" if item.kind == "other" else "POST",
        "entity": entity,
    }


def _post(post: Post, url: str | None) -> JsonObject:
    tags = [
        {
            "__typename": "Tag",
            "id": tag_slug(tag),
            "displayTitle": tag,
            "normalizedTagSlug": tag_slug(tag),
        }
        for tag in post.tags
    ]
    preview = {"__typename": "PreviewContent", "subtitle": post.subtitle}
    author = post.author
    return {
        "__typename": "Post",
        "id": post.id,
        "title": post.title,
        "mediumUrl": url,
        "firstPublishedAt": post.published_ms,
        "latestPublishedAt": post.published_ms + 1000,
        "extendedPreviewContent": preview,
        "previewContent": preview if post.has_old_subtitle else None,
        "creator": {
            "__typename": "User",
            "id": author.id,
            "name": author.name,
            "username": author.username,
        },
        "tags": tags if post.tells_tags else None,
        "clapCount": 12,
        "isLocked": False,
        "visibility": "PUBLIC",
        "readingTime": 4.2,
    }


def _select(value: Any, fields: Sequence[Field]) -> Any:
    """Return those members of a value that are asked for."""
    if value is None:
        return None
    if isinstance(value, list):
        return [_select(entry, fields) for entry in value]
    found: JsonObject = {}
    for part in fields:
        if part.on:
            if part.on == value["__typename"]:
                found.update(_select(value, part.fields))
        else:
            member = value[part.name]
            found[part.alias or part.name] = _select(member, part.fields) if part.fields else member
    return found


def _cursor_of(catalog: Field) -> str:
    """Return the cursor of the one connection that is asked for; "offset:0" when there is none."""
    connections = [part for part in _walk(catalog) if part.name == "itemsConnection"]
    if len(connections) != 1:
        raise GraphqlError("One itemsConnection is expected.")
    options = connections[0].arguments.get("pagingOptions")
    if not isinstance(options, dict) or options.keys() - {"limit", "cursor"}:
        raise GraphqlError("pagingOptions has limit and cursor.")
    limit = options.get("limit")
    if not isinstance(limit, int) or limit != PAGE_ITEMS:
        raise GraphqlError(f"limit {limit!r} is not {PAGE_ITEMS}.")
    cursor = options.get("cursor")
    if cursor is None:
        return "offset:0"
    if not isinstance(cursor, dict) or list(cursor) != ["id"]:
        raise GraphqlError("A cursor has an id.")
    name = cursor["id"]
    if not isinstance(name, str) or not CURSOR.fullmatch(name):
        raise GraphqlError(f"cursor {name!r} is none that was given out.")
    if int(name.partition(":")[2]) % PAGE_ITEMS:
        raise GraphqlError(f"cursor {name!r} is none that was given out.")
    return name


def _walk(asked: Field) -> Iterator[Field]:
    for part in asked.fields:
        yield part
        yield from _walk(part)
