"""Articles: what several pages tell of one, under whatever addresses, becomes one row.

Sources have ranks: Medium's own state (of a page, of a list, from GraphQL) comes before JSON-LD,
that before feeds, those before meta elements. What is not told never overwrites; an equal or higher
rank overwrites, a lower one only fills. One exception: an empty value (no subtitle, no tags) does
not overwrite what another source of the same rank told, because lists show less than pages do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tagsage.corpus.keys import parse_address
from tagsage.harvest.page_values import origin, post_id
from tagsage.harvest.records import FIELDS

if TYPE_CHECKING:
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.records import ArticleRecord

RANKS: Final[Mapping[str, int]] = {
    **{"state": 4, "list": 4, "graphql": 4},
    **{"json-ld": 3, "feed": 2, "meta": 1},
}
_COLUMNS = "key, url, title, subtitle, author, published_ms, tags, sources, state, seen_at, read_at"
_SELECT = f"SELECT {_COLUMNS} FROM articles WHERE key IN (SELECT value FROM json_each(?))"  # ruff: ignore[hardcoded-sql-expression]
_STORE = (
    f"INSERT OR REPLACE INTO articles ({_COLUMNS}) "  # ruff: ignore[hardcoded-sql-expression]
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Merged:
    """What became of a page's records.

    Attributes
    ----------
    keys : tuple of str
        Under which key each record's article is kept, in the records' order.
    new : int
        Articles that were not known.
    changed : bool
        Whether the export differs by it.
    lacking : frozenset of str
        Keys of those articles of which a field is still open that GraphQL could tell: neither it
        nor the article's own page has been asked.
    """

    keys: tuple[str, ...]
    new: int
    changed: bool
    lacking: frozenset[str]


@dataclass
class _Row:
    """An article as it is kept; `sources` also tells where the URL is from."""

    key: str
    url: str
    title: str | None = None
    subtitle: str | None = None
    author: str | None = None
    published_ms: int | None = None
    tags: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    state: str = "open"
    seen_at: float = 0.0
    read_at: float | None = None

    @classmethod
    def of(cls, row: Sequence[Any]) -> _Row:
        values = list(row)
        values[7] = json.loads(values[7])
        return cls(*values)

    def values(self) -> tuple[object, ...]:
        return (
            *(self.key, self.url, self.title, self.subtitle, self.author, self.published_ms),
            *(self.tags, json.dumps(self.sources, sort_keys=True), self.state),
            *(self.seen_at, self.read_at),
        )

    def shown(self) -> tuple[object, ...]:
        """Return what the export depends on: an article without title is only a membership's."""
        if not self.title:
            return (self.url,)
        seconds = None if self.published_ms is None else self.published_ms // 1000
        rest = (self.subtitle or "", self.author or "", seconds, self.tags or "[]")
        return self.url, self.title, *rest

    def lacks(self) -> bool:
        return any(getattr(self, name) is None for name in FIELDS)


def is_post_id(key: str) -> bool:
    """Tell whether a key is the id of a post at Medium, not an address."""
    return post_id(key) is not None


def resolve(db: HarvestDatabase, key: str) -> str:
    """Return the key under which the article that came as `key` is kept."""
    row = db.execute("SELECT article_key FROM aliases WHERE alias = ?", (key,)).fetchone()
    return key if row is None else str(row[0])


def merge(db: HarvestDatabase, records: Sequence[ArticleRecord], at: float) -> Merged:
    """Merge what a page tells of some articles.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; within a transaction.
    records : sequence of ArticleRecord
        What it tells.
    at : float
        When it came, in seconds since 1970.

    Returns
    -------
    Merged
        What became of them.
    """
    if not records:
        return Merged((), 0, changed=False, lacking=frozenset())
    aliases = _aliases_of(db, records)
    changed = False
    placed: list[ArticleRecord] = []
    for record in records:
        found, alias = _place(record, aliases)
        if alias is not None:
            changed |= unite(db, alias, found.key)
            aliases = {name: found.key if key == alias else key for name, key in aliases.items()}
            aliases[alias] = found.key
        placed.append(found)
    # A record may have come before the one that tells what its address is an alias of.
    placed = [replace(each, key=aliases.get(each.key, each.key)) for each in placed]
    rows = _rows(db, [record.key for record in placed])
    before = {key: (row.shown(), row.values()) for key, row in rows.items()}
    for record in placed:
        row = rows.setdefault(record.key, _Row(record.key, record.url, seen_at=at))
        _take_over(row, record)
    stored = [
        row for key, row in rows.items() if key not in before or before[key][1] != row.values()
    ]
    db.executemany(_STORE, (row.values() for row in stored))
    changed |= any(
        row.shown() != before[row.key][0] if row.key in before else bool(row.title)
        for row in stored
    )
    return Merged(
        tuple(record.key for record in placed),
        len(rows) - len(before),
        changed,
        frozenset(key for key, row in rows.items() if _may_be_told_more(row)),
    )


def unite(db: HarvestDatabase, alias: str, key: str) -> bool:
    """Let two articles be one: what is kept as `alias` moves to `key`, and so will later mentions.

    Returns
    -------
    bool
        Whether the export differs by it.
    """
    db.execute("UPDATE aliases SET article_key = ? WHERE article_key = ?", (key, alias))
    db.execute(
        "INSERT INTO aliases VALUES (?, ?) ON CONFLICT DO UPDATE SET "
        "article_key = excluded.article_key",
        (alias, key),
    )
    db.execute("UPDATE list_entries SET article_key = ? WHERE article_key = ?", (key, alias))
    moved = db.execute(
        "UPDATE OR IGNORE memberships SET article_key = ? WHERE article_key = ?", (key, alias)
    ).rowcount
    # What is left are memberships of lists that hold both.
    moved += db.execute("DELETE FROM memberships WHERE article_key = ?", (alias,)).rowcount
    rows = _rows(db, [alias, key])
    old = rows.get(alias)
    if old is None:
        return moved > 0
    now = rows.get(key)
    if now is None:
        united = replace(old, key=key)
    else:
        united = replace(old, key=key, state=now.state, seen_at=min(old.seen_at, now.seen_at))
        united.sources = dict(old.sources)
        _take_over_row(united, now)
        if now.read_at is not None:
            united.read_at = max(now.read_at, old.read_at or 0.0)
    db.execute("DELETE FROM articles WHERE key = ?", (alias,))
    db.executemany(_STORE, [united.values()])
    return moved > 0 or bool(old.title) or (now is not None and now.shown() != united.shown())


def mark_read(db: HarvestDatabase, key: str, at: float) -> None:
    """Note that an article's own page was read."""
    db.execute("UPDATE articles SET read_at = ? WHERE key = ?", (at, key))


def mark_gone(db: HarvestDatabase, key: str) -> None:
    """Note that an article is no longer there; what is known of it stays, and is exported."""
    db.execute("UPDATE articles SET state = 'gone' WHERE key = ?", (key,))


def url_of(db: HarvestDatabase, key: str) -> str | None:
    """Return the address that an article is shown with; None: it is not known."""
    row = db.execute("SELECT url FROM articles WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def was_read(db: HarvestDatabase, key: str) -> bool:
    """Tell whether an article's own page was read."""
    return any(row.read_at is not None for row in _rows(db, [key]).values())


def lacks(db: HarvestDatabase, key: str) -> bool:
    """Tell whether a field of an article is still open."""
    return any(row.lacks() for row in _rows(db, [key]).values())


def _aliases_of(db: HarvestDatabase, records: Sequence[ArticleRecord]) -> dict[str, str]:
    keys = {record.key for record in records}
    for record in records:
        address = parse_address(record.url)
        if address is not None:
            keys.add(address.key)
    rows = db.execute(
        "SELECT alias, article_key FROM aliases WHERE alias IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(keys)),),
    )
    return dict(rows.fetchall())


def _place(record: ArticleRecord, aliases: Mapping[str, str]) -> tuple[ArticleRecord, str | None]:
    """Find the article that a record is of.

    Returns
    -------
    tuple of (ArticleRecord, str or None)
        The record under the key that counts, with an address that leads back to it; and the address
        that is to become an alias of it.
    """
    key = aliases.get(record.key, record.key)
    address = parse_address(record.url)
    if address is None or address.key == record.key or aliases.get(address.key) == key:
        return replace(record, key=key), None
    if address.key in aliases or is_post_id(address.key):
        # The address is another article's, so it must not lead there in the export.
        return replace(record, key=key, url=_post_page(record.url, key)), None
    return replace(record, key=key), address.key


def _post_page(url: str, key: str) -> str:
    """Return an address of a post that ends with its id; of anything else its key's."""
    if not is_post_id(key):
        return f"https://{key}"
    return f"{origin(url) or 'https://medium.com'}/p/{key}"


def _rows(db: HarvestDatabase, keys: Sequence[str]) -> dict[str, _Row]:
    found = db.execute(_SELECT, (json.dumps(keys),)).fetchall()
    return {row[0]: _Row.of(row) for row in found}


def _take_over(row: _Row, record: ArticleRecord) -> None:
    values: dict[str, object] = {
        name: getattr(record, name) for name in FIELDS if getattr(record, name) is not None
    }
    if record.tags is not None:
        values["tags"] = json.dumps(record.tags, ensure_ascii=False)
    told = {name: record.sources.get(name, "meta") for name in values}
    best = max(told.values(), key=lambda source: RANKS[source], default="meta")
    row.state = "open"
    _fold(row, values | {"url": record.url}, told | {"url": best})


def _take_over_row(row: _Row, other: _Row) -> None:
    values = {name: getattr(other, name) for name in other.sources if name in {"url", *FIELDS}}
    _fold(row, values, other.sources)


def _fold(row: _Row, values: Mapping[str, object], sources: Mapping[str, str]) -> None:
    for name, value in values.items():
        source = sources[name]
        known = row.sources.get(name)
        if known is None or _outweighs(name, value, source, getattr(row, name), known):
            setattr(row, name, value)
            row.sources[name] = source


def _outweighs(name: str, value: object, source: str, old: object, known: str) -> bool:
    if name == "url" and _is_makeshift(value) != _is_makeshift(old):
        return _is_makeshift(old)
    if name == "url" and RANKS[source] == RANKS[known]:
        # Lists may name one post by several addresses. The first stays until the article's own
        # page names another: else the export would change with every reading.
        return source == "state"
    if RANKS[source] == RANKS[known] and source != known:
        return value not in _EMPTY or old in _EMPTY
    return RANKS[source] >= RANKS[known]


_EMPTY = ("", "[]")


def _is_makeshift(url: object) -> bool:
    """Tell whether an address was made from the id alone, for want of another."""
    return re.search(r"/p/[0-9a-f]{8,12}$", str(url)) is not None


def _may_be_told_more(row: _Row) -> bool:
    return row.lacks() and row.read_at is None and "graphql" not in row.sources.values()
