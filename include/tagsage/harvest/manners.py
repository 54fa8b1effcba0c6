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
from dataclasses import dataclass, replace
from functools import cached_property
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
from tagsage.harvest.answers import Action, Answer, Verdict
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
    case = _Case(config, host, request, answer, now, gap_s, asked)
    verdict = _judge(case)
    # Whatever the answer is, a host that says when to come back means it.
    if case.said_s is None:
        return verdict
    return replace(verdict, next_at=max(verdict.next_at, now + case.said_s))


@dataclass(frozen=True)
class _Case:
    """An answer with all that its meaning depends on; see :func:`judge`."""

    config: HarvestConfig
    host: Host
    request: Claimed
    answer: Answer
    now: float
    gap_s: float
    asked: Callable[[str], bool]

    @cached_property
    def said_s(self) -> float | None:
        """How long the host asks to wait, in seconds."""
        return retry_after(self.answer.headers.get("retry-after", ""), self.now)

    @property
    def next_at(self) -> float:
        return self.now + self.gap_s

    @property
    def well(self) -> Host:
        return replace(self.host, refusals=0, failures=0)

    @property
    def told(self) -> str:
        """What came, as a reason."""
        reason = self.answer.failure or f"The host answered {self.answer.status}."
        if self.request.kind != "robots":
            return reason
        return f"robots.txt cannot be had: {reason[0].lower()}{reason[1:]}"

    def closed(self, why: str, *, is_server: bool) -> Host:
        """Leave the host alone, under all names of its server or under this one only."""
        return replace(
            self.well,
            closed_until=self.now + pause(self.config, self.host.host),
            closed_why=why,
            is_server_closed=is_server,
        )

    def refused(self, reason: str) -> Verdict:
        """Never ask for it again; the host itself is well."""
        return Verdict("refused", reason, self.well, self.next_at)


def _judge(case: _Case) -> Verdict:
    answer = case.answer
    if is_challenge(answer):
        return _challenged(case)
    if answer.status is None and answer.is_final:
        return _final(case)
    if answer.status is None or answer.status in _NOT_NOW:
        return _not_now(case)
    if case.request.kind == "robots":
        return _robots(case)
    if answer.status in _NOT_YOU:
        return _forbidden_by_host(case)
    return _page(case)


def _page(case: _Case) -> Verdict:
    request, status = case.request, case.answer.status
    if status == 200:
        return Verdict("take", "", case.well, case.next_at)
    if status == 304 and (request.etag or request.last_modified):
        return Verdict("unchanged", "", case.well, case.next_at)
    if status in {404, 410}:
        # Without the endpoint the list itself was there a moment ago.
        action: Action = "failed" if request.kind == "graphql" else "gone"
        return Verdict(action, case.told, case.well, case.next_at)
    if status in _REDIRECTS:
        return _redirected(case)
    if status is not None and 400 <= status < 500:
        return case.refused(case.told)
    return _again(case, case.well, case.next_at)


def _redirected(case: _Case) -> Verdict:
    """Follow a redirect within the host, or to one the user named; no page may send us elsewhere.

    From http to https of one name is within the host, the other way is not. What is asked for as a
    feed stays one, by its name, unless pages may be asked for as well.
    """
    request, answer = case.request, case.answer
    # Bytes that are no ASCII are meant as they are, in UTF-8 mostly; browsers escape them too.
    said = quote(answer.headers.get("location", "").strip().encode("latin-1", "replace"), safe=_URI)
    if not said:
        return case.refused("The host redirects nowhere.")
    try:
        target = canonical(urljoin(request.url, said))
        place = origin(target)
    except ValueError as error:
        return case.refused(f"The host redirects to what is not asked: {error}.")
    here = origin(request.url)
    within = place == here or (place in siblings(here) and place.startswith("https:"))
    if not (within or (case.asked(place) and request.kind != "robots")):
        return case.refused(f"The host redirects to {place}, which was not asked for.")
    if request.kind == "feed" and not case.config.consent and kind_of(target) != "feed":
        return case.refused("The host redirects a feed to a page, which needs consent.")
    if request.kind == "graphql" and answer.status not in _METHOD_KEPT:
        return case.refused("The host redirects a question elsewhere.")
    if request.redirects >= MAX_REDIRECTS:
        return case.refused(f"The host redirects more than {MAX_REDIRECTS} times.")
    return Verdict("redirect", "", case.well, case.next_at, target=target)


def _final(case: _Case) -> Verdict:
    """Refuse what would fail in the same way each time; rules that cannot be had close the host.

    The host did answer, so this is no trouble of its own; or it may not be asked for anything.
    """
    if case.request.kind != "robots" or case.answer.is_private:
        return case.refused(case.answer.failure)
    return Verdict("failed", case.told, case.closed(case.told, is_server=False), case.next_at)


def _robots(case: _Case) -> Verdict:
    """Read the rules, or find that there are none, or that they cannot be had (RFC 9309, 2.3.1).

    Unlike the RFC (2.3.1.3) we do not take 401 and 403 for "no rules": who refuses to tell them
    is not asked for anything else.
    """
    status = case.answer.status or 0
    if 200 <= status < 300:
        rules = replace(case.well, robots_at=case.now, robots_text=text_of(case.answer.body))
        return Verdict("rules", "", rules, case.next_at)
    if status in _REDIRECTS:
        verdict = _redirected(case)
        if verdict.action == "redirect":
            return verdict
    elif 400 <= status < 500 and status not in _NOT_YOU:
        none = replace(case.well, robots_at=case.now, robots_text="")
        return Verdict("rules", "", none, case.next_at)
    return _again(case, case.host, case.next_at)


def _not_now(case: _Case) -> Verdict:
    """Let a host recover that is overloaded, broken or away: as long as it says, or ever longer.

    Everything waits, not only this request, for the trouble is the server's.
    """
    failures = case.host.failures + 1
    # What it asks for holds, but never less than the gap.
    wait = case.said_s if case.said_s is not None else backoff(case.config, failures)
    host = replace(case.host, failures=failures)
    if failures >= UNREACHABLE:
        why = f"The host is not reachable: {case.told}"
        # http may be off where https is on; that is met first when rules are asked for.
        host = case.closed(why, is_server=case.request.kind != "robots")
    return _again(case, host, case.now + max(wait, case.gap_s))


def _again(case: _Case, host: Host, next_at: float) -> Verdict:
    """Try again later, unless that has been done often enough.

    A host without rules to be had is closed then: what is not known to be allowed is not done.
    """
    request = case.request
    due = max(case.now + backoff(case.config, request.attempts), next_at)
    if request.attempts < case.config.attempts:
        return Verdict("again", case.told, host, next_at, due)
    if request.kind == "robots":
        host = case.closed(case.told, is_server=False)
    return Verdict("failed", case.told, host, next_at)


def _challenged(case: _Case) -> Verdict:
    """Leave a host alone at once that asks for a human; the request waits for better days.

    Under all its names, even if it was robots.txt that it guarded: a challenge is the server's.
    The request waits twice as long as the host, so that a single page that is always guarded does
    not keep us from the others when the host is asked again. It is not the page's failure: no
    attempt is counted.
    """
    reason = "The host showed a challenge."
    host = case.closed(reason, is_server=True)
    due = case.now + 2 * pause(case.config, case.host.host)
    return Verdict("again", reason, host, case.next_at, due, is_counted=False)


def _forbidden_by_host(case: _Case) -> Verdict:
    """Take a refusal for an answer; leave a host alone that refuses three times in a row."""
    host = replace(case.host, refusals=case.host.refusals + 1, failures=0)
    is_about_us = host.refusals >= REFUSALS
    if is_about_us:
        why = f"The host answered 401 or 403 {REFUSALS} times in a row."
        host = case.closed(why, is_server=True)
    return Verdict("refused", case.told, host, case.next_at, is_forgiving=is_about_us)


def unreadable_due(config: HarvestConfig, request: Claimed, now: float) -> float | None:
    """Return when to ask again for a page that could not be read; None: often enough.

    The host itself is well, so only this page waits.
    """
    if request.attempts >= config.attempts:
        return None
    return now + backoff(config, request.attempts)
