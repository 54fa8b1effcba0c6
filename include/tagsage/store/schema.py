"""The SQLite store's tables, and how older files become newer ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tagsage.errors import TagsageError

APPLICATION_ID = 0x74616773  # "tags": marks the file as this program's

# Forward only: a migration, once released, is never changed; the next one goes below it.
# `PRAGMA user_version` counts those applied.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE articles (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            url TEXT NOT NULL,
            title TEXT NOT NULL,
            subtitle TEXT NOT NULL,
            author TEXT NOT NULL,
            date INTEGER NOT NULL,     -- seconds since 1970, UTC
            tags TEXT NOT NULL,        -- a JSON list
            is_stub INTEGER NOT NULL   -- 1: known only as a member of lists
        )
        """,
        "CREATE TABLE lists (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        """
        CREATE TABLE memberships (
            list_id INTEGER NOT NULL REFERENCES lists (id) ON DELETE CASCADE,
            article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
            PRIMARY KEY (list_id, article_id)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX memberships_of_article ON memberships (article_id)",
        # One row: whether a load has begun and not ended.
        "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), loading INTEGER NOT NULL)",
        "INSERT INTO state VALUES (1, 0)",
        # Each run writes a set of its own; the newest complete one is what readers see.
        """
        CREATE TABLE prediction_sets (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id TEXT NOT NULL,
            model_version TEXT NOT NULL,
            complete INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE prediction_stories (
            set_id INTEGER NOT NULL, number INTEGER NOT NULL, story TEXT NOT NULL,
            PRIMARY KEY (set_id, number)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE prediction_tags (
            set_id INTEGER NOT NULL, number INTEGER NOT NULL, tag TEXT NOT NULL,
            PRIMARY KEY (set_id, number)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE predictions (
            set_id INTEGER NOT NULL, number INTEGER NOT NULL,
            story INTEGER NOT NULL, tag INTEGER NOT NULL,
            score REAL NOT NULL, assigned INTEGER NOT NULL,
            PRIMARY KEY (set_id, number)
        ) WITHOUT ROWID
        """,
    ),
    (
        # Predictions belong to articles, and go with them.
        "CREATE INDEX articles_by_url ON articles (url)",
        """
        CREATE TABLE prediction_articles (
            set_id INTEGER NOT NULL, number INTEGER NOT NULL, article_id INTEGER NOT NULL,
            PRIMARY KEY (set_id, number)
        ) WITHOUT ROWID
        """,
        """
        INSERT INTO prediction_articles
        SELECT s.set_id, s.number, min(a.id)
        FROM prediction_stories s JOIN articles a ON a.url = s.story
        GROUP BY s.set_id, s.number
        """,
        """
        DELETE FROM predictions WHERE NOT EXISTS (
            SELECT 1 FROM prediction_articles a
            WHERE a.set_id = predictions.set_id AND a.number = predictions.story
        )
        """,
        "DROP TABLE prediction_stories",
    ),
    (
        # Only differences are written: a row holds from the set that wrote it, `first_set`, up to
        # the one in which it is no more, `end_set`. Suggestions of tags are kept like predictions.
        "CREATE TABLE tag_names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        "INSERT INTO tag_names (name) SELECT DISTINCT tag FROM prediction_tags",
        """
        CREATE TABLE newer_predictions (
            article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
            tag_id INTEGER NOT NULL REFERENCES tag_names (id),
            score REAL NOT NULL, assigned INTEGER NOT NULL,
            first_set INTEGER NOT NULL, end_set INTEGER,
            PRIMARY KEY (article_id, tag_id, first_set)
        ) WITHOUT ROWID
        """,
        """
        DELETE FROM prediction_sets WHERE id IS NOT
            (SELECT max(id) FROM prediction_sets WHERE complete)
        """,
        """
        INSERT INTO newer_predictions
        SELECT a.article_id, n.id, max(p.score), max(p.assigned), p.set_id, NULL
        FROM predictions p
        JOIN prediction_sets s ON s.id = p.set_id
        JOIN prediction_articles a ON a.set_id = p.set_id AND a.number = p.story
        JOIN articles held ON held.id = a.article_id
        JOIN prediction_tags t ON t.set_id = p.set_id AND t.number = p.tag
        JOIN tag_names n ON n.name = t.tag
        GROUP BY a.article_id, n.id, p.set_id
        """,
        "DROP TABLE predictions",
        "DROP TABLE prediction_articles",
        "DROP TABLE prediction_tags",
        "ALTER TABLE newer_predictions RENAME TO predictions",
        """
        CREATE TABLE suggestion_sets (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id TEXT NOT NULL,
            model_version TEXT NOT NULL,
            complete INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE suggestions (
            article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
            tag_id INTEGER NOT NULL REFERENCES tag_names (id),
            score REAL NOT NULL, assigned INTEGER NOT NULL,
            first_set INTEGER NOT NULL, end_set INTEGER,
            PRIMARY KEY (article_id, tag_id, first_set)
        ) WITHOUT ROWID
        """,
    ),
)


def is_current(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether a file needs no :func:`migrate`.

    Raises
    ------
    TagsageError
        When the file is another program's, or a newer version's.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return _version(connection, path) == len(MIGRATIONS) and mode == "wal"


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Turn on WAL and bring a file's tables to this program's version, in one transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In autocommit mode; no other process migrates meanwhile.
    path : pathlib.Path
        Named in errors.

    Raises
    ------
    TagsageError
        When the file is another program's, or a newer version's.
    """
    version = _version(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    # One transaction, lest another process migrate between the three answers.
    connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    connection.execute("COMMIT")
    if tables and application != APPLICATION_ID:
        raise TagsageError(f"{path} is another program's database; name another file.")
    if version > len(MIGRATIONS):
        msg = (
            f"{path} was written by a newer tagsage (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); update tagsage, or name another file."
        )
        raise TagsageError(msg)
    return int(version)
