"""Every saved page gives the record beside it, and no input makes a parser raise anything else."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.harvest.account_export import parse_list_file, parse_post_file
from tagsage.harvest.article_page import parse_article_page
from tagsage.harvest.feed import parse_feed
from tagsage.harvest.items import PageError
from tagsage.harvest.list_page import parse_list_answer, parse_list_page
from tagsage.harvest.medium_state import milliseconds

FIXTURES = Path(__file__).parent / "fixtures"
LIST = "5d6e7f8a9b0c"
POST = "b1b2c3d4e5f6"
URLS = {
    "list_default_reading_list": "https://medium.com/@ann/list/reading-list",
    "article_of_a_user_subdomain": f"https://ann.medium.com/with-the-old-subtitle-{POST}",
    "article_of_a_publication_without_state": f"https://towards.example/vectors-{POST}?gi=1",
    "article_with_metas_only": "https://towards.example/vectors-of-words",
    "article_that_is_a_tag_page": "https://medium.com/tag/graphs",
}
SAVED = sorted(file for file in FIXTURES.iterdir() if not file.name.endswith(".expected.json"))


def parse(name, text):
    """Return what the parser for a saved page makes of it, as JSON has it."""
    kind = name.partition("_")[0]
    usual = f"https://medium.com/@ann/list/graphs-{LIST}" if kind == "list" else ""
    url = URLS.get(name, usual or f"https://medium.com/towards/vectors-of-words-{POST}")
    try:
        if kind == "list":
            return asdict(parse_list_page(text, url))
        if kind == "answer":
            return asdict(parse_list_answer(text, LIST, "https://medium.com/_/graphql"))
        if kind == "article":
            return asdict(parse_article_page(text, url))
        if kind == "feed":
            return [asdict(article) for article in parse_feed(text)]
        if name == "export_post":
            article = parse_post_file(text)
            return asdict(article) if article else {"PageError": "never published"}
        stem = "Reading-list-predefined:9a8b7c6d5e4f:READING_LIST"
        reading, articles = parse_list_file(text, stem if "reading" in name else f"Graphs-{LIST}")
        return {"list": asdict(reading), "articles": [asdict(article) for article in articles]}
    except PageError as error:
        return {type(error).__name__: str(error)}


@pytest.mark.parametrize("file", SAVED, ids=lambda file: file.stem)
def test_a_saved_page_gives_the_record_beside_it(file):
    expected = json.loads(file.with_suffix(".expected.json").read_text(encoding="utf-8"))
    read = parse(file.stem, file.read_text(encoding="utf-8"))
    assert json.loads(json.dumps(read)) == expected


@st.composite
def damaged_pages(draw):
    """Pages with a piece cut out, replaced or doubled."""
    file = draw(st.sampled_from(SAVED))
    text = file.read_text(encoding="utf-8")
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 200)))
    piece = draw(
        st.one_of(st.text(max_size=30), st.sampled_from(["null", "{}", "[]", '"', "1e999"]))
    )
    return file.stem, text[:start] + piece + text[end:]


@given(damaged_pages())
def test_a_damaged_page_is_read_or_refused(damaged):
    name, text = damaged
    assert parse(name, text) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from([{"__ref": "Post:a1b2c3d40001"}, {"__ref": "Catalog:x"}]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from([
            *("items", "itemsConnection", "entity", "paging", "count", "nextPageCursor", "id"),
            *("__typename", "__ref", "title", "tags", "creator", "name", "mediumUrl", "subtitle"),
            *("firstPublishedAt", "extendedPreviewContent", "displayTitle", "entityType"),
        ]),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_a_state_or_an_answer_of_any_shape_is_read_or_refused(value):
    keys = (f'catalogById({{"catalogId":"{LIST}"}})', f'postResult({{"id":"{POST}"}})')
    objects = {"ROOT_QUERY": dict.fromkeys(keys, value), f"Post:{POST}": value, "Catalog:x": value}
    html = f'<meta property="og:type" content="article">__APOLLO_STATE__ = {json.dumps(objects)}'
    for name in ("list_private", "article_with_state"):
        assert isinstance(parse(name, html), dict)
    assert isinstance(parse("answer_private", json.dumps({"data": {"catalogById": value}})), dict)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for name in ("list_private", "answer_private", "article_with_state", "feed_cut_off"):
        assert parse(name, text) is not None
    assert parse("export_list", text)["articles"] == []


@pytest.mark.parametrize(
    ("value", "moment", "reason"),
    [
        (1600000000123, 1600000000123, None),
        ("2020-09-13T12:26:40Z", 1600000000000, None),
        ("Sun, 13 Sep 2020 12:26:40 GMT", 1600000000000, None),
        (None, None, None),
        (" ", None, None),
        ("null", None, None),
        (0, None, "'0' is no date from 1990 to 2100"),
        (True, None, "'True' is no date from 1990 to 2100"),
        ("soon", None, "'soon' is no date from 1990 to 2100"),
    ],
)
def test_a_moment_is_read_or_missing_with_a_reason(value, moment, reason):
    missing = {}
    assert milliseconds(value, missing) == moment
    assert missing.get("published_ms") == reason


def test_deep_nesting_and_references_to_themselves_cost_little():
    deep = parse("list_private", "__APOLLO_STATE__ = " + "[" * 100_000)
    assert "nested too deeply" in deep["PageError"]
    circle = {"ROOT_QUERY": {"__ref": "ROOT_QUERY"}}
    found = parse("list_private", f"__APOLLO_STATE__ = {json.dumps(circle)}")
    assert found == {"PageError": f"the page's state object has no list {LIST}"}
