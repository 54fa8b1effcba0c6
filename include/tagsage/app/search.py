"""Finding articles: by words, by tag, by address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select, text

from tagsage.corpus.fields import UNKNOWN_AUTHOR
from tagsage.corpus.keys import parse_address
from tagsage.store import full_text
from tagsage.store.tables import ARTICLE_TAGS, ARTICLES, PREDICTIONS, TAGS

PAGE_SIZE = 20
# Up to so many hits are counted and sorted by relevance.
COUNTED = 2000
TAGS_SHOWN = 5

# The articles of a rare tag are gathered first. For a frequent one, all articles are searched
# until enough are found.
FREQUENT = 4 * COUNTED
_WITH_RARE_TAG = (
    "a.id IN (SELECT article_id FROM article_tags WHERE tag_id = :tag UNION "
    "SELECT article_id FROM predictions WHERE tag_id = :tag AND assigned = 1)"
)
_WITH_FREQUENT_TAG = (
    "(EXISTS (SELECT 1 FROM article_tags t WHERE t.article_id = a.id AND t.tag_id = :tag) OR "
    "EXISTS (SELECT 1 FROM predictions p "
    "WHERE p.article_id = a.id AND p.tag_id = :tag AND p.assigned = 1))"
)
_IN_STATE = {"all": "NOT a.is_stub", "untagged": "a.n_tags = 0", "tagged": "a.n_tags > 0"}

State = Literal["all", "untagged", "tagged"]


@dataclass(frozen=True)
class Query:
    """What to search for: words, their beginnings, or an article's address."""

    text: str = ""  # empty: any article
    state: State = "all"  # whether it came with tags
    tag: str = ""  # one that it has or was assigned
    page: int = 1  # from 1


@dataclass(frozen=True)
class ShownTag:
    """A tag in a list of articles; it has no score when the article came with it."""

    tag: str
    score: float | None = None


@dataclass(frozen=True)
class Hit:
    """An article in a list of articles.

    Texts may hold anything. `tags` are its own or, when it came without (`untagged`), those
    assigned to it. Lists of one tag's articles have its `score` and the `threshold`.
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
    """A page of at most :data:`PAGE_SIZE` articles; `total` is counted up to :data:`COUNTED`."""

    hits: Sequence[Hit]
    total: int
    more: bool
    pages: int


_NOTHING = Found([], 0, more=False, pages=0)


def search_articles(connection: Connection, query: Query) -> Found:
    """Find the articles in which every word begins a word of title, subtitle, author or tags.

    Up to :data:`COUNTED` hits are sorted by relevance; of more, those in most lists come first.
    """
    if by_address := _by_address(connection, query.text):
        return Found(hits_of(connection, [by_address]), 1, more=False, pages=1)
    words = full_text.match(connection, query.text)
    if query.text.strip() and words is None:
        return _NOTHING
    source, wheres = "articles a", ["NOT a.is_stub", _IN_STATE[query.state]]
    values: dict[str, Any] = {}
    if words:
        source = "search JOIN articles a ON a.id = search.rowid"
        wheres.append(words.condition)
        values["match"] = words.value
    if query.tag:
        columns = (TAGS.c.id, TAGS.c.n_articles + TAGS.c.n_assigned)
        tag = connection.execute(select(*columns).where(TAGS.c.name == query.tag)).one_or_none()
        if tag is None:
            return _NOTHING
        values["tag"], articles = tag
        wheres.append(_WITH_FREQUENT_TAG if articles > FREQUENT else _WITH_RARE_TAG)
    # The parts are fixed texts of this module; what a person typed is bound.
    chosen = f"SELECT a.id FROM {source} WHERE {' AND '.join(wheres)}"  # ruff: ignore[hardcoded-sql-expression]

    def ids_by(order: str, limit: int) -> list[int]:
        ordered = text(f"{chosen} ORDER BY {order} LIMIT {limit}")
        return list(connection.execute(ordered, values).scalars())

    ids = ids_by("a.n_lists DESC, a.id", COUNTED + 1)
    more, total = len(ids) > COUNTED, min(len(ids), COUNTED)
    shown = slice(PAGE_SIZE * (query.page - 1), min(PAGE_SIZE * query.page, COUNTED))
    if words and not more and shown.start < total:
        ids = ids_by(words.order, shown.stop)
    return Found(hits_of(connection, ids[shown]), total, more, -(-total // PAGE_SIZE))


def _by_address(connection: Connection, typed: str) -> int | None:
    address = parse_address(typed) if "/" in typed else None
    if address is None:
        return None
    query = select(ARTICLES.c.id).where(ARTICLES.c.key == address.key)
    return connection.execute(query).scalars().first()


def hits_of(
    connection: Connection,
    ids: Sequence[int],
    scores: Mapping[int, tuple[float, float | None]] | None = None,
) -> list[Hit]:
    """Return articles by id, in the order given, with a score and a threshold where they have."""
    rows = connection.execute(select(ARTICLES).where(ARTICLES.c.id.in_(ids))).mappings()
    by_id = {row["id"]: row for row in rows}
    hits = []
    for number in ids:
        row = by_id[number]
        score, threshold = (scores or {}).get(number, (None, None))
        hits.append(
            Hit(
                key=row["key"],
                title=row["title"],
                subtitle=row["subtitle"],
                author=known_author(row["author"]),
                lists=row["n_lists"],
                tags=_tags_of(connection, number, untagged=not row["n_tags"]),
                untagged=not row["n_tags"],
                score=score,
                threshold=threshold,
            )
        )
    return hits


def _tags_of(connection: Connection, article: int, *, untagged: bool) -> list[ShownTag]:
    if untagged:
        columns = PREDICTIONS.c
        query = (
            select(TAGS.c.name, columns.score)
            .join(PREDICTIONS, columns.tag_id == TAGS.c.id)
            .where(columns.article_id == article, columns.assigned == 1)
            .order_by(columns.score.desc(), TAGS.c.name)
        )
        return [ShownTag(*row) for row in connection.execute(query.limit(TAGS_SHOWN))]
    return [ShownTag(tag) for tag in own_tags(connection, article)[:TAGS_SHOWN]]


def own_tags(connection: Connection, article: int) -> list[str]:
    """Return the tags that an article came with, in their order."""
    query = (
        select(TAGS.c.name)
        .join(ARTICLE_TAGS, ARTICLE_TAGS.c.tag_id == TAGS.c.id)
        .where(ARTICLE_TAGS.c.article_id == article)
        .order_by(ARTICLE_TAGS.c.position)
    )
    return list(connection.execute(query).scalars())


def known_author(name: str) -> str:
    """Return an author's name; empty for the one that stands for a missing author."""
    return "" if name == UNKNOWN_AUTHOR else name
