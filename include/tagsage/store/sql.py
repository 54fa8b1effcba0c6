"""The store in SQLite (the default) or Postgres, by SQLAlchemy; every write is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
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
    MAKER,
    VALUES,
    WriteReport,
    checked_predictions,
    differences,
    in_order,
    refuse_unknown,
)
from tagsage.store.snapshot import Snapshot, assemble, compare_articles, places
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
    """All of the store, and what the pages show, in one SQL database; missing tables are made.

    Several processes may use it: one writes at a time, and readers see the state before.
    """

    def __init__(self, url: URL) -> None:
        self.database = Database(url)

    def close(self) -> None:
        """Do nothing: every transaction has a connection of its own."""

    def load(self, corpus: Corpus) -> LoadReport:
        """Make the store hold this corpus and nothing else."""
        list_of, names, article_of = numbered_memberships(corpus)
        table = articles_to_table(corpus.articles)
        n_lists = np.bincount(article_of, minlength=len(table))
        with self.database.writing() as connection:
            ids, added, updated, removed = _write_articles(connection, table, n_lists)
            tagged = pc.list_value_length(table["tags"]).to_numpy() > 0
            list_ids = _write_lists(connection, names, list_of, tagged[article_of])
            wanted = pd.DataFrame({"article_id": ids[article_of], "list_id": list_ids[list_of]})
            new, gone = _write_memberships(connection, wanted)
            _delete_others(connection, ARTICLES, ids)
            _delete_others(connection, LISTS, list_ids)
        return LoadReport(len(table), len(wanted), added, updated, removed, new, gone)

    def snapshot(self) -> Snapshot:
        """Read the whole corpus."""
        with self.database.reading() as connection:
            ids, articles, _ = _read_articles(connection)
            lists = _rows(connection, select(LISTS.c.id, LISTS.c.name))
            members = _rows(connection, select(MEMBERSHIPS))
        return assemble(
            articles,
            ids,
            lists["name"].tolist(),
            lists["id"].to_numpy(),
            (members["list_id"].to_numpy(), members["article_id"].to_numpy()),
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
        rows = checked_predictions(rows)
        table = _TABLES[kind]
        pair = ["article_id", "tag_id"]
        with self.database.writing() as connection:
            articles = articles_of(connection, rows["story"])
            refuse_unknown(rows["story"][articles < 0].unique().tolist())
            tag_of, tags = pd.factorize(rows["tag"])
            wanted = rows[VALUES].assign(
                article_id=articles,
                tag_id=named_ids(connection, TAGS, tags.tolist())[tag_of],
                maker_id=_maker_ids(connection, rows[MAKER]),
            )
            held = _rows(connection, select(table))
            compared = VALUES if keep_makers else [*VALUES, "maker_id"]
            report, kept, removed = differences(wanted, held, pair=pair, compared=compared)
            _delete_rows(connection, table, held.loc[removed, pair])
            execute(connection, insert(table), wanted.loc[kept < 0], f"storing {kind}")
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
        table = _TABLES[kind]
        query = select(
            ARTICLES.c.key,
            ARTICLES.c.url.label("story"),
            TAGS.c.name.label("tag"),
            *(table.c[name] for name in VALUES),
            *(MAKERS.c[name] for name in MAKER),
        ).select_from(table.join(ARTICLES).join(TAGS).join(MAKERS))
        with self.database.reading() as connection:
            return in_order(_rows(connection, query))


def articles_of(connection: Connection, urls: pd.Series[str]) -> Int64s:
    """Return the ids of the articles at some addresses (the first of several); -1 for none."""
    query = select(ARTICLES.c.id, ARTICLES.c.url).order_by(ARTICLES.c.id)
    known = _rows(connection, query).drop_duplicates("url")
    place = pd.Index(known["url"]).get_indexer(pd.Index(urls))
    ids: Int64s = np.append(known["id"], -1)[place]
    return ids


# -- loading -------------------------------------------------------------------------------------


def _write_articles(
    connection: Connection, table: pa.Table, n_lists: Int64s
) -> tuple[Int64s, int, int, int]:
    """Write new and changed articles; return all ids, and how many are new, changed and removed."""
    held_ids, held, held_lists = _read_articles(connection)
    place, differs = compare_articles(table, held)
    new = place < 0
    ids = np.append(held_ids, -1)[place]
    ids[new] = held_ids.max(initial=0) + 1 + np.arange(new.sum())
    moved = ~new & ~differs & (np.append(held_lists, -1)[place] != n_lists)
    rows = table.drop_columns(["tags"]).to_pandas()
    rows = rows.assign(
        id=ids,
        date=table["date"].cast(pa.int64()).to_numpy(),
        n_tags=pc.list_value_length(table["tags"]).to_numpy(),
        n_lists=n_lists,
    )
    execute(connection, insert(ARTICLES), rows[new], "storing articles")
    update_rows(connection, ARTICLES, rows[differs], "changing articles")
    update_rows(connection, ARTICLES, rows.loc[moved, ["id", "n_lists"]])
    _delete_rows(connection, ARTICLE_TAGS, pd.DataFrame({"article_id": ids[differs]}))
    _write_own_tags(connection, table["tags"], ids, np.flatnonzero(new | differs))
    return ids, int(new.sum()), int(differs.sum()), len(held) - int((~new).sum())


def _write_own_tags(
    connection: Connection, tags: pa.ChunkedArray, ids: Int64s, rows: Int64s
) -> None:
    part = tags.take(pa.array(rows)).combine_chunks()
    row_of = pc.list_parent_indices(part).to_numpy()
    tag_of, names = pd.factorize(part.flatten().to_pandas())
    values = {
        "article_id": ids[rows][row_of],
        "tag_id": named_ids(connection, TAGS, names.tolist())[tag_of],
        "position": pd.Series(row_of).groupby(row_of).cumcount(),
    }
    execute(connection, insert(ARTICLE_TAGS), values, "storing tags")


def _write_lists(
    connection: Connection, names: list[str], list_of: Int64s, tagged: Bools
) -> Int64s:
    """Write the lists and how many articles each holds; return their ids."""
    ids = named_ids(connection, LISTS, names)
    sizes = np.bincount(list_of, minlength=len(names))
    with_tags = np.bincount(list_of[tagged], minlength=len(names))
    held = _rows(connection, select(LISTS)).set_index("id").loc[ids]
    differs = (held["size"].to_numpy() != sizes) | (held["tagged"].to_numpy() != with_tags)
    values = {"id": ids[differs], "size": sizes[differs], "tagged": with_tags[differs]}
    update_rows(connection, LISTS, values)
    return ids


def _write_memberships(connection: Connection, wanted: pd.DataFrame) -> tuple[int, int]:
    """Add and remove memberships; return how many of each."""
    held = _rows(connection, select(MEMBERSHIPS))
    both = wanted.merge(held, how="outer", indicator="found_in")
    new = both.loc[both["found_in"] == "left_only", held.columns]
    gone = both.loc[both["found_in"] == "right_only", held.columns]
    _delete_rows(connection, MEMBERSHIPS, gone)
    execute(connection, insert(MEMBERSHIPS), new, "storing memberships")
    return len(new), len(gone)


def _delete_others(connection: Connection, table: Table, ids: Int64s) -> None:
    """Delete the rows that have none of some ids."""
    held = _rows(connection, select(table.c.id))
    _delete_rows(connection, table, held[~held["id"].isin(ids)])


# -- reading -------------------------------------------------------------------------------------


def _read_articles(connection: Connection) -> tuple[Int64s, pa.Table, Int64s]:
    """Return ids, articles (of ``ARTICLE_SCHEMA``), and how many lists hold each article."""
    articles = _rows(connection, select(ARTICLES).order_by(ARTICLES.c.id))
    ids = articles["id"].to_numpy()
    tags = _rows(connection, select(TAGS.c.id, TAGS.c.name))
    order = (ARTICLE_TAGS.c.article_id, ARTICLE_TAGS.c.position)
    own = _rows(connection, select(ARTICLE_TAGS).order_by(*order))
    offsets = np.append(np.searchsorted(own["article_id"], ids), len(own))
    # Of many tags, pandas has several pieces, which cannot be the values of lists.
    names = pa.array(tags["name"].to_numpy(object), type=pa.large_string())
    tags_of = pa.LargeListArray.from_arrays(
        pa.array(offsets, type=pa.int64()),
        names.take(pa.array(places(tags["id"].to_numpy(), own["tag_id"].to_numpy()))),
    )
    columns = [
        *(pa.array(articles[name], type=pa.large_string()) for name in _TEXTS),
        pa.array(articles["date"]).cast(pa.timestamp("s")),
        tags_of,
        pa.array(articles["is_stub"]),
    ]
    table = pa.Table.from_arrays(columns, schema=ARTICLE_SCHEMA)
    return ids, table, articles["n_lists"].to_numpy()


def _rows(connection: Connection, query: Select[Any]) -> pd.DataFrame:
    """Read the rows of a query; the columns have the types of the tables, also without rows."""
    types = {column.name: column.type.python_type for column in query.selected_columns}
    query = query.execution_options(yield_per=BATCH)
    parts = pd.read_sql_query(query, connection, chunksize=BATCH, dtype=types)
    return pd.concat(parts, ignore_index=True)


# -- writing -------------------------------------------------------------------------------------


def named_ids(connection: Connection, table: Table, names: Sequence[str]) -> Int64s:
    """Return the ids of lists or tags by name; new ones are added."""
    held = _rows(connection, select(table.c.id, table.c.name))
    place = pd.Index(held["name"]).get_indexer(pd.Index(list(names), dtype="str"))
    new = np.flatnonzero(place < 0)
    ids: Int64s = np.append(held["id"], -1)[place]
    ids[new] = held["id"].to_numpy().max(initial=0) + 1 + np.arange(len(new))
    execute(connection, insert(table), {"id": ids[new], "name": [names[i] for i in new.tolist()]})
    return ids


def _maker_ids(connection: Connection, makers: pd.DataFrame) -> Int64s:
    """Return the id of each row's run and model; new ones are added."""
    held = {(run, version): number for number, run, version in connection.execute(select(MAKERS))}
    unique = list(makers.drop_duplicates().itertuples(index=False, name=None))
    for run, version in unique:
        if (run, version) not in held:
            held[run, version] = max(held.values(), default=0) + 1
            values = {"id": held[run, version], "run_id": run, "model_version": version}
            connection.execute(insert(MAKERS), values)
    ids = np.array([held[maker] for maker in unique], dtype=np.int64)
    return ids[makers.groupby(MAKER, sort=False).ngroup()]


def update_rows(
    connection: Connection, table: Table, values: dict[str, Any] | pd.DataFrame, what: str = ""
) -> None:
    """Change columns of the rows with some ids."""
    rows = pd.DataFrame(values)
    changes: dict[str, Any] = {name: bindparam(name) for name in map(str, rows) if name != "id"}
    statement = update(table).where(table.c.id == bindparam("id_")).values(**changes)
    execute(connection, statement, rows.rename(columns={"id": "id_"}), what)


def _delete_rows(connection: Connection, table: Table, rows: pd.DataFrame) -> None:
    """Delete the rows that have the same values in the same columns."""
    same = (table.c[name] == bindparam(name) for name in map(str, rows))
    execute(connection, delete(table).where(*same), rows)


def execute(
    connection: Connection, statement: Any, values: dict[str, Any] | pd.DataFrame, what: str = ""
) -> None:
    """Execute a statement in batches, once per row of some columns; NaN becomes NULL."""
    rows = pd.DataFrame(values)
    compiled = statement.compile(dialect=connection.dialect, column_keys=list(rows))
    # Plain rows: SQLAlchemy works longer on a dictionary per row than SQLite on the row.
    order = compiled.positiontup if compiled.positional else None
    starts = range(0, len(rows), BATCH)
    for start in track(starts, what) if what and len(starts) > 1 else starts:
        part = rows.iloc[start : start + BATCH].astype(object)
        part = part.where(part.notna(), None)
        if order:
            columns = (part[name].tolist() for name in order)
            connection.exec_driver_sql(str(compiled), list(zip(*columns, strict=True)))
        else:
            records: Any = part.to_dict("records")
            connection.execute(statement, records)
