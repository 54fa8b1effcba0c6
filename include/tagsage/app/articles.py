"""One article: its text, its lists, its tags, and the evidence for them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, select

from tagsage.app.search import known_author, own_tags
from tagsage.corpus.fields import DEFAULT_DATE_S
from tagsage.corpus.keys import parse_address
from tagsage.store.tables import (
    ARTICLE_TAGS,
    ARTICLES,
    EXPLANATION_PARTS,
    EXPLANATIONS,
    LIST_TAGS,
    LISTS,
    MEMBERSHIPS,
    PREDICTIONS,
    TAGS,
)

LISTS_SHOWN = 20
# An article's page shows the assigned tags, and so many of the best.
BEST_TAGS = 10
# The page shows the evidence for so many of them.
EXPLAINED = 5
EVIDENCE_LISTS = 5
EVIDENCE_ARTICLES = 5
EVIDENCE_WORDS = 12
# Co-listed articles with the tag are searched in so many of the smallest lists.
SEARCHED_LISTS = 12
SEARCHED_MEMBERS = 500


@dataclass(frozen=True)
class InList:
    """A list that holds the article."""

    name: str
    size: int
    tagged: int  # articles that came with tags
    with_tag: int = 0  # those with the tag in question
    drop: float | None = None  # what the score loses without the list


@dataclass(frozen=True)
class Neighbour:
    """Another article that is evidence for a tag; `shared` is 0 when it was found by its text."""

    key: str  # empty when the store lacks it
    title: str
    shared: int = 0
    similarity: float | None = None  # cosine of the vectors
    has_tag: bool = True


@dataclass(frozen=True)
class Evidence:
    """The evidence for a tag of an article.

    `counted_lists` counts its lists that hold an article with the tag; over all its lists,
    `with_tag` members have the tag and `tagged` have any. `lists` has the strongest evidence;
    `articles` with the tag share lists with it, those of small lists first. The rest is the model's
    explanation (:class:`tagsage.explain.explanation.Explanation`).
    """

    counted_lists: int
    with_tag: int
    tagged: int
    lists: Sequence[InList]
    articles: Sequence[Neighbour]
    texts: Sequence[Neighbour] = ()
    words: Sequence[Mapping[str, Any]] = ()
    terms: Sequence[Mapping[str, Any]] = ()
    score: float | None = None
    score_without_graph: float | None = None

    @property
    def is_explained(self) -> bool:
        """Whether the model explained the tag; otherwise only the lists were counted."""
        return self.score_without_graph is not None or bool(self.words or self.texts)


@dataclass(frozen=True)
class PredictedTag:
    """A tag predicted for the article; only the best ones have evidence."""

    tag: str
    score: float
    assigned: bool
    threshold: float | None
    evidence: Evidence | None


@dataclass(frozen=True)
class Article:
    """What an article's page shows; texts may hold anything.

    `lists` has at most :data:`LISTS_SHOWN` of its `n_lists`: those with tagged articles first.
    """

    key: str
    url: str
    title: str
    subtitle: str
    author: str
    date: str
    is_stub: bool
    n_lists: int
    tags: Sequence[str]
    predicted: Sequence[PredictedTag]
    lists: Sequence[InList]


def find_article(connection: Connection, key: str) -> Article | None:
    """Return an article by its key or address; None when the store has none."""
    row = _article_row(connection, key)
    if row is None and (address := parse_address(key)):
        row = _article_row(connection, address.key)
    if row is None:
        return None
    number, seconds = row["id"], row["date"]
    known_date = seconds != DEFAULT_DATE_S
    return Article(
        **{name: row[name] for name in ("key", "url", "title", "subtitle", "n_lists")},
        author=known_author(row["author"]),
        date=f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}" if known_date else "",
        is_stub=bool(row["is_stub"]),
        tags=own_tags(connection, number),
        predicted=_predicted(connection, number),
        lists=_lists(connection, number),
    )


def _article_row(connection: Connection, key: str) -> RowMapping | None:
    query = select(ARTICLES).where(ARTICLES.c.key == key)
    return connection.execute(query).mappings().one_or_none()


def _lists(connection: Connection, article: int) -> list[InList]:
    rows = connection.execute(
        select(LISTS.c.name, LISTS.c.size, LISTS.c.tagged)
        .join(MEMBERSHIPS, MEMBERSHIPS.c.list_id == LISTS.c.id)
        .where(MEMBERSHIPS.c.article_id == article)
        .order_by(LISTS.c.tagged == 0, LISTS.c.size, LISTS.c.name)
        .limit(LISTS_SHOWN)
    )
    return [InList(*row) for row in rows]


def _predicted(connection: Connection, article: int) -> list[PredictedTag]:
    columns = PREDICTIONS.c
    rows = connection.execute(
        select(TAGS.c.id, TAGS.c.name, columns.score, columns.assigned, columns.threshold)
        .join(PREDICTIONS, columns.tag_id == TAGS.c.id)
        .where(columns.article_id == article)
        .order_by(columns.score.desc(), TAGS.c.name)
    ).all()
    rows = [row for place, row in enumerate(rows) if row.assigned or place < BEST_TAGS]
    # The assigned ones come first, because these need checking.
    explained = {row.id for row in sorted(rows, key=lambda row: not row.assigned)[:EXPLAINED]}
    return [
        PredictedTag(
            row.name,
            row.score,
            bool(row.assigned),
            row.threshold,
            _evidence(connection, article, row.id) if row.id in explained else None,
        )
        for row in rows
    ]


def _evidence(connection: Connection, article: int, tag: int) -> Evidence:
    with_tag = and_(LIST_TAGS.c.list_id == LISTS.c.id, LIST_TAGS.c.tag_id == tag)
    counted = connection.execute(
        select(LISTS.c.id, LISTS.c.name, LISTS.c.size, LISTS.c.tagged, LIST_TAGS.c.articles)
        .join(MEMBERSHIPS, MEMBERSHIPS.c.list_id == LISTS.c.id)
        .join(LIST_TAGS, with_tag, isouter=True)
        .where(MEMBERSHIPS.c.article_id == article)
    ).all()
    holding = sorted(
        (row for row in counted if row.articles),
        key=lambda row: (-row.articles / row.tagged, -row.articles, row.name),
    )
    found = Evidence(
        counted_lists=len(holding),
        with_tag=sum(row.articles for row in holding),
        tagged=sum(row.tagged for row in counted),
        lists=[
            InList(row.name, row.size, row.tagged, row.articles) for row in holding[:EVIDENCE_LISTS]
        ],
        articles=_co_listed(connection, article, tag, {row.id: row.size for row in holding}),
    )
    key = (EXPLANATIONS.c.article_id == article, EXPLANATIONS.c.tag_id == tag)
    row = connection.execute(select(EXPLANATIONS).where(*key)).mappings().one_or_none()
    return found if row is None else _explained(connection, row, found)


def _co_listed(
    connection: Connection, article: int, tag: int, sizes: dict[int, int]
) -> list[Neighbour]:
    """Return articles with the tag in the same lists; a small list counts more than a large one."""
    near = sorted((size, number) for number, size in sizes.items() if size <= SEARCHED_MEMBERS)
    lists = [number for _, number in near[:SEARCHED_LISTS]]
    own = and_(ARTICLE_TAGS.c.article_id == MEMBERSHIPS.c.article_id, ARTICLE_TAGS.c.tag_id == tag)
    members = connection.execute(
        select(MEMBERSHIPS.c.article_id, MEMBERSHIPS.c.list_id)
        .join(ARTICLE_TAGS, own)
        .where(MEMBERSHIPS.c.list_id.in_(lists), MEMBERSHIPS.c.article_id != article)
    ).all()
    weight: dict[int, float] = {}
    for other, number in members:
        weight[other] = weight.get(other, 0.0) + 1 / sizes[number]
    shared = Counter(other for other, _ in members)
    best = sorted(weight, key=lambda other: (-weight[other], other))[:EVIDENCE_ARTICLES]
    query = select(ARTICLES.c.id, ARTICLES.c.key, ARTICLES.c.title).where(ARTICLES.c.id.in_(best))
    texts = {row.id: row for row in connection.execute(query)}
    return [Neighbour(texts[other].key, texts[other].title, shared=shared[other]) for other in best]


def _explained(connection: Connection, row: RowMapping, counted: Evidence) -> Evidence:
    """Join the model's explanation and the counted evidence; the former comes first."""
    lists, articles, texts, words, terms = (json.loads(row[part]) for part in EXPLANATION_PARTS)
    return replace(
        counted,
        lists=[
            InList(one["list"], one["size"], one["labelled"], one["with_tag"], one["drop"])
            for one in lists[:EVIDENCE_LISTS]
        ]
        or counted.lists,
        articles=[
            Neighbour(_key(connection, one["story"]), one["title"], shared=len(one["lists"]))
            for one in articles[:EVIDENCE_ARTICLES]
        ]
        or counted.articles,
        texts=[
            Neighbour(
                _key(connection, one["story"]),
                one["title"],
                similarity=one["similarity"],
                has_tag=one["has_tag"],
            )
            for one in texts[:EVIDENCE_ARTICLES]
        ],
        words=words[:EVIDENCE_WORDS],
        terms=terms,
        score=row["score"],
        score_without_graph=row["score_without_graph"],
    )


def _key(connection: Connection, story: str) -> str:
    address = parse_address(story)
    row = _article_row(connection, address.key) if address else None
    return "" if row is None else str(row["key"])
