from __future__ import annotations

import threading

import pytest

from tagsage.harvest import frontier, library, pages
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.frontier import get
from tagsage.harvest.pages import keep, load, prune
from tests.harvest.harvest_world import DAY_S, LIST, World
from tests.harvest.medium_pages import HOST, entries, list_answer, list_page, posts

FEED = f"{HOST}/feed/@ann"


def keep_some(world, count, size=10, at=0.0):
    request = get(world.db, world.seed(FEED, "feed"))
    with world.db.transaction():
        for number in range(count):
            world.now = at + number
            keep(world.db, request, world.fetched(request, bytes([number % 256]) * size))
    return request


def test_pages_come_back_in_the_order_they_came_with_their_requests(world):
    first = world.seed_list()
    many = entries(posts(30))
    bodies = [
        list_page(LIST, many[:20], size=30, next_cursor="offset:20"),
        list_answer(LIST, many[20:], size=30),
        list_page(LIST, many[:3], size=3),
    ]
    world.take(first, bodies[0])
    part = world.waiting_part("offset:20")
    world.take(part, bodies[1])
    library.refresh_due(world.db, world.config, world.now + 8 * DAY_S)
    world.take(first, bodies[2])
    found = list(load(world.db))
    assert [fetched.body for _, fetched in found] == bodies
    assert [(r.request_id, r.kind, r.cursor, r.round) for r, _ in found] == [
        (first, "list", None, 0),
        (part, "graphql", "offset:20", 0),
        (first, "list", None, 1),
    ]
    assert [fetched.at for _, fetched in found] == [1001.0, 1002.0, 1003.0]
    assert {fetched.charset for _, fetched in found} == {"utf-8"}


def test_the_same_answer_is_kept_once(world):
    request = keep_some(world, 1)
    keep(world.db, request, world.fetched(request, b"newer"))
    assert [fetched.body for _, fetched in load(world.db)] == [b"newer"]


@pytest.mark.parametrize(("before", "left"), [(0.0, 450), (100.0, 350), (449.0, 1), (1e9, 0)])
def test_older_pages_are_deleted_piece_by_piece(world, before, left):
    keep_some(world, 450)
    assert prune(world.db, before) == 450 - left
    assert [fetched.at for _, fetched in load(world.db)] == [450.0 - left + n for n in range(left)]


def test_pruned_pages_give_their_room_back(world):
    def size():
        world.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return (world.db.folder / "harvest.db").stat().st_size

    request = get(world.db, world.seed(FEED, "feed"))
    empty = size()
    for number in range(300):
        world.now = float(number)
        noise = b"".join((number * 7919 + n * n).to_bytes(8, "big") for n in range(2000))
        keep(world.db, request, world.fetched(request, noise))
    assert size() > empty + 1_000_000
    prune(world.db, 1e9)
    assert size() <= empty + 100_000


def test_room_is_not_given_back_within_a_transaction(world):
    with pytest.raises(RuntimeError, match="only outside"), world.db.transaction():
        world.db.give_room_back()


def test_a_prune_that_a_kill_interrupts_goes_on_where_it_was(world, monkeypatch):
    keep_some(world, 450)
    calls = []

    def dying():
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(world.db, "give_room_back", dying)
    with pytest.raises(KeyboardInterrupt):
        prune(world.db, 1e9)
    monkeypatch.undo()
    assert world.one("SELECT count(*) FROM pages") == 450 - 2 * pages.PRUNED_AT_ONCE
    assert prune(world.db, 1e9) == 50


def test_old_problems_go_with_the_pages(world):
    request_id = world.seed(FEED, "feed")
    world.take(request_id, b"nothing")
    frontier.again(world.db, request_id, 0)
    prune(world.db, world.now)
    assert len(world.problems()) == 1
    prune(world.db, world.now + 1)
    assert world.problems() == []


def test_requests_of_old_readings_go_with_their_pages(world):
    first = world.seed_list()
    many = entries(posts(30))
    for _ in range(2):
        world.take(first, list_page(LIST, many[:20], size=30, next_cursor="offset:20"))
        world.take(world.waiting_part("offset:20"), list_answer(LIST, many[20:], size=30))
        world.now += 8 * DAY_S
        library.refresh_due(world.db, world.config, world.now)
    prune(world.db, world.now - 9 * DAY_S)
    assert world.rows("SELECT kind, round, state FROM requests WHERE kind != 'robots'") == [
        ("list", 2, "waiting"),
        ("graphql", 1, "done"),
    ]


def test_pages_can_be_pruned_while_another_connection_reads(world):
    keep_some(world, 450)
    errors = []

    def read():
        with HarvestDatabase(world.db.folder) as db:
            other = World(db)
            for _ in range(20):
                with db.snapshot():
                    before = other.one("SELECT count(*) FROM pages")
                    if other.one("SELECT count(*) FROM pages") != before:
                        errors.append(before)

    thread = threading.Thread(target=read)
    thread.start()
    prune(world.db, 1e9)
    thread.join()
    assert errors == []
