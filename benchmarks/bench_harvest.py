"""Pages of Medium's kind, read and stored: our own time a page, and a crawl from end to end.

The pages are generated (``scripts/medium_site``), of 60 to 300 kB. For each kind the same pages go
through what a harvest does with an answer (parse, merge, keep the raw page compressed, queue what
follows: one durable transaction) and through the obvious way: parsel over the whole page,
``json.loads`` of what the script element holds, one autocommitted row each; it keeps no raw page,
queues nothing, checks nothing. Most of the time beside the CPU's is the disk's, waited for at each
transaction. *loop* is everything that the crawl does of its own, choosing the next request and the
manners included, with answers from memory. The last table is a real crawl, ``tagsage harvest``
without a delay against the server in a process of its own.
``BENCH_HARVEST_PAGES`` sets how many pages of a kind, 300 by default.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.runner import ROOT, Measure, Row, measure, memory, number, prepared, table

PAGES = int(os.environ.get("BENCH_HARVEST_PAGES") or 300)
ROUNDS = 3
KINDS = ("article", "list", "graphql")
CONTACT = "benchmark@example.org"
# Private, so that hosts may be asked without a delay; nobody listens there.
ORIGINS = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(
    ("medium", "pub0", "pub1", "pub2", "elsewhere"), start=5)}  # fmt: skip
START_S = 30.0
CRAWL_LISTS, CRAWL_POSTS = 40, 1000


@dataclass(frozen=True)
class Page:
    """An answer: the address, the list and the cursor it was asked for with, and its text."""

    url: str
    list_id: str
    cursor: str
    body: bytes


@dataclass(frozen=True)
class Given:
    """What a variant gets: the kind, its pages, and an empty folder."""

    kind: str
    pages: list[Page]
    folder: Path


def main(_corpus: str) -> str:
    """Measure both ways for each kind of page, and a crawl.

    Returns
    -------
    str
        Markdown tables.
    """
    with tempfile.TemporaryDirectory() as name:
        return tables(Path(name), PAGES, ROUNDS, (CRAWL_LISTS, CRAWL_POSTS))


def tables(folder: Path, n: int, rounds: int, crawl: tuple[int, int]) -> str:
    """Measure `n` pages of each kind, and a crawl of so many lists and posts."""
    parts = [
        f"{n:,} pages of each kind; each run in a process of its own, medians of {rounds} rounds "
        "in turn."
    ]
    for kind in KINDS:
        parts += [f"### {kind}", table(_rows(kind, n, rounds, folder))]
    parts += ["### A crawl without a delay", table([crawl_row(folder, *crawl)])]
    return "\n\n".join(parts)


def _rows(kind: str, n: int, rounds: int, folder: Path) -> list[Row]:
    variants: dict[str, Callable[[Given], int]] = {"obvious": obvious, "tagsage": take}
    if kind == "article":
        variants["tagsage, loop"] = loop
    measured: dict[str, list[Measure[Any]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            timed_call = partial(timed, call)
            measured[name].append(measure(prepared(partial(prepare, kind, n, folder), timed_call)))
    size = statistics.mean(len(page.body) for page in pages_of(kind, n)) / 1000
    return [
        Row(
            name,
            seconds := statistics.median(one.seconds for one in runs),
            statistics.median(one.peak_mb for one in runs),
            statistics.median(one.extra_mb for one in runs),
            {
                "ms a page": number(seconds / n * 1000, 2),
                "CPU ms a page": number(statistics.median(one.result for one in runs) * 1000, 2),
                "kB a page": number(size, 0),
            },
        )
        for name, runs in measured.items()
    ]


def prepare(kind: str, n: int, folder: Path) -> Given:
    """Generate the pages, import what the call needs, and give it an empty folder."""
    import parsel  # ruff: ignore[unused-import]

    import tagsage.harvest.loop  # ruff: ignore[unused-import]

    return Given(kind, pages_of(kind, n), Path(tempfile.mkdtemp(dir=folder)))


def timed(call: Callable[[Given], int], given: Given) -> float:
    """Return the CPU seconds a page: what the disk, and others on the machine, do not change."""
    before = time.process_time()
    pages = call(given)
    return (time.process_time() - before) / pages


def pages_of(kind: str, n: int) -> list[Page]:
    """Return the answers of a generated site to `n` requests of a kind."""
    from scripts.medium_site.faults import Faults
    from scripts.medium_site.generation import make_world
    from scripts.medium_site.site import Request, Site
    from scripts.medium_site.world import Config
    from tagsage.harvest.list_page import list_query

    # Lists of fifty posts and more have a page and, on average, more than one part.
    world = make_world(Config(lists=n + 4, posts=max(40 * n, 200), special=0, feed_posts=0))
    site = Site(world, Faults(), ORIGINS, {})
    found = []
    for one in (
        world.posts.values()
        if kind == "article"
        else (one for one in world.lists.values() if one.status == "open")
    ):
        place = one.places[0] if kind == "article" else one.place
        cursor, target, method, body = "", place.path, "GET", b""
        if kind == "graphql":
            cursor, target, method = "offset:0", "/_/graphql", "POST"
            body = list_query(one.id, cursor)
        headers = {"content-type": "application/json"}
        reply = site.answer(Request(place.host, method, target, headers, body))
        found.append(Page(ORIGINS[place.host] + target, one.id, cursor, reply.body))
        if len(found) == n:
            break
    return found


# -- ours ----------------------------------------------------------------------------------


def take(given: Given) -> int:
    """Take every page in, each in its own durable transaction."""
    from tagsage.harvest import frontier
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.intake import Fetched
    from tagsage.harvest.intake import take as take_in

    config = _config()
    with HarvestDatabase(given.folder) as db:
        for page in given.pages:
            with db.transaction():
                _add(db, given.kind, page)
                row = db.execute("SELECT max(id) FROM requests WHERE kind = ?", (given.kind,))
                claimed = frontier.get(db, int(row.fetchone()[0]))
                fetched = Fetched(200, page.url, page.body, "utf-8", None, None, time.time())
                taken = take_in(db, claimed, fetched, config, 1)
            if not taken.ok:
                raise RuntimeError(f"{page.url} was not taken: {taken.reason}")
    return len(given.pages)


def loop(given: Given) -> int:
    """Let the crawl's loop ask for every page; it is answered from memory."""
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.loop import Loop
    from tagsage.harvest.manners import Answer

    answers = {page.url: page.body for page in given.pages}
    html = {"content-type": "text/html; charset=utf-8"}

    async def ask(url: str, _headers: object, _body: bytes | None) -> Answer:
        # As with a network, others have their turn meanwhile.
        await asyncio.sleep(0)
        if urlsplit(url).path == "/robots.txt":
            return Answer(200, {"content-type": "text/plain"}, b"User-agent: *\nDisallow: /m/\n")
        return Answer(200, html, answers[url])

    with HarvestDatabase(given.folder) as db:
        with db.transaction():
            for page in given.pages:
                _add(db, given.kind, page)
        work = Loop(db, _config(), 1, ask, lambda: None)
        asyncio.run(work.run())
    if work.requests < len(given.pages):
        raise RuntimeError(f"only {work.requests} pages were asked for")
    return len(given.pages)


def _add(db: Any, kind: Any, page: Page) -> None:
    from tagsage.corpus.keys import article_key
    from tagsage.harvest import frontier

    frontier.add(
        db,
        kind,
        page.url,
        now=0.0,
        list_key=page.list_id if kind != "article" else None,
        cursor=page.cursor or None,
        article_key=article_key(page.url) if kind == "article" else None,
        asked=True,
    )


def _config() -> Any:
    from tagsage.harvest.config import HarvestConfig

    return HarvestConfig(
        contact=CONTACT, consent=True, delay_s=0.0, articles="never", max_requests=10**9
    )


# -- the obvious way -----------------------------------------------------------------------


def obvious(given: Given) -> int:
    """Read every page as a script would."""
    connection = sqlite3.connect(given.folder / "obvious.db", isolation_level=None)
    connection.execute(
        "CREATE TABLE articles (id TEXT PRIMARY KEY, title, subtitle, author, date, tags)"
    )
    connection.execute("CREATE TABLE members (list, id, PRIMARY KEY (list, id))")
    for page in given.pages:
        text = page.body.decode()
        if given.kind == "graphql":
            items = json.loads(text)["data"]["catalogById"]["itemsConnection"]["items"]
            posts = [item["entity"] for item in items if item["entity"]]
            _insert(connection, page.list_id, {}, [post for post in posts if "title" in post])
            continue
        state = _state_of(text)
        posts = [value for name, value in state.items() if name.startswith("Post:")]
        if given.kind == "article":
            posts = [state[f"Post:{page.list_id}"]]
        _insert(connection, page.list_id if given.kind == "list" else "", state, posts)
    connection.close()
    return len(given.pages)


def _state_of(text: str) -> dict[str, Any]:
    import parsel

    scripts = parsel.Selector(text=text).xpath("//script/text()").getall()
    script = next(script for script in scripts if "__APOLLO_STATE__" in script)
    state: dict[str, Any] = json.loads(re.sub(r"^\s*window\.__APOLLO_STATE__\s*=\s*", "", script))
    return state


def _insert(
    connection: sqlite3.Connection, list_id: str, state: dict[str, Any], posts: Sequence[Any]
) -> None:
    for post in posts:
        preview = post.get("extendedPreviewContent") or post.get("previewContent") or {}
        creator = post.get("creator") or {}
        author = state.get(creator.get("__ref", ""), creator)
        tags = [state.get(tag.get("__ref", ""), tag) for tag in post.get("tags") or ()]
        connection.execute(
            "INSERT OR REPLACE INTO articles VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(post.get("id"), post["title"], preview.get("subtitle"), author.get("name")),
                post["firstPublishedAt"],
                json.dumps([tag.get("displayTitle") or tag.get("id") for tag in tags]),
            ),
        )
        if list_id:
            connection.execute(
                "INSERT OR REPLACE INTO members VALUES (?, ?)", (list_id, post.get("id"))
            )


# -- a crawl -------------------------------------------------------------------------------


def crawl_row(folder: Path, lists: int, posts: int) -> Row:
    """Harvest a served site from end to end; the peak is that of the crawl's own process."""
    with tempfile.TemporaryDirectory(dir=folder) as name, server(Path(name), lists, posts) as seeds:
        workspace = Path(name) / "workspace"
        settings = ("max_requests=1000000", "max_mb=1000000", "max_minutes=600", "attempts=1")
        command = [
            *(sys.executable, "-m", "tagsage.cli", "harvest", "--seeds", str(seeds)),
            *("--workspace", str(workspace), "--consent"),
            *("--contact", CONTACT, "--delay", "0"),
            *(part for setting in settings for part in ("--set", f"harvest_{setting}")),
        ]
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            peaks: list[float] = [0.0]
            looking = threading.Thread(target=_look, args=(process, peaks))
            looking.start()
            looking.join()
        seconds = time.perf_counter() - started
        if process.returncode:
            raise RuntimeError("tagsage harvest failed")
        with sqlite3.connect(workspace / "harvest" / "harvest.db") as database:
            requests = database.execute("SELECT sum(requests) FROM runs").fetchone()[0]
        database.close()
    return Row(
        "tagsage harvest",
        seconds,
        max(peaks),
        columns={
            "requests": f"{requests:,}",
            "requests a second": number(requests / seconds, 0),
            "ms a request": number(seconds / requests * 1000, 1),
        },
    )


def _look(process: subprocess.Popen[bytes], peaks: list[float]) -> None:
    """Watch the memory of the crawl, which is a child of the command, until that ends."""
    while process.poll() is None:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
                if parent == process.pid:
                    peaks.append(memory("VmHWM", int(stat.parent.name)))
            except OSError:
                # It ended meanwhile.
                continue
        time.sleep(0.1)


@contextmanager
def server(folder: Path, lists: int, posts: int) -> Generator[Path, None, None]:
    """Start the server in a process of its own; give the file of its seeds."""
    ready = folder / "seeds.txt"
    command = [sys.executable, str(ROOT / "scripts" / "medium_server.py"), "--special", "0"]
    sizes = ["--lists", str(lists), "--posts", str(posts), "--ready-file", str(ready)]
    with subprocess.Popen([*command, *sizes], stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("scripts/medium_server.py did not start")
                time.sleep(0.05)
            yield ready
        finally:
            process.terminate()
