"""Whole harvests of a local Medium: what they bring, what they send, and what they leave alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from scripts.medium_server import MediumServer, challenge, redirect, status
from tagsage.corpus.fields import parse_date
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.files import locked
from tagsage.harvest.collection import Collection
from tagsage.harvest.csv_export import export_csv

FEED = "/feed/tag/design"


@pytest.fixture
def site():
    with MediumServer(posts=150, lists=4) as server:
        yield server


def list_of(site, number=1):
    return list(site.world.lists.values())[number]


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def check_export(harvester, site):
    """Hold that an export has all that the site has to say."""
    articles, lists = harvester.folder / "a.csv", harvester.folder / "l.csv"
    with Collection(harvester.folder) as collection:
        export_csv(collection, articles, lists)
    read = {
        row["story"]: (
            *(row["title"], row["subtitle"], row["author"], parse_date(row["date"])),
            tuple(json.loads(row["tags"])),
        )
        for row in rows_of(articles)
    }
    assert read == site.expected_articles()
    memberships = {(row["list"], row["article"]) for row in rows_of(lists)}
    assert memberships == site.expected_memberships()
    assert set(harvester.read("SELECT state, is_complete, reason FROM lists")) == {("open", 1, "")}


def test_a_harvest_brings_everything_once_and_a_second_one_sends_nothing(site, harvester):
    report = harvester.run(site.seeds())
    assert (report.outcome, report.waiting, report.problems, report.lists) == ("done", 0, 0, 4)
    check_export(harvester, site)

    sent = [(entry.method, entry.path, entry.body) for entry in site.log]
    assert sent[0][1] == "/robots.txt"
    assert len(sent) == len(set(sent)) == report.requests
    headers = site.log[-1].headers
    assert headers["User-Agent"].startswith("tagsage/")
    assert "(+owner@example.org)" in headers["User-Agent"]
    assert headers["From"] == "owner@example.org"
    assert not {"Cookie", "Referer"} & set(headers)

    again = harvester.run([])  # what is known
    assert (again.outcome, again.requests, again.digest) == ("done", 0, report.digest)

    with Collection(harvester.folder) as collection:
        for table in ("readings", "lists", "memberships"):
            collection.query(f"DELETE FROM {table}")
        collection.query("UPDATE pages SET fetched_at = fetched_at - 20 * 86400")
    replayed = harvester.run([], replay=True, harvest_contact="", harvest_consent=False)
    assert (replayed.digest, replayed.requests) == (report.digest, 0)
    assert len(site.log) == len(sent)


def test_lists_whose_pages_say_no_tags_are_asked_for_by_graphql_and_no_article_page(
    site, harvester
):
    site.page_tags = False
    harvester.run([site.url + list_of(site).path])
    assert {entry.path for entry in site.log} == {
        *("/robots.txt", list_of(site).path, "/_/graphql")
    }
    assert not harvester.read("SELECT key FROM articles WHERE tags IS NULL")


def test_where_graphql_is_refused_articles_own_pages_say_the_rest(site, harvester):
    site.page_tags = False
    site.faults["/_/graphql"] = [challenge] * 9
    a_list = list_of(site)
    harvester.run([site.url + a_list.path])
    assert site.requests("/_/graphql") == 1
    shown = a_list.posts[:20]
    assert all(site.requests(site.world.posts[post].path) == 1 for post in shown)
    tags = dict(harvester.read("SELECT key, tags FROM articles"))
    assert {key: tuple(json.loads(tags[key])) for key in shown} == {
        post: site.world.posts[post].tags for post in shown
    }
    state, is_complete, reason = harvester.read("SELECT state, is_complete, reason FROM lists")[0]
    assert (state, is_complete) == ("open", 0)
    assert "the next part could not be read" in reason


@pytest.mark.timeout(300)
def test_a_harvest_killed_at_any_request_ends_as_one_that_was_not(site, harvester, tmp_path):
    site.page_tags = False
    workspace = harvester.folder.parent
    command = [
        *(sys.executable, "-m", "tagsage.cli", "harvest", *site.seeds(), "--consent"),
        *("--contact", "owner@example.org", "--delay", "0.05", "--workspace", str(workspace)),
    ]
    in_flight = Counter()
    for number in (1, 8):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:

            def kill(count, child=child, number=number):
                # The crawl is a process of its own, and ends with the one that started it.
                if count >= number:
                    in_flight[site.log[-1].path, site.log[-1].body] += 1
                    os.kill(child.pid, signal.SIGKILL)

            site.on_request = kill
            child.wait(120)
            site.on_request = None
        assert child.returncode == -signal.SIGKILL
    report = harvester.run(site.seeds())
    assert (report.outcome, report.waiting) == ("done", 0)
    check_export(harvester, site)
    fetched = Counter((entry.path, entry.body) for entry in site.log)
    assert all(count <= 1 + in_flight[asked] for asked, count in fetched.items())


def test_a_budget_ends_a_run_and_later_ones_go_on(site, harvester):
    outcomes = []
    while not outcomes or outcomes[-1] != "done":
        report = harvester.run(site.seeds(), harvest_max_requests=12)
        assert report.requests <= 12
        assert (report.waiting > 0) == (report.outcome == "budget spent")
        outcomes.append(report.outcome)
    assert len(outcomes) > 1
    check_export(harvester, site)
    assert max(Counter((entry.path, entry.body) for entry in site.log).values()) == 1
    assert not harvester.problems()


def test_a_list_that_shrank_or_closed_loses_its_memberships_and_keeps_its_articles(site, harvester):
    shrinks, closes = list_of(site, 1), list_of(site, 2)
    seeds = [site.url + each.path for each in (shrinks, closes)]
    harvester.run(seeds)
    articles = harvester.content()[0]
    site.world.lists[shrinks.id] = type(shrinks)(
        shrinks.id, shrinks.name, shrinks.user, shrinks.path, shrinks.posts[:1]
    )
    site.faults[closes.path] = [status(404)]
    report = harvester.run(seeds, harvest_list_days=0)
    rows = harvester.content()
    assert rows[0] == articles
    assert rows[1] == [(seeds[0], site.url + site.world.posts[shrinks.posts[0]].path)]
    assert dict(harvester.read("SELECT key, state FROM lists")) == {
        shrinks.id: "open",
        closes.id: "gone",
    }
    assert (report.lists, report.memberships) == (1, 1)


def test_feeds_need_no_consent_and_lead_to_no_pages(site, harvester):
    report = harvester.run([site.url + FEED + "?source=rss"], harvest_consent=False)
    assert report.articles == 10
    assert {entry.path for entry in site.log} == {"/robots.txt", FEED}


def test_a_challenge_on_a_page_stops_pages_and_not_feeds_until_the_pause_is_over(site, harvester):
    lists = [site.url + each.path for each in site.world.lists.values()]
    for each in site.world.lists.values():
        site.faults[each.path] = [challenge]
    # Feeds are asked first: one that waits for its turn again comes after the challenge.
    site.faults[FEED] = [status(503)]
    report = harvester.run([*lists, site.url + FEED], harvest_delay_s=0.05)
    assert report.outcome == "stopped by the host"
    assert list(report.stopped.values()) == ["it shows a challenge instead of the page"]
    assert sum(site.requests(each.path) for each in site.world.lists.values()) == 1
    assert (site.requests(FEED), report.articles) == (2, 10)
    harvester.run([*lists, site.url + FEED])
    assert sum(site.requests(each.path) for each in site.world.lists.values()) == 1

    with Collection(harvester.folder) as collection:
        collection.query("UPDATE stops SET until = 0")
    site.faults.clear()
    report = harvester.run(lists)
    assert (report.outcome, report.lists) == ("done", 4)


def test_robots_txt_is_obeyed_and_asked_for_once(site, harvester):
    site.robots = f"User-agent: tagsage\nDisallow: {FEED}\n"
    harvester.run(site.seeds())
    harvester.run(site.seeds(), harvest_feed_hours=0)
    assert site.requests("/robots.txt") == 1
    assert site.requests(FEED) == 0
    assert harvester.problems()[site.url + FEED] == ("refused", "Forbidden by robots.txt")


def test_a_crawl_delay_and_the_own_delay_hold(site, harvester):
    site.robots = "User-agent: *\nCrawl-delay: 0.5\n"
    harvester.run([site.url + FEED, f"{site.url}/feed/tag/python"], harvest_delay_s=0.2)
    first, second, third = (entry.at for entry in site.log)
    assert second - first >= 0.19
    assert third - second >= 0.49


def test_names_below_medium_com_share_rules_and_logins_are_refused(site, harvester, monkeypatch):
    # The site as a proxy answers under any name.
    monkeypatch.setenv("http_proxy", site.url)
    a_list, other = list_of(site, 1), list_of(site, 2)
    site.faults[a_list.path] = [redirect(f"http://{a_list.user}.medium.com{a_list.path}")]
    bounce = "http://medium.com/m/global-identity-2?redirectUrl=x"
    site.faults[other.path] = [redirect(bounce)]
    report = harvester.run(
        [
            f"http://medium.com{a_list.path}?source=my_lists---------1",
            f"http://towards.example{other.path}",
        ],
        harvest_delay_s=1.0,
    )
    robots = [entry.host for entry in site.log if entry.path == "/robots.txt"]
    assert sorted(robots) == ["medium.com", "towards.example"]
    assert report.memberships == len(a_list.posts)
    assert not [entry for entry in site.log if "global-identity" in entry.path]
    assert not [entry for entry in site.log if "source=" in entry.path]
    assert harvester.problems() == {
        f"http://towards.example{other.path}": ("refused", "Forbidden by robots.txt")
    }
    at = [entry.at for entry in site.log if entry.host.endswith("medium.com")]
    assert min(b - a for a, b in pairwise(at)) >= 0.95


@pytest.mark.parametrize(
    ("seeds", "settings", "message"),
    [
        (["https://medium.com/feed/@a"], {"harvest_contact": ""}, "no contact is set"),
        (["https://medium.com/feed/@a"], {"harvest_contact": "me"}, "neither a mail address"),
        (["https://medium.com/feed/@a"], {"harvest_delay_s": 0.5}, "is too short"),
        (["https://medium.com/@a/list/x-0123456789ab"], {"harvest_consent": False}, "consent"),
        (["ftp://medium.com/feed"], {}, "No seed can be harvested: it is no http or https"),
        (["https://a:secret@medium.com/feed"], {}, "user name or a password"),
        ([], {}, "none is given"),
    ],
)
def test_a_harvest_that_may_not_begin_says_why(harvester, seeds, settings, message):
    with pytest.raises(NonRetryableError, match=message) as caught:
        harvester.run(seeds, **settings)
    assert "secret" not in str(caught.value)


def test_two_harvests_do_not_work_in_one_folder(site, harvester):
    with (
        locked(harvester.folder / "harvest.lock"),
        pytest.raises(TagsageError, match="Another harvest is under way"),
    ):
        harvester.run([site.url + FEED])
    assert not site.log
