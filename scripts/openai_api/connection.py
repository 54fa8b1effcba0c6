"""The server's side of a connection: reads requests, sends or spoils answers, sees who is gone."""

from __future__ import annotations

import select
import socket
import socketserver
import struct
from collections.abc import Iterator
from http.client import responses
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from scripts.openai_api.api import GARBAGE, Api, Reply, Request, ResetConnectionError

PIECE_BYTES = 1 << 16
DRIPS = 20


class GoneError(OSError):
    """The client closed the connection before it had its answer."""


class ApiHttpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread a connection, on the loopback interface."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False

    def __init__(self, port: int, api: Api) -> None:
        self.api = api
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), ApiHandler)

    def stop(self) -> None:
        """End the loop and every connection, and wait for their threads."""
        self.api.stopping.set()
        self.shutdown()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It ended by itself meanwhile.
                continue
        self.server_close()


class ApiHandler(BaseHTTPRequestHandler):
    """Serves one connection until either side ends it.

    An answer counts as delivered when the next request comes, or an orderly end, on its
    connection. The kernel of a client that is killed with bytes unread resets the connection, and
    one that is killed before they came does so when they come: both count as lost.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ApiHttpServer
    # What the base class would write to stderr for each request.
    log_message = staticmethod(lambda *_: None)  # type: ignore[assignment]

    def setup(self) -> None:
        """Begin a connection."""
        super().setup()
        self._pending = -1
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """End a connection."""
        self.server.connections.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        """Wait for a request, see from it what became of the answer before, and answer it."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            broken = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not self.raw_requestline and broken:
                raise GoneError
        except OSError:
            self._lose("the client was gone before it had read the answer")
            self.close_connection = True
            return
        # An end that the stopping server made says nothing of what the client has read.
        if self._pending >= 0 and (self.raw_requestline or not self.server.api.stopping.is_set()):
            self.server.api.books.delivered(self._pending)
        self._pending = -1
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        try:
            self._serve()
        except OSError:
            self._lose("the client was gone before it had the answer")
            self.close_connection = True

    def _serve(self) -> None:
        api = self.server.api
        body = self._read_body()
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(url.query))
        line = f"{self.command} {url.path}"
        try:
            reply = api.answer(Request(self.command, url.path, query, headers, body))
        except ResetConnectionError:
            api.books.request(line, 0)
            self._reset()
            return
        self._pending = reply.charge
        api.books.request(line, reply.status, reply.texts)
        self._send(reply)

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            chunks = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise GoneError
        return body

    # -- sending ---------------------------------------------------------------------------

    def _send(self, reply: Reply) -> None:
        fault = reply.fault
        if fault == "reset_after":
            self._reset()
            return
        length = len(reply.body) if isinstance(reply.body, bytes) else reply.body.stat().st_size
        body, end = reply.body, length
        if fault == "garbage":
            body, end, length = GARBAGE, len(GARBAGE), len(GARBAGE)
        elif fault == "truncated_json":
            length = end = length // 2
        elif fault in {"reset_midway", "truncated_body"}:
            end = length // 2
        slow_s = self.server.api.faults.slow_s
        if fault == "slow":
            self.server.api.stopping.wait(slow_s)
        self._see_client()
        self.connection.sendall(self._head(reply, length))
        if fault == "drip":
            self._drip(body, length, slow_s)
        else:
            for piece in _pieces(body, end):
                self.connection.sendall(piece)
        if fault == "reset_midway":
            self._reset()
        elif fault in {"truncated_body", "truncated_json", "garbage"}:
            self._lose(fault)
            self.close_connection = self.close_connection or fault == "truncated_body"

    def _head(self, reply: Reply, length: int) -> bytes:
        lines = [
            f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if self.close_connection:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _drip(self, body: bytes | Path, length: int, slow_s: float) -> None:
        content = body if isinstance(body, bytes) else body.read_bytes()
        step = max(1, -(-length // DRIPS))
        for start in range(0, length, step):
            self.server.api.stopping.wait(slow_s / DRIPS)
            self._see_client()
            self.connection.sendall(content[start : start + step])

    def _see_client(self) -> None:
        """Raise when the client has closed its end: no client of HTTP waits for answers then."""
        if self.server.api.stopping.is_set():
            raise GoneError
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise GoneError

    def _lose(self, why: str) -> None:
        if self._pending >= 0:
            self.server.api.books.lost(self._pending, why)
            self._pending = -1

    def _reset(self) -> None:
        """End the connection with RST: what was not yet sent is thrown away."""
        self._lose("the server reset the connection")
        linger_no_time = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
        self.close_connection = True
        # The files hold on to the socket; open ones would keep it from being closed here.
        self.wfile.close()
        self.rfile.close()
        self.server.connections.discard(self.connection)
        self.connection.close()


def _pieces(body: bytes | Path, end: int) -> Iterator[bytes | memoryview]:
    if isinstance(body, bytes):
        yield memoryview(body)[:end]
        return
    with body.open("rb") as file:
        while end > 0 and (piece := file.read(min(PIECE_BYTES, end))):
            end -= len(piece)
            yield piece
