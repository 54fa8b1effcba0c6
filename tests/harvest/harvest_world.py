"""A harvest whose answers a test gives by hand."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagsage.harvest import frontier, intake
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.export import export_csv
from tagsage.harvest.frontier import Claimed
from tagsage.harvest.intake import Fetched, Taken
from tests.harvest.medium_pages import HOST, list_url

CONFIG = HarvestConfig(contact="https://contact.example/harvest", consent=True)
LIST = "0123456789ab"
RUN = 1
DAY_S = 86_400.0


@dataclass
class World:
    """An open harvest and its clock."""

    db: HarvestDatabase
    config: HarvestConfig = CONFIG
    now: float = 1000.0
    started: list[int] = field(default_factory=list)

    def seed(self, url: str, kind: str = "article", **details: Any) -> int:
        """Queue an address that a user named; return its request's id."""
        frontier.add(self.db, kind, url, now=self.now, asked=True, **details)
        return int(self.one("SELECT max(id) FROM requests"))

    def seed_list(self, list_id: str = LIST) -> int:
        return self.seed(list_url(list_id), "list", list_key=list_id)

    def send(self, request_id: int) -> Claimed:
        """Mark a request as sent."""
        self.now += 1
        return frontier.begin(self.db, frontier.get(self.db, request_id), self.now, 0)

    def fetched(self, request: Claimed, body: bytes, **details: Any) -> Fetched:
        return Fetched(200, request.url, body, "utf-8", None, None, self.now, **details)

    def take(self, request_id: int, body: bytes) -> Taken:
        """Answer a request."""
        request = self.send(request_id)
        return intake.take(self.db, request, self.fetched(request, body), self.config, RUN)

    def give_up(self, request_id: int, state: str = "failed", reason: str = "no answer") -> Taken:
        request = self.send(request_id)
        with self.db.transaction():
            frontier.end(self.db, request_id, state, self.now, reason=reason)
            return intake.given_up(self.db, request, self.now, RUN, reason, self.config)

    def gone(self, request_id: int) -> Taken:
        request = self.send(request_id)
        return intake.gone(self.db, request, self.now, RUN, "the host answered 404", self.config)

    def lead(self, request_id: int, url: str) -> Taken:
        """Answer a request with a redirect to what another one has been added for."""
        request = self.send(request_id)
        with self.db.transaction():
            other = frontier.redirect(self.db, request, url, self.now)
            assert other is not None
            return intake.same_as(self.db, request, other, self.now, RUN, self.config)

    def waiting(self, kind: str | None = None) -> list[tuple[int, str, str | None]]:
        """Return id, kind and cursor of the requests that wait, robots.txt left out."""
        rows = self.db.execute(
            "SELECT id, kind, cursor FROM requests WHERE state = 'waiting' AND kind != 'robots' "
            "ORDER BY id"
        ).fetchall()
        return [row for row in rows if kind in {None, row[1]}]

    def waiting_part(self, cursor: str) -> int:
        return next(row[0] for row in self.waiting("graphql") if row[2] == cursor)

    def one(self, statement: str, *values: object) -> Any:
        """Return the only value of a question."""
        return self.db.execute(statement, values).fetchone()[0]

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.db.execute(statement, values).fetchall()

    def members(self, list_id: str = LIST) -> set[str]:
        rows = self.rows("SELECT article_key FROM memberships WHERE list_key = ?", list_id)
        return {row[0] for row in rows}

    def list_is(self, list_id: str = LIST) -> tuple[str, str]:
        """Return a list's state, and the reason of it."""
        return self.rows("SELECT state, reason FROM lists WHERE key = ?", list_id)[0]

    def article(self, key: str) -> dict[str, Any]:
        cursor = self.db.execute("SELECT * FROM articles WHERE key = ?", (key,))
        names = [column[0] for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))

    def problems(self) -> list[tuple[str, str]]:
        """Return the addresses and reasons of what is wrong."""
        return self.rows("SELECT url, reason FROM problems ORDER BY url, reason")

    def revision(self) -> int:
        return int(self.one("SELECT current FROM revision"))

    def exported(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return the rows of both files, without their headers; nothing when there is nothing."""
        if not self.one("SELECT count(*) FROM articles"):
            return [], []
        articles, lists = (self.db.folder / name for name in ("a.csv", "l.csv"))
        export_csv(self.db, articles, lists)
        return rows_of(articles), rows_of(lists)


def rows_of(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]


def graphql_subject(cursor: str, list_id: str = LIST) -> str:
    return f"{HOST}/_/graphql#{list_id}:{cursor}"
