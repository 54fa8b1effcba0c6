"""The tags: how well each is learned, and which articles it was given to."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tagsage.app.search import PAGE_SIZE, Hit, hits_of

TAGS_A_PAGE = 50
BEST_KNOWN = 5
NEARLY = 5
# Beyond so many pages nobody turns: they would be read over, one article after the other.
LAST_PAGE = 500

Order = Literal["name", "f1", "articles", "assigned"]
Kind = Literal["learned", "all"]

_ORDERS = {
    "name": "tag COLLATE NOCASE, id",
    "f1": "f1 IS NULL, f1 DESC, id",
    "articles": "n_articles DESC, id",
    "assigned": "n_assigned DESC, id",
}


@dataclass(frozen=True)
class TagLine:
    """A tag in numbers.

    Attributes
    ----------
    tag : str
        The tag.
    is_target : bool
        Whether it is on enough articles to be learned.
    articles : int
        How many articles came with it.
    assigned : int
        How many untagged articles it was assigned to.
    f1, precision, recall, average_precision : float or None
        On the test articles, for the run's winner; None when it is not learned.
    support, predicted : int or None
        Test articles that have it, and that it was assigned to.
    """

    tag: str
    is_target: bool
    articles: int
    assigned: int
    f1: float | None
    precision: float | None
    recall: float | None
    average_precision: float | None
    support: int | None
    predicted: int | None


@dataclass(frozen=True)
class TagPage:
    """A page of tags.

    Attributes
    ----------
    tags : sequence of TagLine
        At most :data:`TAGS_A_PAGE`.
    total : int
        How many there are in all.
    pages : int
        On how many pages.
    """

    tags: Sequence[TagLine]
    total: int
    pages: int


@dataclass(frozen=True)
class Tag:
    """All that a page tells of a tag.

    Attributes
    ----------
    line : TagLine
        Its numbers.
    assigned : sequence of Hit
        A page of the articles that it was assigned to, the surest first.
    nearly : sequence of Hit
        On the first page, articles with the highest scores that it was not assigned to.
    known : sequence of Hit
        On the first page, articles that came with it, those in most lists first.
    pages : int
        How many pages of assigned articles can be looked at.
    """

    line: TagLine
    assigned: Sequence[Hit]
    nearly: Sequence[Hit]
    known: Sequence[Hit]
    pages: int

    @property
    def reachable(self) -> int:
        """On so many pages at most so many articles."""
        return self.pages * PAGE_SIZE


def list_tags(
    connection: sqlite3.Connection,
    *,
    beginning: str = "",
    kind: Kind = "learned",
    order: Order = "assigned",
    page: int = 1,
) -> TagPage:
    """Return a page of tags.

    Parameters
    ----------
    connection : sqlite3.Connection
        A catalogue.
    beginning : str
        What the tags hold, wherever, letters of either case.
    kind : {"learned", "all"}
        Only those that are learned, or all.
    order : {"name", "f1", "articles", "assigned"}
        By name, or by a number, the highest first.
    page : int
        From 1.
    """
    where = "(NOT :learned OR is_target) AND instr(lower(tag), lower(:part)) > 0"
    values = {"learned": kind == "learned", "part": beginning.strip()}
    total = connection.execute(
        f"SELECT count(*) FROM tags WHERE {where}",  # ruff: ignore[hardcoded-sql-expression]
        values,
    ).fetchone()[0]
    rows = connection.execute(
        f"SELECT * FROM tags WHERE {where} "  # ruff: ignore[hardcoded-sql-expression]
        f"ORDER BY {_ORDERS[order]} LIMIT :limit OFFSET :offset",
        {**values, "limit": TAGS_A_PAGE, "offset": TAGS_A_PAGE * (page - 1)},
    )
    return TagPage([_line(row) for row in rows], total, -(-total // TAGS_A_PAGE))


def find_tag(connection: sqlite3.Connection, name: str, *, page: int = 1) -> Tag | None:
    """Return a tag and its articles; None when the catalogue has none of this name."""
    row = connection.execute("SELECT * FROM tags WHERE tag = ?", (name,)).fetchone()
    if row is None:
        return None
    number = row["id"]
    return Tag(
        line=_line(row),
        assigned=_predicted(
            connection, number, assigned=1, limit=PAGE_SIZE, offset=PAGE_SIZE * (page - 1)
        ),
        nearly=_predicted(connection, number, assigned=0, limit=NEARLY) if page == 1 else (),
        known=_known(connection, number) if page == 1 else (),
        pages=min(-(-row["n_assigned"] // PAGE_SIZE), LAST_PAGE),
    )


def _predicted(
    connection: sqlite3.Connection, tag: int, *, assigned: int, limit: int, offset: int = 0
) -> list[Hit]:
    rows = connection.execute(
        "SELECT article_id, score, threshold FROM predictions WHERE tag_id = ? AND assigned = ? "
        "ORDER BY score DESC, article_id DESC LIMIT ? OFFSET ?",
        (tag, assigned, limit, offset),
    ).fetchall()
    scores = {row["article_id"]: (row["score"], row["threshold"]) for row in rows}
    return hits_of(connection, list(scores), scores)


def _known(connection: sqlite3.Connection, tag: int) -> list[Hit]:
    rows = connection.execute(
        "SELECT article_id FROM article_tags WHERE tag_id = ? ORDER BY article_id LIMIT ?",
        (tag, BEST_KNOWN),
    ).fetchall()
    return hits_of(connection, [row["article_id"] for row in rows])


def _line(row: sqlite3.Row) -> TagLine:
    return TagLine(
        tag=row["tag"],
        is_target=bool(row["is_target"]),
        articles=row["n_articles"],
        assigned=row["n_assigned"],
        f1=row["f1"],
        precision=row["precision"],
        recall=row["recall"],
        average_precision=row["average_precision"],
        support=row["support"],
        predicted=row["predicted"],
    )
