"""One article: its text, its lists, its tags, and what speaks for them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tagsage.corpus.keys import parse_address

LISTS_SHOWN = 20
# So many of the predicted tags are explained.
EXPLAINED = 5
EVIDENCE_LISTS = 5
EVIDENCE_ARTICLES = 5
# Among the members of so many lists, the smallest that have one, labelled articles are looked for.
SEARCHED_LISTS = 12
SEARCHED_MEMBERS = 500


@dataclass(frozen=True)
class InList:
    """A list that holds the article.

    Attributes
    ----------
    name : str
        Its name.
    size : int
        How many articles it holds.
    tagged : int
        How many of them came with tags.
    with_tag : int
        How many of those have the tag in question.
    drop : float or None
        What the score loses without the list, where that was worked out.
    """

    name: str
    size: int
    tagged: int
    with_tag: int = 0
    drop: float | None = None


@dataclass(frozen=True)
class Neighbour:
    """Another article that speaks for a tag.

    Attributes
    ----------
    key : str
        Its key; empty when it is not in the catalogue.
    title : str
        Its title.
    shared : int
        How many lists it shares with the article; 0 when it was found by its text.
    similarity : float or None
        Cosine of the texts' vectors.
    has_tag : bool
        Whether it has the tag.
    """

    key: str
    title: str
    shared: int = 0
    similarity: float | None = None
    has_tag: bool = True


@dataclass(frozen=True)
class Word:
    """A word of the text, and what the score loses without it."""

    word: str
    drop: float


@dataclass(frozen=True)
class Term:
    """A part of the sum that a linear model's score is.

    Attributes
    ----------
    kind : str
        ``start``, ``word``, ``list``, ``author`` or ``others``.
    name : str
        The word, the list, the author.
    log_odds : float
        What it adds.
    """

    kind: str
    name: str
    log_odds: float


@dataclass(frozen=True)
class Evidence:
    """What speaks for a tag of an article.

    Attributes
    ----------
    counted_lists : int
        How many of the article's lists hold an article with the tag.
    with_tag, tagged : int
        Over all its lists: members with the tag, members with any tag.
    lists : sequence of InList
        Those that speak most for the tag.
    articles : sequence of Neighbour
        Articles with the tag that share lists with it, those of small lists first.
    texts : sequence of Neighbour
        Labelled articles with the nearest texts; empty without an explanation.
    words : sequence of Word
        The words that matter; empty without an explanation.
    terms : sequence of Term
        What adds up to the log-odds of a linear model's score; empty for other models.
    score, score_without_graph : float or None
        What the model said, and what it says of the text alone.
    """

    counted_lists: int = 0
    with_tag: int = 0
    tagged: int = 0
    lists: Sequence[InList] = ()
    articles: Sequence[Neighbour] = ()
    texts: Sequence[Neighbour] = ()
    words: Sequence[Word] = ()
    terms: Sequence[Term] = ()
    score: float | None = None
    score_without_graph: float | None = None

    @property
    def is_explained(self) -> bool:
        """Whether the model was asked, and not only the lists were counted."""
        return self.score_without_graph is not None or bool(self.words or self.texts)


@dataclass(frozen=True)
class PredictedTag:
    """A tag proposed for the article.

    Attributes
    ----------
    tag : str
        The tag.
    score : float
        Its probability.
    assigned : bool
        Whether the score reaches the threshold.
    threshold : float
        What the score has to reach: the tag's threshold for articles in lists, or in none.
    evidence : Evidence or None
        What speaks for it; None for all but the best.
    """

    tag: str
    score: float
    assigned: bool
    threshold: float
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Article:
    """All that a page tells of an article.

    Attributes
    ----------
    key, url, title, subtitle, author, date : str
        Its text and where it is; may hold anything. The date is ``YYYY-MM-DD`` or empty.
    is_stub : bool
        Whether it is known only from lists.
    tags : sequence of str
        Those that it came with.
    predicted : sequence of PredictedTag
        Those proposed for it, the best first.
    lists : sequence of InList
        Those that hold it: first those with tagged articles, the smallest first;
        :data:`LISTS_SHOWN` at most.
    n_lists : int
        How many hold it.
    """

    key: str
    url: str
    title: str
    subtitle: str
    author: str
    date: str
    is_stub: bool
    n_lists: int
    tags: Sequence[str] = field(default=())
    predicted: Sequence[PredictedTag] = field(default=())
    lists: Sequence[InList] = field(default=())


def find_article(connection: sqlite3.Connection, key: str) -> Article | None:
    """Return an article by its key or address; None when the catalogue has none."""
    row = _article_row(connection, key)
    if row is None and (address := parse_address(key)):
        row = _article_row(connection, address.key)
    if row is None:
        return None
    number = row["id"]
    tags = connection.execute(
        "SELECT tags.tag FROM article_tags t JOIN tags ON tags.id = t.tag_id "
        "WHERE t.article_id = ? ORDER BY t.position",
        (number,),
    )
    return Article(
        key=row["key"],
        url=row["url"],
        title=row["title"],
        subtitle=row["subtitle"],
        author=row["author"],
        date=row["date"],
        is_stub=bool(row["is_stub"]),
        n_lists=row["n_lists"],
        tags=[one["tag"] for one in tags],
        predicted=_predicted(connection, number),
        lists=_lists(connection, number),
    )


def _article_row(connection: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(
        "SELECT * FROM articles WHERE key = ?", (key,)
    ).fetchone()
    return found


def _lists(connection: sqlite3.Connection, article: int) -> list[InList]:
    rows = connection.execute(
        "SELECT l.name, l.size, l.tagged FROM memberships m JOIN lists l ON l.id = m.list_id "
        "WHERE m.article_id = ? ORDER BY l.tagged = 0, l.size, l.id LIMIT ?",
        (article, LISTS_SHOWN),
    )
    return [InList(row["name"], row["size"], row["tagged"]) for row in rows]


def _predicted(connection: sqlite3.Connection, article: int) -> list[PredictedTag]:
    rows = connection.execute(
        "SELECT p.tag_id, tags.tag, p.score, p.assigned, p.threshold FROM predictions p "
        "JOIN tags ON tags.id = p.tag_id WHERE p.article_id = ? ORDER BY p.position",
        (article,),
    ).fetchall()
    # Those that were assigned first: they are the ones to be doubted.
    order = sorted(range(len(rows)), key=lambda place: (not rows[place]["assigned"], place))
    explained = set(order[:EXPLAINED])
    return [
        PredictedTag(
            row["tag"],
            row["score"],
            bool(row["assigned"]),
            row["threshold"],
            _evidence(connection, article, row["tag_id"]) if place in explained else None,
        )
        for place, row in enumerate(rows)
    ]


def _evidence(connection: sqlite3.Connection, article: int, tag: int) -> Evidence:
    """Count in the article's lists, and add what the model was asked, where it was."""
    # CROSS JOIN: from the article's lists, however few lists have the tag.
    counted = connection.execute(
        "SELECT l.name, l.size, l.tagged, coalesce(t.articles, 0) AS with_tag "
        "FROM memberships m CROSS JOIN lists l ON l.id = m.list_id "
        "LEFT JOIN list_tags t ON t.list_id = l.id AND t.tag_id = :tag "
        "WHERE m.article_id = :article",
        {"article": article, "tag": tag},
    ).fetchall()
    best = sorted(
        (row for row in counted if row["with_tag"]),
        key=lambda row: (-row["with_tag"] / row["tagged"], -row["with_tag"], row["name"]),
    )
    found = Evidence(
        counted_lists=len(best),
        with_tag=sum(row["with_tag"] for row in counted),
        tagged=sum(row["tagged"] for row in counted),
        lists=[
            InList(row["name"], row["size"], row["tagged"], row["with_tag"])
            for row in best[:EVIDENCE_LISTS]
        ],
        articles=_co_listed(connection, article, tag) if best else (),
    )
    row = connection.execute(
        "SELECT * FROM explanations WHERE article_id = ? AND tag_id = ?", (article, tag)
    ).fetchone()
    return found if row is None else _explained(connection, row, found)


def _co_listed(connection: sqlite3.Connection, article: int, tag: int) -> list[Neighbour]:
    rows = connection.execute(
        "WITH near AS ("
        "  SELECT l.id, l.size FROM memberships m CROSS JOIN lists l ON l.id = m.list_id"
        "  CROSS JOIN list_tags n ON n.list_id = l.id AND n.tag_id = :tag"
        "  WHERE m.article_id = :article AND l.size <= :members ORDER BY l.size, l.id LIMIT :lists"
        ") "
        "SELECT a.key, a.title, count(*) AS shared FROM near "
        "CROSS JOIN memberships o ON o.list_id = near.id "
        "CROSS JOIN article_tags t ON t.tag_id = :tag AND t.article_id = o.article_id "
        "CROSS JOIN articles a ON a.id = o.article_id "
        "WHERE o.article_id <> :article GROUP BY a.id "
        "ORDER BY sum(1.0 / near.size) DESC, a.id LIMIT :shown",
        {
            "article": article,
            "tag": tag,
            "members": SEARCHED_MEMBERS,
            "lists": SEARCHED_LISTS,
            "shown": EVIDENCE_ARTICLES,
        },
    )
    return [Neighbour(row["key"], row["title"], row["shared"]) for row in rows]


def _explained(connection: sqlite3.Connection, row: sqlite3.Row, counted: Evidence) -> Evidence:
    """Join what the model was asked to what was counted; the former comes first."""
    lists = [
        InList(
            str(one.get("list", "")),
            int(one.get("size", 0)),
            int(one.get("labelled", 0)),
            int(one.get("with_tag", 0)),
            _number(one.get("drop")),
        )
        for one in _parts(row["lists"])
    ]
    articles = [
        Neighbour(
            _key(connection, one), str(one.get("title", "")), shared=len(one.get("lists") or ())
        )
        for one in _parts(row["articles"])
    ]
    texts = [
        Neighbour(
            _key(connection, one),
            str(one.get("title", "")),
            similarity=_number(one.get("similarity")),
            has_tag=bool(one.get("has_tag")),
        )
        for one in _parts(row["texts"])
    ]
    words = [
        Word(str(one.get("word", "")), _number(one.get("drop")) or 0.0)
        for one in _parts(row["words"])
    ]
    terms = [
        Term(
            str(one.get("kind", "")), str(one.get("name", "")), _number(one.get("log_odds")) or 0.0
        )
        for one in _parts(row["terms"])
    ]
    return Evidence(
        counted_lists=counted.counted_lists,
        with_tag=counted.with_tag,
        tagged=counted.tagged,
        lists=lists[:EVIDENCE_LISTS] or counted.lists,
        articles=articles[:EVIDENCE_ARTICLES] or counted.articles,
        texts=texts[:EVIDENCE_ARTICLES],
        words=words[:12],
        terms=terms,
        score=row["score"],
        score_without_graph=row["score_without_graph"],
    )


def _parts(text: str) -> list[dict[str, Any]]:
    """Return a list of mappings kept as JSON; empty for anything else."""
    try:
        parts = json.loads(text)
    except ValueError:
        return []
    return [one for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _key(connection: sqlite3.Connection, one: dict[str, Any]) -> str:
    address = parse_address(str(one.get("story", "")))
    row = _article_row(connection, address.key) if address else None
    return "" if row is None else str(row["key"])
