"""The library: what is lacking or old enough to be asked for again, and whether it changed.

An ended request waits again at its kind's age, also when it failed: hosts recover. So do lists and
feeds that are gone, for one answer 404 may have been a mistake; articles that are gone are left
alone. An article's own page is asked for only when it tells something that is lacking, and
again only when it was read before or when the first attempt came to nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tagsage.harvest import problems
from tagsage.harvest.addresses import AddressError
from tagsage.harvest.frontier import add, read_anew, renew
from tagsage.harvest.records import FIELDS
from tagsage.harvest.status import Counts, HarvestStatus, counts, status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tagsage.harvest.config import HarvestConfig
    from tagsage.harvest.database import HarvestDatabase

__all__ = [
    "Counts",
    "HarvestStatus",
    "ask_for_articles",
    "bump",
    "counts",
    "mark_announced",
    "refresh_due",
    "status",
]

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S

_LACKING = " OR ".join(f"a.{name} IS NULL" for name in FIELDS)
_WANTED = (
    "SELECT a.key, a.url FROM articles a WHERE a.state = 'open' AND a.read_at IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.article_key = a.key)"
)
# One that was not known to be another's address when it was asked for, ended as that one.
_ENDED = """
r.ended_at <= :until AND (r.state IN ('failed', 'unreadable', 'refused')
                          OR r.state = 'gone' AND r.kind != 'article'
                          OR r.state = 'done' AND r.status IS NOT NULL)
"""
_OLD_LISTS = f"""
SELECT r.id, r.list_key FROM requests r LEFT JOIN lists l ON l.key = r.list_key
WHERE r.kind = 'list' AND {_ENDED} AND (l.read_at IS NULL OR l.read_at <= :until)
  AND NOT EXISTS (SELECT 1 FROM requests w
                  WHERE w.list_key = r.list_key AND w.state IN ('waiting', 'sent'))
ORDER BY r.state = 'done' DESC, r.ended_at DESC, r.id
"""  # ruff: ignore[hardcoded-sql-expression]
_OLD_FEEDS = f"SELECT r.id FROM requests r WHERE r.kind = 'feed' AND {_ENDED} ORDER BY r.id"  # ruff: ignore[hardcoded-sql-expression]
_OLD_ARTICLES = f"""
SELECT r.id FROM requests r LEFT JOIN aliases s ON s.alias = r.article_key
LEFT JOIN articles a ON a.key = coalesce(s.article_key, r.article_key)
WHERE r.kind = 'article' AND {_ENDED} AND coalesce(a.state, 'open') = 'open'
  AND (r.state = 'done' OR :always OR a.key IS NULL OR {_LACKING}) ORDER BY r.id
"""  # ruff: ignore[hardcoded-sql-expression]


def refresh_due(db: HarvestDatabase, config: HarvestConfig, now: float) -> int:
    """Let wait again what is old enough, and ask for the articles' pages that are lacking.

    A list's reading begins anew with its page (:func:`tagsage.harvest.frontier.read_anew`).

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    config : HarvestConfig
        Ages; without consent only feeds are looked at.
    now : float
        Seconds since 1970.

    Returns
    -------
    int
        How many requests wait that did not before.
    """
    with db.transaction():
        until = now - config.feed_hours * HOUR_S
        due = [row[0] for row in db.execute(_OLD_FEEDS, {"until": until})]
        if config.consent and config.articles != "never":
            values = {
                "until": now - config.article_days * DAY_S,
                "always": config.articles == "always",
            }
            due += [row[0] for row in db.execute(_OLD_ARTICLES, values)]
        for request_id in due:
            renew(db, request_id)
        found = len(due)
        if config.consent:
            found += _begin_readings(db, now - config.list_days * DAY_S)
            found += _ask(db, db.execute(_wanted(config)).fetchall(), config, now, run_id=0)
    return found


def ask_for_articles(
    db: HarvestDatabase, keys: Iterable[str], config: HarvestConfig, now: float, run_id: int
) -> int:
    """Ask for the own pages of some articles, as far as `config` wants them.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; within a transaction.
    keys : iterable of str
        The articles.
    config : HarvestConfig
        Whether pages may be fetched, and of which articles they are wanted.
    now : float
        Seconds since 1970.
    run_id : int
        Which run files what is wrong with their addresses.

    Returns
    -------
    int
        How many requests were added.
    """
    if not config.consent or config.articles == "never":
        return 0
    chosen = f"{_wanted(config)} AND a.key IN (SELECT value FROM json_each(?))"  # ruff: ignore[hardcoded-sql-expression]
    rows = db.execute(chosen, (json.dumps(sorted(set(keys))),)).fetchall()
    return _ask(db, rows, config, now, run_id=run_id)


def bump(db: HarvestDatabase) -> None:
    """Count one more state of what the export would write."""
    db.execute("UPDATE revision SET current = current + 1")


def mark_announced(db: HarvestDatabase, revision: int) -> None:
    """Note that a revision was announced to who reads the corpus."""
    db.execute("UPDATE revision SET announced = max(announced, ?)", (revision,))


def _wanted(config: HarvestConfig) -> str:
    return _WANTED if config.articles == "always" else f"{_WANTED} AND ({_LACKING})"


def _ask(
    db: HarvestDatabase,
    rows: Iterable[tuple[str, str]],
    config: HarvestConfig,
    now: float,
    *,
    run_id: int,
) -> int:
    if config.articles == "never":
        return 0
    added = 0
    for key, url in rows:
        try:
            added += add(db, "article", url, now=now, article_key=key)
        except AddressError as error:
            problems.record(db, run_id, now, url, [f"the article cannot be asked for: {error}"])
    return added


def _begin_readings(db: HarvestDatabase, until: float) -> int:
    begun: set[str] = set()
    rows = db.execute(_OLD_LISTS, {"until": until}).fetchall()
    found = 0
    for request_id, list_key in rows:
        # One list may have several addresses; the one that was read last is asked.
        if list_key is not None and list_key in begun:
            continue
        begun.add(list_key)
        read_anew(db, request_id)
        found += 1
    return found
