"""A server that answers like Medium and, on purpose, misbehaves; it keeps a log.

In a test::

    with MediumServer(Config(lists=20, posts=300), faults=Faults({"503": 0.1})) as server:
        ...  # a harvest of server.seeds()
    assert not [entry for entry in server.log.entries() if "Cookie" in entry.headers]

As a program, so that it outlives the clients a test kills::

    python scripts/medium_server.py --lists 200 --posts 5000 --ready-file F --faults faults.json

It prints the addresses of all lists and feeds, one a line, and writes them to the ready file once
it listens: a file of seeds. It listens on the loopback interface only; each of the site's hosts is
a port of its own. SIGUSR1 lets a run pass: lists and titles change. Faults: see
``scripts/medium_site/faults.py``; the file of faults holds the members of its class ``Faults``.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

if __package__ in {None, ""}:
    # As a program Python looks into scripts/ only.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.medium_site.connection import MediumHttpServer
from scripts.medium_site.expected import Expected, ExpectedArticle, expect
from scripts.medium_site.faults import CHALLENGES, KINDS, Faults
from scripts.medium_site.generation import make_world
from scripts.medium_site.log import Entry, Log, read_log
from scripts.medium_site.site import Site
from scripts.medium_site.world import (
    ELSEWHERE,
    MAIN,
    Config,
    Place,
    World,
    host_names,
)

__all__ = [
    "CHALLENGES",
    "ELSEWHERE",
    "KINDS",
    "MAIN",
    "Config",
    "Entry",
    "Expected",
    "ExpectedArticle",
    "Faults",
    "Log",
    "MediumServer",
    "Place",
    "World",
    "read_log",
]

V4, V6 = "127.0.0.1", "::1"
TRIES = 20
WAKE_S = 0.1


class MediumServer:
    """The server, in threads of this process.

    Parameters
    ----------
    config : Config, optional
        What the site holds.
    faults : Faults, optional
        What goes wrong for a while; None: nothing.
    log : pathlib.Path, optional
        File to which the log is appended.
    crawl_delays : mapping of str to float, optional
        Seconds between two requests that the robots.txt of a host (by its name) asks for.

    Attributes
    ----------
    log : Log
        All requests.
    site : Site
        What it answers; ``server.site.next_run()`` lets it change.
    faults : Faults
        To say what happens next: ``server.faults.next("/feed", "503")``.
    origins : dict of str to str
        The address of each host by its name: ``medium``, ``pub0``, …, and ``elsewhere``, which is
        no part of the site: nobody is to ask it anything.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        faults: Faults | None = None,
        log: Path | None = None,
        crawl_delays: Mapping[str, float] | None = None,
    ) -> None:
        config = config or Config()
        self.faults = faults or Faults()
        self.log = Log(log)
        self._servers: list[MediumHttpServer] = []
        self.origins: dict[str, str] = {}
        names = host_names(config)
        for name in (*names, ELSEWHERE):
            servers = _listen(name, self.log)
            self._servers += servers
            # One of them is asked by its name.
            place = "localhost" if len(names) > 1 and name == names[-1] else V4
            self.origins[name] = f"http://{place}:{servers[0].server_address[1]}"
        self.site = Site(make_world(config), self.faults, self.origins, crawl_delays or {})
        for server in self._servers:
            server.site = self.site
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            for server in self._servers
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.stop()
        for thread in self._threads:
            thread.join()
        self.log.close()

    def seeds(self) -> list[str]:
        """Return the addresses of all lists and feeds."""
        return [*self.site.list_urls(), *self.site.feed_urls()]

    def expected(self, *, lists: bool = True, feeds: bool = True, pages: bool = True) -> Expected:
        """Tell what a harvest of all seeds must find; see :func:`expect`."""
        return expect(self.site.world, self.site.url_of, lists=lists, feeds=feeds, pages=pages)


def _listen(name: str, log: Log) -> list[MediumHttpServer]:
    """Listen on a free port of 127.0.0.1, and on the same one of ::1 where there is IPv6."""
    if not _has_v6():
        return [MediumHttpServer(name, V4, 0, log)]
    for _ in range(TRIES):
        first = MediumHttpServer(name, V4, 0, log)
        try:
            return [first, MediumHttpServer(name, V6, int(first.server_address[1]), log)]
        except OSError:
            # Another program has it there.
            first.server_close()
    raise RuntimeError("no port is free on both 127.0.0.1 and ::1")


def _has_v6() -> bool:
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6) as trial:
        try:
            trial.bind((V6, 0))
        except OSError:
            return False
    return True


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    arguments = _arguments()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    smallest, largest = arguments.page_kb
    with MediumServer(
        Config(
            seed=arguments.seed,
            lists=arguments.lists,
            posts=arguments.posts,
            publications=arguments.publications,
            graphql_tags=arguments.graphql_tags,
            special=arguments.special,
            feed_posts=arguments.feed_posts,
            page_kb=(smallest, largest),
        ),
        faults=Faults.load(arguments.faults) if arguments.faults else None,
        log=arguments.log,
    ) as server:
        signal.signal(signal.SIGUSR1, lambda *_: server.site.next_run())
        seeds = "".join(f"{url}\n" for url in server.seeds())
        print(seeds, end="", flush=True)
        if arguments.ready_file:
            temporary = arguments.ready_file.with_suffix(".tmp")
            temporary.write_text(seeds, encoding="utf-8")
            temporary.replace(arguments.ready_file)
        # In turns: a signal that another thread receives does not wake this one.
        while not stop.wait(WAKE_S):
            continue


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of all that is generated")
    add("--lists", type=int, default=20)
    add("--posts", type=int, default=300)
    add("--publications", type=int, default=3, help="those with a host of their own")
    add("--graphql-tags", type=float, default=0.25, help="share of posts whose tags it tells")
    add("--special", type=int, default=1, help="posts of each kind whose page is not to be had")
    add("--feed-posts", type=int, default=20, help="posts that are only in feeds")
    add("--page-kb", type=int, nargs=2, default=(60, 300), metavar=("MIN", "MAX"))
    add("--faults", type=Path, help="JSON with the members of Faults")
    add("--log", type=Path, help="JSON lines; continued when it exists")
    add("--ready-file", type=Path, help="gets the seeds when the server listens")
    return parser.parse_args()


if __name__ == "__main__":
    main()
