"""A Neo4j server with Graph Data Science: opening it, its catalog, and what it complains of."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphdatascience import GraphDataScience
from graphdatascience.error.unable_to_connect import UnableToConnectError
from neo4j import Driver, Record, RoutingControl
from neo4j.exceptions import ClientError, DatabaseError, Neo4jError

from tagsage.errors import TagsageError
from tagsage.graph.gds import memory
from tagsage.graph.gds.memory import Heap
from tagsage.neo4j_connection import Neo4jConnection, error_kind, open_driver, translated

logger = logging.getLogger(__name__)

LEAST_VERSION = (2, 13)
# More workers need a licence.
FREE_CONCURRENCY = 4
# A killed training goes on until its epoch ends.
KILLED_ENDS_WITHIN_S = 900
POLL_S = 0.5


@dataclass(frozen=True)
class GraphState:
    """A graph of the catalog.

    Attributes
    ----------
    nodes, relationships : int
        Their numbers.
    relationship_types : frozenset of str
        Types.
    properties : dict
        Names of the node properties by label.
    created : datetime
        When it was made.
    """

    nodes: int
    relationships: int
    relationship_types: frozenset[str]
    properties: dict[str, frozenset[str]]
    created: datetime


class GdsServer:
    """An open connection to a server with GDS; made by :func:`open_gds`.

    Attributes
    ----------
    gds : GraphDataScience
        The client.
    concurrency : int
        How many workers we may ask for.
    licensed : bool
        Whether GDS has a licence; without one it limits workers and models.
    """

    def __init__(
        self,
        gds: GraphDataScience,
        driver: Driver,
        connection: Neo4jConnection,
        *,
        concurrency: int,
        licensed: bool,
    ) -> None:
        self.gds = gds
        self.connection = connection
        self.licensed = licensed
        self.concurrency = concurrency
        self._driver = driver

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self.connection.uri

    def rows(self, query: str, **parameters: Any) -> list[Record]:
        """Run a query that may be repeated, and return all its rows."""
        return self._driver.execute_query(
            query,
            parameters,
            database_=self.connection.database,
            routing_=RoutingControl.WRITE,
        ).records

    @contextmanager
    def stream(self, query: str, **parameters: Any) -> Generator[Iterable[Record]]:
        """Run a query whose rows are too many for memory, or that manages its transactions."""
        with self._driver.session(database=self.connection.database) as session:
            yield session.run(query, parameters)

    def state(self, name: str) -> GraphState | None:
        """Describe a graph of our database, or return None when there is none."""
        return self.graphs().get(name)

    def graphs(self) -> dict[str, GraphState]:
        """Return the graphs of our database."""
        # Only what is yielded is computed; the size of a graph takes long.
        rows = self.rows(
            "CALL gds.graph.list() YIELD graphName, database, nodeCount, relationshipCount, "
            "schemaWithOrientation, creationTime WHERE database = $database RETURN *",
            database=self.connection.database,
        )
        return {
            row["graphName"]: GraphState(
                row["nodeCount"],
                row["relationshipCount"],
                frozenset(row["schemaWithOrientation"]["relationships"]),
                {
                    label: frozenset(properties)
                    for label, properties in row["schemaWithOrientation"]["nodes"].items()
                },
                row["creationTime"].to_native(),
            )
            for row in rows
        }

    def models(self) -> dict[str, tuple[str, datetime]]:
        """Return the type and the time of making of every model."""
        rows = self.rows("CALL gds.model.list() YIELD modelName, modelType, creationTime RETURN *")
        return {
            row["modelName"]: (row["modelType"], row["creationTime"].to_native()) for row in rows
        }

    def drop_graph(self, name: str) -> bool:
        """Drop a graph; return whether there was one."""
        return bool(
            self.rows(
                "CALL gds.graph.drop($name, false, $database) YIELD graphName RETURN graphName",
                name=name,
                database=self.connection.database,
            )
        )

    def drop_model(self, name: str) -> bool:
        """Drop a model; return whether there was one."""
        return bool(
            self.rows(
                "CALL gds.model.drop($name, false) YIELD modelName RETURN modelName", name=name
            )
        )

    def refuse_if_short(self, what: str, needed: int) -> None:
        """Raise a TagsageError when the server has not this many bytes free.

        Parameters
        ----------
        what : str
            What is to be done, as the beginning of a sentence.
        needed : int
            Bytes.
        """
        memory.refuse_if_short(what, needed, self._heap(needed))

    def _heap(self, needed: int) -> Heap:
        rows = self.rows(
            "CALL gds.debug.sysInfo() YIELD key, value "
            "WHERE key IN ['availableHeapInBytes', 'heapMaxInBytes'] RETURN key, value"
        )
        values = {row["key"]: int(row["value"]) for row in rows}
        # Free after the last collection of garbage; much garbage may be older than that looks at.
        free, most = values["availableHeapInBytes"], values["heapMaxInBytes"]
        if free < needed:
            graphs = self.rows("CALL gds.graph.list() YIELD sizeInBytes RETURN sum(sizeInBytes)")
            free = max(free, most - graphs[0][0] - memory.server_bytes(most))
        return Heap(free, most)

    def wait_for_killed(self, family: str) -> None:
        """Wait until what killed tasks of ours left running on the server has ended.

        GDS looks at the end of its clients only now and then, and a training that was killed
        leaves its model in the catalog all the same.

        Parameters
        ----------
        family : str
            What the names of our graphs start with.

        Raises
        ------
        TagsageError
            When it does not end in time.
        """
        deadline = time.monotonic() + KILLED_ENDS_WITHIN_S
        told_so = False
        while running := self.rows(
            "SHOW TRANSACTIONS YIELD transactionId, status, parameters "
            "WHERE status STARTS WITH 'Terminated' AND any("
            "key IN ['graph_name', 'graphName', 'from_graph_name'] "
            "WHERE parameters[key] STARTS WITH $family) RETURN transactionId",
            family=family,
        ):
            if not told_so:
                logger.info("Waiting for what a killed task left running in Neo4j ...")
                told_so = True
            if time.monotonic() > deadline:
                msg = (
                    f"Neo4j at {self.where} is still busy with a task that was killed "
                    f"({running[0]['transactionId']}); restart it and run again."
                )
                raise TagsageError(msg)
            time.sleep(POLL_S)


@contextmanager
def open_gds(connection: Neo4jConnection, concurrency: int) -> Generator[GdsServer]:
    """Open a server for a while, and word its complaints for users.

    Parameters
    ----------
    connection : Neo4jConnection
        The server.
    concurrency : int
        How many workers we should like; without a licence GDS has at most four.

    Raises
    ------
    TagsageError
        When it is away, refuses us, has no GDS or one that is too old, or cannot do what is asked.
    """
    with translated(connection), _gds_told(connection), open_driver(connection) as driver:
        licensed = _check_version(connection, driver)
        # No Arrow: it is not in the open build.
        gds = GraphDataScience(
            driver, database=connection.database, arrow=False, show_progress=False
        )
        workers = concurrency if licensed else min(concurrency, FREE_CONCURRENCY)
        yield GdsServer(gds, driver, connection, concurrency=workers, licensed=licensed)


def _check_version(connection: Neo4jConnection, driver: Driver) -> bool:
    """Refuse a server without a fitting GDS; return whether it has a licence."""
    try:
        record = driver.execute_query(
            "RETURN gds.version() AS version, gds.isLicensed() AS licensed",
            database_=connection.database,
        ).records[0]
    except ClientError as error:
        if "Unknown function" not in str(error):
            raise
        msg = (
            f"Neo4j at {connection.uri} has no Graph Data Science; install the plugin "
            f"({_dotted(LEAST_VERSION)} or newer), or set engine=local."
        )
        raise TagsageError(msg) from error
    refuse_old(connection.uri, record["version"])
    return bool(record["licensed"])


def refuse_old(where: str, version: str) -> None:
    """Raise a TagsageError when this version of GDS, such as ``2.13.9``, is too old."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < LEAST_VERSION:
        msg = (
            f"Graph Data Science {version} of Neo4j at {where} is too old; bring the plugin to "
            f"{_dotted(LEAST_VERSION)} or newer, or set engine=local."
        )
        raise TagsageError(msg)


@contextmanager
def _gds_told(connection: Neo4jConnection) -> Generator[None]:
    """Turn what GDS complains of into one sentence."""
    try:
        yield
    except (ClientError, DatabaseError) as error:
        sentence = gds_complaint(connection, error)
        if sentence is None:
            raise
        raise TagsageError(sentence) from error
    except UnableToConnectError as error:
        # The client waits ten minutes for a server that went away between two calls.
        msg = f"Neo4j at {connection.uri} went away and did not come back; start it and run again."
        raise TagsageError(msg) from error
    except ValueError as error:
        if "does not exist in the catalog" not in str(error):
            raise
        msg = f"Neo4j at {connection.uri} lost the graph in the middle of the work; run again."
        raise TagsageError(msg) from error


def gds_complaint(connection: Neo4jConnection, error: Neo4jError) -> str | None:
    """Word an error of a GDS procedure for a user; None when it is no procedure's."""
    text = _cause(error)
    if re.search(r"OutOfMemoryError|Java heap space|Procedure was blocked|exceeds available", text):
        return (
            f"Neo4j at {connection.uri} has too little memory for the graph: {text}; give it more "
            "(server.memory.heap.max_size) and run again."
        )
    if "limited" in text and "model" in text:
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


def met_another(error: Neo4jError | ValueError) -> bool:
    """Tell whether another task of the run was first to make, or to drop, what was asked for."""
    # "already loaded": both found the name free when they began; a ValueError is the client's.
    text = _cause(error) if isinstance(error, Neo4jError) else str(error)
    return bool(re.search(r"already (exists|loaded)|does not exist", text))


def _cause(error: Neo4jError) -> str:
    """Return what a procedure said, without its name and the exception's."""
    first = ((error.message or "").strip().splitlines() or [""])[0]
    first = first.rpartition("Caused by: ")[2]
    return re.sub(r"^[\w.$]+(Exception|Error): ", "", first).rstrip(".")[:300] or str(error.code)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
