"""A server that answers like OpenAI's API and, on purpose, misbehaves; it keeps books.

In a test::

    with OpenAiServer(api_key="sk-test", faults=Faults({"embeddings": {"500": 0.1}})) as server:
        ...  # a client of server.base_url
    assert not charged_twice(server.books)

As a program, so that it outlives the clients a test kills::

    python scripts/openai_server.py --port 0 --ready-file F --faults faults.json --log books.jsonl

It prints its base URL, which it also writes to the ready file once it listens. It listens on the
loopback interface only. Faults: see ``scripts/openai_api/faults.py``; the file of faults holds the
members of its class ``Faults``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

if __package__ in {None, ""}:
    # As a program Python looks into scripts/ only.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.openai_api.api import Api
from scripts.openai_api.batches import BatchRules
from scripts.openai_api.books import Books, Charge, Charged, charged_twice
from scripts.openai_api.connection import ApiHttpServer
from scripts.openai_api.embeddings import Dialect
from scripts.openai_api.faults import ENDPOINTS, Faults
from scripts.openai_api.files import Files
from scripts.openai_api.limits import Buckets, RateLimit
from scripts.openai_api.vectors import MODELS, count_tokens, expected_vector, expected_vectors

__all__ = [
    "ENDPOINTS",
    "MODELS",
    "BatchRules",
    "Books",
    "Charge",
    "Charged",
    "Faults",
    "OpenAiServer",
    "RateLimit",
    "charged_twice",
    "count_tokens",
    "expected_vector",
    "expected_vectors",
]

TICK_S = 0.05


class OpenAiServer:
    """The server, in a thread of this process.

    Parameters
    ----------
    port : int
        0: any that is free.
    faults : Faults, optional
        What goes wrong; None: nothing.
    limit : RateLimit, optional
        Requests and tokens that a client may ask for; None: any number.
    quota_tokens : int, optional
        Tokens that the account may use at all; may be changed later on ``server.api``.
    latency_s : float
        How long an embedding request takes beside the computing.
    batches : BatchRules, optional
        Limits and paces of batches; None: OpenAI's limits, and a batch is done as soon as it is
        looked at. With ``BatchRules(seconds=None)`` a test moves them by :meth:`advance`.
    log : pathlib.Path, optional
        File to which the books are appended.
    **dialect
        The attributes of :class:`scripts.openai_api.embeddings.Dialect`: ``api_key``, ``models``,
        ``vectors``, ``base64``, ``dimensions``, ``usage``, …

    Attributes
    ----------
    base_url : str
        What a client is given, such as ``http://127.0.0.1:40001/v1``.
    books : Books
        What was charged.
    faults : Faults
        To say what happens next: ``server.faults.next("embeddings", "500")``.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        faults: Faults | None = None,
        limit: RateLimit | None = None,
        quota_tokens: int | None = None,
        latency_s: float = 0.0,
        batches: BatchRules | None = None,
        log: Path | None = None,
        **dialect: Any,
    ) -> None:
        self.faults = faults or Faults()
        self.books = Books(log)
        self._folder = tempfile.TemporaryDirectory(prefix="openai-server-")
        rules = batches or BatchRules()
        self.api = Api(
            Dialect(**dialect),
            self.faults,
            Buckets(limit) if limit else None,
            quota_tokens,
            latency_s,
            self.books,
            Files(Path(self._folder.name), rules.max_file_bytes),
            rules,
        )
        self._http = ApiHttpServer(port, self.api)
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}),
            threading.Thread(target=self._tick),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop()
        for thread in self._threads:
            thread.join()
        self.api.batches.close()
        self.books.close()
        self._folder.cleanup()

    def advance(self, batch_id: str, *, lines: int | None = None) -> str:
        """Bring a batch to its next state, or compute so many more of its lines.

        Returns
        -------
        str
            Its state then.
        """
        return self.api.batches.advance(batch_id, lines=lines)

    def expire(self, batch_id: str) -> None:
        """Let the completion window of a batch be over."""
        self.api.batches.expire(batch_id)

    def _tick(self) -> None:
        # Batches go on, and are charged, when nobody looks.
        while not self.api.stopping.wait(TICK_S):
            self.api.batches.tick()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    arguments = _arguments()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    models = dict(part.split("=") for part in arguments.model)
    limit = (
        RateLimit(arguments.requests, arguments.tokens, arguments.window_s)
        if arguments.requests and arguments.tokens
        else None
    )
    with OpenAiServer(
        port=arguments.port,
        faults=Faults.load(arguments.faults) if arguments.faults else None,
        limit=limit,
        quota_tokens=arguments.quota_tokens,
        latency_s=arguments.latency_s,
        log=arguments.log,
        batches=BatchRules(
            seconds={
                "validating": arguments.batch_s / 10,
                "in_progress": arguments.batch_s,
                "finalizing": arguments.batch_s / 10,
                "cancelling": arguments.batch_s / 10,
            },
            expires_after_s=arguments.batch_expires_s,
        ),
        api_key=arguments.api_key,
        models={name: int(length) for name, length in models.items()} or MODELS,
        vectors=arguments.vectors,
        base64=arguments.base64,
        dimensions=arguments.dimensions,
        usage=not arguments.no_usage,
    ) as server:
        print(server.base_url, flush=True)
        if arguments.ready_file:
            temporary = arguments.ready_file.with_suffix(".tmp")
            temporary.write_text(server.base_url, encoding="utf-8")
            temporary.replace(arguments.ready_file)
        stop.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--port", type=int, default=0, help="0: any that is free")
    add("--ready-file", type=Path, help="gets the base URL when the server listens")
    add("--faults", type=Path, help="JSON with the members of Faults")
    add("--log", type=Path, help="the books, JSON lines; continued when it exists")
    add("--api-key", help="the only key let in; else any, or none")
    add("--model", action="append", default=[], metavar="NAME=LENGTH", help="instead of OpenAI's")
    add("--vectors", choices=("hash", "words"), default="hash", help="words: alike texts are near")
    add("--base64", choices=("full", "ignored", "refused"), default="full")
    add("--dimensions", choices=("full", "ignored", "refused"), default="full")
    add("--no-usage", action="store_true", help="answers count no tokens")
    add("--requests", type=int, default=0, help="requests a window; with --tokens")
    add("--tokens", type=int, default=0, help="tokens a window; with --requests")
    add("--window-s", type=float, default=60.0)
    add("--quota-tokens", type=int, help="tokens the account may use at all")
    add("--latency-s", type=float, default=0.0, help="of an embedding request")
    add("--batch-s", type=float, default=0.0, help="how long a batch is in progress")
    add("--batch-expires-s", type=float, default=24 * 3600.0, help="when a batch ends anyway")
    return parser.parse_args()


if __name__ == "__main__":
    main()
