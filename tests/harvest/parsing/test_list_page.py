"""Lists: what the fixtures leave open."""

import json

import pytest

from tagsage.harvest import list_page
from tagsage.harvest.list_page import (
    FIRST_CURSOR,
    PAGE_ITEMS,
    list_query,
    parse_list_answer,
    parse_list_page,
)
from tagsage.harvest.records import PageError
from tests.harvest.parsing.rendering import page_of

LIST = "5d6e7f8a9b0c"
URL = f"https://medium.com/@ann/list/graphs-{LIST}"


def answer(entries=(), **paging):
    connection = {"items": list(entries), "paging": paging}
    return {"__typename": "Catalog", "id": LIST, "itemsConnection": connection}


def read_answer(catalog, cursor=""):
    body = json.dumps({"data": {"catalogById": catalog}})
    return parse_list_answer(body, LIST, "https://medium.com", cursor)


def post(number, **fields):
    entity = {"__typename": "Post", "id": f"aaaa0000{number:04x}", **fields}
    return {"catalogItemId": f"item-{number}", "entity": entity}


def test_the_query_names_the_list_and_the_part_as_variables_only():
    hostile = '"}){ viewer { id } }'
    body = json.loads(list_query(hostile, "offset:40"))
    assert body["variables"] == {
        "catalogId": hostile,
        "pagingOptions": {"limit": PAGE_ITEMS, "cursor": {"id": "offset:40"}},
    }
    assert body["operationName"] in body["query"]
    assert hostile not in body["query"]
    assert body["query"] == json.loads(list_query(LIST, FIRST_CURSOR))["query"]


@pytest.mark.parametrize(
    ("entries", "paging", "cursor", "damage"),
    [
        (20, {"count": 25, "nextPageCursor": {"id": "offset:20"}}, "offset:20", ()),
        (20, {"count": 25, "nextPageCursor": "offset:20"}, "offset:20", ()),
        (20, {"nextPageCursor": {"__ref": "CatalogPagingCursor:offset:20"}}, "offset:20", ()),
        (20, {"count": 25, "nextPageCursor": None}, None, ()),
        (20, {"count": 25, "nextPageCursor": ""}, None, ()),
        (20, {"count": 25}, "offset:20", ()),
        (20, {}, "offset:20", ()),
        (19, {}, None, ()),
        (20, {"count": 20}, None, ()),
        (0, {"count": 25}, None, ()),
        (20, {"count": 25, "nextPageCursor": 7}, "offset:20", ("cursor cannot be read",)),
        (20, {"nextPageCursor": {"id": "\n" * 9}}, "offset:20", ("cursor cannot be read",)),
        (20, {"nextPageCursor": "x" * 201}, "offset:20", ("cursor cannot be read",)),
    ],
)
def test_a_list_ends_only_where_the_host_says_so(entries, paging, cursor, damage):
    page = read_answer(answer([post(n) for n in range(entries)], **paging))
    assert page.next_cursor == cursor
    assert len(page.damage) == len(damage)
    assert all(part in told for part, told in zip(damage, page.damage, strict=True))


def test_a_part_goes_on_from_its_own_cursor_when_the_next_one_is_missing():
    page = read_answer(answer([post(n) for n in range(20)], count=100), "offset:40")
    assert page.next_cursor == "offset:60"


@pytest.mark.parametrize("count", [True, -1, "22", 22.5, 10**12, None, []])
def test_a_count_that_is_none_leaves_the_size_open(count):
    assert read_answer(answer(count=count)).size is None


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"entityType": "POST", "entity": None}, "deleted"),
        ({"entityType": "CATALOG", "entity": None}, "other"),
        ({"entity": {"__typename": "NotFound"}}, "deleted"),
        ({"entity": {"__typename": "UnavailableForLegalReasons"}}, "deleted"),
        ({"entity": {"__typename": "User", "id": "u"}}, "other"),
        ({"entity": {}}, "other"),
        ({"entity": {"id": "aaaa00000001"}}, "post"),
        ({"entity": {"__ref": "Post:aaaa00000001"}}, "post"),
    ],
)
def test_an_entry_is_a_post_deleted_or_something_else(entry, kind):
    page = read_answer(answer([{"catalogItemId": "x", **entry}]))
    assert [(item.item_id, item.kind) for item in page.items] == [("x", kind)]
    assert page.lost == 0


@pytest.mark.parametrize("entry", [None, 7, [], {}, {"catalogItemId": "x"}, {"entity": 7}])
def test_an_entry_that_cannot_be_read_is_counted_and_told(entry):
    page = read_answer(answer([entry, post(1)]))
    assert (page.lost, len(page.items), len(page.damage)) == (1, 1, 1)


def test_many_damaged_entries_are_told_in_few_words():
    page = read_answer(answer([None] * 1000))
    assert page.lost == 1000
    assert len(page.damage) == 31
    assert page.damage[-1] == "and 970 reasons more"


def test_references_that_multiply_are_followed_once(monkeypatch):
    reads = []
    read_post = list_page.read_post
    monkeypatch.setattr(
        list_page, "read_post", lambda *given: reads.append(given) or read_post(*given)
    )
    many = 400
    items = [{"__ref": f"Item:{number % 2}"} for number in range(many)]
    state = {
        f"Catalog:{LIST}": {
            "__typename": "Catalog",
            **{f"itemsConnection:{number}": {"__ref": "Part:1"} for number in range(many)},
        },
        "Part:1": {"items": items, "paging": {"count": many, "nextPageCursor": None}},
        **{
            f"Item:{number}": {
                "catalogItemId": f"item-{number}",
                "entity": {"__ref": "Post:aaaa00000001"},
            }
            for number in range(2)
        },
        "Post:aaaa00000001": {"title": "A", "tags": [f"tag {number}" for number in range(many)]},
    }
    page = parse_list_page(page_of(state), URL)
    assert [item.item_id for item in page.items] == ["item-0", "item-1"]
    assert len(reads) == 1
    assert page.items[0].article.tags == tuple(f"tag {number}" for number in range(100))
    assert page.damage == ("post aaaa00000001: 300 tags after the first 100",)


@pytest.mark.parametrize(("parts", "lost"), [([1000], 0), ([1001], 1), ([600, 600, 5], 205)])
def test_entries_beyond_a_thousand_are_counted_as_lost(parts, lost):
    numbers = iter(range(sum(parts)))
    connections = {
        f'itemsConnection({{"cursor":"offset:{at * 600}"}})': {
            "items": [post(next(numbers)) for _ in range(length)]
        }
        for at, length in enumerate(parts)
    }
    page = read_answer({"__typename": "Catalog", "id": LIST, **connections})
    assert (len(page.items), page.lost) == (1000, lost)
    assert bool(page.damage) == bool(lost)


@pytest.mark.parametrize(
    ("cursor", "ids"),
    [
        ("offset:20", ["post aaaa00000001", "post a.example/x", "entry 22"]),
        ("page-2", ["post aaaa00000001", "post a.example/x", "entry page-2 2"]),
    ],
)
def test_entries_without_an_id_are_told_apart_in_all_parts(cursor, ids):
    entries = [
        {"entity": {"id": "aaaa00000001"}},
        {"entity": {"__typename": "Post", "mediumUrl": "https://a.example/x"}},
        {"entity": None},
    ]
    page = read_answer(answer(entries), cursor)
    assert [item.item_id for item in page.items] == ids


def test_two_posts_under_one_id_are_both_in_the_list():
    entries = [post(1), {**post(2), "catalogItemId": "item-1"}, post(1)]
    assert [(item.item_id, item.article.key) for item in read_answer(answer(entries)).items] == [
        ("item-1", "aaaa00000001"),
        ("item-1 aaaa00000002", "aaaa00000002"),
    ]


def test_an_entry_that_comes_twice_is_in_the_list_once():
    page = read_answer(answer([post(1, title="A"), post(2), post(1, title="B")]))
    assert [item.item_id for item in page.items] == ["item-1", "item-2"]
    assert page.items[0].article.title == "A"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("https://medium.com", "https://medium.com/p/aaaa00000001"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/p/aaaa00000001"),
        ("pub.example", "https://pub.example/p/aaaa00000001"),
    ],
)
def test_a_post_without_an_address_gets_one_on_the_host(host, url):
    body = json.dumps({"data": {"catalogById": answer([post(1, mediumUrl="ftp://a.example/b")])}})
    page = parse_list_answer(body, LIST, host)
    assert page.items[0].article.url == url


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("https://pub.example/x-aaaa00000001?y", "https://pub.example/x-aaaa00000001"),
        ("https://pub.example/without-id", "https://pub.example/without-id"),
        ("https://pub.example/x-bbbb00000002", "https://medium.com/p/aaaa00000001"),
    ],
)
def test_a_post_never_has_another_post_s_address(told, shown):
    article = read_answer(answer([post(1, mediumUrl=told)])).items[0].article
    assert (article.key, article.url) == ("aaaa00000001", shown)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "the answer is no JSON: Expecting value at character 0"),
        ("[]", "the answer is no object"),
        ("{}", "the answer has no catalogById"),
        ('{"data": {}}', "the answer has no catalogById"),
        ('{"data": {"catalogById": null}, "errors": [7]}', "the host says: an error"),
        ('{"data": {"catalogById": null}}', "the answer tells nothing of the list"),
        ('{"data": {"catalogById": 7}}', "the list's object is missing"),
        (
            '{"data": {"catalogById": {"__typename": "Odd"}}}',
            "the list has no entries and is of the kind Odd",
        ),
    ],
)
def test_an_answer_without_a_list_is_refused_with_the_reason(body, reason):
    with pytest.raises(PageError) as caught:
        parse_list_answer(body, LIST, "https://medium.com")
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("state", "url", "reason"),
    [
        ({}, URL, "the page's state object has no list"),
        ({"ROOT_QUERY": {}}, "https://medium.com/@ann/list/x", "the page's state object has no"),
        ({f"Catalog:{LIST}": 3}, URL, "the list's object is missing"),
        ({"ROOT_QUERY": {}}, "no address", "the page's address is no http or https URL"),
    ],
)
def test_a_page_without_a_list_is_refused_with_the_reason(state, url, reason):
    with pytest.raises(PageError, match=reason):
        parse_list_page(page_of(state), url)


def test_a_list_that_no_query_names_is_found_by_its_id():
    page = parse_list_page(page_of({f"Catalog:{LIST}": answer([post(1)], count=1)}), URL)
    assert (page.status, page.size, len(page.items)) == ("open", 1, 1)
