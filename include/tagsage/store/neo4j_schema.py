"""What the store keeps in a Neo4j database, and how a database is made ready.

The model::

    (:Author {name})-[:WROTE]->(:Article {key, url, title, subtitle, date, is_stub})
    (:Article)-[:IN_LIST]->(:List {name})
    (:Article)-[:HAS_TAG {position}]->(:Tag {name})
    (:Article)-[:PREDICTED_TAG {score, assigned, model_version, run_id, set_number, end_number}]
        ->(:Tag)
    (:Article)-[:SUGGESTED_TAG {score, model_version, run_id, set_number, end_number}]->(:Tag)
    (:PredictionSet {number, run_id, model_version, complete, given_up})
    (:SuggestionSet {number, run_id, model_version, complete, given_up})
    (:VectorSet {name, digest, dimensions, complete})
    (:TagsageStore {name, schema, loads, loading, sets})

Vectors are properties of articles, named by the vector set. A key, URL or name that is too long for
an index is cut there, and stands whole in ``full_key``, ``full_url`` or ``full_name``.

A predicted or suggested tag holds from the set ``set_number`` on, up to the set ``end_number`` when
it has one; what readers see is the newest complete set.

All nodes with these labels are the store's; it removes those that the corpus no longer has. What
has other labels is never touched, except that its relationships to a removed node go. Properties
and relationships that others add to the store's nodes stay as long as the node.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from neo4j.exceptions import Neo4jError, TransientError

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import error_kind

if TYPE_CHECKING:
    from neo4j import ManagedTransaction, Session

# Counts the forms of the model; a newer tagsage that changes it adds a step in `prepare`.
VERSION = 2

UNIQUE = {
    "Article": "key",
    "Author": "name",
    "List": "name",
    "Tag": "name",
    "TagsageStore": "name",
}
STATEMENTS = (
    *(
        f"CREATE CONSTRAINT tagsage_{label.lower()}_{name} IF NOT EXISTS "
        f"FOR (n:{label}) REQUIRE n.{name} IS UNIQUE"
        for label, name in UNIQUE.items()
    ),
    # A prediction names its article by URL.
    "CREATE INDEX tagsage_article_url IF NOT EXISTS FOR (n:Article) ON (n.url)",
)
# Both in one statement, lest another process make the database ready between them.
_LOOK = """
    OPTIONAL MATCH (s:TagsageStore {name: 'tagsage'})
    RETURN s.schema, EXISTS {
        MATCH (n) WHERE n:Article OR n:Author OR n:List OR n:Tag OR n:VectorSet OR n:PredictionSet
            OR n:SuggestionSet
    }
"""
_MARK = """
    MERGE (s:TagsageStore {name: 'tagsage'})
    ON CREATE SET s.schema = $version, s.loads = 0, s.sets = 0
"""
# Before version 2 every set was written whole: what is not of the newest complete one is a rest.
# Each looks at the version: another process may have done it all meanwhile, and write on.
_TO_VERSION_2 = (
    """
    MATCH (state:TagsageStore {name: 'tagsage', schema: 1})
    OPTIONAL MATCH (s:PredictionSet) WHERE s.complete
    WITH state, coalesce(max(s.number), 0) AS newest
    MATCH ()-[p:PREDICTED_TAG]->() WHERE p.set_number <> newest
    CALL (p) { DELETE p } IN TRANSACTIONS
    """,
    """
    MATCH ()-[p:PREDICTED_TAG]->() WHERE p.position IS NOT NULL
    CALL (p) { REMOVE p.position } IN TRANSACTIONS
    """,
    """
    MATCH (state:TagsageStore {name: 'tagsage', schema: 1})
    OPTIONAL MATCH (s:PredictionSet) WHERE s.complete
    WITH state, coalesce(max(s.number), 0) AS newest
    MATCH (s:PredictionSet) WHERE s.number <> newest DELETE s
    """,
    "MATCH (s:TagsageStore {name: 'tagsage'}) WHERE s.schema = 1 SET s.schema = 2",
)
_ATTEMPTS = 20


def prepare(session: Session, name: str) -> None:
    """Make a database ready for the store; one that is ready is only looked at.

    Parameters
    ----------
    session : neo4j.Session
        Of the database.
    name : str
        The database, as errors name it.

    Raises
    ------
    TagsageError
        When it holds nodes of our labels that are not ours, or a newer tagsage made it.
    """
    schema, has_nodes = session.execute_write(_look)
    if schema is None and has_nodes:
        # It may have been made ready and filled since.
        schema, _ = session.execute_write(_look)
        if schema is None:
            msg = (
                f"Nodes of others with the labels Article, Author, List or Tag are in {name}; "
                "name a database of its own for tagsage in NEO4J_DATABASE, or another server in "
                "NEO4J_URI."
            )
            raise TagsageError(msg)
    if schema is None:
        for statement in STATEMENTS:
            _define(session, statement)
        session.run("CALL db.awaitIndexes(300)").consume()
        session.execute_write(_mark)
    elif schema < VERSION:
        for statement in _TO_VERSION_2:
            session.run(statement).consume()
    elif schema > VERSION:
        msg = (
            f"A newer tagsage made {name} (schema {schema}, this one knows {VERSION}); update "
            "tagsage, or name another database in NEO4J_DATABASE."
        )
        raise TagsageError(msg)


def _look(tx: ManagedTransaction) -> tuple[int | None, bool]:
    schema, has_nodes = tx.run(_LOOK).single(strict=True)
    return schema, has_nodes


def _mark(tx: ManagedTransaction) -> None:
    tx.run(_MARK, version=VERSION).consume()


def _define(session: Session, statement: str) -> None:
    """Create a constraint or index, also when another process creates the same meanwhile."""
    for attempt in range(_ATTEMPTS):
        try:
            session.run(statement).consume()
        except TransientError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.1)
        except Neo4jError as error:
            if error_kind(error) in {
                "EquivalentSchemaRuleAlreadyExists",
                "ConstraintAlreadyExists",
            }:
                return
            raise
        else:
            return
