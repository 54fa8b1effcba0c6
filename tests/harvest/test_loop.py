"""The loop with hosts that answer at once: what it does when something goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from tagsage.errors import TagsageError
from tagsage.harvest import hosts, intake, robots, seeds
from tagsage.harvest.answers import Answer
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.loop import Loop
from tests.harvest.web import feed

CONFIG = HarvestConfig("me@example.com", delay_s=0.0, attempts=1)
SITES = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]


def run(world, *urls):
    """Harvest feeds; return how the run ended, and the states of all their requests."""

    async def ask(url, _headers, _body):
        await asyncio.sleep(0)
        return Answer(200, {}, b"" if url.endswith("/robots.txt") else feed(f"of-{url[-6:]}"))

    async def harvest():
        return await Loop(world.db, CONFIG, 1, ask, lambda: None).run()

    seeds.plant(world.db, urls, [], world.now)
    outcome = asyncio.run(harvest())
    states = "SELECT state FROM requests WHERE kind = 'feed' ORDER BY url"
    return outcome, [state for (state,) in world.rows(states)]


def stumble(monkeypatch, module, name, wanted):
    """Let a function raise what nobody foresaw when one of its arguments is wanted."""
    function = getattr(module, name)

    def stumbling(*arguments):
        if any(map(wanted, arguments)):
            raise RecursionError("too deep")
        return function(*arguments)

    monkeypatch.setattr(module, name, stumbling)


def test_what_nobody_foresaw_of_one_page_is_that_requests_failure(world, monkeypatch):
    urls = [f"{site}/feed/x" for site in SITES]
    stumble(monkeypatch, intake, "take", lambda part: getattr(part, "url", "") == urls[1])
    assert run(world, *urls) == ("done", ["done", "refused", "done"])
    ((url, reason),) = world.problems()
    assert url == urls[1]
    assert "RecursionError in test_loop.py, line " in reason
    assert "too deep" not in reason
    # The next run has nothing left to stumble over.
    assert run(world) == ("done", ["done", "refused", "done"])


def test_what_nobody_foresaw_before_a_request_leaves_is_that_requests_failure(world, monkeypatch):
    stumble(monkeypatch, robots.Rules, "allow", lambda part: part == f"{SITES[1]}/feed/x")
    outcome = run(world, *(f"{site}/feed/x" for site in SITES))
    assert outcome == ("done", ["done", "refused", "done"])


def test_a_host_whose_rules_cannot_be_read_is_left_alone(world, monkeypatch):
    reads = []

    def read(text):
        reads.append(text)
        # The first call is of a host whose rules are not known yet, the next of the answer.
        if len(reads) == 2:
            raise OverflowError
        return robots.Rules(robots.Protego.parse(text), 0.0)

    monkeypatch.setattr(robots, "read", read)
    outcome, states = run(world, *(f"{site}/feed/x" for site in SITES))
    assert outcome == "stopped by the host"
    assert sorted(states) == ["done", "done", "waiting"]
    closed = [hosts.get(world.db, site).closed_why for site in SITES]
    assert sum("OverflowError" in why for why in closed) == 1


def test_a_database_that_cannot_be_used_ends_the_run(world, monkeypatch):
    def full(*_):
        raise TagsageError("the disk is full")

    monkeypatch.setattr(intake, "take", full)
    with pytest.raises(TagsageError, match="the disk is full"):
        run(world, f"{SITES[0]}/feed/x")
