"""The quarantine of a harvest: what is wrong by now, each thing once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.frontier import Claimed

CONTENT_KEPT = 500
REASON_KEPT = 300

Kind = Literal["rejected", "repaired"]


def subject(request: Claimed) -> str:
    """Return what a request's problems are filed under: its address, and of which part it was."""
    if request.kind == "graphql":
        return f"{request.url}#{request.list_key}:{request.cursor}"
    return request.url


def record(
    db: HarvestDatabase,
    run_id: int,
    at: float,
    url: str,
    reasons: Iterable[str],
    content: str = "",
    kind: Kind = "rejected",
) -> None:
    """Note problems; the same one of the same address takes the place of the older.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest.
    run_id : int
        Which run met them.
    at : float
        When, in seconds since 1970.
    url : str
        What they are of; see :func:`subject`.
    reasons : iterable of str
        What is wrong.
    content : str
        What was read; its beginning is kept.
    kind : {"rejected", "repaired"}
        Whether it was left out, or taken in another form.
    """
    beginning = content[:CONTENT_KEPT]
    db.executemany(
        "INSERT INTO problems (run_id, at, url, kind, reason, content) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (url, reason) DO UPDATE SET run_id = excluded.run_id, at = excluded.at, "
        "kind = excluded.kind, content = excluded.content",
        [(run_id, at, url, kind, reason[:REASON_KEPT], beginning) for reason in reasons],
    )


def solve(db: HarvestDatabase, url: str, at: float) -> None:
    """Forget the problems that an address had until `at`, when it was read."""
    db.execute("DELETE FROM problems WHERE url = ? AND at <= ?", (url, at))
