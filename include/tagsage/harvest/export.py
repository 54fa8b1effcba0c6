"""The harvest as the study's two CSV files, for `tagsage run` and everybody else.

Articles: ``story,title,subtitle,date,author,tags``, by their keys; tags are a JSON list, dates are
ISO 8601 in UTC, unknown ones blank. Lists: ``list,article``, both addresses, for names of lists are
not unique. The same harvest gives the same bytes. An article without a title is left out of the
first file; it is a stub by its memberships. Lists that are private or gone are left out.

Feeds tell of tags by their slugs ("machine-learning"), pages by their names ("Machine Learning").
So that they are not two tags, a slug from a feed is written as the name that other articles' pages
have for it, where there is one.
"""

from __future__ import annotations

import csv
import json
import os
import re
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tagsage.errors import TagsageError
from tagsage.harvest.lists import SHOWN

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from tagsage.harvest.database import HarvestDatabase

ARTICLE_COLUMNS: Final = ("story", "title", "subtitle", "date", "author", "tags")
LIST_COLUMNS: Final = ("list", "article")
ARTICLES: Final = (
    "SELECT url, title, coalesce(subtitle, ''), published_ms, coalesce(author, ''), "
    "coalesce(tags, '[]'), coalesce(json_extract(sources, '$.tags'), '') = 'feed' "
    "FROM articles WHERE title != '' ORDER BY key"
)
# The commonest name of a slug is read last.
TAG_NAMES: Final = (
    "SELECT value FROM articles, json_each(articles.tags) "
    "WHERE json_extract(sources, '$.tags') != 'feed' GROUP BY value ORDER BY count(*), value DESC"
)
MEMBERSHIPS: Final = (
    "SELECT l.url, a.url FROM lists l JOIN memberships m ON m.list_key = l.key "  # ruff: ignore[hardcoded-sql-expression]
    f"JOIN articles a ON a.key = m.article_key WHERE l.{SHOWN} ORDER BY l.key, m.article_key"
)
_NOT_IN_A_SLUG = re.compile(r"[^\w\s-]|_")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes
    ----------
    articles, memberships : int
        Rows of the two files.
    lists : int
        Lists that have a row.
    """

    articles: int
    memberships: int
    lists: int


def export_csv(db: HarvestDatabase, articles: Path, lists: Path) -> ExportReport:
    """Write the two files, each whole or not at all.

    Both are written in full under other names before the first takes its place: first that of
    articles, then that of lists. Killed between the two, the articles are newer than the lists: a
    reader then finds the lists as they were, whose articles are all there, for none is ever taken
    out of a harvest; the next export makes both new.

    Parameters
    ----------
    db : HarvestDatabase
        The harvest; another process may be writing to it.
    articles, lists : pathlib.Path
        The files, in folders that exist.

    Returns
    -------
    ExportReport
        What was written.

    Raises
    ------
    TagsageError
        When nothing was harvested yet, both are the same file, or one cannot be written.
    """
    if articles.resolve() == lists.resolve():
        msg = f"Articles and lists cannot both be written to {articles}; name two files."
        raise TagsageError(msg)
    with db.snapshot(), _prepared(articles) as new_articles, _prepared(lists) as new_lists:
        listed: set[str] = set()
        count = _write(new_articles, ARTICLE_COLUMNS, _article_rows(db))
        memberships = _write(new_lists, LIST_COLUMNS, _list_rows(db, listed))
        if not count and not memberships:
            msg = "Nothing was harvested yet that could be exported; start with `tagsage harvest`."
            raise TagsageError(msg)
        with _told(articles):
            new_articles.replace(articles)
        with _told(lists):
            new_lists.replace(lists)
            for folder in {articles.absolute().parent, lists.absolute().parent}:
                _sync(folder)
    return ExportReport(count, memberships, len(listed))


def date_text(published_ms: int | None) -> str:
    """Return a moment as ISO 8601 in UTC, in whole seconds; empty when it is not known."""
    if published_ms is None:
        return ""
    try:
        moment = _EPOCH + timedelta(seconds=published_ms // 1000)
    except OverflowError:
        return ""  # no calendar has it
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def tag_slug(name: str) -> str:
    """Return a tag as Medium's addresses and feeds have it.

    Examples
    --------
    >>> tag_slug("Machine Learning"), tag_slug("Node.js")
    ('machine-learning', 'nodejs')
    """
    return "-".join(_NOT_IN_A_SLUG.sub("", name.lower()).split())


def _article_rows(db: HarvestDatabase) -> Iterable[Sequence[object]]:
    names = {tag_slug(name): name for (name,) in db.execute(TAG_NAMES)}
    for url, title, subtitle, published_ms, author, tags, is_by_slug in db.execute(ARTICLES):
        told = _named(tags, names) if is_by_slug else tags
        yield url, title, subtitle, date_text(published_ms), author, told


def _named(tags: str, names: Mapping[str, str]) -> str:
    named = dict.fromkeys(names.get(tag, tag) for tag in json.loads(tags))
    return json.dumps(list(named), ensure_ascii=False)


def _list_rows(db: HarvestDatabase, listed: set[str]) -> Iterable[Sequence[object]]:
    for row in db.execute(MEMBERSHIPS):
        listed.add(row[0])
        yield row


@contextmanager
def _prepared(path: Path) -> Generator[Path]:
    """Give a new name beside a file; what is left under it is removed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    count = 0
    with _told(path), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


@contextmanager
def _told(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        msg = f"Cannot write to {path.parent}: {why}; make room, permit it, or name another folder."
        raise TagsageError(msg) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
