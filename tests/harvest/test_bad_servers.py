"""One harvest of many servers, each of which misbehaves in its own way."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from scripts.medium_server import (
    MediumServer,
    bomb,
    challenge,
    huge,
    in_charset,
    redirect,
    reset,
    slow,
    status,
)
from tests.harvest.conftest import Harvester

FEED = "/feed/tag/design"
ALWAYS = 20
# Faults by path; how often the feed is asked for; kind of the problem, and what its reason says.
CASES = {
    "429_with_retry_after": ({FEED: [status(429, {"Retry-After": "1"})]}, 2, None),
    "503": ({FEED: [status(503)]}, 2, None),
    "reset": ({FEED: [reset]}, 2, None),
    "500_always": ({FEED: [status(500)] * ALWAYS}, 3, ("failed", "status 500")),
    "resets_always": ({FEED: [reset] * ALWAYS}, 3, ("failed", "no answer")),
    "asks_to_wait_an_hour": ({FEED: [status(429, {"Retry-After": "3600"})]}, 1, None),
    "not_found": ({FEED: [status(404)]}, 1, ("gone", "status 404")),
    "robots_500": ({"/robots.txt": [status(500)] * ALWAYS}, 0, ("refused", "robots.txt")),
    "robots_reset": ({"/robots.txt": [reset] * ALWAYS}, 0, ("refused", "robots.txt")),
    "robots_challenge": ({"/robots.txt": [challenge]}, 0, ("refused", "robots.txt")),
    "robots_404": ({"/robots.txt": [status(404)]}, 1, None),
    "challenge": ({FEED: [challenge]}, 1, ("refused", "challenge")),
    "forbidden": ({FEED: [status(403)]}, 1, ("refused", "status 403")),
    "huge_body": ({FEED: [huge]}, 1, ("failed", "too large")),
    "gzip_bomb": ({FEED: [bomb]}, 1, ("refused", "")),
    "slow_body": ({FEED: [slow] * ALWAYS}, 3, ("failed", "took too long")),
    "redirect_loop": ({FEED: [redirect(FEED)] * ALWAYS}, 1, ("refused", "redirects to itself")),
    "to_private_address": ({FEED: [redirect("http://10.0.0.1/")]}, 1, ("refused", "private")),
    "to_metadata": ({FEED: [redirect("http://169.254.169.254/x")]}, 1, ("refused", "private")),
    "to_hidden_loopback": ({FEED: [redirect("http://0x7f.1:9/x")]}, 1, ("refused", "robots.txt")),
    "to_a_file": ({FEED: [redirect("file:///etc/passwd")]}, 1, ("refused", "status 302")),
    "utf_7": ({FEED: [in_charset("utf-7")]}, 1, ("refused", "charset 'utf-7'")),
    "html": ({FEED: [status(200, body=b"<html></html>")]}, 1, ("unreadable", "no RSS feed")),
}


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    """Return the sites by case, the harvester and its report."""
    harvester = Harvester(tmp_path_factory.mktemp("bad") / "harvest")
    with ExitStack() as stack:
        sites = {
            case: stack.enter_context(MediumServer(posts=60, lists=1, seed=number))
            for number, case in enumerate(CASES)
        }
        for case, site in sites.items():
            site.faults.update({path: list(faults) for path, faults in CASES[case][0].items()})
        limits = {"DOWNLOAD_TIMEOUT": 3, "DOWNLOAD_MAXSIZE": 1_000_000, "RETRY_TIMES": 2}
        report = harvester.run(
            [site.url + FEED for site in sites.values()],
            overrides={**limits, "CONCURRENT_REQUESTS": 32},
        )
        yield sites, harvester, report


@pytest.mark.parametrize("case", CASES)
def test_a_misbehaving_server_is_borne_refused_or_left_alone(crawled, case):
    sites, harvester, _ = crawled
    _, asked, problem = CASES[case]
    site = sites[case]
    assert site.requests(FEED) == asked
    found = harvester.problems().get(site.url + FEED)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == problem[0]
        assert problem[1] in found[1]
    posts = harvester.read("SELECT key FROM articles WHERE url LIKE ?", site.url + "/%")
    is_read = problem is None and case != "asks_to_wait_an_hour"
    assert len(posts) == (10 if is_read else 0)


def test_a_wait_that_was_asked_for_is_kept(crawled):
    first, second = (entry.at for entry in crawled[0]["429_with_retry_after"].log[1:])
    assert second - first >= 1.0


def test_the_report_names_the_hosts_that_are_left_alone(crawled):
    sites, _, report = crawled
    named = {case: report.stopped.get(site.url.partition("//")[2]) for case, site in sites.items()}
    assert {case for case, why in named.items() if why} == {
        *("challenge", "robots_challenge", "asks_to_wait_an_hour"),
    }
    assert named["asks_to_wait_an_hour"] == "it asks to wait for 60 minutes"
    assert (report.outcome, report.waiting) == ("stopped by the host", 1)
