"""A Neo4j server with Graph Data Science (GDS): its connection, catalog and error messages."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from graphdatascience import GraphDataScience
from graphdatascience.error.unable_to_connect import UnableToConnectError
from neo4j import Driver, Record
from neo4j.exceptions import ClientError, DatabaseError, Neo4jError

from tagsage.errors import TagsageError
from tagsage.neo4j_connection import Neo4jConnection, error_kind, open_driver, translated

if TYPE_CHECKING:
    from graphdatascience.graph.graph_api import Graph

    from tagsage.graph.csr import LongArray

logger = logging.getLogger(__name__)

LEAST_VERSION = (2, 13)
ARTICLE, LIST, IN_LIST = "Article", "List", "IN_LIST"
GRAPHS = (
    "CALL gds.graph.list() YIELD graphName AS name, database "
    "WHERE database = $database AND name STARTS WITH $prefix RETURN name"
)
MODELS = "CALL gds.model.list() YIELD modelName AS name WHERE name STARTS WITH $prefix RETURN name"
DROP_GRAPH = "CALL gds.graph.drop($name, false, $database) YIELD graphName RETURN graphName"
DROP_MODEL = "CALL gds.model.drop($name, false) YIELD modelName RETURN modelName"
CHANGED = "The graph in Neo4j is not this run's corpus any more; run again."


class GdsServer:
    """An open connection: GDS's client, and the driver for what the client doesn't offer."""

    def __init__(self, gds: GraphDataScience, driver: Driver, database: str) -> None:
        self.gds, self._driver, self._database = gds, driver, database

    def project(self, name: str, vector_property: str) -> Graph:
        """Project articles, lists and memberships."""
        graph, _ = self.gds.graph.project.native(
            name,
            {ARTICLE: {"properties": [vector_property]}, LIST: {}},
            {IN_LIST: {}},
            # On one worker nodes keep their order, so that seeded walks can be repeated.
            read_concurrency=1,
            log_progress=False,
        )
        return graph

    def stream(self, query: str, **parameters: Any) -> Iterator[Record]:
        """Run a query whose rows are too many for memory."""
        with self._driver.session(database=self._database) as session:
            yield from session.run(query, parameters)

    def drop(self, prefix: str) -> None:
        """Drop the graphs and models whose names begin with `prefix`."""
        database = self._database
        for row in list(self.stream(GRAPHS, database=database, prefix=prefix)):
            list(self.stream(DROP_GRAPH, name=row["name"], database=database))
            logger.info("Neo4j: dropped the graph %s", row["name"])
        for row in list(self.stream(MODELS, prefix=prefix)):
            list(self.stream(DROP_MODEL, name=row["name"]))
            logger.info("Neo4j: dropped the model %s", row["name"])


def find_articles(server: GdsServer, keys: Sequence[str]) -> LongArray:
    """Return the articles' node ids; a TagsageError says when the database holds others."""
    # A key that is too long for an index stands whole in another property.
    rows = server.stream("MATCH (a:Article) RETURN coalesce(a.full_key, a.key) AS key, id(a) AS id")
    found = {row["key"]: row["id"] for row in rows}
    ids = pd.Series(found, dtype="Int64").reindex(list(keys))
    if len(found) != len(keys) or ids.hasnans:
        raise TagsageError(CHANGED)
    return ids.to_numpy(dtype=np.int64)


@contextmanager
def open_server(connection: Neo4jConnection) -> Generator[GdsServer]:
    """Open a server for a while, and translate its errors for users."""
    with translated(connection), _translated(connection), open_driver(connection) as driver:
        _check_version(connection, driver)
        # No Arrow: it is not in the open build.
        gds = GraphDataScience(
            driver, database=connection.database, arrow=False, show_progress=False
        )
        yield GdsServer(gds, driver, connection.database)


def _check_version(connection: Neo4jConnection, driver: Driver) -> None:
    needed = ".".join(map(str, LEAST_VERSION))
    advice = f"install the plugin, {needed} or newer, or set engine=local"
    try:
        (row,) = driver.execute_query("RETURN gds.version()", database_=connection.database).records
    except ClientError as error:
        if "Unknown function" not in str(error):
            raise
        msg = f"Neo4j at {connection.uri} has no Graph Data Science; {advice}."
        raise TagsageError(msg) from error
    if tuple(int(number) for number in re.findall(r"\d+", row[0])[:2]) < LEAST_VERSION:
        msg = f"Graph Data Science {row[0]} of Neo4j at {connection.uri} is too old; {advice}."
        raise TagsageError(msg)


@contextmanager
def _translated(connection: Neo4jConnection) -> Generator[None]:
    try:
        yield
    except (ClientError, DatabaseError) as error:
        sentence = gds_sentence(connection, error)
        if sentence is None:
            raise
        raise TagsageError(sentence) from error
    except UnableToConnectError as error:
        # The client waits ten minutes for a server that went away between two calls.
        msg = f"Neo4j at {connection.uri} went away and did not come back; start it and run again."
        raise TagsageError(msg) from error


def gds_sentence(connection: Neo4jConnection, error: Neo4jError) -> str | None:
    """Translate an error of a GDS procedure into a sentence for users; None for any other error."""
    first = ((error.message or "").strip().splitlines() or [""])[0].rpartition("Caused by: ")[2]
    text = re.sub(r"^[\w.$]+(Exception|Error): ", "", first).rstrip(".")[:300] or str(error.code)
    if re.search(r"OutOfMemoryError|Java heap space|Procedure was blocked|exceeds available", text):
        return (
            f"Neo4j at {connection.uri} has too little memory for the graph: {text}; give it more "
            "(server.memory.heap.max_size), or lower similarity_top_k, and run again."
        )
    if "models in the catalog" in text:
        return (
            f"Neo4j at {connection.uri} keeps no more models: {text}; drop one with "
            "gds.model.drop and run again."
        )
    if error_kind(error) == "ProcedureCallFailed":
        return (
            f"Graph Data Science at {connection.uri} could not do this: {text}; run again, and if "
            "it stays so, look into the server's debug.log."
        )
    return None
