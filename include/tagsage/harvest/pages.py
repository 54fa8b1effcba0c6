"""Raw pages, kept compressed for a while, so that a better parser can read them again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import webencodings

from tagsage.harvest.frontier import Claimed, Kind, get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tagsage.harvest.database import HarvestDatabase

# The fastest: pages become a quarter larger than at 6, in a fifth of the time, and that was most
# of what a page cost.
LEVEL = 1
# Rows that one transaction deletes: a crawl that writes meanwhile waits no longer than for these.
PRUNED_AT_ONCE = 200


@dataclass(frozen=True)
class Fetched:
    """An answer of a host.

    Attributes
    ----------
    status : int
        HTTP.
    url : str
        Where it was, after redirects.
    body : bytes
        Decompressed.
    charset : str
        As the host named it; empty: not at all. An unknown one is read as UTF-8.
    etag, last_modified : str or None
        What to send along when it is asked for again.
    at : float
        When it came, in seconds since 1970.
    """

    status: int
    url: str
    body: bytes
    charset: str
    etag: str | None
    last_modified: str | None
    at: float

    def text(self) -> str:
        """Return the body as text; what its charset does not know is replaced."""
        # Only the web's charsets: some of Python's codecs are none of text or take hours.
        charset = webencodings.lookup(self.charset) or webencodings.UTF8
        return str(webencodings.decode(self.body, charset)[0])


def keep(db: HarvestDatabase, request: Claimed, fetched: Fetched) -> None:
    """Keep a page as it came; the same answer is kept once."""
    db.execute(
        "INSERT INTO pages (request_id, fetched_at, round, url, charset, body) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (request_id, fetched_at) DO UPDATE SET "
        "round = excluded.round, url = excluded.url, charset = excluded.charset, "
        "body = excluded.body",
        (
            *(request.request_id, fetched.at, request.round, fetched.url, fetched.charset),
            zlib.compress(fetched.body, LEVEL),
        ),
    )


def came_before(db: HarvestDatabase, request: Claimed, fetched: Fetched) -> bool:
    """Tell whether the page that was kept last of a request is the same, byte by byte."""
    row = db.execute(
        "SELECT body FROM pages WHERE request_id = ? AND fetched_at < ? "
        "ORDER BY fetched_at DESC LIMIT 1",
        (request.request_id, fetched.at),
    ).fetchone()
    return row is not None and zlib.decompress(row[0]) == fetched.body


def is_whole(kind: Kind, body: bytes) -> bool:
    """Tell whether a page has its end, so that what is wrong with it is not the way it came.

    An answer of GraphQL without its end is no JSON, so one that could be read has it.
    """
    return kind == "graphql" or b"</html>" in body[-1000:].lower()


def load(db: HarvestDatabase) -> Iterator[tuple[Claimed, Fetched]]:
    """Yield the kept pages in the order they came, each with its request as it was then.

    One is in memory at a time; pages may be added meanwhile.
    """
    ids = db.execute("SELECT id FROM pages ORDER BY fetched_at, id").fetchall()
    for (page_id,) in ids:
        row = db.execute(
            "SELECT request_id, fetched_at, round, url, charset, body FROM pages WHERE id = ?",
            (page_id,),
        ).fetchone()
        if row is not None:
            request_id, at, reading, url, charset, body = row
            fetched = Fetched(200, url, zlib.decompress(body), charset, None, None, at)
            yield replace(get(db, request_id), round=reading), fetched


def prune(db: HarvestDatabase, before: float) -> int:
    """Delete what came before a moment: pages, problems, requests of readings long over.

    Many short transactions: a kill in between loses nothing, the next call goes on.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    before : float
        Seconds since 1970.

    Returns
    -------
    int
        How many pages were deleted.
    """
    pruned = _delete(db, "pages", "SELECT id FROM pages WHERE fetched_at < ? LIMIT ?", before)
    _delete(db, "problems", "SELECT id FROM problems WHERE at < ? LIMIT ?", before)
    # A list's next reading asks for its parts under new requests; these are never asked again.
    _delete(db, "requests", _OLD_PARTS, before)
    return pruned


def _delete(db: HarvestDatabase, table: str, chosen: str, before: float) -> int:
    deleted = 0
    while True:
        with db.transaction():
            gone = db.execute(
                f"DELETE FROM {table} WHERE id IN ({chosen})",  # ruff: ignore[hardcoded-sql-expression]
                (before, PRUNED_AT_ONCE),
            ).rowcount
        db.give_room_back()
        deleted += gone
        if gone < PRUNED_AT_ONCE:
            return deleted


_OLD_PARTS = """
SELECT r.id FROM requests r JOIN lists l ON l.key = r.list_key
WHERE r.kind = 'graphql' AND r.ended_at < ? AND r.round < l.round
  AND r.state NOT IN ('waiting', 'sent')
  AND NOT EXISTS (SELECT 1 FROM pages p WHERE p.request_id = r.id)
LIMIT ?
"""
