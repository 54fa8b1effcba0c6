"""What holds for every record, whatever page it was read from."""

from __future__ import annotations

from tagsage.corpus.keys import article_key
from tagsage.harvest.records import (
    FIELDS,
    ArticlePage,
    ArticleRecord,
    Feed,
    ListItem,
    ListPage,
    PageError,
)
from tests.harvest.parsing.reading import read

RECORDS = {"list": ListPage, "answer": ListPage, "article": ArticlePage, "feed": Feed}
SOURCES = {
    "list": {"list"},
    "answer": {"graphql"},
    "article": {"state", "json-ld", "meta"},
    "feed": {"feed"},
}
LONGEST = {"title": 1000, "subtitle": 5000, "author": 200}


def check_reading(kind: str, body: bytes, url: str, cursor: str = "") -> None:
    """Read a page that may be anything: there is a sound record, or a page error with a reason."""
    try:
        record = read(kind, body, url, cursor)
    except PageError as error:
        check_reason(str(error))
        return
    assert type(record) is RECORDS[kind]
    for reason in record.damage:
        check_reason(reason)
    if isinstance(record, ListPage):
        check_list(record)
        articles = [item.article for item in record.items if item.article is not None]
    elif isinstance(record, ArticlePage):
        assert (record.status == "open") == (record.article is not None)
        articles = [record.article] if record.article is not None else []
    else:
        check_line(record.title, 1000)
        articles = list(record.articles)
        assert len({article.key for article in articles}) == len(articles)
    for article in articles:
        check_article(article)
        assert set(article.sources.values()) <= SOURCES[kind]


def check_list(page: ListPage) -> None:
    assert page.status in {"open", "private", "gone"}
    assert page.status == "open" or not (page.items or page.next_cursor or page.lost)
    check_line(page.list_id, 64)
    for text in (page.name, page.owner, page.next_cursor):
        if text is not None:
            check_line(text, 1000)
            assert text
    assert page.size is None or (type(page.size) is int and page.size >= 0)
    assert type(page.items) is tuple
    assert all(type(item) is ListItem for item in page.items)
    assert len({item.item_id for item in page.items}) == len(page.items)
    for item in page.items:
        check_line(item.item_id, 200)
        assert (item.kind == "post") == (item.article is not None)
        assert item.kind in {"post", "deleted", "other"}


def check_article(article: ArticleRecord) -> None:
    assert type(article) is ArticleRecord
    assert article_key(article.key) == article.key
    assert article.url.startswith(("http://", "https://"))
    assert not {"?", "#"} & set(article.url)
    check_line(article.url, 2100)
    assert set(article.sources) == {name for name in FIELDS if getattr(article, name) is not None}
    for name, longest in LONGEST.items():
        text = getattr(article, name)
        if text is not None:
            check_line(text, longest)
            assert text or name == "subtitle"
    if article.published_ms is not None:
        assert type(article.published_ms) is int
        assert 631_152_000_000 <= article.published_ms < 4_133_980_800_000
    if article.tags is not None:
        assert type(article.tags) is tuple
        assert len(set(article.tags)) == len(article.tags)
        for tag in article.tags:
            check_line(tag, 200)
            assert tag


def check_reason(reason: str) -> None:
    check_line(reason, 400)
    assert reason


def check_line(text: str, longest: int) -> None:
    assert type(text) is str
    assert len(text) <= longest
    assert text == " ".join(text.split())
    assert "\0" not in text
    text.encode()
