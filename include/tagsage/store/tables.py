"""The tables of the SQL store: the corpus, what a model says of it, and what the pages show."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

METADATA = MetaData()


def _reference(name: str, target: str, *, in_key: bool = True) -> Column[int]:
    key = ForeignKey(f"{target}.id", ondelete="CASCADE")
    return Column(name, Integer, key, primary_key=in_key, nullable=False)


def _table(name: str, *parts: Column[int] | Column[str] | Column[float] | Column[bool]) -> Table:
    """Return a table; one that joins two others has no rowid in SQLite, only its key."""
    return Table(name, METADATA, *parts, sqlite_with_rowid="id" in {part.name for part in parts})


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


# -- the corpus ----------------------------------------------------------------------------------

ARTICLES = _table(
    "articles",
    Column("id", Integer, primary_key=True, autoincrement=False),
    *(_text(name) for name in ("key", "url", "title", "subtitle", "author")),
    Column("date", BigInteger, nullable=False),  # seconds since 1970, UTC
    Column("is_stub", Boolean, nullable=False),  # known only as a member of lists
    *(_count(name) for name in ("n_tags", "n_lists")),
)
LISTS = _table(
    "lists",
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("name"),
    *(_count(name) for name in ("size", "tagged")),  # articles; those that came with tags
)
MEMBERSHIPS = _table(
    "memberships", _reference("article_id", "articles"), _reference("list_id", "lists")
)
TAGS = _table(
    "tags",
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("name"),
    # The other columns are published with a run.
    Column("is_target", Boolean, nullable=False, server_default="0"),
    *(_count(name) for name in ("n_articles", "n_assigned")),
    *(Column(name, Float) for name in ("f1", "precision", "recall", "average_precision")),
    *(Column(name, Integer) for name in ("support", "predicted")),
)
ARTICLE_TAGS = _table(
    "article_tags",
    _reference("article_id", "articles"),
    _reference("tag_id", "tags"),
    Column("position", Integer, nullable=False),
)

# -- what a model says ---------------------------------------------------------------------------

MAKERS = _table(
    "makers",
    Column("id", Integer, primary_key=True, autoincrement=False),
    *(_text(name) for name in ("run_id", "model_version")),
)


def _predictions(name: str) -> Table:
    return _table(
        name,
        _reference("article_id", "articles"),
        _reference("tag_id", "tags"),
        Column("score", Float, nullable=False),
        Column("assigned", Integer, nullable=False),
        Column("threshold", Float),
        _reference("maker_id", "makers", in_key=False),
    )


PREDICTIONS = _predictions("predictions")
SUGGESTIONS = _predictions("suggestions")

# -- what is published with a run, for the pages -------------------------------------------------

LIST_TAGS = _table(
    "list_tags", _reference("list_id", "lists"), _reference("tag_id", "tags"), _count("articles")
)
EXPLANATION_PARTS = ("lists", "articles", "texts", "words", "terms")
EXPLANATIONS = _table(
    "explanations",
    _reference("article_id", "articles"),
    _reference("tag_id", "tags"),
    *(Column(name, Float) for name in ("score", "score_without_graph")),
    *(_text(name) for name in EXPLANATION_PARTS),  # JSON lists
)
RUNS = _table(
    "runs",
    Column("run_id", Text, primary_key=True),
    _text("at"),  # when it began; ISO 8601
    _text("entry"),  # JSON
)
FACTS = _table("facts", Column("name", Text, primary_key=True), _text("value"))  # JSON

# Texts may be longer than a B-tree of Postgres takes; a hash takes any.
for _column in (ARTICLES.c.key, ARTICLES.c.url, LISTS.c.name, TAGS.c.name):
    Index(f"{_column.table.name}_{_column.name}", _column, postgresql_using="hash")
Index("articles_best_known", ARTICLES.c.n_lists.desc(), ARTICLES.c.id)
Index("memberships_list", MEMBERSHIPS.c.list_id, MEMBERSHIPS.c.article_id)
Index("article_tags_tag", ARTICLE_TAGS.c.tag_id, ARTICLE_TAGS.c.article_id)
Index(
    "predictions_tag",
    *(PREDICTIONS.c[name] for name in ("tag_id", "assigned", "score", "article_id")),
)
Index("suggestions_tag", SUGGESTIONS.c.tag_id)
Index("explanations_tag", EXPLANATIONS.c.tag_id)
Index("list_tags_tag", LIST_TAGS.c.tag_id)
