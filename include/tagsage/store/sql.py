"""The store in SQLite (the default) or Postgres, by SQLAlchemy; every write is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import (
    URL,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from tagsage.corpus.model import ARTICLE_SCHEMA, Corpus, articles_to_table
from tagsage.progress import track
from tagsage.store.base import ArticleStore, Kind, LoadReport, numbered_memberships
from tagsage.store.database import Database
from tagsage.store.predictions import (
    TagRows,
    WriteReport,
    check_predictions,
    differences,
    number_makers,
    predictions_frame,
    refuse_unknown,
)
from tagsage.store.snapshot import Snapshot, assemble, compare_articles
from tagsage.store.tables import (
    ARTICLE_TAGS,
    ARTICLES,
    LISTS,
    MAKERS,
    MEMBERSHIPS,
    PREDICTIONS,
    SUGGESTIONS,
    TAGS,
)

BATCH = 20_000  # rows of one statement
_TEXTS = ("key", "url", "title", "subtitle", "author")
_TABLES: dict[Kind, Table] = {"predictions": PREDICTIONS, "suggestions": SUGGESTIONS}

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class SqlStore(ArticleStore):
    """Articles, lists, predictions, suggestions, and what the pages show, in one SQL database.

    Missing tables are made. Several processes may use it at once: one writes at a time, and readers
    see the state before.
    """

    def __init__(self, url: URL) -> None:
        self._database: Database | None = Database(url)

    def close(self) -> None:
        """Close the store; may be called twice."""
        self._database = None

    @property
    def database(self) -> Database:
        """The database, while the store is open."""
        if self._database is None:
            raise ValueError("the store is closed")
        return self._database

    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else."""
        list_of, names, article_of = numbered_memberships(corpus)
        table = articles_to_table(corpus.articles)
        n_lists = np.bincount(article_of, minlength=len(table))
        with self.database.writing() as connection:
            ids, added, updated, removed = _write_articles(connection, table, n_lists)
            tagged = pc.list_value_length(table["tags"]).to_numpy() > 0
            list_ids = _write_lists(connection, names, list_of, tagged[article_of])
            wanted = np.column_stack((ids[article_of], list_ids[list_of]))
            new, gone = _write_memberships(connection, wanted)
            _delete(connection, ARTICLES, _others(connection, ARTICLES, ids))
            _delete(connection, LISTS, _others(connection, LISTS, list_ids))
        return LoadReport(len(table), len(wanted), added, updated, removed, new, gone)

    def snapshot(self) -> Snapshot:
        """Read the whole corpus."""
        with self.database.reading() as connection:
            ids, articles, _ = _read_articles(connection)
            list_ids, names = _columns(connection, select(LISTS.c.id, LISTS.c.name))
            pairs = select(MEMBERSHIPS.c.list_id, MEMBERSHIPS.c.article_id)
            lists, members = _columns(connection, pairs)
        return assemble(
            articles, ids, names.tolist(), _ints(list_ids), (_ints(lists), _ints(members))
        )

    def counts(self) -> dict[str, int]:
        """Count everything that the store holds."""
        with self.database.reading() as connection:

            def count(table: Table, *where: Any) -> int:
                query = select(func.count()).select_from(table).where(*where)
                return int(connection.execute(query).scalar_one())

            return {
                "articles": count(ARTICLES),
                "stubs": count(ARTICLES, ARTICLES.c.is_stub),
                "lists": count(LISTS),
                "memberships": count(MEMBERSHIPS),
                "predictions": count(PREDICTIONS),
                "suggestions": count(SUGGESTIONS),
            }

    def _write(self, kind: Kind, rows: pd.DataFrame, *, keep_makers: bool) -> WriteReport:
        check_predictions(rows)
        table = _TABLES[kind]
        with self.database.writing() as connection:
            article = articles_of(connection, rows["story"])
            refuse_unknown(rows["story"][article < 0].unique().tolist())
            tag_of, tags = pd.factorize(rows["tag"])
            tag = named_ids(connection, TAGS, tags.tolist())[tag_of]
            maker_of, makers = number_makers(rows)
            wanted = TagRows.of(rows, article, tag, _maker_ids(connection, makers)[maker_of])
            held = _read_rows(connection, table)
            report, kept, removed = differences(wanted, held, keep_makers=keep_makers)
            gone = held.take(removed)
            _execute(
                connection,
                delete(table).where(
                    table.c.article_id == bindparam("article"), table.c.tag_id == bindparam("tag")
                ),
                {"article": gone.article, "tag": gone.tag},
            )
            new = wanted.take(kept < 0)
            values = dict(zip((column.name for column in table.c), new, strict=True))
            _execute(connection, insert(table), values, f"storing {kind}")
            connection.execute(
                delete(MAKERS).where(
                    *(
                        ~select(one.c.maker_id).where(one.c.maker_id == MAKERS.c.id).exists()
                        for one in _TABLES.values()
                    )
                )
            )
        return report

    def _read(self, kind: Kind) -> pd.DataFrame:
        with self.database.reading() as connection:
            ids, keys, urls = _columns(
                connection, select(ARTICLES.c.id, ARTICLES.c.key, ARTICLES.c.url)
            )
            tag_ids, tags = _columns(connection, select(TAGS.c.id, TAGS.c.name))
            maker_ids, runs, versions = _columns(connection, select(MAKERS))
            rows = _read_rows(connection, _TABLES[kind])
        return predictions_frame(
            (keys.tolist(), urls.tolist()),
            tags.tolist(),
            list(zip(runs.tolist(), versions.tolist(), strict=True)),
            rows._replace(
                article=_places(ids, rows.article),
                tag=_places(tag_ids, rows.tag),
                maker=_places(maker_ids, rows.maker),
            ),
        )


def articles_of(connection: Connection, urls: pd.Series[str]) -> Int64s:
    """Return the ids of the articles at some addresses (the first of several); -1 for none."""
    ids, known = _columns(connection, select(ARTICLES.c.id, ARTICLES.c.url).order_by(ARTICLES.c.id))
    index = pd.Index(known)
    first = ~index.duplicated()
    places = index[first].get_indexer(pd.Index(urls))
    return np.append(_ints(ids[first]), -1)[places]


# -- loading -------------------------------------------------------------------------------------


def _write_articles(
    connection: Connection, table: pa.Table, n_lists: Int64s
) -> tuple[Int64s, int, int, int]:
    """Write new and changed articles; return all ids, and how many are new, changed and removed."""
    held_ids, held, held_lists = _read_articles(connection)
    place, differs = compare_articles(table, held)
    new, known = np.flatnonzero(place < 0), np.flatnonzero(place >= 0)
    ids = np.empty(len(table), dtype=np.int64)
    ids[known] = held_ids[place[known]]
    ids[new] = held_ids.max(initial=0) + 1 + np.arange(len(new))
    changed = np.flatnonzero(differs)
    moved = known[(n_lists[known] != held_lists[place[known]]) & ~differs[known]]

    def values(rows: Int64s) -> dict[str, Any]:
        part = table.take(pa.array(rows))
        return {
            "id": ids[rows],
            **{name: part[name].to_pylist() for name in _TEXTS},
            "date": part["date"].cast(pa.int64()).to_numpy(),
            "is_stub": part["is_stub"].to_pylist(),
            "n_tags": pc.list_value_length(part["tags"]).to_numpy(),
            "n_lists": n_lists[rows],
        }

    _execute(connection, insert(ARTICLES), values(new), "storing articles")
    _execute(connection, _update(ARTICLES), values(changed), "changing articles")
    _execute(
        connection,
        _update(ARTICLES, "n_lists"),
        {"id": ids[moved], "n_lists": n_lists[moved]},
    )
    _delete(connection, ARTICLE_TAGS, ids[changed], ARTICLE_TAGS.c.article_id)
    _write_own_tags(connection, table["tags"], ids, np.concatenate((new, changed)))
    return ids, len(new), len(changed), len(held) - len(known)


def _write_own_tags(
    connection: Connection, tags: pa.ChunkedArray, ids: Int64s, rows: Int64s
) -> None:
    part = tags.take(pa.array(rows)).combine_chunks()
    lengths = pc.list_value_length(part).to_numpy()
    tag_of, names = pd.factorize(pd.Series(part.flatten().to_pylist(), dtype=object))
    starts = np.cumsum(lengths) - lengths
    values = {
        "article_id": np.repeat(ids[rows], lengths),
        "tag_id": named_ids(connection, TAGS, names.tolist())[tag_of],
        "position": np.arange(len(tag_of)) - np.repeat(starts, lengths),
    }
    _execute(connection, insert(ARTICLE_TAGS), values, "storing tags")


def _write_lists(
    connection: Connection, names: list[str], list_of: Int64s, tagged: Bools
) -> Int64s:
    """Write the lists and how many articles each holds; return their ids."""
    ids = named_ids(connection, LISTS, names)
    sizes = np.bincount(list_of, minlength=len(names))
    with_tags = np.bincount(list_of[tagged], minlength=len(names))
    held_ids, held_sizes, held_tagged = map(
        _ints, _columns(connection, select(LISTS.c.id, LISTS.c.size, LISTS.c.tagged))
    )
    place = _places(held_ids, ids)
    differs = (held_sizes[place] != sizes) | (held_tagged[place] != with_tags)
    values = {"id": ids[differs], "size": sizes[differs], "tagged": with_tags[differs]}
    _execute(connection, _update(LISTS, "size", "tagged"), values)
    return ids


def _write_memberships(connection: Connection, wanted: Int64s) -> tuple[int, int]:
    """Add and remove memberships; return how many of each."""
    pairs = select(MEMBERSHIPS.c.article_id, MEMBERSHIPS.c.list_id)
    held = np.column_stack([_ints(column) for column in _columns(connection, pairs)])
    width = int(max(wanted[:, 1].max(initial=0), held[:, 1].max(initial=0))) + 1
    codes, held_codes = (some[:, 0] * width + some[:, 1] for some in (wanted, held))
    new, gone = np.setdiff1d(codes, held_codes), np.setdiff1d(held_codes, codes)
    _execute(
        connection,
        delete(MEMBERSHIPS).where(
            MEMBERSHIPS.c.article_id == bindparam("article"),
            MEMBERSHIPS.c.list_id == bindparam("list"),
        ),
        {"article": gone // width, "list": gone % width},
    )
    values = {"article_id": new // width, "list_id": new % width}
    _execute(connection, insert(MEMBERSHIPS), values, "storing memberships")
    return len(new), len(gone)


def _others(connection: Connection, table: Table, ids: Int64s) -> Int64s:
    (held,) = _columns(connection, select(table.c.id))
    return np.setdiff1d(_ints(held), ids)


def _delete(connection: Connection, table: Table, ids: Int64s, column: Any = None) -> None:
    statement = delete(table).where((table.c.id if column is None else column) == bindparam("it"))
    _execute(connection, statement, {"it": ids})


# -- reading -------------------------------------------------------------------------------------


def _read_articles(connection: Connection) -> tuple[Int64s, pa.Table, Int64s]:
    """Return ids, articles (of ``ARTICLE_SCHEMA``), and how many lists hold each article."""
    names = ("id", *_TEXTS, "date", "is_stub", "n_lists")
    query = select(*(ARTICLES.c[name] for name in names)).order_by(ARTICLES.c.id)
    number, *texts, date, is_stub, n_lists = _columns(connection, query)
    ids = _ints(number)
    tag_ids, tags = _columns(connection, select(TAGS.c.id, TAGS.c.name))
    order = (ARTICLE_TAGS.c.article_id, ARTICLE_TAGS.c.position)
    query = select(ARTICLE_TAGS.c.article_id, ARTICLE_TAGS.c.tag_id).order_by(*order)
    article_of, tag_of = map(_ints, _columns(connection, query))
    offsets = np.append(np.searchsorted(article_of, ids), len(article_of))
    places = _places(tag_ids, tag_of)
    own = pa.LargeListArray.from_arrays(
        pa.array(offsets, type=pa.int64()),
        pa.array(tags, type=pa.large_string()).take(pa.array(places)),
    )
    columns = [
        *(pa.array(column, type=pa.large_string()) for column in texts),
        pa.array(_ints(date)).cast(pa.timestamp("s")),
        own,
        pa.array(is_stub.astype(np.bool_)),
    ]
    return ids, pa.Table.from_arrays(columns, schema=ARTICLE_SCHEMA), _ints(n_lists)


def _read_rows(connection: Connection, table: Table) -> TagRows:
    article, tag, score, assigned, threshold, maker = _columns(connection, select(table))
    return TagRows(
        _ints(article),
        _ints(tag),
        score.astype(np.float64),
        _ints(assigned),
        threshold.astype(np.float64),
        _ints(maker),
    )


def _columns(connection: Connection, query: Select[Any]) -> list[npt.NDArray[np.object_]]:
    result = connection.execute(query, execution_options={"yield_per": BATCH})
    parts: list[list[npt.NDArray[np.object_]]] = [[] for _ in query.selected_columns]
    for rows in result.partitions():
        for part, column in zip(parts, zip(*rows, strict=True), strict=True):
            values = np.empty(len(column), dtype=object)
            values[:] = column
            part.append(values)
    return [np.concatenate([np.empty(0, dtype=object), *part]) for part in parts]


def _places(ids: npt.NDArray[Any], wanted: Int64s) -> Int64s:
    """Return the row of each wanted id."""
    return pd.Index(ids.astype(np.int64)).get_indexer(pd.Index(wanted)).astype(np.int64)


def _ints(column: npt.NDArray[np.object_]) -> Int64s:
    return column.astype(np.int64)


# -- writing -------------------------------------------------------------------------------------


def named_ids(connection: Connection, table: Table, names: Sequence[str]) -> Int64s:
    """Return the ids of lists or tags by name; new ones are added."""
    held_ids, held = _columns(connection, select(table.c.id, table.c.name))
    place = pd.Index(held).get_indexer(pd.Index(names, dtype=object))
    new = np.flatnonzero(place < 0)
    ids = np.append(_ints(held_ids), -1)[place]
    ids[new] = _ints(held_ids).max(initial=0) + 1 + np.arange(len(new))
    _execute(connection, insert(table), {"id": ids[new], "name": [names[i] for i in new.tolist()]})
    return ids


def _maker_ids(connection: Connection, makers: list[tuple[str, str]]) -> Int64s:
    held = {(run, version): number for number, run, version in connection.execute(select(MAKERS))}
    for run, version in makers:
        if (run, version) not in held:
            held[run, version] = max(held.values(), default=0) + 1
            values = {"id": held[run, version], "run_id": run, "model_version": version}
            connection.execute(insert(MAKERS), values)
    return np.array([held[one] for one in makers], dtype=np.int64)


def _update(table: Table, *names: str) -> Any:
    """Return an update by id of some columns, by default of all."""
    columns = names or tuple(column.name for column in table.c if column.name != "id")
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return update(table).where(table.c.id == bindparam("id_")).values(**values)


def _execute(
    connection: Connection, statement: Any, values: dict[str, Any], what: str = ""
) -> None:
    """Execute a statement in batches, once per row of some columns."""
    if "id" in values and statement.is_update:
        values = {"id_": values.pop("id"), **values}
    rows = len(next(iter(values.values())))
    cuts: Iterator[tuple[int, int]] = pairwise([*range(0, rows, BATCH), rows])
    for start, stop in track(list(cuts), what) if what and rows > BATCH else cuts:
        part = [_plain(column[start:stop]) for column in values.values()]
        connection.execute(
            statement, [dict(zip(values, row, strict=True)) for row in zip(*part, strict=True)]
        )


def _plain(column: Any) -> list[Any]:
    """Return a column as Python values; NaN is NULL."""
    values = list(column.tolist() if isinstance(column, np.ndarray) else column)
    return [None if value != value else value for value in values]
