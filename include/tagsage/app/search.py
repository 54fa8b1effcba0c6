"""Finding articles: by words, by tag, by address."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tagsage.corpus.keys import parse_address

MOST_WORDS = 32
PAGE_SIZE = 20
# Up to so many hits are counted and sorted; beyond, the best known articles come first.
COUNTED = 2000
TAGS_SHOWN = 5

# A tag of more articles is looked for article by article, which ends when enough are found; the
# articles of others are gathered first.
FREQUENT = 4 * COUNTED

_WITH_TAG = (
    "a.id IN (SELECT article_id FROM article_tags WHERE tag_id = :tag UNION "
    "SELECT article_id FROM predictions WHERE tag_id = :tag AND assigned = 1)"
)
_WITH_FREQUENT_TAG = (
    "(EXISTS (SELECT 1 FROM article_tags t WHERE t.article_id = a.id AND +t.tag_id = :tag) OR "
    "EXISTS (SELECT 1 FROM predictions p "
    "WHERE p.article_id = a.id AND +p.tag_id = :tag AND +p.assigned = 1))"
)

State = Literal["all", "untagged", "tagged"]


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes
    ----------
    text : str
        Words, the beginnings of words, or an article's address; empty: any article.
    state : {"all", "untagged", "tagged"}
        Whether the article came without tags, or with some.
    tag : str
        A tag that the article has or was assigned; empty: any.
    page : int
        From 1.
    """

    text: str = ""
    state: State = "all"
    tag: str = ""
    page: int = 1


@dataclass(frozen=True)
class ShownTag:
    """A tag as a list of articles shows it.

    Attributes
    ----------
    tag : str
        The tag.
    score : float or None
        Its probability; None when the article came with the tag.
    """

    tag: str
    score: float | None = None


@dataclass(frozen=True)
class Hit:
    """An article in a list of articles.

    Attributes
    ----------
    key : str
        Names the article in the pages' addresses.
    title, subtitle, author : str
        Its text; may hold anything.
    lists : int
        How many lists hold it.
    tags : sequence of ShownTag
        Its own tags; those assigned to it, when it came without.
    untagged : bool
        Whether it came without tags.
    score : float or None
        Its score where the articles of one tag are listed.
    threshold : float or None
        What that has to reach.
    """

    key: str
    title: str
    subtitle: str
    author: str
    lists: int
    tags: Sequence[ShownTag]
    untagged: bool
    score: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Found:
    """A page of what was found.

    Attributes
    ----------
    hits : sequence of Hit
        At most :data:`PAGE_SIZE`.
    total : int
        How many there are, counted up to :data:`COUNTED`.
    more : bool
        Whether there are more than were counted.
    pages : int
        How many pages can be looked at.
    """

    hits: Sequence[Hit]
    total: int
    more: bool
    pages: int


def search_articles(connection: sqlite3.Connection, query: Query) -> Found:
    """Find articles.

    Every word must begin a word of the title, the subtitle, the author's name or the tags. Up to
    :data:`COUNTED` hits are sorted by relevance (BM25, the title counting most); when there are
    more, those in most lists come first, and counting stops.

    Parameters
    ----------
    connection : sqlite3.Connection
        A catalogue.
    query : Query
        What is looked for.

    Returns
    -------
    Found
        The page asked for; empty beyond the last.
    """
    address = parse_address(query.text) if "/" in query.text else None
    if address and (by_key := _hits(connection, "a.key = :key", {"key": address.key})):
        return Found(by_key, 1, more=False, pages=1)
    match = match_expression(query.text)
    if query.text.strip() and not match:
        return Found([], 0, more=False, pages=0)
    source = "articles a"
    wheres = ["NOT a.is_stub"]
    values: dict[str, Any] = {}
    if match:
        source = "search JOIN articles a ON a.id = search.rowid"
        wheres.append("search MATCH :match")
        values["match"] = match
    if query.state != "all":
        wheres.append("a.n_tags = 0" if query.state == "untagged" else "a.n_tags > 0")
    if query.tag:
        row = connection.execute(
            "SELECT id, n_articles + n_assigned AS articles FROM tags WHERE tag = ?", (query.tag,)
        ).fetchone()
        if row is None:
            return Found([], 0, more=False, pages=0)
        wheres.append(_WITH_FREQUENT_TAG if row["articles"] > FREQUENT else _WITH_TAG)
        values["tag"] = row["id"]
    number = "search.rowid" if match else "a.id"
    # The parts are fixed texts of this function; what a person typed is bound.
    chosen = f"SELECT a.id FROM {source} WHERE {' AND '.join(wheres)}"  # ruff: ignore[hardcoded-sql-expression]
    counted = connection.execute(f"{chosen} ORDER BY {number} LIMIT {COUNTED + 1}", values)
    ids = [row["id"] for row in counted]
    more = len(ids) > COUNTED
    total = min(len(ids), COUNTED)
    shown = slice(PAGE_SIZE * (query.page - 1), min(PAGE_SIZE * query.page, COUNTED))
    if match and not more and shown.start < total:
        by_relevance = connection.execute(
            f"{chosen} ORDER BY bm25(search, 10, 4, 2, 4), search.rowid LIMIT :stop",
            {**values, "stop": shown.stop},
        )
        ids = [row["id"] for row in by_relevance]
    return Found(hits_of(connection, ids[shown]), total, more, -(-total // PAGE_SIZE))


def match_expression(text: str) -> str:
    """Return a query for FTS5 that takes every word as the beginning of a word.

    Of more than :data:`MOST_WORDS` words the first count. Each is quoted, so that nothing a person
    types has a meaning in FTS5's own language.

    Examples
    --------
    >>> match_expression("graph neural*")
    '"graph"* "neural*"*'
    """
    words = [word for word in text.replace("\0", " ").split() if any(map(str.isalnum, word))]
    quoted = (word.replace('"', '""') for word in words[:MOST_WORDS])
    return " ".join(f'"{word}"*' for word in quoted)


def hits_of(
    connection: sqlite3.Connection,
    ids: Sequence[int],
    scores: Mapping[int, tuple[float, float]] | None = None,
) -> list[Hit]:
    """Return articles by id, in the order given.

    Parameters
    ----------
    connection : sqlite3.Connection
        A catalogue.
    ids : sequence of int
        A page of them.
    scores : mapping of int to (float, float), optional
        The score and threshold to show of each.
    """
    found = []
    for number in ids:
        shown = (scores or {}).get(number, (None, None))
        found += _hits(connection, "a.id = :id", {"id": number}, *shown)
    return found


def _hits(
    connection: sqlite3.Connection,
    where: str,
    values: Mapping[str, Any],
    score: float | None = None,
    threshold: float | None = None,
) -> list[Hit]:
    rows = connection.execute(
        "SELECT a.id, a.key, a.title, a.subtitle, a.author, a.n_lists, a.n_tags "  # ruff: ignore[hardcoded-sql-expression]
        f"FROM articles a WHERE {where}",
        values,
    ).fetchall()
    return [
        Hit(
            key=row["key"],
            title=row["title"],
            subtitle=row["subtitle"],
            author=row["author"],
            lists=row["n_lists"],
            tags=_tags_of(connection, row["id"], untagged=not row["n_tags"]),
            untagged=not row["n_tags"],
            score=score,
            threshold=threshold,
        )
        for row in rows
    ]


def _tags_of(connection: sqlite3.Connection, article: int, *, untagged: bool) -> list[ShownTag]:
    table = "predictions" if untagged else "article_tags"
    score = "p.score" if untagged else "NULL"
    assigned = "AND p.assigned = 1" if untagged else ""
    rows = connection.execute(
        f"SELECT tags.tag, {score} AS score FROM {table} p "  # ruff: ignore[hardcoded-sql-expression]
        f"JOIN tags ON tags.id = p.tag_id WHERE p.article_id = ? {assigned} "
        "ORDER BY p.position LIMIT ?",
        (article, TAGS_SHOWN),
    )
    return [ShownTag(row["tag"], row["score"]) for row in rows]
