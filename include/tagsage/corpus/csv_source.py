"""The source `csv`: a file of articles and a file of lists, in the study's format or Kaggle's.

The study's columns are ``story,title[,subtitle],date,author,tags`` (tags a JSON list) and
``list,article``. Kaggle's fabiochiusano/medium-articles has
``title,text,url,authors,timestamp,tags`` (Python lists); the first 500 characters of the text serve
as subtitle.
"""

from __future__ import annotations

import logging
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tagsage.corpus.csv_file import CsvFile
from tagsage.corpus.fields import (
    DATE_FORMS,
    DEFAULT_DATE_S,
    UNKNOWN_AUTHOR,
    FieldError,
    beginning,
    parse_author,
    parse_date,
    parse_python_authors,
    parse_python_tags,
    parse_tags,
)
from tagsage.corpus.keys import Address, parse_address
from tagsage.corpus.model import ARTICLE_SCHEMA, Corpus, articles_to_frame
from tagsage.corpus.quarantine import REJECTED, REPAIRED, SUPERSEDED, Quarantine
from tagsage.errors import TagsageError
from tagsage.progress import track

logger = logging.getLogger(__name__)

BATCH = 50_000
SUBTITLE_FROM_TEXT = 500
LIST_COLUMNS = ("list", "article")

ArticleRow = tuple[object, ...]  # the values of ARTICLE_SCHEMA


@dataclass(frozen=True)
class _Format:
    story: str
    date: str
    author: str
    subtitle: str
    needed: tuple[str, ...]
    parse_author: Callable[[str], str]
    parse_tags: Callable[[str], tuple[list[str], bool]]


STUDY = _Format(
    story="story",
    date="date",
    author="author",
    subtitle="subtitle",
    needed=("story", "title", "date", "author", "tags"),
    parse_author=parse_author,
    parse_tags=parse_tags,
)
KAGGLE = _Format(
    story="url",
    date="timestamp",
    author="authors",
    subtitle="text",
    needed=("title", "text", "url", "authors", "timestamp", "tags"),
    parse_author=parse_python_authors,
    parse_tags=parse_python_tags,
)


def read_csv_corpus(articles: str, lists: str, *, max_rejected_share: float) -> Corpus:
    """Read and check a file of articles and a file of lists; their columns may have any order.

    Of rows with the same :func:`tagsage.corpus.keys.article_key`, the one with the newest date
    counts, of equal ones the later. A blank date is 1990-01-01, a null author "Unknown". A member
    of a list without its own row becomes a stub, behind the articles. Raises `TagsageError` when a
    file is unusable or holds no article, `RejectedShareError` when too many rows are rejected.
    """
    quarantine = Quarantine()
    with CsvFile(articles) as articles_file, CsvFile(lists) as lists_file:
        if articles_file.name == lists_file.name:
            articles_file.name, lists_file.name = articles, lists
        article_header, lists_header = _articles_header(articles_file), _lists_header(lists_file)
        table = _read_articles(articles_file, article_header, quarantine)
        quarantine.check_share(articles_file.name, articles_file.rows_read, max_rejected_share)
        if not len(table):
            msg = f"{articles} holds no article: there is no row after its header."
            raise TagsageError(msg)
        lists = _read_lists(lists_file, lists_header, quarantine)
        memberships, stubs, merged = _memberships(lists, table["key"])
        quarantine.check_share(lists_file.name, lists_file.rows_read, max_rejected_share)
        files = (articles_file, lists_file)
        digests = {file.name: file.digest() for file in files}
        repairs = quarantine.repairs({file.name: file.rows_read for file in files})
    recorded = quarantine.frame()
    kinds = recorded["kind"].value_counts()
    counts = {
        "article_rows": articles_file.rows_read,
        "list_rows": lists_file.rows_read,
        "articles": len(table),
        "stubs": len(stubs),
        "memberships": len(memberships),
        "duplicate_memberships": merged,
        **{kind: int(kinds.get(kind, 0)) for kind in (REJECTED, REPAIRED, SUPERSEDED)},
    }
    logger.info("corpus: %s", ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    frame = articles_to_frame(pa.concat_tables([table, stubs]))
    return Corpus(frame, memberships, recorded, digests, counts, repairs)


def _articles_header(file: CsvFile) -> list[str]:
    header = file.header()
    if not header:
        msg = f"{file.path} is empty: expected a header with the columns {', '.join(STUDY.needed)}."
        raise TagsageError(msg)
    if set(LIST_COLUMNS) <= set(header) and "story" not in header:
        raise _swapped(file, "articles", "lists")
    _check_columns(file.path, header, _format_of(header).needed)
    return header


def _lists_header(file: CsvFile) -> list[str]:
    header = file.header() or list(LIST_COLUMNS)  # an empty file has no list at all
    if "story" in header and not set(LIST_COLUMNS) <= set(header):
        raise _swapped(file, "lists", "articles")
    _check_columns(file.path, header, LIST_COLUMNS)
    return header


def _swapped(file: CsvFile, given: str, found: str) -> TagsageError:
    return TagsageError(
        f"{file.path} was given as {given} but has the columns of {found}: "
        "are `articles` and `lists` swapped?"
    )


def _format_of(header: Sequence[str]) -> _Format:
    return KAGGLE if "story" not in header and {"url", "timestamp"} <= set(header) else STUDY


def _check_columns(path: str, header: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in header]
    if missing:
        # Not the header itself: it may be the wrong file.
        msg = (
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: expected "
            f"{', '.join(needed)}, separated by commas; columns in its first line: {len(header):,}."
        )
        raise TagsageError(msg)
    twice = sorted({name for name in needed if header.count(name) > 1})
    if twice:
        raise TagsageError(f"{path} has the column {', '.join(twice)} twice; remove one.")


def _read_articles(file: CsvFile, header: Sequence[str], quarantine: Quarantine) -> pa.Table:
    """Return the newest row of each article, in the order of the file, as ARTICLE_SCHEMA."""
    lines = array("q")
    tables: list[pa.Table] = []
    rows: list[ArticleRow] = []
    with warnings.catch_warnings():
        # Python's parser warns about odd escapes in the lists of Kaggle's file.
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        for line, row in _article_rows(file, header, quarantine):
            lines.append(line)
            rows.append(row)
            if len(rows) == BATCH:
                tables.append(_table(rows))
                rows = []
    table = pa.concat_tables([*tables, _table(rows)])
    by_date = pd.DataFrame({"key": _codes(table["key"]), "date": table["date"].to_numpy()})
    by_date = by_date.sort_values("date", kind="stable")
    superseded = by_date.duplicated("key", keep="last").sort_index().to_numpy()
    reason = "the same article has a newer or later row"
    for line, old in zip(
        np.array(lines)[superseded].tolist(), table.filter(superseded).to_pylist(), strict=True
    ):
        content = ",".join([old["url"], old["title"], old["subtitle"], str(old["tags"])])
        quarantine.add(file.name, line, SUPERSEDED, reason, content)
    return table.filter(~superseded)


def _article_rows(
    file: CsvFile, header: Sequence[str], quarantine: Quarantine
) -> Iterator[tuple[int, ArticleRow]]:
    form = _format_of(header)
    story_at, title_at, date_at, author_at, tags_at = (
        header.index(name) for name in (form.story, "title", form.date, form.author, "tags")
    )
    subtitle_at = header.index(form.subtitle) if form.subtitle in header else -1
    same_tag: dict[str, str] = {}  # one object per tag, not per article
    for line, row in track(file.rows(header, quarantine), f"reading {file.name}"):
        try:
            address = _address(row[story_at], form.story)
            tags, replaced = form.parse_tags(row[tags_at])
            author = form.parse_author(row[author_at])
        except FieldError as error:
            quarantine.add(file.name, line, REJECTED, str(error), file.content())
            continue
        if replaced:
            reason = "characters in tags that cannot be stored"
            value = ("tags", row[tags_at], "text without NUL and without halves of characters")
            quarantine.repair(file.name, line, reason, file.content(), value=value)
        date = parse_date(row[date_at])
        if date is None:
            reason = f"{form.date} is no date, taken as 1990-01-01"
            value = (form.date, row[date_at], DATE_FORMS)
            quarantine.repair(file.name, line, reason, file.content(), value=value)
            date = DEFAULT_DATE_S
        subtitle = row[subtitle_at] if subtitle_at >= 0 else ""
        if form is KAGGLE:
            subtitle = beginning(subtitle, SUBTITLE_FROM_TEXT)
        tags = [same_tag.setdefault(tag, tag) for tag in tags]
        yield line, (address.key, address.url, row[title_at], subtitle, author, date, tags, False)


def _table(rows: Sequence[ArticleRow]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(ARTICLE_SCHEMA)
    arrays = [
        pa.array(column, type=kind)
        for column, kind in zip(columns, ARTICLE_SCHEMA.types, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=ARTICLE_SCHEMA)


def _read_lists(file: CsvFile, header: Sequence[str], quarantine: Quarantine) -> pa.Table:
    """Return ``list``, ``key`` and ``url`` of each row, as the file has them."""
    list_at, article_at = (header.index(name) for name in LIST_COLUMNS)
    schema = pa.schema([(name, pa.large_string()) for name in ("list", "key", "url")])
    tables = [schema.empty_table()]
    rows: list[tuple[str, str, str]] = []

    def flush() -> None:
        tables.append(pa.table(list(zip(*rows, strict=True)), schema=schema))
        rows.clear()

    for line, row in track(file.rows(header, quarantine), f"reading {file.name}"):
        name = row[list_at].strip()
        try:
            if not name:
                raise FieldError("the list has no name")
            address = _address(row[article_at], "article")
        except FieldError as error:
            quarantine.add(file.name, line, REJECTED, str(error), file.content())
            continue
        rows.append((name, address.key, address.url))
        if len(rows) == BATCH:
            flush()
    if rows:
        flush()
    return pa.concat_tables(tables)


def _memberships(lists: pa.Table, known: pa.ChunkedArray) -> tuple[pd.DataFrame, pa.Table, int]:
    """Return memberships, stubs (articles not `known`), and the number of merged repetitions."""
    article = _codes(lists["key"])
    pairs = pd.DataFrame({"list": _codes(lists["list"]), "article": article})
    unique = ~pairs.duplicated().to_numpy()
    unknown = pc.invert(pc.is_in(lists["key"], known.combine_chunks())).to_numpy()
    first = unknown & ~pairs.duplicated("article").to_numpy()
    stubs = _table([
        (row["key"], row["url"], "", "", UNKNOWN_AUTHOR, DEFAULT_DATE_S, [], True)
        for row in lists.filter(first).to_pylist()
    ])
    kept = lists.select(["list", "key"]).filter(unique)
    frame: pd.DataFrame = kept.rename_columns(["list", "article"]).to_pandas()
    return frame, stubs, len(pairs) - len(frame)


def _codes(texts: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Return a number for each text."""
    codes: npt.NDArray[np.int32] = pc.dictionary_encode(texts.combine_chunks()).indices.to_numpy()
    return codes


def _address(text: str, column: str) -> Address:
    address = parse_address(text)
    if address is None or not address.scheme:
        raise FieldError(f"{column} is not an http or https URL")
    return address
