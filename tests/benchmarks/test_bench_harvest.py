"""The benchmark of the harvest measures what it says."""

import sqlite3

import pytest

from benchmarks import bench_harvest
from benchmarks.runner import Measure


def test_a_small_run_prints_a_table_for_each_kind_and_one_for_a_crawl(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_harvest, "measure", lambda call: Measure(call(), 1.0, 2.0, 1.0))
    printed = bench_harvest.tables(tmp_path, 6, rounds=1, crawl=(12, 60))
    assert printed.startswith("6 pages of each kind; ")
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("|")]
    names = [row[0].strip("| ") for row in rows]
    both = ["", "---", "obvious", "tagsage"]
    assert names == [*both, "tagsage, loop", *both, *both, "", "---", "tagsage harvest"]
    # A second for six pages.
    cells = [row[5] for row in rows if row[0].strip("| ") in {"obvious", "tagsage"}]
    assert cells == ["166.67"] * 6
    *_, seconds, _, _, _, requests, _, _ = rows[-1]
    assert float(seconds) > 0
    assert int(requests) > 60


@pytest.mark.parametrize(("kind", "least"), [("article", 9), ("list", 40), ("graphql", 40)])
def test_both_ways_find_the_same_articles(tmp_path, kind, least):
    found = []
    for way, file, table in (
        (bench_harvest.obvious, "obvious.db", "SELECT id, title FROM articles WHERE title != ''"),
        (bench_harvest.take, "harvest.db", "SELECT key, title FROM articles WHERE title != ''"),
    ):
        given = bench_harvest.prepare(kind, 10, tmp_path)
        assert way(given) == 10
        database = sqlite3.connect(given.folder / file)
        rows = database.execute(table).fetchall()
        database.close()
        found.append({(key, " ".join(title.split())) for key, title in rows})
    assert found[0] == found[1]
    assert len(found[0]) >= least
