"""The crawl against real servers: what it asks for, what it makes of the answers, how it ends."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate

import brotli
import pytest
from backports import zstd

from tagsage.harvest import frontier
from tagsage.harvest.config import HarvestConfig, HarvestReport
from tagsage.harvest.crawl import Teller
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.downloader import Gate, is_let_in
from tagsage.harvest.process import Progress, harvest
from tests.harvest import web
from tests.harvest.web import Site, answer, feed, in_turn, redirect

CONFIG = HarvestConfig("me@example.com", delay_s=0.0, attempts=1, timeout_s=1.0, max_page_mb=1)


@pytest.fixture
def sites():
    with ExitStack() as stack:
        yield [stack.enter_context(Site()) for _ in range(8)]


def ended(folder, site: Site) -> dict[str, tuple[str, str]]:
    """Return the state and reason of each request of a site by its path, robots.txt left out."""
    with HarvestDatabase(folder) as db:
        rows = db.execute(
            "SELECT url, state, reason FROM requests WHERE host = ? AND kind != 'robots'",
            (site.origin,),
        ).fetchall()
    return {url.removeprefix(site.origin): (state, reason) for url, state, reason in rows}


def titles(folder) -> set[str]:
    with HarvestDatabase(folder) as db:
        return {row[0] for row in db.execute("SELECT title FROM articles")}


def test_each_answer_ends_its_request_as_it_should(tmp_path, sites):
    site, other = sites[:2]
    zipped = {
        "gzip": gzip.compress(feed("gzip")),
        "deflate": zlib.compress(feed("deflate")),
        "br": brotli.compress(feed("br")),
        "zstd": zstd.compress(feed("zstd")),
    }
    large = b"\0" * 3_000_000
    bombs = {
        "gzip": web.bomb(300),
        "br": brotli.compress(large),
        "zstd": zstd.compress(large),
        "deflate": zlib.compress(large),
        "gzip, gzip": gzip.compress(web.bomb(300)),
    }
    too_large = ("refused", "The page is larger than 1 MB.")
    away = f"The host redirects to {other.origin}, which was not asked for."
    expected = {
        "/feed/plain": (answer(200, feed("plain")), ("done", "")),
        **{
            f"/feed/{name}": (answer(200, body, content_encoding=name), ("done", ""))
            for name, body in zipped.items()
        },
        **{
            f"/feed/bomb/{number}": (answer(200, body, content_encoding=name), too_large)
            for number, (name, body) in enumerate(bombs.items())
        },
        "/feed/large": (answer(200, b" " * 1_000_001), too_large),
        "/feed/endless": (web.endless, too_large),
        "/feed/no-gzip": (
            answer(200, b"no gzip", content_encoding="gzip"),
            ("failed", "The connection failed (BadGzipFile)."),
        ),
        "/feed/moved": (redirect("/feed/is/here", 301), ("done", "")),
        "/feed/loop": (
            redirect("/feed/loop"),
            ("refused", "The host redirects more than 5 times."),
        ),
        "/feed/page": (
            redirect("/@a/title-0123456789ab"),
            ("refused", "The host redirects a feed to a page, which needs consent."),
        ),
        "/feed/away": (redirect(other.url("/feed/x")), ("refused", away)),
        "/feed/file": (
            redirect("file:///etc/passwd"),
            (
                "refused",
                "The host redirects to what is not asked: it is no http or https address.",
            ),
        ),
        "/feed/gone": (answer(404), ("gone", "The host answered 404.")),
        "/feed/refused": (answer(403), ("refused", "The host answered 403.")),
        **{
            path: (answer(200, feed("no")), ("refused", "robots.txt does not allow it."))
            for path in ("/feed/secret", "/feed/x/../secret/1", "//feed/secret/2")
        },
    }
    site.pages = {path: page for path, (page, _) in expected.items()} | {
        "/feed/is/here": answer(200, feed("moved")),
        "/robots.txt": answer(200, b"User-agent: *\nDisallow: /feed/secret"),
    }
    report = harvest(tmp_path, [site.url(path) for path in expected], CONFIG)
    assert ended(tmp_path, site) == {path: state for path, (_, state) in expected.items()}
    assert titles(tmp_path) == {"plain", "gzip", "deflate", "br", "zstd", "moved"}
    assert other.log == []
    assert site.paths[0] == "/robots.txt"
    assert not [path for path in site.paths if "secret" in path]
    assert site.paths.count("/feed/loop") == 6
    assert len(site.paths) == len(expected) + 4
    assert (report.outcome, report.requests, report.articles, report.waiting) == (
        *("done", len(site.paths), 6, 0),
    )
    for request in site.log:
        assert request.headers["User-Agent"] == "tagsage/0.1.0 (+me@example.com)"
        assert request.headers["From"] == "me@example.com"
        assert not {"Cookie", "Referer", "Accept-Language"} & set(request.headers)


def test_hosts_in_trouble_are_given_up_side_by_side_each_for_its_reason(tmp_path, sites):
    troubles = [
        (web.reset, "failed", "The connection failed (DownloadFailedError)."),
        (web.cut_off(feed("a")), "failed", "The answer was cut off."),
        (web.drip, "failed", "No whole answer came within 1 s."),
        (web.endless_headers, "failed", "The connection failed (DownloadFailedError)."),
        (answer(503), "failed", "The host answered 503."),
        (answer(200, b"no feed"), "unreadable", None),
        (answer(200, feed("well")), "done", ""),
    ]
    for site, (page, _, _) in zip(sites, troubles, strict=False):
        site.pages["/feed"] = page
    gone = sites[7].url("/feed")
    sites[7].pages["/robots.txt"] = web.reset
    seeds = [site.url("/feed") for site in sites[:7]] + [gone]
    report = harvest(tmp_path, seeds, CONFIG)
    for site, (_, state, reason) in zip(sites, troubles, strict=False):
        got_state, got_reason = ended(tmp_path, site)["/feed"]
        assert (got_state, got_reason) == (state, reason or got_reason)
        assert site.paths == ["/robots.txt", "/feed"]
    assert ended(tmp_path, sites[7]) == {"/feed": ("waiting", "")}
    assert sites[7].paths == ["/robots.txt"]
    assert report.outcome == "stopped by the host"
    assert report.stopped == {
        sites[7].origin: "robots.txt cannot be had: the connection failed (DownloadFailedError)."
    }


def test_a_host_is_waited_for_as_it_asks_and_a_failed_request_asked_again(tmp_path, sites):
    seconds, date, silent, slow = sites[:4]
    until = int(time.time()) + 3
    when = formatdate(until, usegmt=True)
    seconds.pages["/feed"] = in_turn(answer(429, retry_after="2"), answer(200, feed("a")))
    date.pages["/feed"] = in_turn(answer(503, retry_after=when), answer(200, feed("b")))
    silent.pages["/feed"] = in_turn(answer(500), web.reset, answer(200, feed("c")))
    slow.pages["/robots.txt"] = answer(200, b"User-agent: tagsage\nCrawl-delay: 1.5")
    slow.pages["/feed"] = answer(200, feed("d"))
    seeds = [site.url("/feed") for site in sites[:4]]
    seen: list[Progress] = []
    report = harvest(tmp_path, seeds, replace(CONFIG, attempts=3), on_progress=seen.append)
    assert (report.outcome, titles(tmp_path)) == ("done", {"a", "b", "c", "d"})
    assert [each.requests for each in seen] == sorted(each.requests for each in seen)
    assert 0 < seen[-1].waiting <= 4
    assert seen[-1].rate > 0
    gaps = {
        site.port: [
            after.at - before.at for before, after in zip(site.log, site.log[1:], strict=False)
        ]
        for site in sites[:4]
    }
    assert gaps[seconds.port][1] >= 2.0
    assert date.log[2].at >= until
    assert gaps[silent.port][1] >= 1.0
    assert gaps[silent.port][2] >= 2.0
    assert gaps[slow.port][0] >= 1.5


def test_a_host_that_shows_a_challenge_is_left_alone_and_what_was_fetched_is_kept(tmp_path, sites):
    guarded, open_ = sites[:2]
    guarded.pages = {
        "/feed/1": answer(200, feed("a")),
        "/feed/2": answer(403, b"<title>Just a moment...</title>", cf_mitigated="challenge"),
        "/feed/3": answer(200, feed("c")),
    }
    open_.pages["/feed"] = answer(200, feed("d"))
    seeds = [guarded.url(f"/feed/{number}") for number in (1, 2, 3)] + [open_.url("/feed")]
    first = harvest(tmp_path, seeds, CONFIG)
    assert first == HarvestReport(
        "stopped by the host",
        {guarded.origin: "The host showed a challenge."},
        **{"requests": 5, "bytes": first.bytes, "articles": 2, "waiting": 2, "problems": 0},
        **{"revision": 2, "changed": True},
    )
    assert guarded.paths == ["/robots.txt", "/feed/1", "/feed/2"]
    second = harvest(tmp_path, seeds, CONFIG)
    assert second == replace(first, requests=0, bytes=0)
    assert len(guarded.log) == 3
    # Opened again, it goes on where it was.
    with HarvestDatabase(tmp_path) as db:
        db.execute("UPDATE servers SET closed_until = 0")
        db.execute("UPDATE requests SET due = 0")
    guarded.pages["/feed/2"] = answer(200, feed("b"))
    third = harvest(tmp_path, [], CONFIG)
    assert (third.outcome, third.requests) == ("done", 2)
    assert titles(tmp_path) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_host_that_refuses_three_times_in_a_row_is_left_alone_and_its_pages_wait(
    tmp_path, sites, status
):
    site = sites[0]
    paths = [f"/feed/{number}" for number in range(5)]
    site.pages = {path: answer(status) for path in paths}
    report = harvest(tmp_path, [site.url(path) for path in paths], CONFIG)
    assert report.outcome == "stopped by the host"
    assert report.stopped == {site.origin: "The host answered 401 or 403 3 times in a row."}
    assert site.paths == ["/robots.txt", *paths[:3]]
    assert set(ended(tmp_path, site).values()) == {("waiting", "")}


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_without_a_robots_txt_nothing_is_asked_for(tmp_path, sites, status):
    site = sites[0]
    site.pages = {"/robots.txt": answer(status), "/feed": answer(200, feed("a"))}
    report = harvest(tmp_path, [site.url("/feed")], CONFIG)
    assert site.paths == ["/robots.txt"]
    assert report.stopped == {site.origin: f"robots.txt cannot be had: the host answered {status}."}


def test_a_known_feed_is_asked_for_on_condition_and_not_read_again_when_unchanged(tmp_path, sites):
    site = sites[0]
    stamp = "Mon, 01 Jan 2024 00:00:00 GMT"
    site.pages["/feed"] = in_turn(
        answer(200, feed("a"), etag='"1"', last_modified=stamp), answer(304)
    )
    config = replace(CONFIG, feed_hours=0.0)
    first = harvest(tmp_path, [site.url("/feed")], config)
    second = harvest(tmp_path, [site.url("/feed")], config)
    assert (first.requests, second.requests, second.outcome) == (2, 1, "done")
    assert second.revision == first.revision
    asked = [request.headers for request in site.log if request.path == "/feed"]
    assert [each["If-None-Match"] for each in asked] == [None, '"1"']
    assert [each["If-Modified-Since"] for each in asked] == [None, stamp]
    with HarvestDatabase(tmp_path) as db:
        assert db.execute("SELECT outcome, requests FROM runs ORDER BY id").fetchall() == [
            ("done", 2),
            ("done", 1),
        ]


def test_a_run_ends_when_its_budget_is_spent_and_the_next_goes_on(tmp_path, sites):
    site = sites[0]
    site.pages = {f"/feed/{number}": answer(200, feed(str(number))) for number in range(4)}
    seeds = [site.url(path) for path in site.pages]
    first = harvest(tmp_path, seeds, replace(CONFIG, max_requests=3))
    assert (first.outcome, first.requests, len(site.log)) == ("budget spent", 3, 3)
    second = harvest(tmp_path, seeds, CONFIG)
    assert (second.outcome, second.requests) == ("done", 2)
    assert sorted(site.paths) == sorted([*site.pages, "/robots.txt"])


def test_without_a_budget_nothing_is_asked_for(tmp_path, sites):
    report = harvest(tmp_path, [sites[0].url("/feed")], replace(CONFIG, max_mb=0))
    assert (report.outcome, report.requests, sites[0].log) == ("budget spent", 0, [])


def test_a_wait_longer_than_the_run_ends_it_at_once_and_holds_for_the_next(tmp_path, sites):
    site = sites[0]
    site.pages = {"/feed": answer(429, retry_after="7200")}
    config = replace(CONFIG, attempts=2)
    for requests in (2, 0):
        report = harvest(tmp_path, [site.url("/feed")], config)
        assert (report.outcome, report.requests) == ("budget spent", requests)


def test_other_hosts_are_only_asked_when_the_user_named_them(tmp_path, sites):
    site, secret, here, there = sites[:4]
    link = f"http://127.1:{secret.port}/@a/admin-0123456789ab"
    site.pages["/feed"] = answer(200, feed("a").replace(b"https://medium.com/@a/a", link.encode()))
    here.pages["/feed"] = redirect(there.url("/rss"))
    there.pages["/rss"] = answer(200, feed("b").replace(b"https://medium.com", b"ftp://x"))
    seeds = [site.url("/feed"), here.url("/feed")]
    named = [f"localhost:{there.port}"]
    report = harvest(tmp_path, seeds, replace(CONFIG, consent=True), asked_hosts=named)
    assert (report.outcome, report.requests) == ("done", 6)
    assert (secret.log, there.paths) == ([], ["/robots.txt", "/rss"])
    with HarvestDatabase(tmp_path) as db:
        found = db.execute("SELECT state, reason FROM requests WHERE kind = 'article'").fetchall()
    assert found == [("refused", "The address is on a private network and was not asked for.")]


def test_a_name_that_hides_a_private_address_is_not_resolved_unless_asked_for():
    gate = Gate(lambda name, port: port == 8080)
    assert gate.resolve("localhost", 80) == []
    assert gate.resolve("127.0.0.1", 80) == []
    assert gate.turned_away == {"localhost", "127.0.0.1"}
    assert gate.resolve("127.0.0.1", 8080)[0][4] == ("127.0.0.1", 8080)


def test_a_name_that_has_a_public_address_by_now_is_not_turned_away_any_more(monkeypatch):
    answers = iter(["10.0.0.1", "8.8.8.8", "10.0.0.1", None])

    def resolve(host, port, *_):
        address = next(answers)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr("tagsage.harvest.downloader.socket.getaddrinfo", resolve)
    gate = Gate(lambda name, port: False)
    for expected in ({"a.example"}, set(), {"a.example"}):
        gate.resolve("a.example", 443)
        assert gate.turned_away == expected
    with pytest.raises(socket.gaierror):
        gate.resolve("a.example", 443)
    assert gate.turned_away == set()


@pytest.mark.parametrize(
    ("asked", "name", "port", "expected"),
    [
        ("http://localhost", "localhost", 80, True),
        ("http://localhost", "localhost", 443, False),
        ("https://localhost", "localhost", 443, True),
        ("https://localhost", "localhost", 80, False),
        ("http://localhost:443", "localhost", 443, True),
        ("http://localhost:8080", "localhost", 8080, True),
        ("https://localhost:8080", "localhost", 8080, True),
        ("http://localhost:8080", "localhost", 8081, False),
        ("http://[::1]:8080", "::1", 8080, True),
        ("http://127.0.0.1:8080", "10.0.0.1", 8080, False),
        ("http://lists.corp.example:8080", "lists.corp.example", 8080, True),
        ("http://lists.corp.example:8080", "other.corp.example", 8080, False),
    ],
)
def test_a_server_is_let_in_at_the_very_port_that_was_asked_for(asked, name, port, expected):
    assert is_let_in(name, port, lambda place: place == asked) is expected


def test_what_there_is_is_counted_the_more_rarely_the_longer_that_takes(tmp_path):
    ticks = iter([0.0, 0.01, 0.01, 0.21, 0.21, 0.21])
    with HarvestDatabase(tmp_path) as db:
        teller = Teller(db, CONFIG, 1, clock=lambda: next(ticks))
        seen = []
        for now in (100.0, 100.4, 100.6, 105.0, 110.5, 110.7):
            frontier.add(db, "feed", f"https://medium.com/feed/{now}", now=now)
            seen.append(teller.count(now)[1])
    assert seen == [1, 1, 3, 3, 3, 6]


def test_the_proxy_that_the_environment_names_is_resolved_wherever_it_is(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://user:secret@localhost:3128")
    gate = Gate(lambda name, port: False)
    assert gate.resolve("localhost", 3128)
