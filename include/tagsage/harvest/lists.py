"""Lists, read part by part: when no part is asked for any more, the entries become memberships.

A reading is *whole* when its parts make an unbroken chain from the list's page to a part without a
successor, no entry was unreadable, all parts tell the same size, and about as many entries came
(those of deleted posts count). Then its entries replace the
memberships: the list grew or shrank. Otherwise the list is *incomplete*: what came is added, and
nothing is taken away, for a missing entry may have been in a missing part, or have slipped from one
part to another while the list was changed. The next reading may be whole.

A list that became private or is gone keeps the memberships of its last reading, but they are no
part of the export: its owner does not show it any more. Should it come back, so do they. An entry
whose post was deleted stays in the list when it was known before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tagsage.harvest.frontier import end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.records import ListPage

# Of 20 entries each: four times the longest list that the study saw.
MAX_PARTS: Final = 500
# The list's own page among its parts.
OWN_PAGE: Final = ""
# A list that is not shown by its host is not exported.
# How many entries fewer than the host counts may come: it may count some that it does not show.
FEWER: Final = 2
FEWER_SHARE: Final = 0.2
SHOWN: Final = "state NOT IN ('private', 'gone')"


@dataclass(frozen=True)
class Settled:
    """What became of a list when its reading came to an end.

    Attributes
    ----------
    memberships, lists : int
        How many there are more (or, below 0, fewer) in the export.
    changed : bool
        Whether the export differs by it.
    reason : str
        Why the list is incomplete; empty: it is not.
    url : str
        The list's.
    """

    memberships: int
    lists: int
    changed: bool
    reason: str
    url: str


@dataclass(frozen=True)
class _Part:
    next_cursor: str | None
    size: int | None
    damaged: int


def add_part(
    db: HarvestDatabase,
    page: ListPage,
    *,
    cursor: str,
    round: int,  # ruff: ignore[builtin-argument-shadowing]
    url: str,
    keys: Sequence[str | None],
) -> bool:
    """Add a part to the reading under way; a part that came before is replaced.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; within a transaction.
    page : ListPage
        The part.
    cursor : str
        What it was asked for with; :data:`OWN_PAGE` for the list's page.
    round : int
        Which reading it is of.
    url : str
        The list's address, when this is its page.
    keys : sequence of (str or None)
        The articles' keys, one an item of `page`; None for what is no post.

    Returns
    -------
    bool
        False: that reading is over, nothing was added.
    """
    known = db.execute("SELECT round, settled FROM lists WHERE key = ?", (page.list_id,)).fetchone()
    if known is not None and (round <= known[1] or round < known[0]):
        return False
    db.execute(
        "INSERT INTO lists (key, url, name, owner, size, round) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (key) DO UPDATE SET name = coalesce(excluded.name, name), "
        "owner = coalesce(excluded.owner, owner), size = coalesce(excluded.size, size), "
        "round = excluded.round",
        (page.list_id, url, page.name, page.owner, page.size, round),
    )
    db.execute(
        "INSERT OR REPLACE INTO list_parts VALUES (?, ?, ?, ?, ?, ?)",
        (page.list_id, round, cursor, page.next_cursor, page.size, page.lost),
    )
    known_as = dict(
        db.execute(
            "SELECT item_id, article_key FROM list_entries WHERE list_key = ? AND round = ? "
            "AND article_key IS NOT NULL",
            (page.list_id, round),
        ).fetchall()
    )
    for item, key in zip(page.items, keys, strict=True):
        # Hosts may use one id for two entries, of different parts.
        is_taken = key is not None and known_as.get(item.item_id, key) != key
        item_id = f"{item.item_id} {key}" if is_taken else item.item_id
        db.execute(
            "INSERT OR REPLACE INTO list_entries VALUES (?, ?, ?, ?, ?)",
            (page.list_id, round, item_id, item.kind, key),
        )
    return True


def parts_of(db: HarvestDatabase, list_key: str, round: int) -> int:  # ruff: ignore[builtin-argument-shadowing]
    """Return how many parts of a reading were asked for, beside the list's page."""
    found = db.execute(
        "SELECT count(*) FROM requests WHERE list_key = ? AND round = ? AND kind = 'graphql'",
        (list_key, round),
    ).fetchone()
    return int(found[0])


def is_under_way(db: HarvestDatabase, list_key: str, round: int) -> bool:  # ruff: ignore[builtin-argument-shadowing]
    """Tell whether parts of a reading are still asked for."""
    found = db.execute(
        "SELECT 1 FROM requests WHERE list_key = ? AND round = ? AND state IN ('waiting', 'sent')",
        (list_key, round),
    ).fetchone()
    return found is not None


def settle(
    db: HarvestDatabase,
    list_key: str,
    round: int,  # ruff: ignore[builtin-argument-shadowing]
    at: float,
) -> Settled | None:
    """End a reading: its entries become the list's.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; within a transaction.
    list_key : str
        The list's id.
    round : int
        The reading.
    at : float
        When it came to its end, in seconds since 1970.

    Returns
    -------
    Settled or None
        None: there is no such list, or the reading was over already.
    """
    found = db.execute(
        "SELECT url, state, settled FROM lists WHERE key = ?", (list_key,)
    ).fetchone()
    if found is None or round <= found[2]:
        return None
    url, state, _ = found
    reading = (list_key, round)
    parts = {
        cursor: _Part(*part)
        for cursor, *part in db.execute(
            "SELECT cursor, next_cursor, size, damaged FROM list_parts "
            "WHERE list_key = ? AND round = ?",
            reading,
        )
    }
    entries = db.execute(
        "SELECT count(*) FROM list_entries WHERE list_key = ? AND round = ?", reading
    ).fetchone()
    reason = why_incomplete(parts, entries[0])
    before = _count(db, list_key)
    db.execute(_MARK_DELETED, reading)
    removed = 0 if reason else db.execute(_REMOVE, (list_key, *reading, *reading)).rowcount
    db.execute(_ADD, reading)
    after = _count(db, list_key)
    db.execute(
        "UPDATE lists SET state = ?, reason = ?, settled = ?, read_at = ?, deleted = "
        "(SELECT count(*) FROM list_entries WHERE list_key = ? AND round = ? AND kind = 'deleted') "
        "WHERE key = ?",
        ("incomplete" if reason else "open", reason, round, at, *reading, list_key),
    )
    _forget(db, list_key, round)
    if state in {"private", "gone"}:
        return Settled(after, 1, after > 0, reason, url)
    changed = removed > 0 or after != before
    return Settled(after - before, int(state == "new"), changed, reason, url)


def close(
    db: HarvestDatabase,
    list_key: str,
    round: int,  # ruff: ignore[builtin-argument-shadowing]
    state: Literal["private", "gone"],
    *,
    url: str,
    reason: str,
    at: float,
) -> Settled:
    """Note that a list is private or gone; what it held is kept but not exported.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; within a transaction.
    list_key : str
        The list's id.
    round : int
        The reading that found it so; parts of it that wait are not asked for any more.
    state : {"private", "gone"}
        What it is now.
    url : str
        Its address, for a list that was not known.
    reason : str
        What the host said.
    at : float
        When, in seconds since 1970.

    Returns
    -------
    Settled
        What became of it.
    """
    found = db.execute("SELECT url, state FROM lists WHERE key = ?", (list_key,)).fetchone()
    was_shown = found is not None and found[1] not in {"private", "gone"}
    db.execute(
        "INSERT INTO lists (key, url, state, reason, round, settled, read_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET state = excluded.state, "
        "reason = excluded.reason, round = max(round, excluded.round), "
        "settled = max(settled, excluded.settled), read_at = excluded.read_at",
        (list_key, url, state, reason, round, round, at),
    )
    waiting = db.execute(
        "SELECT id FROM requests WHERE list_key = ? AND round <= ? AND kind = 'graphql' "
        "AND state = 'waiting'",
        (list_key, round),
    ).fetchall()
    for (request_id,) in waiting:
        end(db, request_id, "done", at, reason=f"the list is {state}")
    _forget(db, list_key, round)
    lost = _count(db, list_key) if was_shown else 0
    fewer = int(was_shown and found[1] != "new")
    return Settled(-lost, -fewer, lost > 0, "", url if found is None else found[0])


def members(db: HarvestDatabase, list_key: str) -> tuple[str, ...]:
    """Return the keys of a list's articles."""
    rows = db.execute("SELECT article_key FROM memberships WHERE list_key = ?", (list_key,))
    return tuple(row[0] for row in rows)


def why_incomplete(parts: Mapping[str, _Part], entries: int) -> str:
    """Return why a reading is not whole; empty when it is.

    `entries` is how many came, each counted once.
    """
    chain: list[str] = []
    cursor: str | None = OWN_PAGE
    while cursor is not None:
        if cursor in chain:
            return f"its parts lead in a circle: {cursor} comes again"
        part = parts.get(cursor)
        if part is None:
            if len(chain) > MAX_PARTS:
                return f"it has more than {MAX_PARTS} parts"
            return f"the part {cursor} could not be had" if cursor else "its page could not be had"
        chain.append(cursor)
        cursor = part.next_cursor
    if lost := sum(parts[each].damaged for each in chain):
        return f"{lost} of its entries cannot be read"
    sizes = {size for each in chain if (size := parts[each].size) is not None}
    if len(sizes) > 1:
        return "it was changed while it was read"
    if any(size - entries > max(FEWER, FEWER_SHARE * size) for size in sizes):
        return f"its host counts {max(sizes):,} entries and showed {entries:,}"
    return ""


def _count(db: HarvestDatabase, list_key: str) -> int:
    found = db.execute("SELECT count(*) FROM memberships WHERE list_key = ?", (list_key,))
    return int(found.fetchone()[0])


def _forget(db: HarvestDatabase, list_key: str, until: int) -> None:
    for table in ("list_parts", "list_entries"):
        db.execute(
            f"DELETE FROM {table} WHERE list_key = ? AND round <= ?",  # ruff: ignore[hardcoded-sql-expression]
            (list_key, until),
        )


_MARK_DELETED = """
UPDATE articles SET state = 'gone' WHERE key IN (
    SELECT m.article_key FROM list_entries e
    JOIN memberships m ON m.list_key = e.list_key AND m.item_id = e.item_id
    WHERE e.list_key = ? AND e.round = ? AND e.kind = 'deleted')
"""
_REMOVE = """
DELETE FROM memberships WHERE list_key = ?
AND article_key NOT IN (SELECT article_key FROM list_entries
                        WHERE list_key = ? AND round = ? AND kind = 'post')
AND item_id NOT IN (SELECT item_id FROM list_entries
                    WHERE list_key = ? AND round = ? AND kind = 'deleted')
"""
_ADD = """
INSERT INTO memberships (list_key, article_key, item_id)
SELECT list_key, article_key, min(item_id) FROM list_entries
WHERE list_key = ? AND round = ? AND kind = 'post' GROUP BY article_key
ON CONFLICT (list_key, article_key) DO UPDATE SET item_id = excluded.item_id
"""
