"""What is remembered of hosts: how long to leave them alone, their rules, their failures.

Everything here outlasts a restart, so that a restart is no way round it. A host is an origin; the
names of one server (http and https, the names of this machine) wait and close together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagsage.harvest.addresses import siblings

if TYPE_CHECKING:
    from tagsage.harvest.database import HarvestDatabase


@dataclass(frozen=True)
class Host:
    """What is remembered of a host; the columns of its table."""

    host: str
    asked: bool = False
    next_at: float = 0.0
    robots_at: float | None = None
    robots_text: str | None = None
    refusals: int = 0
    failures: int = 0
    closed_until: float = 0.0
    closed_why: str = ""


def add(db: HarvestDatabase, host: str) -> None:
    """Add a host; its server may have to be left alone already, under another name.

    Only a missing robots.txt is the matter of one name: http may be off where https is on.
    """
    added = db.execute("INSERT INTO hosts (host) VALUES (?) ON CONFLICT DO NOTHING", (host,))
    if added.rowcount:
        for each in siblings(host):
            db.execute(
                "UPDATE hosts SET next_at = max(hosts.next_at, s.next_at) "
                "FROM (SELECT next_at FROM hosts WHERE host = ?) AS s WHERE host = ?",
                (each, host),
            )
            db.execute(
                "UPDATE hosts SET closed_until = s.closed_until, closed_why = s.closed_why "
                "FROM (SELECT * FROM hosts WHERE host = ?) AS s WHERE hosts.host = ? "
                "AND s.closed_until > hosts.closed_until AND s.robots_at IS NOT NULL",
                (each, host),
            )


def ask(db: HarvestDatabase, host: str) -> None:
    """Note that a user named a host (an origin): redirects to it are followed, even if private."""
    with db.transaction():
        add(db, host)
        db.execute("UPDATE hosts SET asked = 1 WHERE host = ?", (host,))


def get(db: HarvestDatabase, host: str) -> Host:
    """Return what is remembered of a host (an origin)."""
    row = db.execute(
        "SELECT host, asked, next_at, robots_at, robots_text, refusals, failures, closed_until, "
        "closed_why FROM hosts WHERE host = ?",
        (host,),
    ).fetchone()
    return Host(host) if row is None else Host(row[0], bool(row[1]), *row[2:])


def store(db: HarvestDatabase, host: Host) -> None:
    """Remember a host's robots.txt, failures and closing; asked and next_at have their own ways."""
    db.execute(
        "UPDATE hosts SET robots_at = ?, robots_text = ?, refusals = ?, failures = ?, "
        "closed_until = ?, closed_why = ? WHERE host = ?",
        (
            *(host.robots_at, host.robots_text, host.refusals, host.failures),
            *(host.closed_until, host.closed_why, host.host),
        ),
    )


def close_server(db: HarvestDatabase, host: Host) -> None:
    """Close the other names of a closed host's server as well."""
    for each in siblings(host.host)[1:]:
        db.execute(
            "UPDATE hosts SET closed_until = max(closed_until, ?), closed_why = ? WHERE host = ?",
            (host.closed_until, host.closed_why, each),
        )


def not_before(db: HarvestDatabase, host: str, moment: float) -> None:
    """Let a host, under all names of its server, be asked nothing before a moment."""
    with db.transaction():
        for each in siblings(host):
            db.execute("UPDATE hosts SET next_at = max(next_at, ?) WHERE host = ?", (moment, each))
