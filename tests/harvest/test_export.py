from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.errors import TagsageError
from tagsage.harvest.articles import merge
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.export import ExportReport, date_text, export_csv
from tagsage.harvest.records import ArticleRecord
from tests.harvest.harvest_world import World
from tests.harvest.medium_pages import HOST, MS, post_id

HOSTILE = [
    "=cmd|' /C calc'!A0",
    'He said "no", twice',
    ",,,",
    "<script>alert(1)</script>",
    "'; DROP TABLE articles; --",
    "👩‍👩‍👧‍👦 family",
    "\u202eright to left",
    "עברית",
    "+1",
    "-1",
    "@SUM(A1)",
    '"',
    '""',
    "\\",
    "NULL",
    "nan",
    "\ufeffmark",
    "a\u2028b",
    "a\x0bb",
]
LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n"), max_size=40)


def add(world, number, *, source="state", **values):
    record = ArticleRecord(
        post_id(number),
        f"{HOST}/@ann/title-{post_id(number)}",
        **values,
        sources=MappingProxyType(dict.fromkeys(values, source)),
    )
    with world.db.transaction():
        merge(world.db, [record], 1.0)


def add_list(world, name, numbers, state="open"):
    url = f"{HOST}/@ann/list/{name}-0000000{name}"
    world.db.execute("INSERT INTO lists (key, url, state) VALUES (?, ?, ?)", (name, url, state))
    world.db.executemany(
        "INSERT INTO memberships VALUES (?, ?, ?)",
        [(name, post_id(number), f"item {number}") for number in numbers],
    )


def export(world):
    files = world.db.folder / "articles.csv", world.db.folder / "lists.csv"
    return export_csv(world.db, *files), *files


def test_slugs_of_feeds_are_written_as_the_names_that_pages_have(world):
    add(world, 1, title="One", tags=("Machine Learning", "Node.js"))
    add(world, 2, title="Two", tags=("machine learning",))
    add(world, 3, title="Three", tags=("Machine Learning", "data-science"))
    slugs = ("machine-learning", "nodejs", "data-science", "machine-learning", "c-sharp")
    add(world, 4, title="Four", source="feed", tags=slugs)
    _, articles, _ = export(world)
    rows = [line.split(",", 5)[5] for line in articles.read_text(encoding="utf-8").splitlines()]
    assert [json.loads(row.strip('"').replace('""', '"')) for row in rows[1:]] == [
        ["Machine Learning", "Node.js"],
        # A page's own words stay, however they are written.
        ["machine learning"],
        ["Machine Learning", "data-science"],
        ["Machine Learning", "Node.js", "data-science", "c-sharp"],
    ]


def test_both_files_are_written_as_the_study_has_them(world):
    add(world, 2, title="Two", tags=("Graphs", 'A "b", c'), author="Ann", published_ms=MS)
    add(world, 1, title="One", subtitle="And more")
    add(world, 3)
    add_list(world, "b", [3, 1])
    add_list(world, "a", [2])
    add_list(world, "c", [1], state="private")
    add_list(world, "d", [1], state="gone")
    report, articles, lists = export(world)
    assert report == ExportReport(articles=2, memberships=3, lists=2)
    assert articles.read_bytes().decode() == (
        "story,title,subtitle,date,author,tags\n"
        f"{HOST}/@ann/title-{post_id(1)},One,And more,,,[]\n"
        f"{HOST}/@ann/title-{post_id(2)},Two,,2021-01-31T12:30:00Z,Ann,"
        '"[""Graphs"", ""A \\""b\\"", c""]"\n'
    )
    assert lists.read_bytes().decode() == (
        "list,article\n"
        f"{HOST}/@ann/list/a-0000000a,{HOST}/@ann/title-{post_id(2)}\n"
        f"{HOST}/@ann/list/b-0000000b,{HOST}/@ann/title-{post_id(1)}\n"
        f"{HOST}/@ann/list/b-0000000b,{HOST}/@ann/title-{post_id(3)}\n"
    )


def test_an_empty_harvest_is_not_exported(world, tmp_path):
    message = r"^Nothing was harvested yet that could be exported; start with `tagsage harvest`\.$"
    with pytest.raises(TagsageError, match=message):
        export(world)
    assert not (world.db.folder / "articles.csv").exists()
    assert [each.name for each in world.db.folder.iterdir() if ".csv" in each.name] == []


def test_both_files_must_differ(world, tmp_path):
    with pytest.raises(TagsageError, match="cannot both be written to"):
        export_csv(world.db, tmp_path / "a.csv", tmp_path / "x" / ".." / "a.csv")


def test_a_folder_that_is_not_there_is_told(world, tmp_path):
    add(world, 1, title="One")
    with pytest.raises(TagsageError, match=r"Cannot write to .*: No such file or directory"):
        export_csv(world.db, tmp_path / "no" / "a.csv", tmp_path / "l.csv")
    assert list(tmp_path.glob("*.csv")) == []


def test_a_failure_leaves_the_old_files_and_nothing_else(world, tmp_path):
    add(world, 1, title="One")
    articles, lists = tmp_path / "out" / "a.csv", tmp_path / "out" / "l.csv"
    articles.parent.mkdir()
    articles.write_text("old")
    lists.mkdir()  # cannot be replaced
    with pytest.raises(TagsageError, match="Is a directory"):
        export_csv(world.db, articles, lists)
    assert sorted(each.name for each in articles.parent.iterdir()) == ["a.csv", "l.csv"]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, ""),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (MS + 999, "2021-01-31T12:30:00Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59Z"),
        (253_402_300_800_000, ""),
        (10**18, ""),
        (-(10**18), ""),
    ],
)
def test_moments_are_written_in_utc_and_whole_seconds(moment, text):
    assert date_text(moment) == text


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_come_back_as_they_were(world, title):
    add(world, 1, title=title, subtitle=title, tags=(title,), author=title)
    _, articles, lists = export(world)
    corpus = read_csv_corpus(str(articles), str(lists), max_rejected_share=0)
    row = corpus.articles.iloc[0]
    assert (row["title"], row["subtitle"]) == (title, title)
    assert row["tags"] == [title.strip()]


ARTICLES = st.dictionaries(
    st.integers(0, 30),
    st.fixed_dictionaries(
        {"title": LINE.filter(bool)},
        optional={
            "subtitle": LINE,
            "author": LINE,
            "published_ms": st.integers(0, 4_102_444_800_000),
            "tags": st.lists(LINE.map(str.strip).filter(bool), unique=True, max_size=3).map(tuple),
        },
    ),
    min_size=1,
    max_size=6,
)
LISTS = st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 33), min_size=1), max_size=3)


@settings(max_examples=60, deadline=None)
@given(ARTICLES, LISTS)
def test_what_is_exported_is_read_back_the_same(tmp_path_factory, known, lists_):
    folder = tmp_path_factory.mktemp("harvest")
    with HarvestDatabase(folder) as db:
        db.execute("PRAGMA synchronous = OFF")
        world = World(db)
        for number, values in known.items():
            add(world, number, **values)
        for number in range(34):
            if number not in known:
                add(world, number)
        for name, numbers in lists_.items():
            add_list(world, name, numbers)
        _, articles, lists = export(world)
        first = articles.read_bytes(), lists.read_bytes()
        export(world)
        assert (articles.read_bytes(), lists.read_bytes()) == first
    corpus = read_csv_corpus(str(articles), str(lists), max_rejected_share=0)
    assert corpus.quarantine.empty
    rows = corpus.articles[~corpus.articles["is_stub"]].set_index("key")
    assert set(rows.index) == {post_id(number) for number in known}
    for number, values in known.items():
        row = rows.loc[post_id(number)]
        assert row["title"] == values["title"]
        assert row["subtitle"] == values.get("subtitle", "")
        assert row["tags"] == list(values.get("tags", ()))
        if "published_ms" in values:
            seconds = values["published_ms"] // 1000
            assert row["date"].to_pydatetime(warn=False).replace(tzinfo=UTC) == (
                datetime.fromtimestamp(seconds, UTC)
            )
    held = {(each["list"][-1], each["article"]) for _, each in corpus.memberships.iterrows()}
    assert held == {(name, post_id(number)) for name, each in lists_.items() for number in each}


KILLED = """
import os, signal, sys
from pathlib import Path
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest import export
folder, at = Path(sys.argv[1]), int(sys.argv[2])
seen = [0]
def watch(event, arguments):
    if event in {"os.rename", "open"} and ".csv" in str(arguments[0]):
        seen[0] += 1
        if seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
with HarvestDatabase(folder) as db:
    export.export_csv(db, folder / "articles.csv", folder / "lists.csv")
"""


def test_a_kill_at_any_moment_leaves_each_file_whole(world):
    add(world, 1, title="One")
    add_list(world, "a", [1])
    _, articles, lists = export(world)
    old = articles.read_bytes(), lists.read_bytes()
    add(world, 2, title="Two")
    add_list(world, "b", [1, 2])
    report, *_ = export(world)
    new = articles.read_bytes(), lists.read_bytes()
    found = []
    for at in range(1, 9):
        articles.write_bytes(old[0])
        lists.write_bytes(old[1])
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(world.db.folder), str(at)],
            check=False,
            env=os.environ,
        )
        state = articles.read_bytes(), lists.read_bytes()
        assert state in [old, (new[0], old[1]), new]
        found.append(state)
        read_csv_corpus(str(articles), str(lists), max_rejected_share=0)
        if done.returncode == 0:
            break
    assert (found[0], found[-1]) == (old, new)
    assert (new[0], old[1]) in found
    assert report.memberships == 3
