"""Runs of a harvest, its consent, its replay, and a run on what it brought."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from scripts.medium_server import MAIN, Config, Faults, MediumServer
from tests.integration.conftest import run_in_process
from tests.integration.harvest_checks import (
    check_articles,
    check_honesty,
    check_memberships,
    check_once,
    check_pace,
    check_robots_first,
    list_id,
    rows_of,
)
from tests.integration.test_harvest import (
    CONTACT,
    DELAY_S,
    DONE,
    STOPPED,
    arguments,
    export,
    harvest,
    seeds_file,
    settled,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = Config(seed=3, lists=30, posts=260, publications=2, feed_posts=10, page_kb=(60, 60))
# Everything is old enough to be looked at again, but articles.
AGAIN = {"harvest_list_days": "0", "harvest_feed_hours": "0"}


@pytest.fixture
def server():
    with MediumServer(SMALL) as running:
        yield running


def contents(*files: Path) -> list[bytes]:
    return [file.read_bytes() for file in files]


def database(workspace: Path) -> sqlite3.Connection:
    return sqlite3.connect(workspace / "harvest" / "harvest.db")


def test_a_second_run_asks_only_whether_lists_and_feeds_have_changed(server, tmp_path):
    harvest(server, tmp_path)
    files = export(tmp_path)
    before = contents(*files)
    check_articles(files[0], server.expected())
    check_memberships(files[1], files[0], server.expected())
    settled(server)
    first = server.log.entries()
    assert not [entry for entry in first if entry.status == 304]
    server.log.clear()

    harvest(server, tmp_path, **AGAIN)
    settled(server)
    second = server.log.entries()
    assert {entry.kind for entry in second} == {"list", "feed", "graphql"}
    # What a page told of its version is told back, and then the host has nothing to send.
    conditional = [
        entry for entry in second if {"If-None-Match", "If-Modified-Since"} & entry.headers.keys()
    ]
    assert len(conditional) > len(server.site.world.lists) / 2
    # An address that forwards is asked, and forwards, again.
    assert {entry.status for entry in conditional} <= {301, 304}
    assert sum(entry.status == 304 for entry in conditional) > len(server.site.world.lists) / 2
    assert all(entry.status in {200, 301, 404, 410} for entry in second if entry not in conditional)
    # Parts are asked for only of lists whose page came whole.
    whole = {list_id(e.path) for e in second if e.kind == "list" and e.status == 200}
    assert {entry.list_id for entry in second if entry.kind == "graphql"} <= whole
    check_once(second, kills=0)
    check_pace(second, DELAY_S, 0)
    check_honesty(second, CONTACT)
    assert contents(*export(tmp_path)) == before


def test_a_run_with_changes_brings_lists_and_titles_up_to_date(server, tmp_path):
    harvest(server, tmp_path)
    old = server.expected()
    server.site.next_run()
    new = server.expected()
    assert old != new
    server.log.clear()
    harvest(server, tmp_path, **AGAIN)
    articles, lists = export(tmp_path)
    check_memberships(lists, articles, new)
    titles = {row["title"] for row in rows_of(articles)}
    assert {one.title for one in new.articles.values()} - {""} <= titles
    assert [title for title in titles if title.endswith("(run 2)")]
    # Articles that are in no list any more stay what they are.
    stories = [row["story"] for row in rows_of(articles)]
    assert len(stories) == len(set(stories))
    settled(server)
    assert 304 in {entry.status for entry in server.log.entries()}


def test_a_run_with_nothing_due_sends_nothing(server, tmp_path):
    harvest(server, tmp_path)
    before = settled(server)
    harvest(server, tmp_path)
    assert settled(server) == before


def test_a_budget_ends_a_run_and_the_next_one_goes_on(server, tmp_path):
    seeds = seeds_file(server, tmp_path)
    said = []
    for _ in range(20):
        done = run_in_process(*arguments(seeds, tmp_path, harvest_max_requests="60"))
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
        if DONE in done.stdout:
            break
    assert len(said) > 3
    assert all("Harvest budget spent" in one for one in said[:-1]), said
    settled(server)
    entries = server.log.entries()
    check_once(entries, kills=0)
    check_robots_first(entries)
    articles, lists = export(tmp_path)
    check_articles(articles, server.expected())
    check_memberships(lists, articles, server.expected())


def test_crawl_delay_and_retry_after_hold_across_runs(tmp_path):
    faults = Faults(retry_after_s=2)
    config = Config(seed=3, lists=12, posts=60, publications=1, feed_posts=10, special=0)
    with MediumServer(config, faults=faults, crawl_delays={MAIN: 0.05}) as server:
        path = server.site.feed_urls()[0].removeprefix(server.origins[MAIN])
        faults.next(path, "429_seconds")
        seeds = seeds_file(server, tmp_path)
        # It ends at once after the refusal; the next one begins within the time asked for.
        run_in_process(*arguments(seeds, tmp_path, harvest_max_requests="6"))
        harvest(server, tmp_path)
        settled(server)
        entries = server.log.entries()
        ours = [entry for entry in entries if entry.host == MAIN]
        check_pace(ours, 0.05, 2)
        assert [entry.fault for entry in entries if entry.fault] == ["429_seconds"]
        articles, _ = export(tmp_path)
        check_articles(articles, server.expected())


def test_a_host_whose_robots_txt_cannot_be_had_is_not_crawled(tmp_path):
    faults = Faults(robots_503=-1)
    config = Config(seed=3, lists=12, posts=60, publications=1, feed_posts=10, special=0)
    with MediumServer(config, faults=faults) as server:
        seeds = seeds_file(server, tmp_path)
        given = arguments(seeds, tmp_path, harvest_attempts="2", harvest_pause_hours="1")
        done = run_in_process(*given)
        assert done.returncode == 0, done.stderr
        assert STOPPED in done.stdout
        assert "robots.txt cannot be had" in " ".join(done.stdout.split())
        settled(server)
        assert {entry.kind for entry in server.log.entries()} == {"robots"}
        # An hour has not passed yet.
        before = len(server.log)
        again = run_in_process(*given)
        assert STOPPED in again.stdout
        assert settled(server) == before


def test_without_consent_lists_are_refused_and_nothing_is_sent(server, tmp_path):
    url = server.site.list_urls()[0]
    done = run_in_process(*(
        "harvest",
        url,
        "--workspace",
        tmp_path,
        "--contact",
        CONTACT,
        "--delay",
        "0",
    ))
    assert done.returncode != 0
    assert "consent" in done.stderr + done.stdout
    assert settled(server) == 0


def test_without_a_contact_nothing_is_sent(server, tmp_path):
    url = server.site.feed_urls()[0]
    done = run_in_process("harvest", url, "--workspace", tmp_path, "--delay", "0")
    assert done.returncode != 0
    assert "contact" in done.stderr + done.stdout
    assert settled(server) == 0


def test_feeds_need_no_consent_and_lead_to_no_pages(server, tmp_path):
    done = run_in_process(
        *("harvest", *server.site.feed_urls(), "--workspace", tmp_path),
        *("--contact", CONTACT, "--delay", str(DELAY_S)),
    )
    assert done.returncode == 0, done.stderr
    assert DONE in done.stdout
    settled(server)
    assert {entry.kind for entry in server.log.entries()} == {"robots", "feed"}
    articles, lists = export(tmp_path)
    check_articles(articles, server.expected(lists=False, pages=False))
    assert rows_of(lists) == []


def test_replay_restores_what_a_wrong_parser_had_left_out(server, tmp_path):
    harvest(server, tmp_path)
    before = contents(*export(tmp_path))
    requests = settled(server)
    with database(tmp_path) as harvested:
        harvested.execute(
            "UPDATE articles SET title = NULL, subtitle = NULL, author = NULL, "
            "published_ms = NULL, tags = NULL, sources = '{}'"
        )
    harvested.close()
    assert contents(*export(tmp_path)) != before
    done = run_in_process("harvest", "--replay", "--workspace", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing was fetched" in done.stdout
    assert contents(*export(tmp_path)) == before
    assert settled(server) == requests


def test_status_tells_what_there_is(server, tmp_path):
    harvest(server, tmp_path)
    done = run_in_process("harvest", "--status", "--workspace", tmp_path)
    assert done.returncode == 0, done.stderr
    shown = {
        " ".join(cells[1:-1]).strip(): cells
        for line in done.stdout.splitlines()
        if (cells := [cell.strip() for cell in line.split("│")]) and len(cells) > 2
    }
    articles = f"{len(server.expected().articles):,}"
    assert any("articles" in name and articles in name for name in shown)


def test_a_run_on_a_harvest_tags_the_articles_without_tags(server, tmp_path):
    harvest(server, tmp_path)
    articles, lists = export(tmp_path)
    pairs = ("min_tag_articles=8", "candidates=text:ovr_logistic,text+lists:ovr_logistic",
             "lsa_dimensions=16")  # fmt: skip
    done = run_in_process(
        *("run", "--articles", articles, "--lists", lists, "--workspace", tmp_path / "run"),
        *(part for pair in pairs for part in ("--set", pair)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    untagged = {row["story"] for row in rows_of(articles) if json.loads(row["tags"]) == []}
    predicted = {row["story"] for row in rows_of(tmp_path / "run" / "predictions.csv")}
    assert untagged <= predicted
