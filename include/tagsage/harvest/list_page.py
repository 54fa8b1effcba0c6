"""Lists: the page of one, and the answers of the GraphQL endpoint that hold the rest of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tagsage.harvest.addresses import AddressError, list_id
from tagsage.harvest.article_fields import article_record
from tagsage.harvest.medium_state import (
    MediumState,
    attribute,
    find_state,
    is_field,
    read_json,
    reference,
)
from tagsage.harvest.page_values import (
    NAME,
    TITLE,
    filled_line,
    origin,
    reason,
    reasons,
)
from tagsage.harvest.posts import GONE, PRIVATE, identity_of, post_address, read_post
from tagsage.harvest.records import ArticleRecord, ListItem, ListPage, PageError, Source

FIRST_CURSOR = "offset:0"
PAGE_ITEMS = 20

_ANY_LIST_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_QUERY_NAME = "catalogById"
_QUERIED_ID = re.compile(r'"catalogId"\s*:\s*"([^"\\]{1,64})"')
_OFFSET = re.compile(r"offset:([0-9]{1,9})")
_LONGEST_CURSOR = 200
_LARGEST_SIZE = 10**9
# Of a page, in all its parts: references can make a small page mean billions of them.
_MOST_ENTRIES = 1000

# Public clients of the endpoint name the input's type so. `__typename` tells posts from the rest.
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


@dataclass(frozen=True)
class _Part:
    """Entries that follow each other in a list, from an offset on."""

    start: int
    entries: list[Any]
    paging: dict[str, Any]

    @property
    def end(self) -> int:
        return self.start + len(self.entries)


@dataclass(frozen=True)
class _Telling:
    """Who tells of a list, and how.

    `part` names the part for entries that have no id of their own. `articles` holds what was read
    of each post, by the identity of its object in the state: many entries may refer to one, and
    each is read once.
    """

    state: MediumState
    source: Source
    origin: str
    part: str = ""
    articles: dict[int, ArticleRecord] = field(default_factory=dict)


def parse_list_page(html: str, url: str) -> ListPage:
    """Read a list's page.

    Parameters
    ----------
    html : str
        The page.
    url : str
        Its address, after redirects.

    Returns
    -------
    ListPage
        The first part of the list.

    Raises
    ------
    PageError
        When the page has no state object, or no list is in it.
    """
    try:
        own_id = list_id(url)
    except AddressError:
        raise PageError("the page's address is no http or https URL") from None
    state, damage = find_state(html)
    if state is None:
        raise PageError(damage or "the page has no state object")
    own_id, answer = _queried_list(state, own_id or "")
    return _list_page(_Telling(state, "list", origin(url)), own_id, answer, 0, ())


def parse_list_answer(body: str, list_id: str, host: str, cursor: str = "") -> ListPage:
    """Read an answer of the GraphQL endpoint to :func:`list_query`.

    Parameters
    ----------
    body : str
        The answer.
    list_id : str
        The list that was asked for.
    host : str
        Who answered, such as ``https://medium.com``.
    cursor : str
        The part that was asked for; with it, entries are told apart that have no id of their own.

    Returns
    -------
    ListPage
        One part of the list.

    Raises
    ------
    PageError
        When the answer holds no list: what the host says of it, or what is wrong.
    """
    try:
        answer = read_json(body)
    except ValueError as error:
        raise PageError(reason(f"the answer is no JSON: {error}")) from None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise PageError("the answer is no object")
    complaint = _complaint(answer.get("errors"))
    data = answer.get("data")
    told = isinstance(data, dict) and _QUERY_NAME in data
    value = data[_QUERY_NAME] if isinstance(data, dict) and told else None
    if not told:
        raise PageError(complaint or f"the answer has no {_QUERY_NAME}")
    if value is None:
        # What a failing service says, too: the list's own page tells whether it is gone.
        raise PageError(complaint or "the answer tells nothing of the list")
    own_id = value.get("id") if isinstance(value, dict) else None
    if isinstance(own_id, str) and own_id != list_id:
        raise PageError(reason(f"the answer is of another list, {own_id}"))
    start = _OFFSET.fullmatch(cursor)
    telling = _Telling(MediumState(), "graphql", origin(host), "" if start else cursor)
    damage = (complaint,) if complaint else ()
    return _list_page(telling, list_id, value, int(start[1]) if start else 0, damage)


def list_query(list_id: str, cursor: str) -> bytes:
    """Build the body of the request for one part of a list.

    Parameters
    ----------
    list_id : str
        The list's id.
    cursor : str
        Names the part: :data:`FIRST_CURSOR`, or a part's ``next_cursor``.

    Returns
    -------
    bytes
        JSON: query and variables, for :data:`PAGE_ITEMS` entries.
    """
    paging = {"limit": PAGE_ITEMS, "cursor": {"id": cursor}}
    body = {
        "operationName": "ListItems",
        "variables": {"catalogId": list_id, "pagingOptions": paging},
        "query": _QUERY,
    }
    return json.dumps(body).encode()


def _queried_list(state: MediumState, list_id: str) -> tuple[str, object]:
    """Return the id of the list that a page is about, and what the page was told of it."""
    root = state.root
    lists = {
        match[1]: value
        for key, value in root.items()
        if is_field(key, _QUERY_NAME) and (match := _QUERIED_ID.search(key))
    }
    if not list_id:
        # An address such as /list/reading-list does not tell the id.
        list_id = next((each for each in lists if _ANY_LIST_ID.fullmatch(each)), "")
    if list_id in lists:
        return list_id, lists[list_id]
    name = f"Catalog:{list_id}"
    if list_id and name in state.objects:
        return list_id, {"__ref": name}
    if list_id and lists:
        raise PageError(f"the page's state object tells of other lists than {list_id}")
    raise PageError("the page's state object has no list")


def _list_page(
    telling: _Telling, list_id: str, answer: object, start: int, damage: tuple[str, ...]
) -> ListPage:
    if answer is None:
        return ListPage(list_id, "gone")
    catalog = telling.state.follow(answer)
    if catalog is None:
        raise PageError("the list's object is missing")
    kind = catalog.get("__typename")
    name = kind if isinstance(kind, str) else ""
    if PRIVATE.search(name):
        return ListPage(list_id, "private")
    parts = _parts(telling.state, catalog, start)
    if not parts and GONE.search(name):
        return ListPage(list_id, "gone")
    if not parts:
        raise PageError(reason(f"the list has no entries and is of the kind {name or 'unknown'}"))
    found = list(damage)
    items, lost = _items(telling, parts, found)
    size = _size(parts, catalog)
    creator = telling.state.follow(attribute(catalog, "creator")) or {}
    return ListPage(
        list_id=list_id,
        status="open",
        name=filled_line(catalog.get("name"), TITLE),
        owner=filled_line(creator.get("name"), NAME),
        size=size,
        items=items,
        next_cursor=_next_cursor(telling.state, parts, size, found),
        damage=reasons(found),
        lost=lost,
    )


def _parts(state: MediumState, catalog: Mapping[str, Any], start: int) -> list[_Part]:
    parts = []
    seen: set[int] = set()
    for key, value in catalog.items():
        connection = state.follow(value) if is_field(key, "itemsConnection") else None
        entries = connection.get("items") if connection else None
        if connection and isinstance(entries, list) and id(connection) not in seen:
            seen.add(id(connection))
            offset = _OFFSET.search(key)
            paging = state.follow(connection.get("paging")) or {}
            parts.append(_Part(int(offset[1]) if offset else start, entries, paging))
    # The whole part before a preview of it.
    return sorted(parts, key=lambda part: (part.start, -len(part.entries)))


def _items(
    telling: _Telling, parts: list[_Part], damage: list[str]
) -> tuple[tuple[ListItem, ...], int]:
    """Read all parts' entries, which may overlap; count those that cannot be read."""
    items: dict[str, ListItem] = {}
    lost = 0
    left = _MOST_ENTRIES
    for part in parts:
        for position, entry in enumerate(part.entries[:left], part.start):
            item = _item(telling, entry, position, damage)
            if item is None:
                lost += 1
            else:
                _add(items, item)
        left -= len(part.entries)
        if left < 0:
            damage.append(f"{-left:,} entries after the first {_MOST_ENTRIES:,}")
            lost -= left
            left = 0
    return tuple(items.values()), lost


def _add(items: dict[str, ListItem], item: ListItem) -> None:
    """Add an entry; one of another article never takes the id of one that came before."""
    known = items.setdefault(item.item_id, item)
    if known.article and item.article and known.article.key != item.article.key:
        own_id = f"{item.item_id} {item.article.key}"
        items.setdefault(own_id, replace(item, item_id=own_id))


def _item(telling: _Telling, entry: object, position: int, damage: list[str]) -> ListItem | None:
    item = telling.state.follow(entry)
    if item is None or "entity" not in item:
        damage.append(f"entry {position} of the list is missing")
        return None
    entity = item["entity"]
    post = telling.state.follow(entity)
    identity = identity_of(entity, post)
    own_id = filled_line(item.get("catalogItemId"), NAME)
    place = f"{telling.part} {position}" if telling.part else f"{position}"
    item_id = own_id or (f"post {identity}" if identity else f"entry {place}")
    kind = _entry_kind(item.get("entityType"), entity, post)
    if kind != "post":
        return ListItem(item_id, kind)
    if post is None and identity is None:
        damage.append(f"the post of entry {position} is missing")
        return None
    address = post_address(post or {}, identity, telling.origin)
    if address is None:
        damage.append(f"the post of entry {position} has neither an id nor an address")
        return None
    key, url = address
    item_id = own_id or f"post {key}"
    article = telling.articles.get(id(post))
    if article is None or article.key != key:
        fields, unreadable = read_post(telling.state, post or {})
        damage.extend(f"post {key}: {each}" for each in unreadable)
        article = article_record(key, url, [(telling.source, fields)])
        if post is not None:
            telling.articles[id(post)] = article
    return ListItem(item_id, "post", article)


def _entry_kind(
    kind: object, entity: object, post: Mapping[str, Any] | None
) -> Literal["post", "deleted", "other"]:
    if isinstance(kind, str) and kind != "POST":
        return "other"
    if entity is None:
        return "deleted"
    if entity == {}:
        return "other"  # what a host that does not tell kinds says of all but posts
    name = (post or {}).get("__typename")
    if not isinstance(name, str) or name == "Post":
        return "post"
    return "deleted" if GONE.search(name) else "other"


def _size(parts: list[_Part], catalog: Mapping[str, Any]) -> int | None:
    counts = [part.paging.get("count") for part in parts]
    for count in [*counts, catalog.get("postItemsCount")]:
        if type(count) is int and 0 <= count <= _LARGEST_SIZE:
            return count
    return None


def _next_cursor(
    state: MediumState, parts: list[_Part], size: int | None, damage: list[str]
) -> str | None:
    """Return the cursor after the last part.

    A part that tells of none may be a preview, so the list is taken to end there only when it was
    said or when the count says so: an end that is none would pass for a list that shrank.
    """
    last = max(parts, key=lambda part: (part.end, "nextPageCursor" in part.paging))
    if "nextPageCursor" in last.paging:
        value = last.paging["nextPageCursor"]
        if value is None or value == "":
            return None
        cursor = _cursor(state, value)
        if cursor:
            return cursor
        damage.append("the next part's cursor cannot be read")
    goes_on = len(last.entries) >= PAGE_ITEMS if size is None else last.end < size
    return f"offset:{last.end}" if goes_on and last.entries else None


def _cursor(state: MediumState, value: object) -> str | None:
    if isinstance(value, dict):
        name = reference(value, "CatalogPagingCursor")
        value = (state.follow(value) or {}).get("id") or name
    usable = isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_CURSOR
    return value.strip() if usable and isinstance(value, str) else None


def _complaint(errors: object) -> str:
    """Return what a GraphQL answer complains of (https://spec.graphql.org/October2021/#sec-Errors)."""
    if not isinstance(errors, list) or not errors:
        return ""
    first = errors[0] if isinstance(errors[0], dict) else {}
    return reason(f"the host says: {filled_line(first.get('message'), NAME) or 'an error'}")
