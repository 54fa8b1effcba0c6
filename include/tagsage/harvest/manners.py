"""How hosts are treated: every rule of the harvest, with its reason.

This module is what the owner of a host may be shown. It only decides; :mod:`tagsage.harvest.loop`
carries out what it says, and whatever must outlast a restart is kept in the database.

In short: we say who we are and never change or hide it; we ask for what robots.txt allows, one
request at a time, ten seconds apart unless the host wants longer; we wait when the host says so or
is not well; and when it shows that it does not want us, by a challenge or by refusing again and
again, we leave it alone. None of this is ever worked around.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Final
from urllib.parse import quote, urljoin

from tagsage.harvest.addresses import (
    AddressError,
    canonical,
    is_mail,
    is_private,
    kind_of,
    origin,
    siblings,
    split,
)
from tagsage.harvest.answers import Answer, Verdict
from tagsage.harvest.challenges import is_challenge
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.frontier import Claimed
from tagsage.harvest.hosts import Host
from tagsage.harvest.robots import text_of
from tagsage.http_dates import seconds_until

# Hosts that are not on this machine or its own network are never asked more often than this,
# whatever the settings say: a mistake there must not become somebody else's trouble.
LEAST_GAP_S: Final = 1.0
# Nor are they asked again sooner than this after they showed that they do not want us.
LEAST_PAUSE_S: Final = 3600.0
# After trouble a host gets longer to recover each time; a quarter of an hour at most, for then
# either the attempts or the patience with the host (UNREACHABLE) are used up soon.
LONGEST_BACKOFF_S: Final = 900.0
# Some hosts ask for years. What was meant for ever is asked again after a week.
LONGEST_WAIT_S: Final = 7 * 24 * 3600.0
# Longer chains lead nowhere; browsers give up at 20.
MAX_REDIRECTS: Final = 5
# One refusal is about a page; three in a row are about us.
REFUSALS: Final = 3
# So many failures in a row, without any usable answer, and the host is not there at all.
UNREACHABLE: Final = 10

PRIVATE: Final = "The address is on a private network and was not asked for."

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_METHOD_KEPT: Final = frozenset({307, 308})
# Answers that say "not now": of the server, not of the page.
_NOT_NOW: Final = frozenset({408, 425, 429, *range(500, 600)})
# Answers that say "not you". 451 is about a page.
_NOT_YOU: Final = frozenset({401, 403})
_URI: Final = "/%:@!$&'()*+,;=~-._?[]#"


def user_agent(contact: str) -> str:
    """Return who we say we are, to every host and at all times: program, version, contact."""
    return f"tagsage/{version('tagsage')} (+{contact})"


def headers(contact: str, claimed: Claimed) -> dict[str, str]:
    """Return the headers of a request.

    A mail address goes to ``From`` as well, which is made for it (RFC 9110, 10.1.2). A page that
    is here already is asked for on the condition that it has changed, which costs the host next
    to nothing. No cookies, no referrer, no pretence of being a browser.
    """
    found = {"User-Agent": user_agent(contact)}
    if is_mail(contact):
        found["From"] = contact
    if claimed.kind == "graphql":
        found |= {"Accept": "application/json", "Content-Type": "application/json"}
    elif claimed.kind == "feed":
        found["Accept"] = "application/rss+xml, application/xml;q=0.9, text/xml;q=0.8"
    elif claimed.kind == "robots":
        found["Accept"] = "text/plain"
    else:
        found["Accept"] = "text/html"
    if claimed.etag:
        found["If-None-Match"] = claimed.etag
    if claimed.last_modified:
        found["If-Modified-Since"] = claimed.last_modified
    return found


def gap(config: HarvestConfig, host: str, crawl_delay_s: float) -> float:
    """Return the seconds between the end of a request and the next one to the same host.

    The longest of the setting, what robots.txt asks for, and, for hosts of others, one second.
    """
    least = 0.0 if is_private(split(host)[1]) else LEAST_GAP_S
    return min(max(config.delay_s, crawl_delay_s, least), LONGEST_WAIT_S)


def pause(config: HarvestConfig, host: str) -> float:
    """Return for how many seconds a host is left alone that showed a challenge or kept refusing.

    As it is set; hosts of others for an hour at least.
    """
    least = 0.0 if is_private(split(host)[1]) else LEAST_PAUSE_S
    return max(config.pause_hours * 3600, least)


def forbidden(claimed: Claimed, asked: Callable[[str], bool]) -> str:
    """Return why a request must not be sent, whatever its host allows; empty when it may be.

    A page may name any address. Those of the machine we run on, or of its network, are not for
    pages to name: only the user may, by asking for that very host and port.
    """
    try:
        name = split(claimed.url)[1]
    except AddressError as error:
        return f"The address is not asked: {error}."
    if is_private(name) and not asked(origin(claimed.url)):
        return PRIVATE
    return ""


def retry_after(text: str, now: float) -> float | None:
    """Return how many seconds a host asks to wait; None when it does not say.

    Seconds or an HTTP date (RFC 9110, 10.2.3); a date that has passed asks for nothing.

    Examples
    --------
    >>> retry_after("120", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 30.0)
    (120.0, 30.0)
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return min(float(text), LONGEST_WAIT_S)
    seconds = seconds_until(text, now)
    return None if seconds is None else min(seconds, LONGEST_WAIT_S)


def backoff(config: HarvestConfig, failures: int) -> float:
    """Return how long to wait after so many failures in a row: doubled with each, to a limit."""
    first = max(3 * config.delay_s, 1.0)
    return min(first * 2.0 ** min(failures - 1, 20), max(LONGEST_BACKOFF_S, config.delay_s))


def judge(
    config: HarvestConfig,
    host: Host,
    request: Claimed,
    answer: Answer,
    now: float,
    *,
    gap_s: float,
    asked: Callable[[str], bool],
) -> Verdict:
    """Decide what an answer means.

    Parameters
    ----------
    config : HarvestConfig
        Attempts, delay and pauses.
    host : Host
        What is remembered of the host.
    request : Claimed
        What was asked for, this attempt counted.
    answer : Answer
        What came.
    now : float
        When it had come, seconds since 1970.
    gap_s : float
        The time between two requests, from :func:`gap`.
    asked : callable
        Tells whether the user named an origin.
    """
    verdict = _judge(config, host, request, answer, now, gap_s, asked)
    # Whatever the answer is, a host that says when to come back means it.
    said = retry_after(answer.headers.get("retry-after", ""), now)
    return verdict if said is None else replace(verdict, next_at=max(verdict.next_at, now + said))


def _judge(
    config: HarvestConfig,
    host: Host,
    request: Claimed,
    answer: Answer,
    now: float,
    gap_s: float,
    asked: Callable[[str], bool],
) -> Verdict:
    if is_challenge(answer):
        return _challenged(config, host, now, gap_s)
    if answer.status is None and answer.is_final:
        return _final(config, host, request, answer, now, gap_s)
    if answer.status is None or answer.status in _NOT_NOW:
        return _not_now(config, host, request, answer, now, gap_s)
    if request.kind == "robots":
        return _robots(config, host, request, answer, now, gap_s, asked)
    if answer.status in _NOT_YOU:
        return _forbidden_by_host(config, host, answer.status, now, gap_s)
    return _page(config, host, request, answer, now, gap_s, asked)


def _page(
    config: HarvestConfig,
    host: Host,
    request: Claimed,
    answer: Answer,
    now: float,
    gap_s: float,
    asked: Callable[[str], bool],
) -> Verdict:
    well = _well(host)
    next_at = now + gap_s
    if answer.status == 200:
        return Verdict("take", "", well, next_at)
    if answer.status == 304 and (request.etag or request.last_modified):
        return Verdict("unchanged", "", well, next_at)
    if answer.status in {404, 410}:
        if request.kind == "graphql":
            # The endpoint is missing; the list itself was there a moment ago.
            return Verdict("failed", f"The host answered {answer.status}.", well, next_at)
        return Verdict("gone", f"The host answered {answer.status}.", well, next_at)
    if answer.status in _REDIRECTS:
        return _redirected(config, request, answer, well, next_at, asked)
    reason = f"The host answered {answer.status}."
    if answer.status is not None and 400 <= answer.status < 500:
        return Verdict("refused", reason, well, next_at)
    return _again(config, well, request, reason, now, next_at)


def _redirected(
    config: HarvestConfig,
    request: Claimed,
    answer: Answer,
    host: Host,
    next_at: float,
    asked: Callable[[str], bool],
) -> Verdict:
    """Follow a redirect within the host, or to one the user named; no page may send us elsewhere.

    From http to https of one name is within the host, the other way is not. What is asked for as a
    feed stays one, by its name, unless pages may be asked for as well.
    """
    # Bytes that are no ASCII are meant as they are, in UTF-8 mostly; browsers escape them too.
    said = quote(answer.headers.get("location", "").strip().encode("latin-1", "replace"), safe=_URI)
    if not said:
        return Verdict("refused", "The host redirects nowhere.", host, next_at)
    try:
        target = canonical(urljoin(request.url, said))
        place = origin(target)
    except ValueError as error:
        reason = f"The host redirects to what is not asked: {error}."
        return Verdict("refused", reason, host, next_at)
    here = origin(request.url)
    within = place == here or (place in siblings(here) and place.startswith("https:"))
    if not (within or (asked(place) and request.kind != "robots")):
        return Verdict(
            "refused", f"The host redirects to {place}, which was not asked for.", host, next_at
        )
    if request.kind == "feed" and not config.consent and kind_of(target) != "feed":
        reason = "The host redirects a feed to a page, which needs consent."
        return Verdict("refused", reason, host, next_at)
    if request.kind == "graphql" and answer.status not in _METHOD_KEPT:
        return Verdict("refused", "The host redirects a question elsewhere.", host, next_at)
    if request.redirects >= MAX_REDIRECTS:
        reason = f"The host redirects more than {MAX_REDIRECTS} times."
        return Verdict("refused", reason, host, next_at)
    return Verdict("redirect", "", host, next_at, target=target)


def _final(
    config: HarvestConfig, host: Host, request: Claimed, answer: Answer, now: float, gap_s: float
) -> Verdict:
    """Refuse what would fail in the same way each time; rules that cannot be had close the host.

    The host did answer, so this is no trouble of its own; or it may not be asked for anything.
    """
    if request.kind != "robots" or answer.is_private:
        return Verdict("refused", answer.failure, _well(host), now + gap_s)
    reason = _of_rules(answer.failure)
    closed = _closed(config, host, now, reason, is_server=False)
    return Verdict("failed", reason, closed, now + gap_s)


def _of_rules(reason: str) -> str:
    return f"robots.txt cannot be had: {reason[0].lower()}{reason[1:]}"


def _robots(
    config: HarvestConfig,
    host: Host,
    request: Claimed,
    answer: Answer,
    now: float,
    gap_s: float,
    asked: Callable[[str], bool],
) -> Verdict:
    """Read the rules, or find that there are none, or that they cannot be had (RFC 9309, 2.3.1).

    Unlike the RFC (2.3.1.3) we do not take 401 and 403 for "no rules": who refuses to tell them
    is not asked for anything else.
    """
    well = _well(host)
    next_at = now + gap_s
    status = answer.status or 0
    if 200 <= status < 300:
        rules = replace(well, robots_at=now, robots_text=text_of(answer.body))
        return Verdict("rules", "", rules, next_at)
    if status in _REDIRECTS:
        verdict = _redirected(config, request, answer, well, next_at, asked)
        if verdict.action == "redirect":
            return verdict
    elif 400 <= status < 500 and status not in {401, 403}:
        return Verdict("rules", "", replace(well, robots_at=now, robots_text=""), next_at)
    reason = _of_rules(f"The host answered {status}.")
    return _again(config, host, request, reason, now, next_at)


def _not_now(
    config: HarvestConfig, host: Host, request: Claimed, answer: Answer, now: float, gap_s: float
) -> Verdict:
    """Let a host recover that is overloaded, broken or away: as long as it says, or ever longer.

    Everything waits, not only this request, for the trouble is the server's.
    """
    failures = host.failures + 1
    said = retry_after(answer.headers.get("retry-after", ""), now)
    # What it asks for holds, but never less than the gap.
    wait = max(said if said is not None else backoff(config, failures), gap_s)
    reason = answer.failure or f"The host answered {answer.status}."
    if request.kind == "robots":
        reason = _of_rules(reason)
    host = replace(host, failures=failures)
    if failures >= UNREACHABLE:
        why = f"The host is not reachable: {reason}"
        # http may be off where https is on; that is met first when rules are asked for.
        host = _closed(config, host, now, why, is_server=request.kind != "robots")
    return _again(config, host, request, reason, now, now + wait)


def _again(
    config: HarvestConfig, host: Host, request: Claimed, reason: str, now: float, next_at: float
) -> Verdict:
    """Try again later, unless that has been done often enough.

    A host without rules to be had is closed then: what is not known to be allowed is not done.
    """
    due = max(now + backoff(config, request.attempts), next_at)
    if request.attempts < config.attempts:
        return Verdict("again", reason, host, next_at, due)
    if request.kind == "robots":
        host = _closed(config, host, now, reason, is_server=False)
    return Verdict("failed", reason, host, next_at)


def unreadable_due(config: HarvestConfig, request: Claimed, now: float) -> float | None:
    """Return when to ask again for a page that could not be read; None: often enough.

    The host itself is well, so only this page waits.
    """
    if request.attempts >= config.attempts:
        return None
    return now + backoff(config, request.attempts)


def _challenged(config: HarvestConfig, host: Host, now: float, gap_s: float) -> Verdict:
    """Leave a host alone at once that asks for a human; the request waits for better days.

    Under all its names, even if it was robots.txt that it guarded: a challenge is the server's.
    The request waits twice as long as the host, so that a single page that is always guarded does
    not keep us from the others when the host is asked again. It is not the page's failure: no
    attempt is counted.
    """
    reason = "The host showed a challenge."
    host = _closed(config, host, now, reason, is_server=True)
    due = now + 2 * pause(config, host.host)
    return Verdict("again", reason, host, now + gap_s, due, is_counted=False)


def _forbidden_by_host(
    config: HarvestConfig, host: Host, status: int, now: float, gap_s: float
) -> Verdict:
    """Take a refusal for an answer; leave a host alone that refuses three times in a row."""
    host = replace(host, refusals=host.refusals + 1, failures=0)
    is_about_us = host.refusals >= REFUSALS
    if is_about_us:
        why = f"The host answered 401 or 403 {REFUSALS} times in a row."
        host = _closed(config, host, now, why, is_server=True)
    return Verdict(
        "refused", f"The host answered {status}.", host, now + gap_s, is_forgiving=is_about_us
    )


def _well(host: Host) -> Host:
    return replace(host, refusals=0, failures=0)


def _closed(config: HarvestConfig, host: Host, now: float, why: str, *, is_server: bool) -> Host:
    """Leave a host alone, under all names of its server or under this one only."""
    return replace(
        host,
        refusals=0,
        failures=0,
        closed_until=now + pause(config, host.host),
        closed_why=why,
        is_server_closed=is_server,
    )
