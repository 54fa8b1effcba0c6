"""The server's side of a connection: reads requests, sends or spoils answers, keeps the log."""

from __future__ import annotations

import select
import socket
import socketserver
import struct
import threading
import time
from email.utils import formatdate
from http.client import responses

from scripts.medium_site.log import HEADERS, Entry, Log
from scripts.medium_site.site import Reply, Request, Site

LARGEST_HEAD, LARGEST_BODY = 1 << 16, 1 << 20
# So much of an answer is held back until the moment of its end was taken.
LAST_BYTES = 256
DRIP_STEP_S = 0.02


class GoneError(OSError):
    """The client hung up before it had its answer."""


class MediumHttpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One of the site's hosts; one thread a connection.

    Parameters
    ----------
    host : str
        Its name in the site.
    address : str
        Of the loopback interface.
    port : int
        0: any that is free.
    """

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False

    def __init__(self, host: str, address: str, port: int, log: Log) -> None:
        self.host = host
        self.log = log
        self.site: Site | None = None
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        if ":" in address:
            self.address_family = socket.AF_INET6
        super().__init__((address, port), MediumHandler)

    def stop(self) -> None:
        """End the loop and every connection, and wait for their threads."""
        self.stopping.set()
        self.shutdown()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It ended by itself meanwhile.
                continue
        self.server_close()


class MediumHandler(socketserver.StreamRequestHandler):
    """Serves one connection until either side ends it."""

    disable_nagle_algorithm = True
    server: MediumHttpServer

    def handle(self) -> None:
        """Answer one request after the other."""
        self.server.connections.add(self.connection)
        self._is_open = True
        try:
            while self._is_open and (request := self._read()) is not None:
                self._serve(*request)
        except OSError:
            # The client is gone; what was under way is in the log.
            self._is_open = False
        finally:
            self.server.connections.discard(self.connection)

    def finish(self) -> None:
        """Close the files; after a reset there is nothing to flush to."""
        try:
            super().finish()
        except OSError:
            self._is_open = False

    def _read(self) -> tuple[Request, str] | None:
        """Read a request and its query; None: the client has ended the connection."""
        line = self.rfile.readline(LARGEST_HEAD)
        parts = line.decode("latin-1").split()
        if len(parts) != 3:
            return None
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(LARGEST_HEAD)) not in {b"\r\n", b"\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = self.rfile.read(min(length, LARGEST_BODY))
        self._is_open = headers.get("connection", "").lower() != "close"
        method, target, _ = parts
        return Request(self.server.host, method, target, headers, body), target

    def _serve(self, request: Request, target: str) -> None:
        entry = Entry(
            time.time(),
            request.host,
            request.method,
            target,
            headers={
                name: request.headers[name.lower()]
                for name in HEADERS
                if name.lower() in request.headers
            },
        )
        site = self.server.site
        if site is None:
            raise RuntimeError("the server has no site yet")
        try:
            reply = site.answer(request)
            entry.kind, entry.status, entry.fault = reply.kind, reply.status, reply.fault
            entry.list_id, entry.cursor = reply.list_id, reply.cursor
            self._send(reply, entry, is_head=request.method == "HEAD")
        finally:
            entry.ended = entry.ended or time.time()
            self.server.log.add(entry)

    # -- sending ---------------------------------------------------------------------------

    def _send(self, reply: Reply, entry: Entry, *, is_head: bool) -> None:
        body = b"" if is_head else reply.body
        match reply.fault:
            case "reset_before":
                entry.status = 0
                self._reset(entry, b"")
            case "reset_headers":
                head = self._head(reply, len(body))
                self._reset(entry, head[: len(head) // 2])
            case "reset_body":
                self._reset(entry, self._head(reply, len(body)) + body[: len(body) // 2])
            case "truncated":
                self._is_open = False
                self._out(entry, self._head(reply, len(body) + 1) + body[: len(body) // 2])
            case "chunk_cut":
                self._is_open = False
                half = body[: len(body) // 2]
                chunk = f"{len(half):x}\r\n".encode() + half + b"\r\n"
                self._out(entry, self._head(reply, None) + chunk)
            case "drip":
                self._is_open = False
                self._drip(entry, self._head(reply, len(body) + 1_000_000), body)
            case _:
                self._out(entry, self._head(reply, len(body)) + body)
                entry.complete = True

    def _head(self, reply: Reply, length: int | None) -> bytes:
        lines = [
            f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}",
            f"Date: {formatdate(usegmt=True)}",
            "Server: cloudflare",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if length is None:
            lines.append("Transfer-Encoding: chunked")
        elif reply.status != 304:
            lines.append(f"Content-Length: {length}")
        if not self._is_open:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _out(self, entry: Entry, data: bytes) -> None:
        cut = max(0, len(data) - LAST_BYTES)
        if cut:
            self.connection.sendall(memoryview(data)[:cut])
            entry.sent = cut
        entry.ended = time.time()
        self.connection.sendall(memoryview(data)[cut:])
        entry.sent = len(data)

    def _drip(self, entry: Entry, head: bytes, body: bytes) -> None:
        site = self.server.site
        until = time.monotonic() + (site.faults.drip_s if site else 0.0)
        self.connection.sendall(head)
        at = 0
        while time.monotonic() < until and not self.server.stopping.wait(DRIP_STEP_S):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise GoneError
            self.connection.sendall(body[at : at + 1] or b" ")
            at += 1
            entry.sent = len(head) + at

    def _reset(self, entry: Entry, data: bytes) -> None:
        """Send a part, and end the connection with RST: what was not yet sent is thrown away."""
        self._out(entry, data)
        if data:
            # The client is to have it before the reset overtakes it.
            time.sleep(DRIP_STEP_S)
        linger_no_time = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
        self._is_open = False
        # The files hold on to the socket; open ones would keep it from being closed here.
        self.wfile.close()
        self.rfile.close()
        self.server.connections.discard(self.connection)
        self.connection.close()
