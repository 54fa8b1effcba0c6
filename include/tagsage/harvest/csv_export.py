"""The collection as the study's two CSV files, for `tagsage run` and other programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from tagsage.errors import TagsageError
from tagsage.files import atomic_file
from tagsage.harvest.collection import Collection, Counts
from tagsage.harvest.items import SOURCES

_NOT_IN_A_SLUG = re.compile(r"[^\w\s-]|_")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def export_csv(collection: Collection, articles: Path, lists: Path) -> Counts:
    """Write the two files, each whole or not at all; the same collection gives the same bytes.

    Articles: ``story,title,subtitle,date,author,tags``; those without a title are left out. Lists:
    ``list,article``, both addresses. Raises `TagsageError` when there is nothing to export, both
    are the same file, or one cannot be written.
    """
    if articles.resolve() == lists.resolve():
        msg = f"Articles and lists cannot both be written to {articles}; name two files."
        raise TagsageError(msg)
    with collection.transaction():
        counts = collection.counts()
        if not counts.articles and not counts.memberships:
            msg = "Nothing was harvested yet that could be exported; start with `tagsage harvest`."
            raise TagsageError(msg)
        try:
            # Articles are put in place first, so that lists name no missing article.
            with atomic_file(lists) as to_lists, atomic_file(articles) as to_articles:
                header = ("story", "title", "subtitle", "date", "author", "tags")
                _write(to_articles, header, _article_rows(collection))
                _write(to_lists, ("list", "article"), collection.memberships())
        except OSError as error:
            msg = f"Cannot write {articles} and {lists}: {error.strerror}; name another folder."
            raise TagsageError(msg) from error
    return counts


def tag_slug(name: str) -> str:
    """Return a tag as in Medium's addresses and feeds: ``machine-learning``, ``nodejs``."""
    return "-".join(_NOT_IN_A_SLUG.sub("", name.lower()).split())


def _article_rows(collection: Collection) -> Iterable[Sequence[object]]:
    # Feeds have tags as slugs ("machine-learning"), pages as names ("Machine Learning"). So that
    # they are not two tags, a slug is written as the commonest name that pages have for it.
    names = {
        tag_slug(name): name
        for (name,) in collection.query(
            "SELECT value FROM articles, json_each(articles.tags) WHERE tags_rank != ? "
            "GROUP BY value ORDER BY count(*), value DESC",
            SOURCES.index("feed"),
        )
    }
    for url, title, subtitle, published_ms, author, tags, rank in collection.articles():
        is_slugs = rank == SOURCES.index("feed")
        written = _named(tags, names) if is_slugs else tags or "[]"
        yield url, title, subtitle or "", _date(published_ms), author or "", written


def _named(tags: str, names: Mapping[str, str]) -> str:
    named = dict.fromkeys(names.get(tag, tag) for tag in json.loads(tags))
    return json.dumps(list(named), ensure_ascii=False)


def _date(published_ms: int | None) -> str:
    if published_ms is None:
        return ""
    return (_EPOCH + timedelta(seconds=published_ms // 1000)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(file: IO[bytes], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    text.detach()  # flushes; the file's opener closes it
