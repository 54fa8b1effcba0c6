"""`tagsage harvest` and `tagsage export` against a local Medium: kills, runs, manners, replay."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.runner import memory
from scripts.medium_server import CHALLENGES, KINDS, Config, Faults, MediumServer
from tagsage.workspace import Workspace
from tests.integration.conftest import BIN, environment, run_in_process
from tests.integration.harvest_checks import (
    check_articles,
    check_challenges,
    check_honesty,
    check_memberships,
    check_once,
    check_pace,
    check_robots_first,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CONTACT = "harvest-tests@example.org"
DELAY_S = 0.005
PAUSE_S = 2.0
SETTINGS = {
    "harvest_max_requests": "100000",
    "harvest_max_minutes": "60",
    "harvest_max_mb": "100000",
    "harvest_timeout_s": "2",
    "harvest_attempts": "4",
    "harvest_pause_hours": str(PAUSE_S / 3600),
}
DONE = "Harvest done"
STOPPED = "Harvest stopped by the host"
# All that passes; bombs are for good, for a page too large is not asked for again.
PASSING = {
    **dict.fromkeys(("429_seconds", "429_date", "429_bare", "503", "503_seconds"), 0.0006),
    **dict.fromkeys(("reset_before", "reset_headers", "reset_body"), 0.0006),
    **dict.fromkeys(("truncated", "chunk_cut", "wrong_type", "garbage", "drip"), 0.0006),
    **dict.fromkeys(("cut", "bare"), 0.0006),
    **dict.fromkeys(("errors", "null_data", "html"), 0.005),
    **dict.fromkeys(CHALLENGES, 0.0001),
}


# Requests that go well.
APART = (None,) * 5


def arguments(seeds: Path, workspace: Path, **settings: str) -> list[str]:
    pairs = [f"{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    return [
        *("harvest", "--seeds", str(seeds), "--workspace", str(workspace), "--consent"),
        *("--contact", CONTACT, "--delay", str(DELAY_S)),
        *(part for pair in pairs for part in ("--set", pair)),
    ]


def seeds_file(server: MediumServer, folder: Path) -> Path:
    # The workspace; a user may keep files of his own in it.
    Workspace(str(folder)).claim()
    file = folder / "seeds.txt"
    file.write_text("".join(f"{seed}\n" for seed in server.seeds()), encoding="utf-8")
    return file


def harvest(server: MediumServer, workspace: Path, **settings: str) -> str:
    """Harvest all seeds to the end; return what it said."""
    seeds = seeds_file(server, workspace)
    # Few attempts: each of what is not to be had waits twice as long as the one before.
    done = run_in_process(*arguments(seeds, workspace, harvest_attempts="2", **settings))
    assert done.returncode == 0, done.stdout + done.stderr
    assert DONE in done.stdout, done.stdout
    return done.stdout


def export(workspace: Path) -> tuple[Path, Path]:
    articles, lists = workspace / "articles.csv", workspace / "lists.csv"
    done = run_in_process(*(
        "export",
        "--workspace",
        workspace,
        "--articles",
        articles,
        "--lists",
        lists,
    ))
    assert done.returncode == 0, done.stdout + done.stderr
    return articles, lists


def settled(server: MediumServer) -> int:
    """Wait until the log holds all that was asked for; return how many requests that is."""
    count = -1
    while count != (count := len(server.log)):
        time.sleep(0.05)
    return count


# -- the large one: all faults, three kills ------------------------------------------------


def tree_of(pid: int) -> list[int]:
    """Return a process and all that it started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything.
            after_name = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(after_name.split()[1])
    found, last = [pid], [pid]
    while last := [child for child, parent in parents.items() if parent in last]:
        found += last
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Peaks:
    """The largest memory of each process of the runs, in MiB, by its parent's or its own role."""

    crawl: float = 0.0
    command: float = 0.0

    def look(self, tree: list[int]) -> None:
        for position, pid in enumerate(tree):
            try:
                peak = memory("VmHWM", pid)
            except OSError:
                continue
            if position == 0:
                self.command = max(self.command, peak)
            else:
                self.crawl = max(self.crawl, peak)


@dataclass
class Runs:
    """What became of the runs of one harvest."""

    server: MediumServer
    workspace: Path
    kills: int = 0
    starts: int = 0
    stopped: int = 0
    seconds: list[float] = field(default_factory=list)
    peaks: Peaks = field(default_factory=Peaks)
    said: str = ""

    def until_done(self, kill_at: list[int]) -> None:
        """Run again and again; kill all processes when the server was asked so many things."""
        seeds = seeds_file(self.server, self.workspace)
        command = [str(BIN / "tagsage"), *arguments(seeds, self.workspace)]
        deadline = time.monotonic() + 400
        while DONE not in self.said:
            self.starts += 1
            began = time.monotonic()
            with subprocess.Popen(
                command,
                env=environment(),
                cwd="/",
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            ) as run:
                try:
                    was_killed = self._watch(run, kill_at, deadline)
                except BaseException:
                    kill(tree_of(run.pid))
                    raise
                # A sentence or two: never more than a pipe holds.
                said = run.stdout.read()
            self.seconds.append(time.monotonic() - began)
            if was_killed:
                continue
            self.said = said
            assert run.returncode == 0, said
            if STOPPED in self.said:
                self.stopped += 1
                time.sleep(PAUSE_S)
            else:
                assert DONE in self.said, self.said

    def _watch(self, run, kill_at: list[int], deadline: float) -> bool:
        while run.poll() is None:
            assert time.monotonic() < deadline, "the harvest does not come to its end"
            tree = tree_of(run.pid)
            self.peaks.look(tree)
            if kill_at and len(self.server.log) >= kill_at[0]:
                kill_at.pop(0)
                self.kills += 1
                kill(tree)
                return True
            time.sleep(0.05)
        return False


def script(server: MediumServer) -> None:
    """Let every fault that passes happen once at least, whatever chance does."""
    lists = [one for one in server.site.world.lists.values() if one.status == "open"]
    faults = [fault for fault in PASSING if fault in KINDS["list"]]
    # Far from each other, so that they fall upon several hosts.
    for position, fault in enumerate(faults):
        server.faults.next(lists[position * (len(lists) // len(faults))].place.path, fault)
    server.faults.next("/_/graphql", "errors", *APART, "null_data", *APART, "html")
    server.faults.next(server.site.world.feeds[0].place.path, "cut_xml")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return the runs of a large harvest, all finished, with every fault and three kills."""
    workspace = tmp_path_factory.mktemp("large")
    config = Config(
        seed=6, lists=200, posts=5000, special=2, feed_posts=40, graphql_tags=0.4, page_kb=(60, 100)
    )
    faults = Faults(PASSING, seed=34, robots_503=1)
    with MediumServer(
        config, faults=faults, log=tmp_path_factory.mktemp("log") / "log.jsonl"
    ) as server:
        script(server)
        runs = Runs(server, workspace)
        moments = random.Random(6)
        runs.until_done(sorted(moments.sample(range(100, 4000), 3)))
        settled(server)
        yield runs


def test_every_reachable_article_and_membership_is_there_once(large):
    articles, lists = export(large.workspace)
    expected = large.server.expected()
    assert large.kills == 3
    check_articles(articles, expected)
    check_memberships(lists, articles, expected)


def test_every_fault_had_happened(large):
    seen = {entry.fault for entry in large.server.log.entries()}
    always = {"loop", "elsewhere", "private", "gzip_bomb", "deflate_bomb", "brotli_bomb", "broken"}
    assert seen >= PASSING.keys() | always | {"cut_xml"}
    assert {entry.kind for entry in large.server.log.entries()} == set(KINDS)


def test_the_log_proves_the_manners(large):
    entries = large.server.log.entries()
    check_robots_first(entries)
    check_honesty(entries, CONTACT)
    check_pace(entries, DELAY_S, large.server.faults.retry_after_s)
    check_challenges(entries, PAUSE_S)
    check_once(entries, large.kills)


def test_memory_stays_under_400_mb(large):
    assert 0 < large.peaks.crawl < 400
    assert 0 < large.peaks.command < 400
