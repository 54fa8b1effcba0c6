"""Publishes what the pages show of a run besides the corpus and the predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from sqlalchemy import Connection, delete, insert, select, text, update

from tagsage.store import full_text
from tagsage.store.sql import SqlStore, articles_of, execute, named_ids, update_rows
from tagsage.store.tables import EXPLANATION_PARTS, EXPLANATIONS, FACTS, RUNS, TAGS

RUNS_KEPT = 400
BLOCK = 20_000
SCORES = ("f1", "precision", "recall", "average_precision", "support", "predicted")

# A tag without references was left by an earlier corpus.
_COUNT = (
    """
    UPDATE tags SET
        n_articles = (SELECT count(*) FROM article_tags t WHERE t.tag_id = tags.id),
        n_assigned = (
            SELECT count(*) FROM predictions p WHERE p.tag_id = tags.id AND p.assigned = 1
        )
    """,
    # Also those that an earlier run's champion still predicts.
    """
    UPDATE tags SET is_target = true
    WHERE EXISTS (SELECT 1 FROM predictions p WHERE p.tag_id = tags.id)
    """,
    """
    DELETE FROM tags WHERE n_articles = 0 AND NOT is_target
        AND NOT EXISTS (SELECT 1 FROM suggestions s WHERE s.tag_id = tags.id)
    """,
    "DELETE FROM list_tags",
    """
    INSERT INTO list_tags (list_id, tag_id, articles)
    SELECT m.list_id, t.tag_id, count(*)
    FROM memberships m
    JOIN article_tags t ON t.article_id = m.article_id
    JOIN tags ON tags.id = t.tag_id AND tags.is_target
    GROUP BY m.list_id, t.tag_id
    """,
)


@dataclass(frozen=True)
class Publication:
    """What the pages show of a run; facts and entry are JSON-able.

    `entry` is what later publications keep of the run (None: nothing); `explanations` is Parquet:
    ``story``, ``tag``, ``score``, ``score_without_graph`` and, as JSON,
    :data:`~tagsage.store.tables.EXPLANATION_PARTS`.
    """

    facts: Mapping[str, Any]
    target_tags: Sequence[str]
    scores: pd.DataFrame | None = None  # None: the published ones stay
    entry: Mapping[str, Any] | None = None
    explanations: Path | None = None


def publish(store: SqlStore, publication: Publication) -> int:
    """Replace what was published; return how many explanations have no article in the store."""
    with store.database.writing() as connection:
        _write_tags(connection, publication.target_tags, publication.scores)
        for statement in _COUNT:
            connection.execute(text(statement))
        connection.execute(delete(EXPLANATIONS))
        left_out = 0
        if publication.explanations is not None:
            left_out = _write_explanations(connection, publication.explanations)
        _write_facts(connection, publication)
        full_text.fill(connection)
        connection.execute(text("ANALYZE"))
    return left_out


def _write_tags(
    connection: Connection, target_tags: Sequence[str], scores: pd.DataFrame | None
) -> None:
    ids = named_ids(connection, TAGS, list(target_tags))
    connection.execute(update(TAGS).values(is_target=False))
    update_rows(connection, TAGS, {"id": ids, "is_target": True})
    if scores is not None:
        connection.execute(update(TAGS).values(dict.fromkeys(SCORES)))
        ids = named_ids(connection, TAGS, scores["tag"].tolist())
        update_rows(connection, TAGS, scores.reindex(columns=list(SCORES)).assign(id=ids))


def _write_explanations(connection: Connection, file: Path) -> int:
    """Write the explanations in a file; return how many have no article or tag in the store."""
    tags = connection.execute(select(TAGS.c.name, TAGS.c.id))
    tag_ids = {name: number for name, number in tags}  # ruff: ignore[unnecessary-comprehension]
    columns = ["score", "score_without_graph", *EXPLANATION_PARTS]
    left_out = 0
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(BLOCK, columns=["story", "tag", *columns]):
            block = batch.to_pandas()
            rows = block[columns].assign(
                article_id=articles_of(connection, block["story"]),
                tag_id=block["tag"].map(tag_ids).fillna(-1).astype("int64"),
            )
            known = (rows["article_id"] >= 0) & (rows["tag_id"] >= 0)
            execute(connection, insert(EXPLANATIONS), rows[known])
            left_out += int((~known).sum())
    return left_out


def _write_facts(connection: Connection, publication: Publication) -> None:
    connection.execute(delete(FACTS))
    value = json.dumps(publication.facts, allow_nan=False)
    connection.execute(insert(FACTS).values(name="run", value=value))
    if publication.entry is None:
        return
    run = {"run_id": publication.entry["run_id"], "at": publication.entry["at"]}
    connection.execute(delete(RUNS).where(RUNS.c.run_id == run["run_id"]))
    entry = json.dumps(publication.entry, allow_nan=False)
    connection.execute(insert(RUNS).values(**run, entry=entry))
    kept = select(RUNS.c.run_id).order_by(RUNS.c.at.desc()).limit(RUNS_KEPT)
    connection.execute(delete(RUNS).where(RUNS.c.run_id.not_in(kept)))
