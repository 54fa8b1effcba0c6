"""What a harvest may do, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MEGABYTE = 1_000_000

OUTCOME_DONE = "done"
OUTCOME_BUDGET = "budget spent"
OUTCOME_STOPPED = "stopped by the host"
OUTCOME_INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class HarvestConfig:
    """How to harvest; the settings ``harvest_*`` as this room needs them.

    Attributes
    ----------
    contact : str
        Address of a page (http or https) or of a mailbox: whom a host's owner can ask.
    consent : bool
        Whether pages of lists and articles may be fetched; feeds need none.
    delay_s : float
        Seconds between two requests to one host, at least.
    articles : {"missing", "always", "never"}
        When an article's own page is fetched: missing: when lists and feeds leave a field open.
    attempts : int
        Times that a request fails before it is given up.
    timeout_s : float
        Seconds for one request, from beginning to end.
    max_page_mb : int
        Largest page, in megabytes, compressed and not.
    max_requests, max_minutes, max_mb : int, float, int
        The budget of one run.
    list_days, article_days, feed_hours : float
        Age at which each is fetched again.
    pause_hours : float
        How long a host is left alone that showed a challenge or kept refusing.
    keep_pages_days : float
        How long raw pages are kept for a replay.
    """

    contact: str
    consent: bool = False
    delay_s: float = 10.0
    articles: Literal["missing", "always", "never"] = "missing"
    attempts: int = 6
    timeout_s: float = 60.0
    max_page_mb: int = 10
    max_requests: int = 2000
    max_minutes: float = 60.0
    max_mb: int = 1000
    list_days: float = 7.0
    article_days: float = 90.0
    feed_hours: float = 20.0
    pause_hours: float = 12.0
    keep_pages_days: float = 30.0


@dataclass(frozen=True)
class HarvestReport:
    """How a run of the harvest ended, and what there is now.

    Attributes
    ----------
    outcome : {"done", "budget spent", "stopped by the host", "interrupted"}
        done: nothing is due any more.
    stopped : dict of str to str
        Hosts that are left alone for now, and why.
    requests, bytes : int
        Sent and received in this run.
    lists, articles, memberships : int
        In the harvest now.
    waiting : int
        Requests that are left for the next run.
    problems : int
        Pages and entries set aside in this run, with the reason.
    revision : int
        Grows whenever articles or memberships change.
    changed : bool
        Whether they differ from those last announced.
    """

    outcome: str
    stopped: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    bytes: int = 0
    lists: int = 0
    articles: int = 0
    memberships: int = 0
    waiting: int = 0
    problems: int = 0
    revision: int = 0
    changed: bool = False
