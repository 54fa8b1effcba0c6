"""What is remembered of hosts: how long to leave them alone, their rules, their failures.

Everything here outlasts a restart, so that a restart is no way round it. A host is an origin. The
names of one server (http and https, the names of this machine, all names of Medium's) wait and
are left alone together; only rules, and that they cannot be had, are the matter of one name: http
may be off where https is on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tagsage.harvest.addresses import server

if TYPE_CHECKING:
    from tagsage.harvest.database import HarvestDatabase


@dataclass(frozen=True)
class Host:
    """What is remembered of a host and its server.

    Attributes
    ----------
    host : str
        An origin.
    asked : bool
        Whether a user named it.
    next_at : float
        The server is asked nothing before this moment.
    robots_at, robots_text
        When its robots.txt was last answered for, and its rules.
    refusals, failures : int
        Of the server, in a row.
    closed_until, closed_why
        Until when it is left alone, and the reason.
    is_server_closed : bool
        Whether that holds for all names of its server.
    """

    host: str
    asked: bool = False
    next_at: float = 0.0
    robots_at: float | None = None
    robots_text: str | None = None
    refusals: int = 0
    failures: int = 0
    closed_until: float = 0.0
    closed_why: str = ""
    is_server_closed: bool = False


def add(db: HarvestDatabase, host: str) -> None:
    """Add a host, and its server unless that is known under another name."""
    place = server(host)
    db.execute("INSERT INTO servers (server) VALUES (?) ON CONFLICT DO NOTHING", (place,))
    db.execute(
        "INSERT INTO hosts (host, server) VALUES (?, ?) ON CONFLICT DO NOTHING", (host, place)
    )


def ask(db: HarvestDatabase, host: str) -> None:
    """Note that a user named a host (an origin): redirects to it are followed, even if private."""
    with db.transaction():
        add(db, host)
        db.execute("UPDATE hosts SET asked = 1 WHERE host = ?", (host,))


def get(db: HarvestDatabase, host: str) -> Host:
    """Return what is remembered of a host (an origin)."""
    row = db.execute(
        "SELECT host, asked, next_at, robots_at, robots_text, refusals, failures, "
        "max(h.closed_until, s.closed_until), "
        "CASE WHEN s.closed_until >= h.closed_until THEN s.closed_why ELSE h.closed_why END, "
        "s.closed_until > 0 AND s.closed_until >= h.closed_until "
        "FROM hosts h JOIN servers s USING (server) WHERE host = ?",
        (host,),
    ).fetchone()
    if row is None:
        return Host(host)
    name, asked, *rest, is_server_closed = row
    return replace(Host(name, bool(asked), *rest), is_server_closed=bool(is_server_closed))


def store(db: HarvestDatabase, host: Host) -> None:
    """Remember a host's robots.txt, failures and closing; asked and next_at have their own ways."""
    closing = (host.closed_until, host.closed_why)
    with db.transaction():
        db.execute(
            "UPDATE hosts SET robots_at = ?, robots_text = ? WHERE host = ?",
            (host.robots_at, host.robots_text, host.host),
        )
        db.execute(
            "UPDATE servers SET refusals = ?, failures = ? WHERE server = ?",
            (host.refusals, host.failures, server(host.host)),
        )
        if host.is_server_closed:
            db.execute(
                "UPDATE servers SET closed_until = ?, closed_why = ? WHERE server = ?",
                (*closing, server(host.host)),
            )
        else:
            db.execute(
                "UPDATE hosts SET closed_until = ?, closed_why = ? WHERE host = ?",
                (*closing, host.host),
            )


def not_before(db: HarvestDatabase, host: str, moment: float) -> None:
    """Let a host, under all names of its server, be asked nothing before a moment."""
    db.execute(
        "UPDATE servers SET next_at = max(next_at, ?) WHERE server = ?", (moment, server(host))
    )
