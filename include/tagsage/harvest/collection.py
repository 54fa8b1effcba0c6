"""The harvested collection: one SQLite database of articles, lists, problems and fetched pages."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tagsage.errors import TagsageError
from tagsage.harvest.items import SOURCES, Article, Problem, ReadingList

FILE: Final = "harvest.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seeds (url TEXT PRIMARY KEY) WITHOUT ROWID;

-- What one source says of an article; rank 0 is the most trusted source.
CREATE TABLE IF NOT EXISTS readings (
    key TEXT NOT NULL,
    rank INTEGER NOT NULL,
    url TEXT NOT NULL,
    title TEXT,
    subtitle TEXT,
    author TEXT,
    published_ms INTEGER,
    tags TEXT,                      -- JSON list
    PRIMARY KEY (key, rank)
) WITHOUT ROWID;

-- An article's field is that of the most trusted source that has it.
CREATE VIEW IF NOT EXISTS articles AS SELECT
    key,
    (SELECT url FROM readings r WHERE r.key = k.key ORDER BY rank LIMIT 1) AS url,
    (SELECT title FROM readings r WHERE r.key = k.key AND title IS NOT NULL
     ORDER BY rank LIMIT 1) AS title,
    (SELECT subtitle FROM readings r WHERE r.key = k.key AND subtitle IS NOT NULL
     ORDER BY rank LIMIT 1) AS subtitle,
    (SELECT author FROM readings r WHERE r.key = k.key AND author IS NOT NULL
     ORDER BY rank LIMIT 1) AS author,
    (SELECT published_ms FROM readings r WHERE r.key = k.key AND published_ms IS NOT NULL
     ORDER BY rank LIMIT 1) AS published_ms,
    (SELECT tags FROM readings r WHERE r.key = k.key AND tags IS NOT NULL
     ORDER BY rank LIMIT 1) AS tags,
    (SELECT rank FROM readings r WHERE r.key = k.key AND tags IS NOT NULL
     ORDER BY rank LIMIT 1) AS tags_rank
FROM (SELECT DISTINCT key FROM readings) k;

CREATE TABLE IF NOT EXISTS lists (
    key TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    name TEXT,
    owner TEXT,
    size INTEGER,                   -- by the host's count
    state TEXT NOT NULL,            -- open, private, gone
    is_complete INTEGER NOT NULL,
    reason TEXT NOT NULL            -- why it is incomplete
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS memberships (
    list_key TEXT NOT NULL,
    article_key TEXT NOT NULL,
    PRIMARY KEY (list_key, article_key)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS problems (
    url TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (url, kind)
) WITHOUT ROWID;

-- Sites that refused us; nothing of a scope (feed, page, graphql) is requested until then.
CREATE TABLE IF NOT EXISTS stops (
    site TEXT NOT NULL,
    scope TEXT NOT NULL,
    until REAL NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (site, scope)
) WITHOUT ROWID;

-- Scrapy's HTTP cache: what was fetched is not fetched again.
CREATE TABLE IF NOT EXISTS pages (
    fingerprint BLOB PRIMARY KEY,
    url TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,          -- JSON: name -> list of values
    body BLOB NOT NULL,             -- as it came, often compressed
    fetched_at REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS announced (digest TEXT NOT NULL);
"""

_COUNTS = {
    "articles": "SELECT count(*) FROM articles WHERE title IS NOT NULL",
    "articles with tags": "SELECT count(*) FROM articles WHERE tags IS NOT NULL AND tags != '[]'",
    "articles without a title": "SELECT count(*) FROM articles WHERE title IS NULL",
    "lists, complete": "SELECT count(*) FROM lists WHERE state = 'open' AND is_complete",
    "lists, incomplete": "SELECT count(*) FROM lists WHERE state = 'open' AND NOT is_complete",
    "lists, private": "SELECT count(*) FROM lists WHERE state = 'private'",
    "lists, gone": "SELECT count(*) FROM lists WHERE state = 'gone'",
    "memberships": "SELECT count(*) FROM memberships",
    "pages kept": "SELECT count(*) FROM pages",
    "refused": "SELECT count(*) FROM problems WHERE kind = 'refused'",
    "gone": "SELECT count(*) FROM problems WHERE kind = 'gone'",
    "failed": "SELECT count(*) FROM problems WHERE kind = 'failed'",
    "unreadable": "SELECT count(*) FROM problems WHERE kind = 'unreadable'",
    "fields missing": "SELECT count(*) FROM problems WHERE kind = 'missing'",
}
_MEMBERSHIPS = (
    "SELECT l.url, a.url FROM memberships m JOIN lists l ON l.key = m.list_key "
    "JOIN articles a ON a.key = m.article_key WHERE l.state = 'open' ORDER BY l.key, a.key"
)
_ARTICLES = (
    "SELECT url, title, subtitle, published_ms, author, tags, tags_rank FROM articles "
    "WHERE title IS NOT NULL ORDER BY key"
)


@dataclass(frozen=True)
class Counts:
    """How much an export would hold."""

    articles: int
    lists: int
    memberships: int


@dataclass(frozen=True)
class Status:
    """What the collection has and what is missing.

    `stops` holds site, scope, moment (seconds since 1970) and reason; `problems` kind and reason,
    how many, and an example.
    """

    counts: dict[str, int]
    stops: list[tuple[str, str, float, str]] = field(default_factory=list)
    incomplete: list[tuple[str, str]] = field(default_factory=list)  # lists: address, reason
    problems: list[tuple[str, str, int, str]] = field(default_factory=list)


class Collection:
    """The database in a folder; use it in a `with`. Every writing method is one transaction."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / FILE, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            msg = f"The harvest in {folder} cannot be opened ({error}); name another folder."
            raise TagsageError(msg) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of one statement, which is committed at once."""
        return self._db.execute(sql, values).fetchall()

    def add(self, item: Article | ReadingList | Problem) -> None:
        """Add what was read of an article or a list, or why an address gave nothing."""
        if isinstance(item, Article):
            self.add_article(item)
        elif isinstance(item, ReadingList):
            self.add_list(item)
        else:
            self.add_problem(item)

    def add_article(self, article: Article) -> None:
        """Add what one source says of an article."""
        tags = None if article.tags is None else json.dumps(article.tags, ensure_ascii=False)
        rank = SOURCES.index(article.source)
        self._db.execute(
            "INSERT INTO readings VALUES "
            "(:key, :rank, :url, :title, :subtitle, :author, :published_ms, :tags) "
            "ON CONFLICT (key, rank) DO UPDATE SET url = excluded.url, "
            "title = coalesce(excluded.title, title), "
            "subtitle = coalesce(excluded.subtitle, subtitle), "
            "author = coalesce(excluded.author, author), "
            "published_ms = coalesce(excluded.published_ms, published_ms), "
            "tags = coalesce(excluded.tags, tags)",
            {**vars(article), "rank": rank, "tags": tags},
        )
        for name, why in article.missing.items():
            self.add_problem(Problem(article.url, "missing", f"{name}: {why}"))

    def add_list(self, reading: ReadingList) -> None:
        """Add what was read of a list; a complete one replaces its earlier memberships."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO lists VALUES "
                "(:key, :url, :name, :owner, :size, :state, :is_complete, :reason) "
                "ON CONFLICT (key) DO UPDATE SET "
                "url = excluded.url, name = coalesce(excluded.name, name), "
                "owner = coalesce(excluded.owner, owner), size = coalesce(excluded.size, size), "
                "state = excluded.state, is_complete = excluded.is_complete, "
                "reason = excluded.reason",
                vars(reading),
            )
            if reading.is_complete or reading.state != "open":
                self._db.execute("DELETE FROM memberships WHERE list_key = ?", (reading.key,))
            self._db.executemany(
                "INSERT OR IGNORE INTO memberships VALUES (?, ?)",
                [(reading.key, member) for member in reading.members],
            )

    def add_problem(self, problem: Problem) -> None:
        """Record why an address gave nothing, or less than it should."""
        row = (problem.url[:2000], problem.kind, problem.reason[:500])
        self.query("INSERT OR REPLACE INTO problems VALUES (?, ?, ?)", *row)

    def forget_problems(self, url: str) -> None:
        """Remove an address's problems, because it was read now."""
        self.query("DELETE FROM problems WHERE url = ?", url)

    def add_seeds(self, urls: Iterable[str]) -> None:
        """Add addresses that a user named."""
        with self.transaction():
            self._db.executemany("INSERT OR IGNORE INTO seeds VALUES (?)", [(u,) for u in urls])

    @property
    def seeds(self) -> list[str]:
        """All addresses that a user named, in this run or before."""
        return [url for (url,) in self.query("SELECT url FROM seeds ORDER BY url")]

    def has_own_page(self, key: str) -> bool:
        """Return whether an article's own page was read."""
        return bool(self.query("SELECT 1 FROM readings WHERE key = ? AND rank = 0", key))

    def counts(self) -> Counts:
        """Count what an export would hold."""
        lists, memberships = self.query(
            "SELECT count(DISTINCT list_key), count(*) FROM memberships "
            "JOIN lists ON key = list_key WHERE state = 'open'"
        )[0]
        return Counts(self.query(_COUNTS["articles"])[0][0], lists, memberships)

    def status(self) -> Status:
        """Return what there is and what is missing, with reasons."""
        return Status(
            {name: self.query(sql)[0][0] for name, sql in _COUNTS.items()},
            self.query("SELECT * FROM stops WHERE until > ? ORDER BY site, scope", time.time()),
            self.query(
                "SELECT url, CASE WHEN state = 'open' THEN reason ELSE state END FROM lists "
                "WHERE NOT is_complete ORDER BY url LIMIT 100"
            ),
            self.query(
                "SELECT kind, reason, count(*), min(url) FROM problems GROUP BY kind, reason "
                "ORDER BY count(*) DESC, kind, reason LIMIT 50"
            ),
        )

    def articles(self) -> Iterator[tuple[Any, ...]]:
        """Yield url, title, subtitle, published_ms, author, tags and their rank, by key."""
        yield from self._db.execute(_ARTICLES)

    def memberships(self) -> Iterator[tuple[str, str]]:
        """Yield the addresses of list and article of each membership of an open list."""
        yield from self._db.execute(_MEMBERSHIPS)

    def digest(self) -> str:
        """Return a digest of what an export would hold: it changes when anything does."""
        found = hashlib.sha256()
        with self.transaction():
            for row in [*self.articles(), *self.memberships()]:
                found.update(json.dumps(row).encode())
        return found.hexdigest()

    @property
    def announced(self) -> str:
        """The digest that the nightly run last received; empty before the first time."""
        return next((digest for (digest,) in self.query("SELECT digest FROM announced")), "")

    def announce(self, digest: str) -> None:
        """Record the digest that the nightly run has received."""
        with self.transaction():
            self._db.execute("DELETE FROM announced")
            self._db.execute("INSERT INTO announced VALUES (?)", (digest,))

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Do everything in the block at once, or nothing; reads see one state."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
