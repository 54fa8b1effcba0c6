"""The catalogue holds what the run knew, counted right."""

from __future__ import annotations

import sqlite3

import pandas as pd
import pytest

from tagsage.app.catalogue import build, history
from tagsage.app.catalogue.build import build_catalogue
from tagsage.app.catalogue.schema import APPLICATION_ID, CATALOGUE_FILE, VERSION
from tagsage.workspace import Workspace
from tests.app.conftest import HOSTILE_LIST, ROWS, data, explanations


@pytest.fixture
def connection(workspace):
    connection = sqlite3.connect(workspace / CATALOGUE_FILE)
    yield connection
    connection.close()


def test_articles_are_numbered_by_how_many_lists_hold_them(connection):
    rows = connection.execute("SELECT key, n_lists FROM articles ORDER BY id").fetchall()
    order = [0, 2, 1, 3, 7, 4, 5, 6]
    assert [key for key, _ in rows] == [ROWS[number][0] for number in order]
    assert [count for _, count in rows] == [2, 2, 1, 1, 1, 0, 0, 0]


def test_lists_know_how_many_members_are_tagged_and_with_what(connection):
    rows = connection.execute("SELECT name, size, tagged FROM lists ORDER BY id").fetchall()
    assert rows == [("reading", 5, 2), (HOSTILE_LIST, 2, 1)]
    counts = connection.execute(
        "SELECT lists.name, tags.tag, c.articles FROM list_tags c "
        "JOIN lists ON lists.id = c.list_id JOIN tags ON tags.id = c.tag_id ORDER BY 1, 2"
    ).fetchall()
    assert counts == [(HOSTILE_LIST, "python", 1), ("reading", "art", 1), ("reading", "python", 2)]


def test_tags_know_their_scores_and_how_many_articles_have_or_got_them(connection):
    columns = "tag, is_target, n_articles, n_assigned, f1, support"
    rows = connection.execute(f"SELECT {columns} FROM tags ORDER BY tag").fetchall()
    assert rows[1:] == [("art", 1, 1, 1, 0.5, 4), ("python", 1, 2, 1, 0.8, 40)]
    assert rows[0][1:] == (1, 1, 0, None, None)


def test_tags_that_are_not_learned_are_there_without_scores(tmp_path):
    build_catalogue(data(tmp_path, target_tags=["python"]), tmp_path / CATALOGUE_FILE)
    connection = sqlite3.connect(tmp_path / CATALOGUE_FILE)
    rows = connection.execute("SELECT tag, is_target FROM tags ORDER BY is_target DESC").fetchall()
    counted = connection.execute("SELECT count(DISTINCT tag_id) FROM list_tags").fetchone()
    connection.close()
    assert rows[0] == ("python", 1)
    assert {row[1] for row in rows[1:]} == {0}
    assert counted == (1,)


@pytest.mark.parametrize("block", [1, 2, 3, 1000])
def test_predictions_keep_their_order_whatever_the_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(build, "BLOCK", block)
    monkeypatch.setattr(build, "BEST_TAGS", 2)
    file = tmp_path / "long.parquet"
    urls = ["https://host.example/naive"] * 5 + ["https://host.example/reversed"] * 2
    tags = ["python", "art", "a", "b", "c", "c", "b"]
    pd.DataFrame({
        "story": urls,
        "tag": tags,
        "score": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
        "assigned": [1, 0, 0, 1, 0, 0, 0],
        "threshold": 0.5,
    }).to_parquet(file)
    given = data(tmp_path, predictions=file, target_tags=["python", "art", "a", "b", "c"])
    counts = build_catalogue(given, tmp_path / CATALOGUE_FILE)
    connection = sqlite3.connect(tmp_path / CATALOGUE_FILE)
    rows = connection.execute(
        "SELECT a.key, p.position, tags.tag, p.assigned FROM predictions p "
        "JOIN tags ON tags.id = p.tag_id JOIN articles a ON a.id = p.article_id "
        "ORDER BY a.key, p.position"
    ).fetchall()
    connection.close()
    # The two best, and what was assigned.
    naive, turned = "host.example/naive", "host.example/reversed"
    assert rows == [
        (naive, 0, "python", 1),
        (naive, 1, "art", 0),
        (naive, 3, "b", 1),
        (turned, 0, "c", 0),
        (turned, 1, "b", 0),
    ]
    assert counts["predictions"] == 5


def test_what_is_of_unknown_articles_or_tags_is_counted_and_left_out(tmp_path):
    file = tmp_path / "unknown.parquet"
    pd.DataFrame({
        "story": ["https://gone.example/", "https://host.example/naive"],
        "tag": ["python", "never seen"],
        "score": [0.9, 0.9],
        "assigned": [1, 1],
    }).to_parquet(file)
    given = data(tmp_path, predictions=file, explanations=explanations(tmp_path))
    counts = build_catalogue(given, tmp_path / CATALOGUE_FILE)
    assert (counts["predictions"], counts["explanations"], counts["unknown"]) == (0, 1, 3)


def test_catalogue_says_what_it_is(connection):
    found = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version", "integrity_check")
    ]
    assert found == [APPLICATION_ID, VERSION, "ok"]


def entry(at, **more):
    return {"at": at, **dict.fromkeys(history.NEEDED, ""), **more}


def test_history_is_in_the_order_of_the_runs_and_a_rerun_replaces_its_own(tmp_path):
    workspace = Workspace(str(tmp_path))
    history.remember(workspace, "b", entry("2026-11-20", f1=1))
    history.remember(workspace, "a", entry("2026-11-21", f1=2))
    history.remember(workspace, "b", entry("2026-11-20", f1=3))
    assert [one["f1"] for one in history.latest_runs(workspace)] == [3, 2]
    assert [one["f1"] for one in history.latest_runs(workspace, shown=1)] == [2]


def test_history_leaves_out_what_is_broken_and_forgets_old_runs(tmp_path, monkeypatch, caplog):
    workspace = Workspace(str(tmp_path))
    for day in range(10, 16):
        history.remember(workspace, f"run-{day}", entry(f"2026-11-{day}"))
    broken = {"run-15": "{", "list": "[]", "when": '{"at": "yesterday"}', "bare": '{"at": ""}'}
    for name, content in broken.items():
        (tmp_path / "history" / f"{name}.json").write_text(content)
    monkeypatch.setattr(history, "RUNS_KEPT", 3)
    runs = history.latest_runs(workspace)
    assert [one["at"] for one in runs][-3:] == ["2026-11-12", "2026-11-13", "2026-11-14"]
    assert not (tmp_path / "history" / "run-10.json").exists()
    assert caplog.text.count("left out of the history") == len(broken)
