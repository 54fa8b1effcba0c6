"""A small real web server for tests of the crawl: paths answered by functions, requests logged."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Page = Callable[["Handler"], None]


@dataclass(frozen=True)
class Logged:
    """A request as it came."""

    at: float
    method: str
    path: str
    headers: Message


class Handler(BaseHTTPRequestHandler):
    """Answers by the site's pages; what is not there is 404."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.handle_any()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.handle_any()

    def handle_any(self) -> None:
        now = time.time()
        self.site.log.append(Logged(now, self.command, self.path, self.headers))
        page = self.site.pages.get(self.path.partition("?")[0], answer(404))
        try:
            page(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Site:
    """A site on a free port of this machine.

    Attributes
    ----------
    pages : dict of str to callable
        What answers a path.
    log : list of Logged
        What came, in order.
    """

    def __init__(self, pages: dict[str, Page] | None = None) -> None:
        self.pages = dict(pages or {})
        self.log: list[Logged] = []
        handler = type("Handler", (Handler,), {"site": self})
        self._server = Server(("127.0.0.1", 0), handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return self.origin + path

    @property
    def paths(self) -> list[str]:
        return [each.path for each in list(self.log)]


def answer(status: int, body: bytes = b"", **headers: str) -> Page:
    """Return a page: an answer with these headers (underscores are hyphens)."""

    def page(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return page


def feed(*names: str) -> bytes:
    """Return a feed whose items have these names, each with an address and everything told."""
    items = "".join(
        f"<item><title>{name}</title><link>https://medium.com/@a/{name}</link>"
        f"<pubDate>Mon, 01 Jan 2024 00:00:00 GMT</pubDate><category>nlp</category></item>"
        for name in names
    )
    return f'<rss version="2.0"><channel><title>f</title>{items}</channel></rss>'.encode()


def redirect(location: str, status: int = 302) -> Page:
    return answer(status, location=location)


def in_turn(*pages: Page) -> Page:
    """Return a page that answers with each of these once, and with the last from then on."""
    left = list(pages)

    def page(handler: Handler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return page


def cut_off(body: bytes) -> Page:
    """Return a page that ends before its announced length."""

    def page(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    return page


def reset(handler: Handler) -> None:
    """Close the connection with a reset instead of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def drip(handler: Handler) -> None:
    """Send a byte now and then, for half a minute."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(300):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def endless(handler: Handler) -> None:
    """Send a body without a length and without an end."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def endless_headers(handler: Handler) -> None:
    """Send headers without an end."""
    handler.send_response(200)
    while True:
        handler.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")


def bomb(megabytes: int) -> bytes:
    """Return a gzip body that becomes that large."""
    return gzip.compress(b"\0" * 1_000_000, 9) * megabytes
