"""What a harvest holds, what is left to fetch, what is wrong: counts for people and reports."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagsage.harvest.lists import SHOWN

if TYPE_CHECKING:
    from tagsage.harvest.database import HarvestDatabase

PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Counts:
    """What there is.

    Attributes
    ----------
    lists : int
        Lists that were read and are still shown by their hosts.
    articles, memberships : int
        All that are known; memberships of lists that are still shown.
    problems : int
        Pages and entries that one run set aside.
    waiting : int
        Requests for lists, feeds and articles that wait or are under way.
    revision, announced : int
        How often what the export would write has changed, and up to which it was announced.
    """

    lists: int
    articles: int
    memberships: int
    problems: int
    waiting: int
    revision: int
    announced: int


@dataclass(frozen=True)
class HarvestStatus:
    """What a harvest holds, for a person.

    Attributes
    ----------
    counts : dict of str to int
        How many there are of what, in words.
    closed : list of (str, float, str)
        Hosts that are left alone, until when (seconds since 1970), and why.
    ailing : list of (str, float, str)
        Hosts that gave no usable answer the last time, when they are asked again, and why.
    problems : list of (str, int, str)
        What is wrong, how often, and the address of one; the most frequent first, 20 at most.
    revision, announced : int
        See :class:`Counts`.
    """

    counts: dict[str, int]
    closed: list[tuple[str, float, str]]
    ailing: list[tuple[str, float, str]]
    problems: list[tuple[str, int, str]]
    revision: int
    announced: int


def counts(db: HarvestDatabase, run_id: int = 0) -> Counts:
    """Count what there is; `run_id` is the run whose problems count."""
    with db.snapshot():
        return Counts(*db.execute(_COUNTS, (run_id,)).fetchone())


def status(db: HarvestDatabase, now: float | None = None) -> HarvestStatus:
    """Tell what there is.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; another process may be writing to it.
    now : float, optional
        Seconds since 1970; the present by default.

    Returns
    -------
    HarvestStatus
        All of it as of one moment.
    """
    now = time.time() if now is None else now
    with db.snapshot():
        lists = dict(db.execute("SELECT state, count(*) FROM lists GROUP BY state").fetchall())
        articles, tagged, gone = db.execute(_ARTICLES).fetchone()
        requests = dict(
            db.execute(
                "SELECT state, count(*) FROM requests WHERE kind != 'robots' GROUP BY state"
            ).fetchall()
        )
        memberships, deleted, pages, revision, announced = db.execute(_REST).fetchone()
        shut = closed(db, now)
        names = {host for host, _, _ in shut}
        ill = [each for each in ailing(db) if each[0] not in names]
        problems = db.execute(_PROBLEMS, (PROBLEMS_SHOWN,)).fetchall()
    found = {"lists": sum(lists.values())}
    found |= {f"lists {name}": n for name in _LIST_STATES if (n := lists.get(name, 0))}
    found |= {
        "articles": articles,
        "articles with tags": tagged,
        "articles without tags": articles - tagged,
        "articles gone": gone,
        "memberships": memberships,
        "entries whose post was deleted": deleted,
        "requests waiting": requests.get("waiting", 0) + requests.get("sent", 0),
    }
    found |= {f"requests {name}": requests.get(name, 0) for name in _ENDED_STATES}
    found["pages kept"] = pages
    return HarvestStatus(found, shut, ill, problems, revision, announced)


def closed(db: HarvestDatabase, now: float) -> list[tuple[str, float, str]]:
    """Return the hosts that are left alone, until when, and why."""
    return db.execute(_CLOSED, (now,)).fetchall()


def ailing(db: HarvestDatabase) -> list[tuple[str, float, str]]:
    """Return the hosts that gave no usable answer the last time, when to ask again, and why."""
    return db.execute(_AILING).fetchall()


_CLOSED = """
SELECT h.host, max(h.closed_until, s.closed_until),
    CASE WHEN s.closed_until >= h.closed_until THEN s.closed_why ELSE h.closed_why END
FROM hosts h JOIN servers s USING (server)
WHERE max(h.closed_until, s.closed_until) > ? ORDER BY h.host
"""
_AILING = """
SELECT r.host, min(max(r.due, s.next_at)), r.reason
FROM servers s JOIN hosts h USING (server) JOIN requests r USING (host)
WHERE s.failures > 0 AND r.state = 'waiting' AND r.reason != '' GROUP BY r.host ORDER BY r.host
"""
_LIST_STATES = ("new", "incomplete", "private", "gone")
_ENDED_STATES = ("done", "gone", "refused", "failed", "unreadable")
_MEMBERSHIPS = f"""
(SELECT count(*) FROM memberships) - (SELECT count(*) FROM memberships
 WHERE list_key IN (SELECT key FROM lists WHERE NOT ({SHOWN})))
"""  # ruff: ignore[hardcoded-sql-expression]
_COUNTS = f"""
SELECT (SELECT count(*) FROM lists WHERE state IN ('open', 'incomplete')),
    (SELECT count(*) FROM articles), {_MEMBERSHIPS},
    (SELECT count(*) FROM problems WHERE run_id = ?),
    (SELECT count(*) FROM requests WHERE state IN ('waiting', 'sent') AND kind != 'robots'),
    current, announced
FROM revision
"""  # ruff: ignore[hardcoded-sql-expression]
_ARTICLES = """
SELECT count(*), coalesce(sum(tags IS NOT NULL AND tags != '[]'), 0),
    coalesce(sum(state = 'gone'), 0) FROM articles
"""
_REST = f"""
SELECT {_MEMBERSHIPS}, (SELECT coalesce(sum(deleted), 0) FROM lists WHERE {SHOWN}),
    (SELECT count(*) FROM pages), current, announced
FROM revision
"""  # ruff: ignore[hardcoded-sql-expression]
_PROBLEMS = """
SELECT reason, count(*) AS times, min(url) FROM problems GROUP BY reason
ORDER BY times DESC, reason LIMIT ?
"""
