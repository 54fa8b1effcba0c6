"""Manners: what is asked for, how often, and what an answer means."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.harvest import manners
from tagsage.harvest.answers import Answer, Verdict
from tagsage.harvest.challenges import is_challenge
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.frontier import Claimed
from tagsage.harvest.hosts import Host
from tagsage.harvest.manners import judge

HOST = "https://medium.com"
NOW = 1_700_000_000.0
CONFIG = HarvestConfig("me@example.com", consent=True)
PAUSE = CONFIG.pause_hours * 3600
PAGE = Claimed(7, "article", HOST, f"{HOST}/p/1", None, None, 0, None, 1, 0, None, None)
GRAPHQL = replace(PAGE, kind="graphql", url=f"{HOST}/_/graphql", list_key="0123456789ab")
ROBOTS = replace(PAGE, kind="robots", url=f"{HOST}/robots.txt")
WELL = Host(HOST)
CHALLENGE = b"<html><title>Just a moment...</title><script>window._cf_chl_opt={}</script></html>"


def verdict_on(answer: Answer, request: Claimed = PAGE, host: Host = WELL, asked=()) -> Verdict:
    return judge(CONFIG, host, request, answer, NOW, gap_s=10.0, asked=lambda at: at in asked)


def answered(status: int, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body)


def failed(reason: str = "The answer was cut off.", *, final: bool = False) -> Answer:
    return Answer(None, {}, failure=reason, is_final=final)


@pytest.mark.parametrize(
    ("answer", "request_", "action", "reason"),
    [
        (answered(200, b"x"), PAGE, "take", ""),
        (answered(304), replace(PAGE, etag='"1"'), "unchanged", ""),
        (answered(404), PAGE, "gone", "The host answered 404."),
        (answered(410), PAGE, "gone", "The host answered 410."),
        (answered(404), GRAPHQL, "failed", "The host answered 404."),
        (answered(401), PAGE, "refused", "The host answered 401."),
        (answered(402), PAGE, "refused", "The host answered 402."),
        (answered(403), PAGE, "refused", "The host answered 403."),
        (answered(451), PAGE, "refused", "The host answered 451."),
        (failed("Too large.", final=True), PAGE, "refused", "Too large."),
    ],
)
def test_an_answer_about_the_page_ends_its_request_and_keeps_the_gap(
    answer, request_, action, reason
):
    verdict = verdict_on(answer, request_)
    refusals = 1 if answer.status in {401, 403} else 0
    assert verdict == Verdict(action, reason, replace(WELL, refusals=refusals), NOW + 10.0)


@pytest.mark.parametrize("status", [204, 206, 304, 100, 999])
def test_an_answer_that_makes_no_sense_is_asked_for_again(status):
    verdict = verdict_on(answered(status))
    assert (verdict.action, verdict.due) == ("again", NOW + 30.0)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599, None])
def test_trouble_of_the_server_makes_all_its_requests_wait(status):
    answer = failed() if status is None else answered(status)
    verdict = verdict_on(answer)
    assert verdict.action == "again"
    assert verdict.host == replace(WELL, failures=1)
    assert [verdict.next_at, verdict.due] == [NOW + 30.0, NOW + 30.0]


def test_the_wait_doubles_with_every_failure_in_a_row_up_to_a_quarter_of_an_hour():
    waits = [manners.backoff(CONFIG, failures) for failures in range(1, 9)]
    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    hasty = replace(CONFIG, delay_s=0.0)
    assert [manners.backoff(hasty, 1), manners.backoff(CONFIG, 10_000)] == [1.0, 900.0]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Tue, 14 Nov 2023 22:14:20", 60.0),
        ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0),
        ("99999999", manners.LONGEST_WAIT_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", manners.LONGEST_WAIT_S),
        *((text, None) for text in ("", "soon", "-1", "1.5", "1e3", "٣", "9" * 40, "Tue, 99 Nov")),
    ],
)
def test_retry_after_is_read_in_both_forms(said, seconds):
    assert manners.retry_after(said, NOW) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_is_a_bounded_wait_or_none(text):
    seconds = manners.retry_after(text, NOW)
    assert seconds is None or 0 <= seconds <= manners.LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("said", "wait"), [("3600", 3600.0), ("1", 10.0), (formatdate(NOW + 90, usegmt=True), 90.0)]
)
def test_what_the_host_asks_for_holds_but_never_less_than_the_gap(said, wait):
    verdict = verdict_on(answered(429, retry_after=said))
    assert verdict.next_at == NOW + wait


@pytest.mark.parametrize(
    "answer",
    [
        *(answered(status, retry_after="60") for status in (200, 403, 404, 500)),
        answered(301, location="/b", retry_after="60"),
        answered(403, cf_mitigated="challenge", retry_after="60"),
    ],
)
def test_retry_after_holds_for_the_host_on_whatever_answer(answer):
    assert verdict_on(answer).next_at - NOW >= 60.0


def test_a_failing_request_is_given_up_when_its_attempts_are_used_up():
    last = replace(PAGE, attempts=CONFIG.attempts)
    verdict = verdict_on(failed(), last)
    assert (verdict.action, verdict.reason) == ("failed", "The answer was cut off.")
    assert not verdict.host.closed_until


def test_a_host_with_ten_failures_in_a_row_is_closed_and_its_request_waits():
    verdict = verdict_on(failed("Silence."), host=replace(WELL, failures=manners.UNREACHABLE - 1))
    assert verdict.action == "again"
    assert verdict.host.closed_until == NOW + PAUSE
    assert verdict.host.closed_why == "The host is not reachable: Silence."
    assert verdict.host.failures == 0
    assert verdict.host.is_server_closed
    rules = verdict_on(failed("Silence."), ROBOTS, replace(WELL, failures=manners.UNREACHABLE - 1))
    assert rules.host.closed_until
    assert not rules.host.is_server_closed


@pytest.mark.parametrize("answer", [answered(200), answered(404), answered(304)])
def test_a_usable_answer_makes_earlier_trouble_forgotten(answer):
    request = replace(PAGE, etag='"1"')
    assert verdict_on(answer, request, replace(WELL, failures=9, refusals=2)).host == WELL


@pytest.mark.parametrize("statuses", [(403, 403, 403), (401, 401, 401), (403, 401, 403)])
def test_three_refusals_in_a_row_close_the_host(statuses):
    host = WELL
    assert len(statuses) == manners.REFUSALS
    for status in statuses:
        assert not host.closed_until
        verdict = verdict_on(answered(status), host=host)
        assert verdict.action == "refused"
        host = verdict.host
        assert verdict.is_forgiving == bool(host.closed_until)
    assert host.closed_until == NOW + PAUSE
    assert host.closed_why == "The host answered 401 or 403 3 times in a row."
    assert host.is_server_closed


@pytest.mark.parametrize(
    "answer",
    [
        answered(403, cf_mitigated="challenge"),
        answered(200, b"<html>an article</html>", cf_mitigated="challenge"),
        answered(429, x_vercel_mitigated="challenge"),
        answered(202, x_amzn_waf_action="challenge"),
        answered(403, CHALLENGE),
        answered(503, CHALLENGE),
        answered(429, CHALLENGE.upper()),
        answered(200, CHALLENGE),
        answered(403, b"<title>Attention Required! | Cloudflare</title>"),
        answered(403, b"<script src='https://ct.captcha-delivery.com/c.js'>"),
        answered(403, b'<div id="px-captcha">'),
        answered(403, b"<iframe src='/_Incapsula_Resource?x'>"),
    ],
)
@pytest.mark.parametrize("request_", [PAGE, ROBOTS, GRAPHQL])
def test_a_challenge_closes_the_host_at_once_and_the_request_waits(answer, request_):
    closed = replace(
        WELL,
        closed_until=NOW + PAUSE,
        closed_why="The host showed a challenge.",
        is_server_closed=True,
    )
    assert verdict_on(answer, request_) == Verdict(
        *("again", "The host showed a challenge.", closed, NOW + 10.0, NOW + 2 * PAUSE),
        is_counted=False,
    )


@pytest.mark.parametrize(
    "answer",
    [
        answered(200, b"<title>How Cloudflare's _cf_chl_opt and h-captcha work</title>"),
        answered(200, b"<title>x</title><script src='/cdn-cgi/challenge-platform/scripts/jsd'>"),
        answered(200, b"<title>Just a moment...</title>window.__APOLLO_STATE__ = {}"),
        answered(404, CHALLENGE),
        answered(500, CHALLENGE),
        answered(503, b'<div id="cf-error-details">The origin server is down</div>'),
        answered(403, b"<html>Forbidden</html>"),
        answered(200, b"", cf_mitigated="none"),
        failed(),
    ],
)
def test_a_page_that_speaks_of_challenges_is_none(answer):
    assert not is_challenge(answer)


@pytest.mark.parametrize(
    ("here", "location", "target"),
    [
        (f"{HOST}/a", "/b", f"{HOST}/b"),
        (f"{HOST}/a/b", "c?d=e#f", f"{HOST}/a/c?d=e"),
        (f"{HOST}/a", "https://MEDIUM.com:443/b", f"{HOST}/b"),
        (f"{HOST}/a", "//medium.com/b", f"{HOST}/b"),
        (f"{HOST}/a", "/caf\xc3\xa9 x", f"{HOST}/caf%C3%A9%20x"),
        ("http://medium.com/a", "https://medium.com/a", f"{HOST}/a"),
        (f"{HOST}/a", "https://asked.example/b", "https://asked.example/b"),
        ("http://localhost:8080/a", "http://127.0.0.1:8080/b", "http://127.0.0.1:8080/b"),
    ],
)
def test_a_redirect_within_the_host_or_to_one_that_was_asked_for_is_followed(
    here, location, target
):
    asked = {"https://asked.example", "http://localhost:8080", "http://127.0.0.1:8080"}
    verdict = verdict_on(answered(302, location=location), replace(PAGE, url=here), asked=asked)
    assert (verdict.action, verdict.target) == ("redirect", target)


@pytest.mark.parametrize(
    ("here", "location", "reason"),
    [
        (f"{HOST}/a", "", "redirects nowhere"),
        (f"{HOST}/a", "https://other.example/a", "https://other.example, which was not asked for"),
        (f"{HOST}/a", "https://medium.com:8443/a", "https://medium.com:8443, which was not"),
        (f"{HOST}/a", "http://medium.com/a", "http://medium.com, which was not asked for"),
        (f"{HOST}/a", "https://medium.com.evil.example/", "evil.example, which was not asked for"),
        (f"{HOST}/a", "https://sub.medium.com/", "sub.medium.com, which was not asked for"),
        (f"{HOST}/a", "https://user@medium.com/", "a user name or a password"),
        (f"{HOST}/a", "http://127.0.0.1:80/admin", "http://127.0.0.1, which was not asked for"),
        (f"{HOST}/a", "http://0x7f.1/admin", "http://127.0.0.1, which was not asked for"),
        (f"{HOST}/a", "http://[::ffff:7f00:1]/", r"\[::ffff:7f00:1\], which was not asked for"),
        (f"{HOST}/a", "file:///etc/passwd", "no http or https address"),
        (f"{HOST}/a", "javascript:alert(1)", "no http or https address"),
        (f"{HOST}/a", "https://[", "redirects to what is not asked"),
        ("http://localhost:1/a", "http://localhost:2/a", "localhost:2, which was not asked for"),
    ],
)
def test_any_other_redirect_is_refused_with_its_reason(here, location, reason):
    verdict = verdict_on(answered(301, location=location), replace(PAGE, url=here))
    assert verdict.action == "refused"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(verdict.reason)


@pytest.mark.parametrize(
    ("location", "consent", "action"),
    [
        ("/feed/@b", False, "redirect"),
        ("/@a/rss", False, "redirect"),
        ("/@a", False, "refused"),
        ("/@a/list/nlp-0123456789ab", False, "refused"),
        ("/feed/../@a", False, "refused"),
        ("/@a", True, "redirect"),
    ],
)
def test_a_feed_is_not_led_to_a_page_without_consent(location, consent, action):
    config = replace(CONFIG, consent=consent)
    request = replace(PAGE, kind="feed", url=f"{HOST}/feed/@a")
    answer = answered(302, location=location)
    verdict = judge(config, WELL, request, answer, NOW, gap_s=10.0, asked=lambda place: False)
    assert verdict.action == action
    if action == "refused":
        assert verdict.reason == "The host redirects a feed to a page, which needs consent."


def test_the_sixth_redirect_is_refused():
    answer = answered(302, location="/b")
    assert verdict_on(answer, replace(PAGE, redirects=4)).action == "redirect"
    verdict = verdict_on(answer, replace(PAGE, redirects=5))
    assert (verdict.action, verdict.reason) == ("refused", "The host redirects more than 5 times.")


def test_a_question_is_only_sent_elsewhere_when_it_stays_one():
    assert verdict_on(answered(308, location="/graphql"), GRAPHQL).action == "redirect"
    assert verdict_on(answered(302, location="/graphql"), GRAPHQL).action == "refused"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (answered(200, b"User-agent: *\nDisallow: /a"), "User-agent: *\nDisallow: /a"),
        (answered(204), ""),
        *((answered(status), "") for status in (400, 402, 404, 405, 410, 451)),
    ],
)
def test_a_robots_txt_that_is_there_or_not_there_gives_the_rules(answer, text):
    verdict = verdict_on(answer, ROBOTS)
    rules = replace(WELL, robots_at=NOW, robots_text=text)
    assert verdict == Verdict("rules", "", rules, NOW + 10.0)


@pytest.mark.parametrize(
    "answer",
    [
        *(answered(status) for status in (401, 403, 408, 429, 500, 503)),
        *(answered(302, location=at) for at in ("https://other.example/robots.txt", "")),
        failed(),
    ],
)
def test_without_a_robots_txt_to_be_had_a_host_is_not_crawled_but_closed_in_the_end(answer):
    verdict = verdict_on(answer, ROBOTS)
    assert verdict.action == "again"
    assert verdict.host.robots_at is None
    verdict = verdict_on(answer, replace(ROBOTS, attempts=CONFIG.attempts))
    assert verdict.action == "failed"
    assert verdict.host.closed_until == NOW + PAUSE
    assert verdict.host.closed_why.startswith("robots.txt cannot be had: ")


def test_rules_that_never_can_be_had_close_the_host_and_a_private_host_is_refused():
    verdict = verdict_on(failed("The page is larger than 1 MB.", final=True), ROBOTS)
    why = "robots.txt cannot be had: the page is larger than 1 MB."
    closed = replace(WELL, closed_until=NOW + PAUSE, closed_why=why)
    assert verdict == Verdict("failed", why, closed, NOW + 10.0)
    private = Answer(None, {}, failure=manners.PRIVATE, is_final=True, is_private=True)
    assert verdict_on(private, ROBOTS) == Verdict("refused", manners.PRIVATE, WELL, NOW + 10.0)


def test_a_robots_txt_that_has_moved_within_the_host_is_followed():
    verdict = verdict_on(answered(301, location="/r.txt"), ROBOTS)
    assert (verdict.action, verdict.target) == ("redirect", f"{HOST}/r.txt")


def test_every_request_says_who_we_are_and_nothing_else():
    for request, accept in [
        (ROBOTS, "text/plain"),
        (PAGE, "text/html"),
        (replace(PAGE, kind="list"), "text/html"),
        (
            replace(PAGE, kind="feed"),
            "application/rss+xml, application/xml;q=0.9, text/xml;q=0.8",
        ),
    ]:
        assert manners.headers("me@example.com", request) == {
            "User-Agent": "tagsage/0.1.0 (+me@example.com)",
            "From": "me@example.com",
            "Accept": accept,
        }
    assert manners.headers("https://example.com/bot", GRAPHQL) == {
        "User-Agent": "tagsage/0.1.0 (+https://example.com/bot)",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }


def test_a_page_that_is_here_is_asked_for_on_condition_that_it_changed():
    known = replace(PAGE, etag='W/"1"', last_modified="Tue, 14 Nov 2023 22:13:20 GMT")
    headers = manners.headers("me@example.com", known)
    assert headers["If-None-Match"] == 'W/"1"'
    assert headers["If-Modified-Since"] == "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("delay", "host", "crawl_delay", "expected"),
    [
        (10.0, HOST, 0.0, 10.0),
        (10.0, HOST, 30.0, 30.0),
        (10.0, HOST, 5.0, 10.0),
        (0.0, HOST, 0.0, 1.0),
        (0.0, "http://localhost:8080", 0.0, 0.0),
        (0.0, "http://127.0.0.1", 2.0, 2.0),
        (10.0, HOST, 1e12, manners.LONGEST_WAIT_S),
    ],
)
def test_the_gap_is_the_longest_of_what_is_set_and_asked_for(delay, host, crawl_delay, expected):
    assert manners.gap(replace(CONFIG, delay_s=delay), host, crawl_delay) == expected


@pytest.mark.parametrize(
    ("hours", "host", "expected"),
    [
        (12.0, HOST, 12 * 3600.0),
        (0.0, HOST, 3600.0),
        (0.001, HOST, 3600.0),
        (0.0, "http://localhost:8080", 0.0),
        (0.001, "http://127.0.0.1", 3.6),
    ],
)
def test_a_host_of_others_is_left_alone_for_an_hour_at_least(hours, host, expected):
    config = replace(CONFIG, pause_hours=hours)
    answer = answered(403, cf_mitigated="challenge")
    verdict = judge(config, Host(host), PAGE, answer, NOW, gap_s=10.0, asked=lambda place: False)
    assert manners.pause(config, host) == expected
    assert verdict.host.closed_until == NOW + expected
    assert verdict.due == NOW + 2 * expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://medium.com/a", ""),
        ("http://localhost:8080/a", ""),
        ("http://localhost:8081/a", "The address is on a private network and was not asked for."),
        ("http://169.254.169.254/latest", "The address is on a private network and was not asked"),
        ("http://2130706433/", "The address is on a private network and was not asked for."),
        ("ftp://medium.com/", "The address is not asked: it is no http or https address."),
    ],
)
def test_a_private_address_is_only_sent_to_when_it_was_asked_for(url, reason):
    why = manners.forbidden(replace(PAGE, url=url), lambda at: at == "http://localhost:8080")
    assert why.startswith(reason)
    assert bool(why) == bool(reason)


def test_an_unreadable_page_is_asked_for_again_until_its_attempts_are_used_up():
    dues = [
        manners.unreadable_due(CONFIG, replace(PAGE, attempts=attempts), NOW)
        for attempts in (1, 2, CONFIG.attempts)
    ]
    assert dues == [NOW + 30.0, NOW + 60.0, None]
