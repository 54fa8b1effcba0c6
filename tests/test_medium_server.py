"""The server that answers like Medium: its formats, its faults, its log; through plain sockets."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import brotli
import pytest

from scripts.medium_server import (
    ELSEWHERE,
    KINDS,
    MAIN,
    Config,
    Entry,
    Faults,
    MediumServer,
    Place,
    read_log,
)
from scripts.medium_site.filler import join, piece
from scripts.medium_site.generation import make_world, next_run
from scripts.medium_site.graphql import read_body
from scripts.medium_site.graphql_query import GraphqlError
from tagsage.corpus.keys import article_key
from tagsage.harvest.article_page import parse_article_page
from tagsage.harvest.feed import parse_feed
from tagsage.harvest.list_page import list_query, parse_list_answer, parse_list_page

ROOT = Path(__file__).resolve().parents[1]
SMALL = Config(lists=24, posts=200, publications=3, feed_posts=20, page_kb=(60, 80))
QUERY = (
    "query List($id: ID!, $paging: CatalogPagingOptionsInput!) { catalogById(catalogId: $id) "
    "{ __typename ... on Catalog { id name itemsConnection(pagingOptions: $paging) { items "
    "{ catalogItemId entity { ... on Post { id title tags { displayTitle } } } } "
    "paging { count nextPageCursor { id } } } } } }"
)


@pytest.fixture(scope="module")
def shared() -> Iterator[MediumServer]:
    """A server for the tests that leave no faults behind."""
    with MediumServer(SMALL, crawl_delays={"pub0": 0.5}) as server:
        yield server


@pytest.fixture
def server() -> Iterator[MediumServer]:
    faults = Faults(drip_s=0.3, bomb_mb=16)
    config = Config(lists=12, posts=60, publications=1, feed_posts=10, page_kb=(60, 60))
    with MediumServer(config, faults=faults) as running:
        yield running


class Answer:
    """A whole answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def text(self) -> str:
        match self.headers.get("content-encoding"):
            case "gzip":
                return gzip.decompress(self.body).decode()
            case "deflate":
                return zlib.decompress(self.body).decode()
        return self.body.decode()


def fetch(url: str, *, body: bytes | None = None, **headers: str) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent = {"Content-Type": "application/json", **sent}
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET" if body is None else "POST", path, body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def logged(server: MediumServer, n: int) -> list[Entry]:
    """Return the n requests of the log: one is entered once its answer has left."""
    deadline = time.monotonic() + 5
    while len(server.log) < n and time.monotonic() < deadline:
        time.sleep(0.005)
    entries = server.log.entries()
    assert len(entries) == n
    return entries


def lists_of(server: MediumServer, status: str = "open"):
    return [one for one in server.site.world.lists.values() if one.status == status]


def posts_of(server: MediumServer, page: str = "open"):
    return [post for post in server.site.world.posts.values() if post.page == page]


def list_url(server: MediumServer) -> str:
    return server.site.url_of(lists_of(server)[0].place)


def ask(server: MediumServer, list_id: str, cursor: str | None, *, array: bool = False) -> Answer:
    paging = {"limit": 20, **({"cursor": {"id": cursor}} if cursor else {})}
    value = {"query": QUERY, "variables": {"id": list_id, "paging": paging}}
    body = json.dumps([value] if array else value).encode()
    return fetch(f"{server.origins[MAIN]}/_/graphql", body=body)


# -- what the site holds -------------------------------------------------------------------


def test_the_same_seed_makes_the_same_site_and_another_one_another():
    assert make_world(SMALL) == make_world(SMALL)
    assert next_run(make_world(SMALL)) == next_run(make_world(SMALL))
    assert make_world(Config(seed=1, lists=24, posts=200)) != make_world(SMALL)


def test_a_run_changes_four_lists_and_one_title():
    before = make_world(SMALL)
    after = next_run(before)
    lists = [
        (before.lists[name], one) for name, one in after.lists.items() if one != before.lists[name]
    ]
    kinds = sorted(
        "private"
        if new.status == "private"
        else {1: "grew", -1: "shrank", 0: "reordered"}[
            (len(new.items) > len(old.items)) - (len(new.items) < len(old.items))
        ]
        for old, new in lists
    )
    assert kinds == ["grew", "private", "reordered", "shrank"]
    titles = [name for name, post in after.posts.items() if post != before.posts[name]]
    assert len(titles) == 1
    assert after.posts[titles[0]].title.endswith("(run 2)")


def test_the_site_has_every_kind_of_list_and_page():
    world = make_world(SMALL)
    assert {one.status for one in world.lists.values()} == {
        *("open", "private", "404", "410", "not_found")
    }
    assert {item.kind for one in world.lists.values() for item in one.items} == {
        *("post", "deleted", "other")
    }
    assert len({post.page for post in world.posts.values()}) == 13
    assert any(len(post.places) > 1 for post in world.posts.values())
    assert any(post.id not in post.places[0].path for post in world.posts.values())
    assert any(not post.tags for post in world.posts.values())
    assert any(len(one.items) > 20 for one in world.lists.values())
    assert any(len(one.posts()) < sum(i.kind == "post" for i in one.items)
               for one in world.lists.values())  # fmt: skip


def test_every_post_is_in_a_list_or_in_a_feed(shared):
    assert shared.expected().articles.keys() == shared.site.world.posts.keys()


def test_too_few_posts_for_the_special_ones_are_refused():
    with pytest.raises(ValueError, match="20 posts are too few for 12 special ones"):
        make_world(Config(posts=20))


# -- formats -------------------------------------------------------------------------------


def test_a_list_page_holds_twenty_items_at_most_and_no_tags(shared):
    one = next(one for one in lists_of(shared) if len(one.items) > 20)
    page = fetch(shared.site.url_of(one.place)).text()
    text = re.search(r"window\.__APOLLO_STATE__ = (.*?)</script>", page)[1]
    state = json.loads(text)
    key = state["ROOT_QUERY"][f'catalogById({{"catalogId":"{one.id}"}})']["__ref"]
    connection = next(
        value for name, value in state[key].items() if name.startswith("itemsConnection")
    )
    assert [entry["__ref"] for entry in connection["items"]] == [
        f"CatalogItemV2:{item.id}" for item in one.items[:20]
    ]
    assert connection["paging"]["count"] == len(one.items)
    assert connection["paging"]["nextPageCursor"]["id"] == "offset:20"
    assert not any("tags" in value for name, value in state.items() if name.startswith("Post:"))


def test_pages_are_of_realistic_size(shared):
    sizes = [len(fetch(shared.site.url_of(one.place)).text()) for one in lists_of(shared)[:8]]
    assert min(sizes) > 60_000
    assert max(sizes) < 160_000


@pytest.mark.parametrize("accepted", ["gzip, deflate", "gzip", "deflate", ""])
def test_pages_come_only_in_encodings_that_were_accepted(shared, accepted):
    plain = {}
    for one in lists_of(shared)[:12]:
        url = shared.site.url_of(one.place)
        answer = fetch(url, Accept_Encoding=accepted) if accepted else fetch(url)
        assert answer.headers.get("content-encoding", "") in {"", *accepted.split(", ")}
        plain[url] = answer.text()
    assert plain == {url: fetch(url).text() for url in plain}


def test_pieces_joined_are_one_stream_in_every_encoding():
    parts = [piece(b"first " * 1000), piece(b""), piece(b"second" * 500)]
    data = b"first " * 1000 + b"second" * 500
    assert gzip.decompress(join(parts, "gzip")) == data
    assert zlib.decompress(join(parts, "deflate")) == data
    assert join(parts, "identity") == data


def test_the_parsers_read_what_the_site_holds(shared):
    """Lists, articles and feeds, all of them, against the generated records."""
    expected = shared.expected()
    for one in lists_of(shared):
        url = shared.site.url_of(one.place)
        page = parse_list_page(fetch(url).text(), url)
        items, cursor = list(page.items), page.next_cursor
        while cursor:
            answer = fetch(f"{shared.origins[one.place.host]}/_/graphql",
                           body=list_query(one.id, cursor))  # fmt: skip
            part = parse_list_answer(answer.text(), one.id, shared.origins[one.place.host])
            items += part.items
            cursor = part.next_cursor
        assert [item.kind for item in items] == [item.kind for item in one.items]
        read = [item.article for item in items if item.article]
        assert [article.key for article in read] == [
            item.post for item in one.items if item.kind == "post"
        ]
        assert page.owner == " ".join(one.owner.name.split())
        assert page.name == " ".join(one.name.split())
        assert page.size == len(one.items)
        for article in read:
            known = expected.articles[article.key]
            assert article.url in known.urls
            assert (article.title or "") == known.title
    for post in posts_of(shared):
        url = shared.site.url_of(post.places[0])
        article = parse_article_page(fetch(url).text(), url).article
        known = expected.articles[post.id]
        assert article.key == post.id
        assert (article.title or "", article.subtitle, article.author) == (
            known.title,
            known.subtitle,
            known.author,
        )
        assert article.published_ms == post.published_ms
        assert article.tags == post.tags
    for feed in shared.site.world.feeds:
        url = shared.site.url_of(feed.place)
        read_feed = parse_feed(fetch(url).body, url)
        assert tuple(article.key for article in read_feed.articles) == feed.posts
        assert read_feed.damage == ()


@pytest.mark.parametrize("status", ["private", "not_found"])
def test_closed_lists_are_told_by_their_pages_and_by_the_endpoint(shared, status):
    one = lists_of(shared, status)[0]
    name = {"private": "Forbidden", "not_found": "NotFound"}[status]
    assert name in fetch(shared.site.url_of(one.place)).text()
    assert json.loads(ask(shared, one.id, None).text()) == {
        "data": {"catalogById": {"__typename": name}}
    }


@pytest.mark.parametrize(
    ("page", "status"),
    [("members", 403), ("gone", 404), ("removed", 410), ("open", 200), ("barred", 200)],
)
def test_pages_answer_with_the_status_of_their_kind(shared, page, status):
    answer = fetch(shared.site.url_of(posts_of(shared, page)[0].places[0]))
    assert answer.status == status
    assert "cf-mitigated" not in answer.headers


@pytest.mark.parametrize("page", ["loop", "elsewhere", "private"])
def test_redirects_that_must_not_be_followed(shared, page):
    url = shared.site.url_of(posts_of(shared, page)[0].places[0])
    answer = fetch(url)
    assert answer.status == 302
    target = answer.headers["location"]
    if page == "loop":
        assert fetch(target).headers["location"] == url
    else:
        assert not target.startswith(tuple(
            origin for name, origin in shared.origins.items() if name != ELSEWHERE
        ))  # fmt: skip


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "brotli"])
def test_a_bomb_is_small_and_becomes_large(server, encoding):
    answer = fetch(server.site.url_of(posts_of(server, f"{encoding}_bomb")[0].places[0]))
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, "brotli": brotli.decompress}
    assert len(answer.body) < 1 << 18
    assert len(unpack[encoding](answer.body)) == 16 << 20


def test_other_addresses_forward_to_the_one_of_today(shared):
    one, post = lists_of(shared)[0], posts_of(shared)[0]
    old = Place(one.place.host, f"/@{one.owner.username}/list/old-name-{one.id}")
    assert fetch(shared.site.url_of(old)).headers["location"] == shared.site.url_of(one.place)
    for origin in (shared.origins[MAIN], shared.origins["pub0"]):
        found = fetch(f"{origin}/p/{post.id}")
        assert (found.status, found.headers["location"]) == (
            301,
            shared.site.url_of(post.places[0]),
        )


def test_a_page_that_has_not_changed_answers_304(server):
    conditional = 0
    for one in lists_of(server):
        url = server.site.url_of(one.place)
        first = fetch(url)
        validators = {}
        if etag := first.headers.get("etag"):
            validators["If_None_Match"] = etag
        if changed := first.headers.get("last-modified"):
            validators["If_Modified_Since"] = changed
        if validators:
            again = fetch(url, **validators)
            assert (again.status, again.body) == (304, b"")
            assert fetch(url, If_None_Match='"another"').status == 200
            conditional += 1
    assert conditional >= 3


def test_a_page_that_has_changed_answers_200(server):
    before = {
        one.id: (one, fetch(server.site.url_of(one.place)).headers) for one in lists_of(server)
    }
    server.site.next_run()
    for one in server.site.world.lists.values():
        old, headers = before.get(one.id, (None, {}))
        if old is None or "etag" not in headers:
            continue
        answer = fetch(server.site.url_of(one.place), If_None_Match=headers["etag"])
        titles = {item.post for item in one.items if server.site.world.posts.get(item.post)}
        is_same = old == one and not any(
            server.site.world.posts[post].title.endswith("(run 2)") for post in titles
        )
        assert answer.status == (304 if is_same else 200)


def test_robots_txt_asks_for_a_delay_where_it_was_said(shared):
    assert "Crawl-delay: 0.5\n" in fetch(f"{shared.origins['pub0']}/robots.txt").text()
    text = fetch(f"{shared.origins[MAIN]}/robots.txt").text()
    assert "Crawl-delay" not in text
    assert "Disallow: /media/\n" in text


def test_a_host_has_a_name_and_both_addresses(shared):
    assert urlsplit(shared.origins["pub2"]).hostname == "localhost"
    assert fetch(f"{shared.origins['pub2']}/robots.txt").status == 200


# -- GraphQL -------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [False, True])
def test_the_endpoint_gives_twenty_items_from_a_cursor(shared, array):
    one = max(lists_of(shared), key=lambda one: len(one.items))
    told = json.loads(ask(shared, one.id, "offset:20", array=array).text())
    catalog = (told[0] if array else told)["data"]["catalogById"]
    connection = catalog["itemsConnection"]
    assert catalog["name"] == one.name
    assert [entry["catalogItemId"] for entry in connection["items"]] == [
        item.id for item in one.items[20:40]
    ]
    assert connection["paging"]["count"] == len(one.items)


def test_tags_are_told_for_the_share_that_was_said():
    with MediumServer(Config(lists=12, posts=60, graphql_tags=0.0)) as none:
        texts = [ask(none, one.id, None).text() for one in lists_of(none)]
        assert "displayTitle" not in "".join(texts)
    with MediumServer(Config(lists=12, posts=60, special=0, graphql_tags=1.0)) as all_of_them:
        texts = [ask(all_of_them, one.id, None).text() for one in lists_of(all_of_them)]
        assert '"tags":null' not in "".join(texts)
        assert "displayTitle" in "".join(texts)


@pytest.mark.parametrize(
    ("query", "variables", "reason"),
    [
        ("{", {}, "The query ends too early"),
        ("{ me { id } }", {}, 'Cannot query field "me" on type "Query"'),
        ("{ catalogById(catalogId: 5) { __typename } }", {}, "catalogId 5 is no id"),
        ('{ catalogById(id: "1a2b3c4d5e6f") { __typename } }', {}, "takes no id"),
        ('{ catalogById(catalogId: "1a2b3c4d5e6f") { name } }', {}, "Cannot query field"),
        ('{ catalogById(catalogId: "1a2b3c4d5e6f") { ... on Tree { id } } }', {}, "never Tree"),
        (
            'query($a: ID!) { catalogById(catalogId: "1a2b3c4d5e6f") { __typename } }',
            {"a": "1"},
            "never used",
        ),
        ("{ catalogById(catalogId: $a) { __typename } }", {}, r"\$a is not declared"),
        ("query($a: ID!) { catalogById(catalogId: $a) { __typename } }", {}, r"\$a is needed"),
        ('{ catalogById(catalogId: "1a2b3c4d5e6f") { __typename } } x', {}, "after the operation"),
    ],
)
def test_the_endpoint_refuses_what_the_schema_does_not_have(query, variables, reason):
    with pytest.raises(GraphqlError, match=reason):
        read_body(json.dumps({"query": query, "variables": variables}).encode())


@pytest.mark.parametrize(
    "paging",
    [
        {},
        {"limit": 100},
        {"limit": 20, "cursor": "offset:20"},
        {"limit": 20, "cursor": {"id": "20"}},
        {"limit": 20, "cursor": {"id": "offset:21"}},
        {"limit": 20, "cursor": {"id": "offset:020"}},
        {"limit": 20, "offset": 20},
    ],
)
def test_the_endpoint_is_strict_about_the_cursor(paging):
    variables = {"id": "1a2b3c4d5e6f", "paging": paging}
    with pytest.raises(GraphqlError):
        read_body(json.dumps({"query": QUERY, "variables": variables}).encode())


def test_a_wrong_request_is_answered_with_400_and_the_reason(shared):
    answer = fetch(f"{shared.origins[MAIN]}/_/graphql", body=b"[]")
    assert answer.status == 400
    assert json.loads(answer.text()) == {
        "errors": [{"message": "A batch of one operation is expected."}]
    }
    assert fetch(f"{shared.origins[MAIN]}/_/graphql").status == 400


# -- faults --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "header"),
    [
        ("429_seconds", 429, {"retry-after": "1"}),
        ("429_bare", 429, {}),
        ("503", 503, {}),
        ("503_seconds", 503, {"retry-after": "1"}),
        ("wrong_type", 200, {"content-type": "image/png"}),
        ("challenge_403", 403, {"cf-mitigated": "challenge"}),
        ("challenge_503", 503, {}),
        ("challenge_200", 200, {}),
    ],
)
def test_a_refusal_has_its_status_and_headers_and_then_it_is_over(server, fault, status, header):
    url = list_url(server)
    server.faults.next(urlsplit(url).path, fault)
    answer = fetch(url)
    assert answer.status == status
    assert {name: answer.headers.get(name) for name in header} == header
    assert ("retry-after" in answer.headers) == ("retry-after" in header)
    assert ("Just a moment" in answer.body.decode("latin-1")) == fault.startswith("challenge")
    assert fetch(url).status == 200


def test_retry_after_as_a_date_is_at_least_as_long_as_in_seconds(server):
    url = list_url(server)
    server.faults.next(urlsplit(url).path, "429_date")
    asked = parsedate_to_datetime(fetch(url).headers["retry-after"]).timestamp() - time.time()
    assert 0.9 < asked <= 2


@pytest.mark.parametrize("fault", ["reset_before", "reset_headers", "reset_body"])
def test_a_reset_ends_the_connection_at_its_place(server, fault):
    url = list_url(server)
    server.faults.next(urlsplit(url).path, fault)
    with pytest.raises((ConnectionResetError, http.client.HTTPException)):
        fetch(url)
    assert fetch(url).status == 200
    first, second = logged(server, 2)
    assert (first.fault, first.complete, first.status) == (
        fault,
        False,
        0 if fault == "reset_before" else 200,
    )
    assert (second.fault, second.complete, second.status) == ("", True, 200)


@pytest.mark.parametrize("fault", ["truncated", "chunk_cut", "drip"])
def test_a_body_that_is_not_whole_is_seen_by_its_length_or_chunks(server, fault):
    url = list_url(server)
    server.faults.next(urlsplit(url).path, fault)
    with pytest.raises(http.client.IncompleteRead):
        fetch(url)
    assert [(entry.fault, entry.complete) for entry in logged(server, 1)] == [(fault, False)]


def test_a_drip_ends_when_the_client_hangs_up():
    faults = Faults(drip_s=60)
    with MediumServer(Config(lists=12, posts=60), faults=faults) as server:
        url = urlsplit(list_url(server))
        server.faults.next(url.path, "drip")
        with socket.create_connection((url.hostname, url.port)) as client:
            client.sendall(f"GET {url.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert client.recv(10)
        (entry,) = logged(server, 1)
    assert (entry.fault, entry.complete) == ("drip", False)


@pytest.mark.parametrize(("fault", "has_linked_data"), [("cut", True), ("bare", False)])
def test_a_cut_state_leaves_linked_data_or_nothing(server, fault, has_linked_data):
    url = server.site.url_of(posts_of(server)[0].places[0])
    server.faults.next(urlsplit(url).path, fault)
    page = fetch(url).text()
    text = re.search(r"window\.__APOLLO_STATE__ = (.*?)</script>", page)[1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert ("application/ld+json" in page) == has_linked_data
    assert ("article:published_time" in page) == has_linked_data


@pytest.mark.parametrize("fault", ["errors", "null_data", "html"])
def test_the_endpoint_fails_in_its_own_ways(server, fault):
    server.faults.next("/_/graphql", fault)
    one = lists_of(server)[0]
    answer = ask(server, one.id, None)
    assert answer.status == 200
    if fault == "html":
        assert answer.text().startswith("<!doctype html>")
    else:
        assert not (json.loads(answer.text())["data"] or {}).get("catalogById")
    assert json.loads(ask(server, one.id, None).text())["data"]["catalogById"]["name"] == one.name


def test_chance_depends_on_the_address_and_not_on_the_order_and_has_an_end():
    tables = []
    for order in (1, -1):
        faults = Faults({"503": 0.5, "drip": 0.2}, times=2, seed=4)
        drawn = {}
        for path in [f"/{number}" for number in range(200)][::order]:
            drawn[path] = [faults.draw("article", MAIN, path) for _ in range(9)]
        tables.append(drawn)
    assert tables[0] == tables[1]
    counts = [sum(fault is not None for fault in drawn) for drawn in tables[0].values()]
    assert max(counts) == 2
    shares = [drawn[0] == "503" for drawn in tables[0].values()]
    assert 0.4 < sum(shares) / len(shares) < 0.6


def test_a_fault_happens_only_where_it_can():
    faults = Faults({"cut_xml": 1.0}, times=1)
    assert faults.draw("article", MAIN, "/a") is None
    assert faults.draw("other", MAIN, "/a") is None
    assert faults.draw("feed", MAIN, "/feed") == "cut_xml"
    assert faults.draw("feed", MAIN, "/feed") is None


def test_robots_txt_is_unavailable_for_a_while_or_for_ever():
    faults = Faults(robots_503=2)
    drawn = [faults.draw("robots", MAIN, "/robots.txt") for _ in range(3)]
    assert drawn == ["503", "503", None]
    faults = Faults(robots_503=-1)
    assert {faults.draw("robots", MAIN, "/robots.txt") for _ in range(9)} == {"503"}


@pytest.mark.parametrize(
    ("probabilities", "reason"),
    [
        ({"429": 0.1}, "no fault 429; there are"),
        ({"503": 0.6, "drip": 0.6}, "must add up to at most 1"),
    ],
)
def test_faults_that_there_are_not_are_refused(probabilities, reason):
    with pytest.raises(ValueError, match=reason):
        Faults(probabilities)
    with pytest.raises(ValueError, match="no fault 'rain'"):
        Faults().next("/", "rain")


def test_every_fault_of_every_kind_is_answered(server):
    """None of them may break the server itself."""
    addresses = {
        "robots": f"{server.origins[MAIN]}/robots.txt",
        "list": list_url(server),
        "article": server.site.url_of(posts_of(server)[0].places[0]),
        "graphql": f"{server.origins[MAIN]}/_/graphql",
        "feed": server.site.feed_urls()[0],
    }
    one = lists_of(server)[0]
    for kind, faults in KINDS.items():
        path = urlsplit(addresses[kind]).path
        for fault in faults:
            server.faults.next(path, fault)
            body = list_query(one.id, "offset:0") if kind == "graphql" else None
            with contextlib.suppress(OSError, http.client.HTTPException):
                fetch(addresses[kind], body=body)
            assert fetch(addresses[kind], body=body).status == 200
    seen = {(entry.kind, entry.fault) for entry in server.log.entries() if entry.fault}
    assert seen == {(kind, fault) for kind, faults in KINDS.items() for fault in faults}


# -- the log and the program ---------------------------------------------------------------


def test_the_log_tells_what_was_asked_and_what_became_of_it(tmp_path):
    file = tmp_path / "log.jsonl"
    with MediumServer(Config(lists=12, posts=60), log=file) as server:
        one = lists_of(server)[0]
        url = server.site.url_of(one.place)
        fetch(f"{url}?x=1", User_Agent="tagsage/1 (+a@example.org)", From="a@example.org",
              Cookie="uid=1", If_None_Match='"a"', X_Other="never mind")  # fmt: skip
        ask(server, one.id, "offset:0")
        page, part = logged(server, 2)
        assert read_log(file) == [page, part]
    assert page == Entry(
        page.at, one.place.host, "GET", f"{one.place.path}?x=1", "list", "", "", 200, "", True,
        page.sent, page.ended,
        {"User-Agent": "tagsage/1 (+a@example.org)", "From": "a@example.org", "Cookie": "uid=1",
         "If-None-Match": '"a"', "Accept-Encoding": "identity"},
    )  # fmt: skip
    assert page.at <= page.ended <= part.at
    assert part.target == (MAIN, "POST", "/_/graphql", one.id, "offset:0")
    assert part.sent > 200


def test_one_connection_serves_many_requests(shared):
    url = urlsplit(shared.origins[MAIN])
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    port = None
    for one in lists_of(shared)[:5]:
        connection.request("GET", one.place.path)
        assert connection.getresponse().read()
        mine = connection.sock.getsockname()[1]
        assert port in {None, mine}
        port = mine
    connection.close()


def test_the_program_serves_until_it_is_ended_and_changes_on_a_signal(tmp_path):
    ready, log = tmp_path / "seeds.txt", tmp_path / "log.jsonl"
    (tmp_path / "faults.json").write_text(json.dumps({"robots_503": 1}), encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "medium_server.py"), "--lists", "12"]
    options = ["--posts", "60", "--ready-file", str(ready), "--log", str(log)]
    faults = ["--faults", str(tmp_path / "faults.json")]
    with subprocess.Popen([*command, *options, *faults], stdout=subprocess.PIPE) as program:
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                assert program.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            seeds = ready.read_text(encoding="utf-8").split()
            assert sum("/list/" in seed for seed in seeds) == 12
            assert sum("/feed" in seed for seed in seeds) >= 4
            robots = "{0.scheme}://{0.netloc}/robots.txt".format(urlsplit(seeds[0]))
            assert [fetch(robots).status for _ in range(2)] == [503, 200]

            def pages() -> list[str]:
                return [fetch(seed).text() for seed in seeds if "old-name" not in seed]

            before = pages()
            program.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + 5
            while (after := pages()) == before and time.monotonic() < deadline:
                time.sleep(0.05)
            assert after != before
        finally:
            program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=20) == 0
    assert [entry.status for entry in read_log(log)[:2]] == [503, 200]


def test_expected_addresses_are_those_of_one_article(shared):
    for known in shared.expected().articles.values():
        keys = {article_key(url) for url in known.urls}
        # One address may not tell the post.
        assert known.post in keys
        assert len(keys) <= 2
