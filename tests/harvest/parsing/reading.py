"""The parsers as the tests call them: a saved page in, plain values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from tagsage.harvest.article_page import parse_article_page
from tagsage.harvest.feed import parse_feed
from tagsage.harvest.list_page import parse_list_answer, parse_list_page
from tagsage.harvest.records import PageError

FIXTURES = Path(__file__).parent / "fixtures"
CASES = sorted(folder.name for folder in FIXTURES.iterdir())
FILES = {"list": "page.html", "article": "page.html", "answer": "answer.json", "feed": "feed.xml"}


def kind_of(case: str) -> str:
    """Return what a fixture is; its name begins with it."""
    return case.partition("_")[0]


def saved(case: str) -> tuple[bytes, str, str]:
    """Return a fixture's page, its address and the cursor that it was asked with."""
    url, _, cursor = (FIXTURES / case / "url.txt").read_text().strip().partition("\n")
    return (FIXTURES / case / FILES[kind_of(case)]).read_bytes(), url, cursor


def read(kind: str, body: bytes, url: str, cursor: str = ""):
    """Return the record, as the parser returns it."""
    if kind == "feed":
        return parse_feed(body, url)
    text = body.decode("utf-8", "surrogatepass")
    if kind == "answer":
        return parse_list_answer(text, url.rpartition("-")[2], "https://medium.com", cursor)
    return (parse_list_page if kind == "list" else parse_article_page)(text, url)


def outcome(kind: str, body: bytes, url: str, cursor: str = ""):
    """Return the record as plain values, or the error."""
    try:
        return plain(read(kind, body, url, cursor))
    except PageError as error:
        return {"error": str(error)}


def plain(value):
    """Turn dataclasses, tuples and mappings into what JSON knows."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value
