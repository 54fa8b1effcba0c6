"""The collection: which source is believed, what a list replaces, and what an export holds."""

from __future__ import annotations

import itertools

import pytest

from tagsage.errors import TagsageError
from tagsage.harvest.collection import Collection
from tagsage.harvest.csv_export import export_csv
from tagsage.harvest.items import Article, Problem, ReadingList

URL = "https://medium.com/p/a1b2c3d40001"
LIST = "https://medium.com/@ann/list/graphs-5d6e7f8a9b0c"
READINGS = [
    Article("a1", "https://towards.example/a1", "page", title="Page", tags=("Graphs",)),
    Article("a1", "https://medium.com/g", "graphql", title="GraphQL", subtitle="", author="Ann"),
    Article("a1", "https://medium.com/f", "feed", title="Feed", published_ms=9, tags=("graphs",)),
    Article("a1", "https://medium.com/f", "feed", subtitle="Never believed", author="Bo"),
]


@pytest.fixture
def collection(tmp_path):
    with Collection(tmp_path / "harvest") as opened:
        yield opened


def test_fields_come_from_the_most_trusted_source_in_whatever_order_pages_came(collection):
    for order in itertools.permutations(READINGS):
        collection.query("DELETE FROM readings")
        for article in order:
            collection.add(article)
        (row,) = collection.articles()
        assert row == ("https://towards.example/a1", "Page", "", 9, "Ann", '["Graphs"]', 0)


def reading(*members, **fields):
    return ReadingList("l1", LIST, **{"state": "open", "members": members, **fields})


@pytest.mark.parametrize(
    ("later", "members"),
    [
        (reading("a2", "a3", is_complete=True), {"a2", "a3"}),
        (reading("a3", reason="cut"), {"a1", "a2", "a3"}),
        (reading(state="private"), set()),
        (reading(state="gone"), set()),
    ],
)
def test_only_a_list_read_to_its_end_loses_memberships(collection, later, members):
    collection.add_list(reading("a1", "a2", name="Graphs", is_complete=True))
    collection.add_list(later)
    assert {key for (key,) in collection.query("SELECT article_key FROM memberships")} == members
    assert collection.query("SELECT name FROM lists") == [("Graphs",)]


def test_an_export_is_the_same_bytes_and_holds_no_list_that_closed(collection, tmp_path):
    files = tmp_path / "new" / "a.csv", tmp_path / "new" / "l.csv"
    with pytest.raises(TagsageError, match="Nothing was harvested yet that could be exported"):
        export_csv(collection, *files)
    hostile = 'A, "quoted"\ttitle = SUM(1)'
    collection.add_article(
        Article("a1", URL, "graphql", hostile, "", None, 1640995200999, ("Machine Learning", "ä"))
    )
    collection.add_article(Article("a2", f"{URL}2", "feed", "Two", tags=("machine-learning", "go")))
    collection.add_article(Article("a3", f"{URL}3", "export"))
    collection.add_list(reading("a1", "a3", "unheard-of", is_complete=True))
    collection.add_list(ReadingList("l2", "https://m.example/l2", "private", members=("a1",)))
    counts = export_csv(collection, *files)
    assert (counts.articles, counts.lists, counts.memberships) == (2, 1, 3)
    assert files[0].read_text(encoding="utf-8") == (
        "story,title,subtitle,date,author,tags\n"
        f'{URL},"A, ""quoted""\ttitle = SUM(1)",,2022-01-01T00:00:00Z,,'
        '"[""Machine Learning"", ""ä""]"\n'
        f'{URL}2,Two,,,,"[""Machine Learning"", ""go""]"\n'
    )
    assert files[1].read_text(encoding="utf-8") == (f"list,article\n{LIST},{URL}\n{LIST},{URL}3\n")
    before = [file.read_bytes() for file in files]
    export_csv(collection, *files)
    assert [file.read_bytes() for file in files] == before
    with pytest.raises(TagsageError, match="name two files"):
        export_csv(collection, files[0], files[0])
    with pytest.raises(TagsageError, match="Cannot write"):
        export_csv(collection, tmp_path / "new" / "a.csv" / "x", files[1])


def test_the_digest_changes_when_an_export_would_and_what_was_announced_is_kept(collection):
    assert collection.announced == ""
    collection.add_article(READINGS[1])
    first = collection.digest()
    collection.add_problem(Problem(URL, "gone", "x"))
    collection.add_article(READINGS[1])
    assert collection.digest() == first
    collection.add_article(READINGS[0])
    assert collection.digest() != first
    collection.announce(first)
    collection.announce("second")
    assert collection.announced == "second"


def test_a_field_that_cannot_be_read_is_a_problem_with_its_reason(collection):
    missing = {"published_ms": "'soon' is no date"}
    collection.add_article(Article("a1", URL, "page", title="T", missing=missing))
    assert collection.status().problems == [("missing", "published_ms: 'soon' is no date", 1, URL)]
    assert collection.has_own_page("a1")


def test_what_fails_within_a_transaction_leaves_nothing(collection):
    def half():
        with collection.transaction():
            collection.add_article(READINGS[0])
            collection.add_list(reading("a1", is_complete=True))
            raise KeyError("killed")

    with pytest.raises(KeyError):
        half()
    assert collection.status().counts["memberships"] == 0
    assert list(collection.articles()) == []


def test_a_folder_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "harvest.db").write_bytes(b"no database" * 100)
    with pytest.raises(TagsageError, match="cannot be opened"):
        Collection(tmp_path)
    with pytest.raises(TagsageError, match="cannot be opened"):
        Collection(tmp_path / "harvest.db" / "x")
