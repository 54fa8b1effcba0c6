"""One Neo4j database as the store uses it: made ready, queries retried, errors translated.

The model::

    (:Author {name})-[:WROTE]->(:Article {key, url, title, subtitle, date, is_stub})
    (:Article)-[:IN_LIST]->(:List {name})
    (:Article)-[:HAS_TAG {position}]->(:Tag {name})          target tags: (:Tag:Target {name})
    (:Article)-[:PREDICTED_TAG {score, assigned, threshold, model_version, run_id, set}]->(:Tag)
    (:Article)-[:SUGGESTED_TAG {score, model_version, run_id, set}]->(:Tag)
    (:TagsageStore {name, loading, predictions, suggestions})

The predictions are those of the set that ``TagsageStore.predictions`` names; suggestions likewise.
Other sets are being written, or were left by a killed writer. Vectors are properties of articles; a
property of ``TagsageStore`` with the same name has their digest.

All nodes with these labels belong to the store, which removes those that the corpus no longer has.
Other nodes are never touched, except that their relationships to a removed node go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neo4j import Record, RoutingControl

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection, check_answers, create_driver, translated

# A range index takes up to 8,167 bytes per value.
INDEXABLE_BYTES = 8000

_SCHEMA = (
    *(
        f"CREATE CONSTRAINT tagsage_{label.lower()}_{name} IF NOT EXISTS "
        f"FOR (n:{label}) REQUIRE n.{name} IS UNIQUE"
        for label, name in (
            *(("Article", "key"), ("Author", "name"), ("List", "name")),
            *(("Tag", "name"), ("TagsageStore", "name")),
        )
    ),
    "CREATE INDEX tagsage_article_url IF NOT EXISTS FOR (n:Article) ON (n.url)",
    "CALL db.awaitIndexes(300)",
    "MERGE (s:TagsageStore {name: 'tagsage'})",
)
# Both in one query, in case another process makes the database ready between them.
_LOOK = """
    OPTIONAL MATCH (s:TagsageStore {name: 'tagsage'})
    RETURN s IS NOT NULL AS ready,
        EXISTS { MATCH (n) WHERE n:Article OR n:Author OR n:List OR n:Tag } AS used
"""


class Rows(list[Any]):
    """A list as a query's parameter, which the driver does not format for its log: that is slow."""

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


class Neo4jDatabase:
    """A driver to one database that is ready for the store.

    Raises `TagsageError` when the server does not answer or refuses access, or the database holds
    nodes of another program.
    """

    def __init__(self, connection: Neo4jConnection) -> None:
        self.connection = connection
        self.name = f"the database {connection.database!r} at {connection.uri}"
        with translated(connection):
            self.driver = create_driver(connection)
            try:
                with self.driver.session(database=connection.database) as session:
                    check_answers(session)
                self._prepare()
            except BaseException:
                self.driver.close()
                raise

    def rows(self, query: str, **parameters: Any) -> list[Record]:
        """Run a query in its own transaction, and return its rows.

        The query must be safe to repeat: the driver runs it again after a lost connection, a
        restart of the server or a deadlock.
        """
        with translated(self.connection):
            result = self.driver.execute_query(
                query,
                parameters,
                database_=self.connection.database,
                # A follower of a cluster may not know yet what another process has written.
                routing_=RoutingControl.WRITE,
            )
            return result.records

    def row(self, query: str, **parameters: Any) -> Record:
        """Return the only row of a query."""
        (row,) = self.rows(query, **parameters)
        return row

    def run_in_batches(self, query: str, **parameters: Any) -> None:
        """Run a query that commits in batches (``CALL … IN TRANSACTIONS``)."""
        with (
            translated(self.connection),
            self.driver.session(
                database=self.connection.database,
                # It sees what earlier queries wrote.
                bookmark_manager=self.driver.execute_query_bookmark_manager,
            ) as session,
        ):
            session.run(query, parameters).consume()

    def _prepare(self) -> None:
        look = self.row(_LOOK)
        if look["ready"]:
            return
        if look["used"] and not self.row(_LOOK)["ready"]:
            msg = (
                "Nodes of others with the labels Article, Author, List or Tag are in "
                f"{self.name}; name a database of its own for tagsage in NEO4J_DATABASE, or "
                "another server in NEO4J_URI."
            )
            raise TagsageError(msg)
        for statement in _SCHEMA:
            self.rows(statement)


def refuse_too_long(texts: Sequence[str], what: str) -> None:
    """Raise a TagsageError when a key or a name is longer than Neo4j can index."""
    for text in texts:
        # A character is at most four bytes.
        if 4 * len(text) > INDEXABLE_BYTES and len(text.encode()) > INDEXABLE_BYTES:
            msg = (
                f"Neo4j cannot index {what} of more than {INDEXABLE_BYTES:,} bytes, such as "
                f"{text[:80]!r}…; shorten it in the source, or set store=sqlite."
            )
            raise TagsageError(msg)
