"""The queue of a harvest, in its database: what to ask for, in what order, what became of it.

Scrapy's own job folder loses what is in flight when the process is killed. Here every request is
a row, marked *sent* before it leaves; after a kill it waits again, with its attempt counted. What
a host must not see sooner is a moment in the table of hosts, written before a request leaves and
again after its end, so that a restart is no way round the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tagsage.harvest import hosts, queries
from tagsage.harvest.addresses import Kind, canonical, origin, server
from tagsage.harvest.request import PRIORITY, Claimed, State, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tagsage.harvest.database import HarvestDatabase

__all__ = [
    "Claimed",
    "Kind",
    "Outlook",
    "State",
    "add",
    "again",
    "begin",
    "end",
    "fingerprint",
    "forgive",
    "get",
    "outlook",
    "read_anew",
    "ready",
    "recover",
    "redirect",
    "renew",
    "waiting",
    "waiting_at",
]

# Rules are asked for anew after a day at the latest (RFC 9309, 2.4).
ROBOTS_KEPT_S = 24 * 3600.0
# What ended without a page is asked for again when it is named again, but not sooner: a run that is
# started over and over must not become a way round the number of attempts.
NAMED_AGAIN_S = 3600.0


@dataclass(frozen=True)
class Outlook:
    """What is left to do.

    Attributes
    ----------
    next_at : float or None
        When the next request may leave, of those whose host is open and not busy; None: no such.
    closed : dict of str to str
        Hosts that are left alone for now although requests wait for them, and why.
    """

    next_at: float | None
    closed: dict[str, str]


def add(
    db: HarvestDatabase,
    kind: Kind,
    url: str,
    *,
    now: float,
    list_key: str | None = None,
    cursor: str | None = None,
    round: int = 0,  # ruff: ignore[builtin-argument-shadowing]
    article_key: str | None = None,
    due: float = 0.0,
    redirects: int = 0,
    asked: bool = False,
) -> bool:
    """Add a request, unless it is known already, whatever became of it.

    One that a user names again waits again if it ended without a page (gone, refused, failed,
    unreadable) an hour ago at least; at their age, others are fetched again anyway.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    kind : Kind
        What is asked for.
    url : str
        An http or https URL.
    now, due : float
        Seconds since 1970: the present, and the moment before which it does not leave.
    list_key, cursor, round, article_key, redirects
        See :class:`Claimed`.
    asked : bool
        Whether a user named this address; its host then is one that was asked for.

    Returns
    -------
    bool
        False: it was known already.

    Raises
    ------
    AddressError
        When `url` is no http or https URL.
    """
    host = origin(url)
    key = fingerprint(kind, url, list_key=list_key, cursor=cursor, round=round)
    with db.transaction():
        hosts.add(db, host)
        if asked:
            hosts.ask(db, host)
        added = db.execute(
            "INSERT INTO requests (fingerprint, kind, host, url, list_key, cursor, round, "
            "article_key, priority, due, redirects, added_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING",
            (
                *(key, kind, host, url, list_key, cursor, round),
                *(article_key, PRIORITY[kind], due, redirects, now),
            ),
        ).rowcount
        if asked and not added:
            _ask_again(db, key, now - NAMED_AGAIN_S)
    return added == 1


def get(db: HarvestDatabase, request_id: int) -> Claimed:
    """Return a request by its id; KeyError when there is none."""
    row = db.execute(queries.ONE, (request_id,)).fetchone()
    if row is None:
        raise KeyError(request_id)
    return Claimed(*row)


def ready(db: HarvestDatabase, now: float, *, pages: bool) -> Claimed | None:
    """Return the request that should leave now; None when none may.

    A host is asked one thing at a time, not before its moment, not while it is closed, and for
    nothing but its robots.txt as long as that is not known or older than a day. Of a host's
    requests, feeds go first, then lists, then articles; among these, those that failed least, so
    that a host's bad hour costs many requests one attempt and not one request all of them; then
    those added first. Of hosts, the one that has been ready for longest.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; a request for robots.txt is added where one is needed.
    now : float
        Seconds since 1970.
    pages : bool
        Whether pages of lists and articles may be asked for; otherwise only feeds.
    """
    busy = _busy(db)
    for claimed, moment in _candidates(db, now, pages=pages):
        if moment > now:
            break
        if server(claimed.host) not in busy:
            return claimed
    return None


def outlook(db: HarvestDatabase, now: float, *, pages: bool) -> Outlook:
    """Tell when the next request may leave, and which hosts are closed although there are some.

    Requests under way are not looked at; nor are hosts that one of them is at.
    """
    busy = _busy(db)
    moments = (
        moment
        for claimed, moment in _candidates(db, now, pages=pages)
        if server(claimed.host) not in busy
    )
    closed = db.execute(queries.CLOSED, {"now": now, "pages": pages})
    return Outlook(next(moments, None), dict(closed.fetchall()))


def waiting(db: HarvestDatabase, *, pages: bool) -> int:
    """Return how many requests are left, those under way included; robots.txt is not counted."""
    found = db.execute(queries.LEFT, {"pages": pages}).fetchone()
    return int(found[0])


def waiting_at(db: HarvestDatabase, host: str) -> list[Claimed]:
    """Return the requests that wait for a host, robots.txt left out."""
    return [Claimed(*row) for row in db.execute(queries.AT, (host,))]


def begin(db: HarvestDatabase, claimed: Claimed, now: float, gap_s: float) -> Claimed:
    """Mark a request as sent, and its host as not to be asked for a while, before it leaves.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    claimed : Claimed
        What :func:`ready` returned.
    now, gap_s : float
        Seconds since 1970, and the least time to the next request to this host.

    Returns
    -------
    Claimed
        The same with this attempt counted.
    """
    with db.transaction():
        db.execute(
            "UPDATE requests SET state = 'sent', attempts = attempts + 1 WHERE id = ?",
            (claimed.request_id,),
        )
        hosts.not_before(db, claimed.host, now + gap_s)
    return replace(claimed, attempts=claimed.attempts + 1)


def recover(db: HarvestDatabase, *, is_counted: bool = True) -> int:
    """Let requests wait again that were under way when the process was killed.

    Whether the host answered them nobody knows, so each may be asked for a second time.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; nobody else is at it.
    is_counted : bool
        Whether their attempts stay counted, so that one that kills the process does not do so for
        ever; False for those that were let go on purpose.

    Returns
    -------
    int
        How many there were.
    """
    return db.execute(
        "UPDATE requests SET state = 'waiting', attempts = max(attempts - ?, 0) "
        "WHERE state = 'sent'",
        (int(not is_counted),),
    ).rowcount


def end(
    db: HarvestDatabase,
    request_id: int,
    state: State,
    now: float,
    *,
    status: int | None = None,
    reason: str = "",
    etag: str | None = None,
    last_modified: str | None = None,
) -> None:
    """Say what became of a request.

    None for `etag` or `last_modified` leaves what is known (an answer 304 need not repeat them).
    """
    db.execute(
        "UPDATE requests SET state = ?, ended_at = ?, status = ?, reason = ?, "
        "etag = coalesce(?, etag), last_modified = coalesce(?, last_modified), "
        "target = CASE WHEN redirects > 0 THEN target END WHERE id = ?",
        (state, now, status, reason, etag, last_modified, request_id),
    )


def again(
    db: HarvestDatabase,
    request_id: int,
    due: float,
    *,
    status: int | None = None,
    reason: str = "",
    is_counted: bool = True,
) -> None:
    """Let a request wait for another attempt, until `due`; attempts so far stay counted.

    Unless the last one does not count, as it says nothing of the page.
    """
    db.execute(
        "UPDATE requests SET state = 'waiting', due = ?, status = ?, reason = ?, "
        "attempts = max(attempts - ?, 0) WHERE id = ?",
        (due, status, reason, int(not is_counted), request_id),
    )


def redirect(db: HarvestDatabase, request: Claimed, url: str, now: float) -> int | None:
    """Let a request wait to be asked for where its host said it is now.

    It stays the same request, with its list, reading and article; with its validators, if it led
    there the last time. Where another one of its kind already has that address, this one is done.

    Returns
    -------
    int or None
        The other one that has that address; what follows from it is for
        :func:`tagsage.harvest.intake.same_as`.
    """
    # Rules found elsewhere on a server are still those of the address they were asked for.
    host = request.host if request.kind == "robots" else origin(url)
    key = fingerprint(request.kind, url, list_key=None, cursor=None, round=0)
    with db.transaction():
        hosts.add(db, host)
        if request.kind in {"list", "article", "feed"}:
            known = db.execute(
                "SELECT id FROM requests WHERE fingerprint = ? AND kind = ? AND id != ?",
                (key, request.kind, request.request_id),
            ).fetchone()
            if known is not None:
                end(db, request.request_id, "done", now, reason=f"the same as {canonical(url)}")
                return int(known[0])
        db.execute(
            "UPDATE requests SET state = 'waiting', target = ?, host = ?, attempts = 0, due = 0, "
            "redirects = redirects + 1, "
            "etag = CASE WHEN target = ? THEN etag END, "
            "last_modified = CASE WHEN target = ? THEN last_modified END WHERE id = ?",
            (url, host, url, url, request.request_id),
        )
    return None


def renew(
    db: HarvestDatabase,
    request_id: int,
    *,
    round: int | None = None,  # ruff: ignore[builtin-argument-shadowing]
    due: float = 0.0,
) -> None:
    """Let an ended request wait to be fetched anew, from its first address, with its validators.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    request_id : int
        Which.
    round : int or None
        The reading of the list that it begins; None: as it was.
    due : float
        Not before this moment.
    """
    with db.transaction():
        url = str(db.execute("SELECT url FROM requests WHERE id = ?", (request_id,)).fetchone()[0])
        db.execute(
            "UPDATE requests SET state = 'waiting', due = ?, attempts = 0, redirects = 0, "
            "reason = '', host = ?, round = coalesce(?, round) WHERE id = ? AND state != 'sent'",
            (due, origin(url), round, request_id),
        )


def read_anew(db: HarvestDatabase, request_id: int) -> None:
    """Let an ended request for a list's page wait as the beginning of a new reading.

    While other requests of the list wait, it joins their reading. The validators are sent along
    only if the last reading was whole: "not modified" must not leave a gap as it is.
    """
    with db.transaction():
        db.execute(
            "UPDATE lists SET round = max(round, settled) + 1 "
            "WHERE key = (SELECT list_key FROM requests WHERE id = ?) AND NOT EXISTS "
            "(SELECT 1 FROM requests WHERE list_key = lists.key AND state IN ('waiting', 'sent'))",
            (request_id,),
        )
        found = db.execute(
            "SELECT l.round, l.state FROM requests r JOIN lists l ON l.key = r.list_key "
            "WHERE r.id = ?",
            (request_id,),
        ).fetchone()
        reading, state = found or (None, "")
        if state != "open":
            db.execute(
                "UPDATE requests SET etag = NULL, last_modified = NULL WHERE id = ?", (request_id,)
            )
        renew(db, request_id, round=reading)


def forgive(db: HarvestDatabase, host: str, since: int) -> None:
    """Let the last `since` requests wait again that a server refused with 401 or 403.

    When it closes for refusing several in a row, they were refused because of us. The reading of a
    list has ended with the refusal, of its page or of a part of it, so the list is read anew.
    """
    refused = db.execute(
        "SELECT id, kind, list_key FROM requests JOIN hosts USING (host) "
        "WHERE server = ? AND state = 'refused' AND status IN (401, 403) "
        "ORDER BY ended_at DESC, id DESC LIMIT ?",
        (server(host), since),
    ).fetchall()
    for request_id, kind, list_key in refused:
        if kind == "graphql":
            page = db.execute(
                "SELECT id FROM requests WHERE kind = 'list' AND list_key = ? "
                "ORDER BY state = 'done' DESC, ended_at DESC LIMIT 1",
                (list_key,),
            ).fetchone()
            if page is not None:
                read_anew(db, page[0])
        elif kind == "list":
            read_anew(db, request_id)
        else:
            renew(db, request_id)


def _busy(db: HarvestDatabase) -> set[str]:
    return {row[0] for row in db.execute(queries.BUSY)}


def _candidates(db: HarvestDatabase, now: float, *, pages: bool) -> Iterator[tuple[Claimed, float]]:
    """Yield the best request of every open host and its moment, first what may leave first."""
    values = {"now": now, "pages": pages, "fresh": now - ROBOTS_KEPT_S}
    with db.transaction():
        for (host,) in db.execute(queries.WITHOUT_RULES, values).fetchall():
            _ask_for_rules(db, host, now)
    rows = db.execute(queries.BEST, values).fetchall()
    for *row, moment in rows:
        yield Claimed(*row), float(moment)


def _ask_again(db: HarvestDatabase, key: bytes, until: float) -> None:
    row = db.execute(
        "SELECT id, kind FROM requests WHERE fingerprint = ? AND ended_at <= ? "
        "AND state IN ('gone', 'refused', 'failed', 'unreadable')",
        (key, until),
    ).fetchone()
    if row is None:
        return
    if row[1] == "list":
        read_anew(db, row[0])
    else:
        renew(db, row[0])


def _ask_for_rules(db: HarvestDatabase, host: str, now: float) -> None:
    if not add(db, "robots", f"{host}/robots.txt", now=now):
        key = fingerprint("robots", host, list_key=None, cursor=None, round=0)
        row = db.execute("SELECT id FROM requests WHERE fingerprint = ?", (key,)).fetchone()
        renew(db, int(row[0]))
