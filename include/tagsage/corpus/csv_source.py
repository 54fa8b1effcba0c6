"""The source `csv`: a file of articles and a file of lists, in the study's format or Kaggle's.

The study's columns are ``story,title[,subtitle],date,author,tags`` (tags a JSON list) and
``list,article``. Kaggle's fabiochiusano/medium-articles has ``title,text,url,authors,timestamp,
tags`` (authors and tags as Python lists); it has no subtitle, so the first 500 characters of the
text are used. Other columns are ignored, their order is free.
"""

from __future__ import annotations

import logging
import warnings
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from tagsage.corpus.csv_file import CsvFile
from tagsage.corpus.fields import (
    DATE_FORMS,
    DEFAULT_DATE_S,
    UNKNOWN_AUTHOR,
    TagsError,
    beginning,
    parse_author,
    parse_date,
    parse_python_authors,
    parse_python_tags,
    parse_tags,
)
from tagsage.corpus.keys import Address, parse_address
from tagsage.corpus.model import ARTICLE_SCHEMA, Corpus, articles_to_frame, text_frame
from tagsage.corpus.quarantine import REJECTED, REPAIRED, SUPERSEDED, Quarantine
from tagsage.errors import TagsageError
from tagsage.progress import track

logger = logging.getLogger(__name__)

BATCH = 50_000
SUBTITLE_FROM_TEXT = 500
LIST_COLUMNS = ("list", "article")
NO_ADDRESS = "{column} is not an http or https URL"

Tags = tuple[list[str], bool]


@dataclass(frozen=True)
class _Format:
    story: str
    date: str
    author: str
    subtitle: str
    needed: tuple[str, ...]
    parse_author: Callable[[str], str]
    parse_tags: Callable[[str], Tags]


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
    """Read and check a file of articles and a file of lists.

    Rows with the same key (see :func:`tagsage.corpus.keys.article_key`) are the same article; the
    row with the newest date wins, of equal ones the later. A blank date is 1990-01-01, a null
    author "Unknown". A member of a list without its own row becomes a stub. Articles come in the
    order of the file, then stubs in the order of their first mention.

    Raises `TagsageError` when a file is missing, is a folder, lacks a column, is not UTF-8, is cut
    off, holds no article, or has too large a share of rejected rows (:class:`RejectedShareError`).
    """
    quarantine = Quarantine()
    with CsvFile(articles) as articles_file, CsvFile(lists) as lists_file:
        if articles_file.name == lists_file.name:
            articles_file.name, lists_file.name = articles, lists
        article_header, lists_header = _articles_header(articles_file), _lists_header(lists_file)
        reader = _ArticleReader(articles_file, quarantine)
        with warnings.catch_warnings():
            # Python's parser warns about odd escapes in the lists of Kaggle's file.
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            reader.read(article_header)
        quarantine.check_share(articles_file.name, articles_file.rows_read, max_rejected_share)
        if not reader.row_of:
            msg = f"{articles} holds no article: there is no row after its header."
            raise TagsageError(msg)
        keys = list(reader.row_of)
        memberships, stubs, merged = _read_lists(lists_file, lists_header, keys, quarantine)
        quarantine.check_share(lists_file.name, lists_file.rows_read, max_rejected_share)
        files = (articles_file, lists_file)
        digests = {file.name: file.digest() for file in files}
        repairs = quarantine.repairs({file.name: file.rows_read for file in files})
    rejected = quarantine.frame()
    kinds = rejected["kind"].value_counts()
    counts = {
        "article_rows": articles_file.rows_read,
        "list_rows": lists_file.rows_read,
        "articles": len(reader.row_of),
        "stubs": len(stubs),
        "memberships": len(memberships),
        "duplicate_memberships": merged,
        **{kind: int(kinds.get(kind, 0)) for kind in (REJECTED, REPAIRED, SUPERSEDED)},
    }
    logger.info("corpus: %s", ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    frame = articles_to_frame(reader.table(stubs))
    return Corpus(frame, memberships, rejected, digests, counts, repairs)


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
    header = file.header()
    if not header:
        return list(LIST_COLUMNS)  # an empty file: no list at all
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


class _ArticleReader:
    """Reads the rows of articles into Arrow batches, keeping the newest row of each article."""

    def __init__(self, file: CsvFile, quarantine: Quarantine) -> None:
        self.row_of: dict[str, int] = {}  # key -> its newest row
        self._file = file
        self._quarantine = quarantine
        self._lines, self._dates = array("q"), array("q")
        self._dropped: list[int] = []
        self._batches: list[pa.RecordBatch] = []
        self._pending: list[tuple[object, ...]] = []

    def read(self, header: Sequence[str]) -> None:
        form = _format_of(header)
        story, title, date_at, author_at, tags_at = (
            header.index(name) for name in (form.story, "title", form.date, form.author, "tags")
        )
        subtitle_at = header.index(form.subtitle) if form.subtitle in header else -1
        no_address = NO_ADDRESS.format(column=form.story)
        no_date = f"{form.date} is no date, taken as 1990-01-01"
        odd_tags = "characters in tags that cannot be stored"
        same_tag: dict[str, str] = {}  # one object per tag, not per article
        rows = self._file.rows(header, self._quarantine)
        for line, row in track(rows, f"reading {self._file.name}"):
            address = parse_address(row[story])
            if address is None or not address.scheme:
                self._reject(line, no_address)
                continue
            try:
                tags, replaced = form.parse_tags(row[tags_at])
                author = form.parse_author(row[author_at])
            except TagsError as error:
                self._reject(line, str(error))
                continue
            if replaced:
                accepted = "text without NUL and without halves of characters"
                self._repair(line, odd_tags, ("tags", row[tags_at], accepted))
            date = parse_date(row[date_at])
            if date is None:
                self._repair(line, no_date, (form.date, row[date_at], DATE_FORMS))
                date = DEFAULT_DATE_S
            subtitle = row[subtitle_at] if subtitle_at >= 0 else ""
            if form is KAGGLE:
                subtitle = beginning(subtitle, SUBTITLE_FROM_TEXT)
            tags = [same_tag.setdefault(tag, tag) for tag in tags]
            values = (address.key, address.url, row[title], subtitle, author, date, tags, False)
            self._add(address.key, date, line, values)

    def table(self, stubs: Sequence[Address]) -> pa.Table:
        """Return the articles, then the stubs, as ARTICLE_SCHEMA."""
        self._flush()
        table = pa.Table.from_batches(self._batches, schema=ARTICLE_SCHEMA)
        kept = np.ones(len(table), dtype=bool)
        kept[self._dropped] = False
        rows: list[tuple[object, ...]] = [
            (stub.key, stub.url, "", "", UNKNOWN_AUTHOR, DEFAULT_DATE_S, [], True) for stub in stubs
        ]
        return pa.concat_tables([
            table.filter(pa.array(kept)),
            pa.Table.from_batches([_batch(rows)]),
        ])

    def _add(self, key: str, date: int, line: int, row: tuple[object, ...]) -> None:
        number = len(self._dates)
        self._dates.append(date)
        self._lines.append(line)
        self._pending.append(row)
        earlier = self.row_of.setdefault(key, number)
        if earlier != number:
            loser = number if date < self._dates[earlier] else earlier
            self.row_of[key] = earlier + number - loser
            self._supersede(loser)
        if len(self._pending) == BATCH:
            self._flush()

    def _supersede(self, number: int) -> None:
        self._dropped.append(number)
        batch, place = divmod(number, BATCH)
        if batch < len(self._batches):
            fields = list(self._batches[batch].slice(place, 1).to_pylist()[0].values())
        else:
            fields = list(self._pending[place])
        _, url, title, subtitle, _, _, tags, _ = fields
        content = ",".join(map(str, (url, title, subtitle, tags)))
        reason = "the same article has a newer or later row"
        line = self._lines[number]
        self._quarantine.add(self._file.name, line, SUPERSEDED, reason, content)

    def _flush(self) -> None:
        self._batches.append(_batch(self._pending))
        self._pending = []

    def _repair(self, line: int, reason: str, value: tuple[str, str, str]) -> None:
        content = self._file.content()
        self._quarantine.repair(self._file.name, line, reason, content, value=value)

    def _reject(self, line: int, reason: str) -> None:
        self._quarantine.add(self._file.name, line, REJECTED, reason, self._file.content())


def _batch(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(ARTICLE_SCHEMA)
    arrays = [
        pa.array(column, type=kind)
        for column, kind in zip(columns, ARTICLE_SCHEMA.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ARTICLE_SCHEMA)


def _read_lists(
    file: CsvFile, header: Sequence[str], keys: list[str], quarantine: Quarantine
) -> tuple[pd.DataFrame, list[Address], int]:
    """Return memberships, stubs and the number of merged repetitions; adds the stubs to `keys`."""
    list_at, article_at = (header.index(name) for name in LIST_COLUMNS)
    code_of_key = {key: code for code, key in enumerate(keys)}
    code_of_name: dict[str, int] = {}
    # By text: each address and name is parsed once, not once per row. None: it is invalid.
    article_of: dict[str, int | None] = {}
    list_of: dict[str, int | None] = {}
    stubs: list[Address] = []
    list_codes, article_codes = array("q"), array("q")

    def code_list(text: str) -> int | None:
        name = text.strip()
        return code_of_name.setdefault(name, len(code_of_name)) if name else None

    def code_article(text: str) -> int | None:
        address = parse_address(text)
        if address is None or not address.scheme:
            return None
        code = code_of_key.setdefault(address.key, len(keys))
        if code == len(keys):
            keys.append(address.key)
            stubs.append(address)
        return code

    for line, row in track(file.rows(header, quarantine), f"reading {file.name}"):
        name, article = row[list_at], row[article_at]
        if name not in list_of:
            list_of[name] = code_list(name)
        list_code = list_of[name]
        if list_code is None:
            quarantine.add(file.name, line, REJECTED, "the list has no name", file.content())
            continue
        if article not in article_of:
            article_of[article] = code_article(article)
        article_code = article_of[article]
        if article_code is None:
            reason = NO_ADDRESS.format(column="article")
            quarantine.add(file.name, line, REJECTED, reason, file.content())
            continue
        list_codes.append(list_code)
        article_codes.append(article_code)
    which_list = np.frombuffer(list_codes, dtype=np.int64)
    which_article = np.frombuffer(article_codes, dtype=np.int64)
    _, first = np.unique(which_list * len(keys) + which_article, return_index=True)
    first.sort()
    names = text_frame({"list": list(code_of_name)})["list"]
    articles = text_frame({"article": keys})["article"]
    frame = pd.DataFrame({
        "list": names.array.take(which_list[first]),
        "article": articles.array.take(which_article[first]),
    })
    return frame, stubs, len(which_list) - len(first)
