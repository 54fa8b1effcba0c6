"""Reading lists: a list's page, and the GraphQL answers that hold the rest of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tagsage.harvest.addresses import list_id as hexadecimal_id
from tagsage.harvest.items import Article, ListPart, PageError, Source
from tagsage.harvest.medium_state import (
    NAME,
    TITLE,
    State,
    attribute,
    find_state,
    gone_or_private,
    is_field,
    line,
    read_json,
    read_post,
    reference,
)

FIRST_CURSOR: Final = "offset:0"
PAGE_ITEMS: Final = 20
_QUERIES: Final = ("catalogById", "getPredefinedCatalog")

_QUERY = """\
query ListItems($catalogId: ID!, $pagingOptions: CatalogPagingOptionsInput!) {
  catalogById(catalogId: $catalogId) {
    __typename
    ... on Catalog {
      id
      name
      creator { name }
      itemsConnection(pagingOptions: $pagingOptions) {
        items {
          catalogItemId
          entity {
            __typename
            ... on Post {
              id
              title
              mediumUrl
              firstPublishedAt
              extendedPreviewContent { subtitle }
              creator { name }
              tags { id displayTitle }
            }
          }
        }
        paging { count nextPageCursor { id } }
      }
    }
  }
}
"""


def parse_list_page(html: str, url: str) -> ListPart:
    """Read the first entries of a list from its page; raises `PageError` when there is no list."""
    state = find_state(html)
    key, value = _queried_list(state, hexadecimal_id(url))
    return _part(state, key, value, "list", url)


def parse_list_answer(body: str, list_id: str, url: str) -> ListPart:
    """Read an answer to :func:`list_query`; raises `PageError` when it holds no list."""
    try:
        answer = read_json(body.strip())
    except ValueError as error:
        raise PageError(f"the answer is no JSON: {error}") from None
    answer = answer if isinstance(answer, dict) else {}
    data = answer.get("data")
    value = data.get("catalogById") if isinstance(data, dict) else None
    if not isinstance(value, dict):
        raise PageError(_complaint(answer.get("errors")) or "the answer has no list")
    if value.get("id") not in (None, list_id):
        raise PageError("the answer is of another list")
    return _part(State({}), list_id, value, "graphql", url)


def list_query(list_id: str, cursor: str) -> bytes:
    """Build the body of a request for the entries of a list after `cursor`."""
    paging = {"limit": PAGE_ITEMS, "cursor": {"id": cursor}}
    variables = {"catalogId": list_id, "pagingOptions": paging}
    return json.dumps({
        "operationName": "ListItems",
        "variables": variables,
        "query": _QUERY,
    }).encode()


def _queried_list(state: State, own_id: str | None) -> tuple[str, object]:
    """Return the id of the page's list, and the answer that the page holds.

    The address of a default list has no id: its id is ``predefined:<user>:READING_LIST``.
    """
    answers = [
        (key, value)
        for key, value in state.root.items()
        if any(is_field(key, name) for name in _QUERIES)
    ]
    if own_id:
        for key, value in answers:
            if f'"{own_id}"' in key:
                return own_id, value
        if f"Catalog:{own_id}" in state.objects:
            return own_id, {"__ref": f"Catalog:{own_id}"}
        raise PageError(f"the page's state object has no list {own_id}")
    for _, value in answers:
        catalog = state.follow(value) or {}
        found = catalog.get("id") or reference(value, "Catalog")
        if isinstance(found, str) and found:
            return line(found, NAME) or "", value
        if gone_or_private(catalog):
            raise PageError("the list is private or gone, and its address does not have its id")
    raise PageError("the page's state object has no list")


def _part(state: State, key: str, value: object, source: Source, url: str) -> ListPart:
    if value is None:
        return ListPart(key, "gone")
    catalog = state.follow(value)
    if catalog is None:
        raise PageError("the list's object is missing")
    ending = gone_or_private(catalog)
    if ending:
        return ListPart(key, "private" if ending == "private" else "gone")
    connection = state.follow(attribute(catalog, "itemsConnection")) or {}
    entries = connection.get("items")
    if not isinstance(entries, list):
        raise PageError("the list has no entries that can be read")
    origin = "/".join(url.split("/")[:3])
    articles: dict[str, Article] = {}
    unread: list[str] = []
    for entry in entries:
        item = state.follow(entry) or {}
        entity = item.get("entity")
        is_deleted = "entity" in item and entity is None
        if is_deleted or not _is_post(item, state.follow(entity)):
            continue
        article = read_post(state, entity, source, origin)
        if article is None:
            unread.append("an entry's post has neither an id nor an address")
        else:
            articles.setdefault(article.key, article)
    paging = state.follow(connection.get("paging")) or {}
    count = paging.get("count", catalog.get("postItemsCount"))
    creator = state.follow(attribute(catalog, "creator")) or {}
    return ListPart(
        key=key,
        state="open",
        name=line(catalog.get("name"), TITLE) or None,
        owner=line(creator.get("name"), NAME) or None,
        size=count if type(count) is int and 0 <= count < 10**9 else None,
        articles=tuple(articles.values()),
        entries=len(entries),
        unread=tuple(dict.fromkeys(unread)),
        next_cursor=_cursor(state, paging.get("nextPageCursor")),
    )


def _is_post(item: Mapping[str, Any], entity: Mapping[str, Any] | None) -> bool:
    """Return whether an entry is a post (perhaps deleted), not a book or another list."""
    kind = item.get("entityType", "POST")
    name = (entity or {}).get("__typename", "Post")
    return kind == "POST" and name == "Post" and entity != {}


def _cursor(state: State, value: object) -> str | None:
    found = (state.follow(value) or {}).get("id") or reference(value, "CatalogPagingCursor")
    is_usable = isinstance(found, str) and found.isprintable() and len(found) <= 200
    return found if found and is_usable else None


def _complaint(errors: object) -> str:
    first = errors[0] if isinstance(errors, list) and errors else None
    message = line(first.get("message"), NAME) if isinstance(first, dict) else None
    return f"the host says: {message}" if message else ""
