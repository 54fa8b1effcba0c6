"""Full-text search over articles: FTS5 in SQLite, ``tsvector`` in Postgres."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

TABLE = "search"
# Only so many words of a query count, the first.
MOST_WORDS = 32

_CREATE = {
    "sqlite": (
        """
        CREATE VIRTUAL TABLE search USING fts5(
            title, subtitle, author, tags,
            content = '', prefix = '2 3', tokenize = "unicode61 remove_diacritics 2"
        )
        """,
    ),
    "postgresql": (
        "CREATE TABLE search (rowid INTEGER PRIMARY KEY, document TSVECTOR NOT NULL)",
        "CREATE INDEX search_document ON search USING gin (document)",
    ),
}
_CLEAR = {
    "sqlite": "INSERT INTO search (search) VALUES ('delete-all')",
    "postgresql": "DELETE FROM search",
}
# An article is found by the tags that it has, and by those that were assigned to it.
_ROWS = """
    SELECT a.id, a.title, a.subtitle, a.author, coalesce((
        SELECT {joined} FROM tags t WHERE t.id IN (
            SELECT tag_id FROM article_tags WHERE article_id = a.id
            UNION SELECT tag_id FROM predictions WHERE article_id = a.id AND assigned = 1
        )
    ), '') AS tags
    FROM articles a WHERE NOT a.is_stub
"""
_FILL = {
    "sqlite": "INSERT INTO search (rowid, title, subtitle, author, tags) "
    + _ROWS.format(joined="group_concat(t.name, ' ')"),
    # A document has at most a megabyte.
    "postgresql": "INSERT INTO search (rowid, document) SELECT id, "
    "setweight(to_tsvector('simple', left(title, 10000)), 'A') || "
    "setweight(to_tsvector('simple', left(subtitle, 10000)), 'B') || "
    "setweight(to_tsvector('simple', left(author, 1000)), 'C') || "
    "setweight(to_tsvector('simple', left(tags, 10000)), 'B') "
    "FROM (" + _ROWS.format(joined="string_agg(t.name, ' ')") + ") rows",
}


@dataclass(frozen=True)
class Match:
    """How a query searches for words; ``:match`` stands for `value`."""

    condition: str
    order: str
    value: str


def create(connection: Connection) -> None:
    """Make the table that is searched."""
    for statement in _CREATE[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def fill(connection: Connection) -> None:
    """Index all articles anew."""
    connection.execute(text(_CLEAR[connection.dialect.name]))
    connection.exec_driver_sql(_FILL[connection.dialect.name])


def match(connection: Connection, typed: str) -> Match | None:
    """Return how to find articles by what somebody typed; None when it holds no word.

    Every word must begin a word of the title, the subtitle, the author's name or a tag. Words are
    quoted, so that none is read as the database's query syntax.
    """
    words = [word for word in typed.replace("\0", " ").split() if any(map(str.isalnum, word))]
    words = words[:MOST_WORDS]
    if not words:
        return None
    if connection.dialect.name == "sqlite":
        quoted = (word.replace('"', '""') for word in words)
        return Match(
            "search MATCH :match",
            "bm25(search, 10, 4, 2, 4), search.rowid",
            " ".join(f'"{word}"*' for word in quoted),
        )
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in words)
    query = "to_tsquery('simple', :match)"
    return Match(
        f"search.document @@ {query}",
        f"ts_rank(search.document, {query}) DESC, search.rowid",
        " & ".join(f"'{word}':*" for word in quoted),
    )
