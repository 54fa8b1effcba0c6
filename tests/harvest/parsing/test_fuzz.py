"""Parsers on arbitrary input: a sound record or a page error, and nothing else ever."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagsage.harvest.article_page import parse_article_page
from tagsage.harvest.list_page import parse_list_page
from tests.harvest.parsing.checks import check_reading
from tests.harvest.parsing.reading import CASES, kind_of, saved
from tests.harvest.parsing.rendering import list_objects, page_of, post_objects

LIST = "https://medium.com/@ann/list/graphs-5d6e7f8a9b0c"
ARTICLE = "https://medium.com/@ann/knowledge-graphs-c0ffee123456"
URLS = {"list": LIST, "answer": LIST, "article": ARTICLE, "feed": "https://medium.com/feed/@ann"}
ASSIGNMENT = "__APOLLO_STATE__ = "

any_text = st.text(st.characters(codec=None), max_size=30)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.sampled_from([
        "Post",
        "Forbidden",
        "https://a.example/x?y=1#z",
        "HTTPS://user:word@A.example:443/./\u3000",
        "aaaa1111bbbb",
        {"__ref": "ROOT_QUERY"},
        {"__ref": "Post:c0ffee123456"},
    ]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            any_text | st.sampled_from(["__ref", "id", "entity", "name", "items", "@graph"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
pieces = st.sampled_from([
    "<", ">", "</", "<!DOCTYPE", "<!--", "]]>", "&x;", "{", "}", "[", '"', "\\", "\\ud800", "\0",
    "__APOLLO_STATE__", "=", "<script type='application/ld+json'>", "<title>", "<rss>", "<item>",
])  # fmt: skip
any_page = st.lists(pieces | any_text, max_size=12).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(URLS)), body=any_page)
def test_any_text_is_a_record_or_a_page_error(kind, body):
    check_reading(kind, body, URLS[kind])


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
@example(b"\xff\xfe<\0")
@example(b"<a>" * 5000)
@example(b"<rss><channel>" + b"<item>" * 300)
def test_any_bytes_are_a_feed_or_a_page_error(body):
    check_reading("feed", body, URLS["feed"])


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(URLS)), url=any_text | st.just("http://[::1]:99999/list/"))
def test_any_address_gives_a_record_or_a_page_error(kind, url):
    for case in CASES:
        if kind_of(case) == kind:
            check_reading(kind, saved(case)[0], url)
            break


@settings(max_examples=400, deadline=None)
@given(data=st.data(), case=st.sampled_from(CASES))
def test_a_page_cut_or_changed_anywhere_is_a_record_or_a_page_error(data, case):
    body, url, cursor = saved(case)
    start = data.draw(st.integers(0, len(body)))
    removed = data.draw(st.integers(0, len(body)) | st.integers(0, 5))
    put = data.draw(pieces.map(str.encode) | st.binary(max_size=5))
    changed = body[:start] + put + body[start + removed :]
    if kind_of(case) != "feed":
        changed = changed.decode("utf-8", "replace").encode()
    check_reading(kind_of(case), changed, url, cursor)


@settings(max_examples=500, deadline=None)
@given(
    data=st.data(),
    case=st.sampled_from([case for case in CASES if kind_of(case) != "feed"]),
    value=any_json,
)
def test_json_of_other_shapes_is_a_record_or_a_page_error(data, case, value):
    body, url, cursor = saved(case)
    text = body.decode()
    start = text.find(ASSIGNMENT) + len(ASSIGNMENT) if ASSIGNMENT in text else 0
    try:
        found, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except ValueError:
        return  # this case is no JSON to begin with
    for _ in range(data.draw(st.integers(1, 3))):
        change_one(data, found, value)
    changed = text[:start] + json.dumps(found) + text[end:]
    check_reading(kind_of(case), changed.encode(), url, cursor)


def change_one(data: Any, thing: Any, value: Any) -> None:
    """Replace or remove one value somewhere within a JSON value."""
    while thing:
        keys = sorted(thing) if isinstance(thing, dict) else range(len(thing))
        key = data.draw(st.sampled_from(keys))
        inner = thing[key]
        if isinstance(inner, dict | list) and inner and data.draw(st.integers(0, 3)):
            thing = inner
            continue
        if data.draw(st.booleans()):
            thing[key] = deepcopy(value)  # or it may come to hold itself
        else:
            del thing[key]
        return


lines = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]),
    min_size=1,
    max_size=40,
)
identities = st.text("0123456789abcdef", min_size=12, max_size=12)
tags = st.dictionaries(identities, lines, max_size=5).map(
    # A page's tags differ by their titles too.
    lambda named: [(slug, name) for name, slug in {n: s for s, n in named.items()}.items()]
)
posts = st.fixed_dictionaries({
    "title": lines,
    "subtitle": lines | st.just(""),
    "author": lines,
    "published_ms": st.integers(631_152_000_000, 4_133_980_799_999),
    "tags": tags,
    "older": st.booleans(),
})


def expected(identity, post, source):
    names = ["title", "subtitle", "author", "published_ms", "tags"]
    return {
        "key": identity,
        "url": f"https://pub.example/story-{identity}",
        **{name: post[name] for name in names},
        "tags": tuple(name for _, name in post["tags"]),
        "sources": dict.fromkeys(names, source),
    }


def as_dict(article):
    return {**vars(article), "sources": dict(article.sources)}


@settings(max_examples=100, deadline=None)
@given(identity=identities, post=posts)
def test_a_post_written_into_an_article_page_is_read_back(identity, post):
    url = f"https://pub.example/story-{identity}"
    root = {"ROOT_QUERY": {f'postResult({{"id":"{identity}"}})': {"__ref": f"Post:{identity}"}}}
    page = page_of({**root, **post_objects(identity, url=url + "?source=x", **post)})
    read = parse_article_page(page, url)
    assert (read.status, read.damage) == ("open", ())
    assert as_dict(read.article) == expected(identity, post, "state")


@settings(max_examples=50, deadline=None)
@given(
    list_id=identities,
    members=st.dictionaries(identities, posts, max_size=4),
    following=st.none() | st.just("offset:20"),
)
def test_a_list_written_into_a_page_is_read_back(list_id, members, following):
    objects = list_objects(list_id, list(members), size=9, following=following)
    for identity, post in members.items():
        url = f"https://pub.example/story-{identity}"
        # Tags have names of their own here, as another post's tag of this id may differ.
        post["tags"] = [(f"{identity}-{slug}", name) for slug, name in post["tags"]]
        objects |= post_objects(identity, url=url, **post)
    read = parse_list_page(page_of(objects), f"https://pub.example/list/{list_id}")
    assert (read.status, read.damage, read.lost, read.size) == ("open", (), 0, 9)
    assert read.next_cursor == following
    assert [as_dict(item.article) for item in read.items] == [
        expected(identity, post, "list") for identity, post in members.items()
    ]
