"""Medium's account export: read without any network, and bounded whatever is in the zip file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tagsage.errors import NonRetryableError
from tagsage.harvest import account_export
from tagsage.harvest.collection import Collection
from tagsage.harvest.process import take_account_export

FIXTURES = Path(__file__).parent / "fixtures"
SAVED = {
    "medium-export/lists/Graphs---more-5d6e7f8a9b0c.html": "export_list",
    "medium-export/lists/Reading-list-predefined-9a8b7c6d5e4f-READING_LIST.html": (
        "export_reading_list"
    ),
    "medium-export/posts/2022-01-01_Vectors-b1b2c3d4e5f6.html": "export_post",
    "medium-export/posts/draft_Secret-c1b2c3d4e5f6.html": "export_post",
    "medium-export/profile/profile.html": "export_post",
    "medium-export/README.html": "export_list",
}


def write_zip(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.fixture
def export(tmp_path):
    saved = {name: (FIXTURES / f"{kind}.html").read_bytes() for name, kind in SAVED.items()}
    return write_zip(tmp_path / "export.zip", saved)


def test_an_export_brings_lists_and_own_posts_and_no_drafts_and_is_read_twice_for_nothing(
    export, tmp_path
):
    report = take_account_export(tmp_path / "h", export)
    assert (report.articles, report.lists, report.memberships) == (3, 2, 3)
    assert (report.outcome, report.requests, report.problems) == ("done", 0, 0)
    with Collection(tmp_path / "h") as collection:
        assert collection.query("SELECT url, key, is_complete FROM lists ORDER BY url") == [
            ("https://medium.com/@ann/list/graphs-more-5d6e7f8a9b0c", "5d6e7f8a9b0c", 1),
            (
                "https://medium.com/@ann/list/reading-list",
                "predefined:9a8b7c6d5e4f:READING_LIST",
                1,
            ),
        ]
        assert ("Vectors of words",) in collection.query("SELECT title FROM articles")
    again = take_account_export(tmp_path / "h", export)
    assert (again.digest, again.articles) == (report.digest, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip file", "cannot be read as a zip file"),
        ({"a.txt": "x"}, "holds no lists and no posts"),
        ({f"lists/{number}.html": "x" * 900 for number in range(4)}, "unpacks to more than 3,000"),
    ],
)
def test_what_is_no_export_or_larger_than_any_is_refused_and_changes_nothing(
    tmp_path, monkeypatch, content, message
):
    monkeypatch.setattr(account_export, "LARGEST_EXPORT", 3000)
    file = tmp_path / "x.zip"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        write_zip(file, content)
    with pytest.raises(NonRetryableError, match=message):
        take_account_export(tmp_path / "h", file)
    with Collection(tmp_path / "h") as collection:
        assert not any(collection.status().counts.values())


def test_a_bomb_and_a_damaged_member_are_problems_and_the_rest_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(account_export, "LARGEST_MEMBER", 100_000)
    members = {
        "lists/Bomb-0123456789ab.html": b" " * 5_000_000,
        "lists/Damaged-1123456789ab.html": b"damaged",
        "lists/Graphs-5d6e7f8a9b0c.html": (FIXTURES / "export_list.html").read_bytes(),
    }
    file = write_zip(tmp_path / "x.zip", members)
    raw = bytearray(file.read_bytes())
    at = raw.index(b"lists/Damaged-1123456789ab.html") + len("lists/Damaged-1123456789ab.html")
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(raw)
    report = take_account_export(tmp_path / "h", file)
    assert (report.lists, report.memberships, report.problems) == (1, 2, 2)
    with Collection(tmp_path / "h") as collection:
        reasons = dict(collection.query("SELECT url, reason FROM problems"))
    assert reasons == {
        "x.zip/lists/Bomb-0123456789ab.html": "it is larger than 100,000 bytes",
        "x.zip/lists/Damaged-1123456789ab.html": "the file in the export is damaged or encrypted",
    }
