"""Kept pages, read again with the parsers of today: nothing is fetched.

What is known of articles that were first heard of since the oldest kept page came is forgotten and
read anew, so a better parser can also take away what a worse one made up; of older articles, whose
first pages are no longer kept, fields are only corrected. Lists are read anew round by round: each
reading whose own page is kept ends as it did, or better where a part can now be read that could
not. What follows from the pages of the last reading is queued for the next harvest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tagsage.harvest import articles, intake, lists, merging, pages
from tagsage.harvest.export import ARTICLES, MEMBERSHIPS
from tagsage.harvest.merging import Reading
from tagsage.harvest.records import ListPage
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.harvest.config import HarvestConfig
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.pages import Fetched

OUTCOME: Final = "replayed"


@dataclass(frozen=True)
class ReplayReport:
    """What reading the kept pages again brought.

    Attributes
    ----------
    pages : int
        Pages that were read.
    changed : int
        Rows of the export that are new, different or gone by it.
    unreadable : int
        Pages that cannot be read, or not whole.
    """

    pages: int
    changed: int
    unreadable: int


@dataclass
class _State:
    """How far the replay is.

    Attributes
    ----------
    left : dict of (str, int) to int
        Pages of each list's readings that are still to be read.
    current : dict of str to int
        The reading of each list whose own page was read, the latest.
    """

    left: dict[tuple[str | None, int], int]
    before: dict[str, _List]
    current: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class _List:
    """A list as it was before the replay."""

    round: int
    settled: int
    state: str
    reason: str
    read_at: float | None


def replay(db: HarvestDatabase, config: HarvestConfig) -> ReplayReport:
    """Read every kept page again, in the order they came: all of it happens, or nothing.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; no other process may be harvesting (:func:`tagsage.harvest.database.alone`).
    config : HarvestConfig
        What a harvest may do.

    Returns
    -------
    ReplayReport
        What it brought.
    """
    with db.transaction():
        now = time.time()
        run_id = db.execute(
            "INSERT INTO runs (started_at, outcome) VALUES (?, ?)", (now, OUTCOME)
        ).lastrowid
        revision = db.execute("SELECT current FROM revision").fetchone()[0]
        count = db.execute("SELECT count(*) FROM pages").fetchone()[0]
        state = _begin(db)
        for request, fetched in track(pages.load(db), "reading kept pages", count):
            _read(
                Reading(db, config, run_id or 0, request, fetched.url, fetched.at), state, fetched
            )
        for list_key, round_ in state.current.items():
            _end_reading(db, run_id or 0, list_key, round_, now)
        _restore(db, state)
        changed = _changed(db)
        for name in ("articles", "memberships", "known"):
            db.execute(f"DROP TABLE temp.{_PREFIX}{name}")
        db.execute("UPDATE revision SET current = ?", (revision + (changed > 0),))
        db.execute("UPDATE runs SET ended_at = ? WHERE id = ?", (time.time(), run_id))
    return ReplayReport(state.pages, changed, state.unreadable)


def _begin(db: HarvestDatabase) -> _State:
    """Note what there is, and forget what the kept pages tell from the beginning."""
    tables = {
        "articles": ARTICLES,
        "memberships": MEMBERSHIPS,
        "known": "SELECT key, state, read_at FROM articles",
    }
    for name, rows in tables.items():
        db.execute(f"CREATE TEMP TABLE {_PREFIX}{name} AS {rows}")
    db.execute("DELETE FROM articles WHERE seen_at >= (SELECT min(fetched_at) FROM pages)")
    db.execute("DELETE FROM aliases WHERE article_key NOT IN (SELECT key FROM articles)")
    left = {(key, round_): count for key, round_, count in db.execute(_PAGES_OF_READINGS)}
    before = {
        key: _List(*rest)
        for key, *rest in db.execute(
            "SELECT key, round, settled, state, reason, read_at FROM lists"
        )
    }
    return _State(left, before)


def _read(reading: Reading, state: _State, fetched: Fetched) -> None:
    db, request = reading.db, reading.request
    page = merging.parse(request, fetched)
    state.pages += 1
    if isinstance(page, ListPage):
        if request.kind == "list":
            _begin_reading(db, state, page.list_id, request.round)
        if state.current.get(page.list_id) != request.round:
            # Its list's page is no longer kept: what was made of that reading stands.
            records = [item.article for item in page.items if item.article is not None]
            articles.merge(db, records, reading.at)
            return
        last = state.before.get(page.list_id)
        reading = replace(reading, asks=last is None or last.round == request.round)
    told = merging.merge(reading, page, fetched)
    if told.taken.ok:
        # One that could not be read before; later attempts may have ended it otherwise.
        db.execute(
            "UPDATE requests SET state = ?, reason = '' WHERE id = ? AND state = 'unreadable'",
            (told.state, request.request_id),
        )
    else:
        state.unreadable += 1
    if request.list_key is not None:
        place = (request.list_key, request.round)
        state.left[place] = state.left.get(place, 1) - 1
        if state.left[place] == 0 and state.current.get(request.list_key) == request.round:
            _end_reading(db, reading.run_id, request.list_key, request.round, reading.at)


def _begin_reading(db: HarvestDatabase, state: _State, list_key: str, round_: int) -> None:
    """Put a list back to where it was before one of its readings, at the first page of that."""
    if state.current.get(list_key, -1) >= round_:
        return
    state.current[list_key] = round_
    for table in ("list_parts", "list_entries"):
        db.execute(
            f"DELETE FROM {table} WHERE list_key = ? AND round = ?",  # ruff: ignore[hardcoded-sql-expression]
            (list_key, round_),
        )
    db.execute(
        "UPDATE lists SET round = ?, settled = ? WHERE key = ?", (round_, round_ - 1, list_key)
    )


def _end_reading(db: HarvestDatabase, run_id: int, list_key: str, round_: int, at: float) -> None:
    if not lists.is_under_way(db, list_key, round_):
        intake.end_reading(db, list_key, round_, at, run_id)


def _restore(db: HarvestDatabase, state: _State) -> None:
    """Put back what no page tells: that a page is gone or unchanged, and when."""
    for list_key, round_ in state.current.items():
        before = state.before.get(list_key)
        if before is None:
            continue
        db.execute(
            "UPDATE lists SET round = max(round, ?), read_at = coalesce(?, read_at) WHERE key = ?",
            (before.round, before.read_at, list_key),
        )
        if before.settled > round_:
            db.execute(
                "UPDATE lists SET settled = ?, state = ?, reason = ? WHERE key = ?",
                (before.settled, before.state, before.reason, list_key),
            )
    db.execute(_RESTORE_GONE)
    db.execute(_RESTORE_READ)
    db.execute("DELETE FROM memberships WHERE article_key NOT IN (SELECT key FROM articles)")


def _changed(db: HarvestDatabase) -> int:
    return int(db.execute(_DIFFERENCES).fetchone()[0])


_PREFIX = "replay_"
_PAGES_OF_READINGS = """
SELECT r.list_key, p.round, count(*) FROM pages p JOIN requests r ON r.id = p.request_id
WHERE r.list_key IS NOT NULL GROUP BY r.list_key, p.round
"""
_RESTORE_GONE = f"""
UPDATE articles SET state = 'gone'
WHERE key IN (SELECT key FROM {_PREFIX}known WHERE state = 'gone')
  AND key IN (SELECT coalesce(s.article_key, r.article_key) FROM requests r
              LEFT JOIN aliases s ON s.alias = r.article_key
              WHERE r.kind = 'article' AND r.state = 'gone')
"""  # ruff: ignore[hardcoded-sql-expression]
_RESTORE_READ = f"""
UPDATE articles SET read_at = k.read_at FROM {_PREFIX}known k
WHERE k.key = articles.key AND k.read_at > articles.read_at
"""  # ruff: ignore[hardcoded-sql-expression]
_DIFFERENCES = f"""
SELECT (SELECT count(*) FROM (SELECT * FROM ({ARTICLES}) EXCEPT SELECT * FROM {_PREFIX}articles))
    + (SELECT count(*) FROM {_PREFIX}articles
       WHERE url NOT IN (SELECT url FROM articles WHERE title != ''))
    + (SELECT count(*) FROM (SELECT * FROM ({MEMBERSHIPS})
                             EXCEPT SELECT * FROM {_PREFIX}memberships))
    + (SELECT count(*) FROM (SELECT * FROM {_PREFIX}memberships
                             EXCEPT SELECT * FROM ({MEMBERSHIPS})))
"""  # ruff: ignore[hardcoded-sql-expression]
