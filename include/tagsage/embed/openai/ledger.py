"""The books: who has which text in hand, what was sent and spent, what no server takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tagsage.embed.openai.config import Ceiling
from tagsage.embed.openai.ledger_file import FILE, JOB, LedgerFile, new_request_id
from tagsage.errors import NonRetryableError

__all__ = ["FILE", "JOB", "CeilingReachedError", "Ledger", "Spending", "State", "new_request_id"]

# A text that the server failed at is left alone for the rest of the run; after that for twice as
# long each time.
FAILED_FOR = timedelta(hours=12)
MOST_DOUBLINGS = 10

State = Literal["done", "refused", "lost"]

# What the requests of a run can have cost at most.
_MOST_OF_RUN = """
    SELECT COALESCE(SUM(most), 0), COALESCE(SUM(most * price), 0) FROM (
        SELECT CASE state WHEN 'done' THEN tokens WHEN 'refused' THEN 0 ELSE bound END AS most,
            price
        FROM requests WHERE run_id = ?
    )
"""
# What they are taken to have cost.
_SPENT = """
    SELECT COALESCE(SUM(state = 'done'), 0), COALESCE(SUM((state = 'done') * texts), 0),
        COALESCE(SUM(tokens), 0), COALESCE(SUM(tokens * price), 0) / 1e6,
        COALESCE(SUM(state = 'lost'), 0), COALESCE(SUM((state = 'lost') * tokens), 0)
    FROM requests WHERE state != 'refused' AND (run_id = :run_id OR :run_id IS NULL)
"""


class CeilingReachedError(NonRetryableError):
    """What is to be sent could cost more than the run may spend."""


@dataclass(frozen=True)
class Spending:
    """What was sent, and what it cost.

    Attributes
    ----------
    requests, texts : int
        Requests with an answer, and the texts in them.
    tokens : int
        Tokens charged; for lost requests estimated.
    dollars : float
        Their price.
    lost_requests, lost_tokens : int
        Those of them whose answer never came, so that nobody knows whether they were charged.
    """

    requests: int = 0
    texts: int = 0
    tokens: int = 0
    dollars: float = 0.0
    lost_requests: int = 0
    lost_tokens: int = 0


class Ledger(LedgerFile):
    """The open books; see :class:`LedgerFile` for what they are made of."""

    # -- who has a text in hand ----------------------------------------------------------------
    def claim(self, model_id: str, hashes: Sequence[bytes], owner: str = "") -> set[bytes]:
        """Take texts in hand; nobody else sends them until they are released.

        Parameters
        ----------
        model_id : str
            The vectors' name.
        hashes : sequence of bytes
            The texts' hashes.
        owner : str
            For whom: this process by default, or a batch (``job:…``).

        Returns
        -------
        set of bytes
            Those that are the owner's now; the others are another's.
        """
        owner = owner or self.owner
        with self.transaction() as books:
            books.executemany(
                "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)",
                ((model_id, each.decode(), owner) for each in hashes),
            )
            return {each for each in hashes if _owner_of(books, model_id, each) == owner}

    def release(self, model_id: str, hashes: Iterable[bytes], owner: str = "") -> None:
        """Let texts go."""
        owner = owner or self.owner
        with self.transaction() as books:
            books.executemany(
                "DELETE FROM claims WHERE model_id = ? AND hash = ? AND owner = ?",
                ((model_id, each.decode(), owner) for each in hashes),
            )

    def owners_of(self, model_id: str, hashes: Iterable[bytes]) -> dict[bytes, str]:
        """Return who has which of these texts in hand."""
        with self._told():
            found = ((each, _owner_of(self.connection, model_id, each)) for each in hashes)
            return {each: owner for each, owner in found if owner is not None}

    # -- what is sent and spent ----------------------------------------------------------------
    def reserve(
        self,
        request_id: str,
        *,
        run_id: str,
        model_id: str,
        texts: int,
        bound: int,
        estimate: int,
        price: float,
        ceiling: Ceiling,
        kind: Literal["online", "batch"] = "online",
        owner: str = "",
    ) -> None:
        """Write down a request before it is sent.

        Parameters
        ----------
        request_id : str
            Its name in the books; a request that is in them already is left as it is.
        run_id : str
            Who pays.
        model_id : str
            The vectors' name.
        texts : int
            Texts in it.
        bound, estimate : int
            Tokens it can have at most, and about.
        price : float
            US dollars a million tokens.
        ceiling : Ceiling
            What the run may spend.
        kind : str
            How it is sent.
        owner : str
            This process by default, or a batch.

        Raises
        ------
        CeilingReachedError
            When, with all that the run sent before, it could cross the ceiling.
        """
        with self.transaction() as books:
            known = books.execute("SELECT 1 FROM requests WHERE id = ?", (request_id,)).fetchone()
            if known:
                return
            tokens, cost = books.execute(
                _MOST_OF_RUN,
                (run_id,),
            ).fetchone()
            _refuse_above(ceiling, tokens, bound, (cost + bound * price) / 1e6)
            books.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'sent', ?)",
                (
                    *(request_id, owner or self.owner, run_id, model_id, kind),
                    *(texts, bound, min(estimate, bound), price, _now()),
                ),
            )

    def settle(self, request_id: str, state: State, tokens: int | None = None) -> None:
        """Write down how a request ended; what was written down first counts.

        Parameters
        ----------
        request_id : str
            Its name in the books.
        state : str
            ``done``: it was answered; ``refused``: the server did nothing for it; ``lost``: the
            answer did not come, or not whole.
        tokens : int, optional
            What was charged; the estimate stays when the server does not say.
        """
        with self.transaction() as books:
            books.execute(
                "UPDATE requests SET state = ?, tokens = COALESCE(?, tokens) "
                "WHERE id = ? AND state = 'sent'",
                (state, tokens, request_id),
            )

    def others_are_sending(self, run_id: str) -> bool:
        """Tell whether other processes have requests of a run under way, reserved in full."""
        with self._told():
            row = self.connection.execute(
                "SELECT 1 FROM requests WHERE run_id = ? AND state = 'sent' AND kind = 'online' "
                "AND owner != ? LIMIT 1",
                (run_id, self.owner),
            ).fetchone()
        return row is not None

    def spent(self, run_id: str | None = None) -> Spending:
        """Return what a run has spent so far, or all of them."""
        with self._told():
            row = self.connection.execute(
                _SPENT,
                {"run_id": run_id},
            ).fetchone()
        return Spending(*row)

    def runs(self) -> list[str]:
        """Return the runs in the books, the latest first."""
        with self._told():
            rows = self.connection.execute(
                "SELECT run_id FROM requests GROUP BY run_id ORDER BY MAX(sent_at) DESC"
            ).fetchall()
        return [run_id for (run_id,) in rows]

    # -- what no server takes ------------------------------------------------------------------
    def reject(
        self, model_id: str, reasons: Mapping[bytes, str], kind: Literal["refused", "failed"]
    ) -> None:
        """Remember texts without a vector, so as not to ask again.

        Parameters
        ----------
        model_id : str
            The vectors' name.
        reasons : mapping of bytes to str
            The texts' hashes, and why.
        kind : str
            ``refused``: the server does not take them, ever; ``failed``: it never managed, and
            may some other run.
        """
        with self.transaction() as books:
            books.executemany(
                "INSERT INTO rejected VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET "
                "kind = excluded.kind, reason = excluded.reason, times = times + 1, "
                "rejected_at = excluded.rejected_at",
                ((model_id, each.decode(), kind, why, _now()) for each, why in reasons.items()),
            )

    def rejected(self, model_id: str) -> dict[bytes, str]:
        """Return the texts not to be asked for now, by hash, and why."""
        with self._told():
            rows = self.connection.execute(
                "SELECT hash, kind, reason, times, rejected_at FROM rejected WHERE model_id = ?",
                (model_id,),
            ).fetchall()
        return {
            each.encode(): why
            for each, kind, why, times, at in rows
            if kind == "refused" or datetime.now(tz=UTC) < _next_try(at, times)
        }

    def forget_rejected(self, model_id: str) -> int:
        """Let rejected texts be tried again; return how many there were."""
        with self.transaction() as books:
            return books.execute("DELETE FROM rejected WHERE model_id = ?", (model_id,)).rowcount

    # -- what was shortened ----------------------------------------------------------------------
    def note_cut(self, model_id: str, hashes: Iterable[bytes]) -> None:
        """Remember texts that were cut further because the server found them too long."""
        with self.transaction() as books:
            books.executemany(
                "INSERT OR IGNORE INTO cut VALUES (?, ?)",
                ((model_id, each.decode()) for each in hashes),
            )

    def cut(self, model_id: str) -> set[bytes]:
        """Return the texts, by hash, that were cut further than our own limit has them."""
        with self._told():
            rows = self.connection.execute(
                "SELECT hash FROM cut WHERE model_id = ?", (model_id,)
            ).fetchall()
        return {each.encode() for (each,) in rows}


def _next_try(rejected_at: str, times: int) -> datetime:
    doubled: int = 2 ** min(times - 1, MOST_DOUBLINGS)
    return datetime.fromisoformat(rejected_at) + FAILED_FOR * doubled


def _owner_of(books: sqlite3.Connection, model_id: str, each: bytes) -> str | None:
    row: tuple[str] | None = books.execute(
        "SELECT owner FROM claims WHERE model_id = ? AND hash = ?", (model_id, each.decode())
    ).fetchone()
    return row[0] if row else None


def _refuse_above(ceiling: Ceiling, before: int, bound: int, cost: float) -> None:
    """Raise when tokens or dollars could go above the ceiling."""
    if before + bound > ceiling.tokens:
        msg = (
            f"The run has sent up to {before:,} tokens, and {bound:,} more could cross its ceiling "
            f"of openai_max_tokens={ceiling.tokens}; raise it and run again: what was paid for is "
            "kept."
        )
        raise CeilingReachedError(msg)
    if cost > ceiling.dollars:
        msg = (
            f"The run could come to cost ${cost:.4f} and cross its ceiling of "
            f"openai_max_dollars={ceiling.dollars:g}; raise it and run again: what was paid for is "
            "kept."
        )
        raise CeilingReachedError(msg)


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds")
