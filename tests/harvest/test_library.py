from __future__ import annotations

from dataclasses import replace

import pytest

from tagsage.harvest import frontier, library
from tagsage.harvest.library import Counts, counts, mark_announced, refresh_due, status
from tests.harvest.harvest_world import DAY_S, LIST, RUN, World
from tests.harvest.medium_pages import (
    HOST,
    Entry,
    Post,
    article_page,
    entries,
    feed,
    list_page,
    post_id,
    posts,
    private_page,
)

FEED = f"{HOST}/feed/@ann"


def states(world):
    return world.rows("SELECT id, state, round FROM requests ORDER BY id")


@pytest.mark.parametrize(("days", "renewed"), [(6.9, 0), (7.1, 1)])
def test_a_list_is_read_again_at_its_age(world, days, renewed):
    world.take(world.seed_list(), list_page(LIST, entries(posts(3)), size=3))
    assert refresh_due(world.db, world.config, world.now + days * DAY_S) == renewed
    assert states(world) == [(1, "waiting", 1) if renewed else (1, "done", 0)]
    assert world.one("SELECT round FROM lists") == renewed
    assert refresh_due(world.db, world.config, world.now + days * DAY_S) == 0


@pytest.mark.parametrize(("hours", "renewed"), [(19, 0), (21, 1)])
def test_a_feed_is_read_again_at_its_age_without_consent(world, hours, renewed):
    world.config = replace(world.config, consent=False)
    world.take(world.seed(FEED, "feed"), feed(posts(1)))
    world.take(world.seed_list(), list_page(LIST, entries(posts(3)), size=3))
    assert refresh_due(world.db, world.config, world.now + hours * 3600) == renewed
    assert [row[1] for row in states(world)] == ["waiting" if renewed else "done", "done"]


@pytest.mark.parametrize(
    ("state", "renewed"),
    [("done", 1), ("failed", 1), ("unreadable", 1), ("refused", 1), ("gone", 1), ("sent", 0)],
)
@pytest.mark.parametrize("kind", ["list", "feed", "article"])
def test_what_failed_is_tried_again_and_articles_that_are_gone_are_not(world, kind, state, renewed):
    world.seed(f"{HOST}/x", kind)
    frontier.end(world.db, 1, state, world.now, status=200)
    is_left = kind == "article" and state == "gone"
    expected = 0 if is_left else renewed
    assert refresh_due(world.db, world.config, world.now + 100 * DAY_S) == expected


@pytest.mark.parametrize("state", ["gone", "refused", "failed", "unreadable"])
@pytest.mark.parametrize(("hours", "renewed"), [(0.9, False), (1.1, True)])
def test_a_list_that_could_not_be_had_is_read_anew_when_it_is_named_again(
    world, state, hours, renewed
):
    world.take(world.seed_list(), list_page(LIST, entries(posts(3)), size=3))
    frontier.read_anew(world.db, 1)
    if state == "gone":
        world.gone(1)
    else:
        world.give_up(1, state)
    assert len(world.problems()) > 0
    world.now += hours * 3600
    world.seed_list()
    assert states(world) == [(1, "waiting", 2) if renewed else (1, state, 1)]
    if renewed:
        world.take(1, list_page(LIST, entries(posts(4)), size=4))
        assert world.list_is() == ("open", "")
        assert len(world.members()) == 4


@pytest.mark.parametrize("kind", ["feed", "article"])
@pytest.mark.parametrize(
    ("state", "renewed"), [("gone", True), ("failed", True), ("done", False), ("sent", False)]
)
def test_what_could_not_be_had_waits_again_when_it_is_named_again(world, kind, state, renewed):
    world.seed(f"{HOST}/x", kind)
    frontier.end(world.db, 1, state, world.now, status=200)
    world.now += 3600.0
    world.seed(f"{HOST}/x", kind)
    assert states(world) == [(1, "waiting" if renewed else state, 0)]
    frontier.end(world.db, 1, state, world.now, status=200)
    frontier.add(world.db, kind, f"{HOST}/x", now=world.now + 3600.0)
    assert states(world) == [(1, state, 0)]


@pytest.mark.parametrize(("kind", "told"), [("list", 1), ("feed", 1), ("article", 0)])
def test_that_a_list_or_a_feed_is_gone_is_a_problem_until_it_is_back(world, kind, told):
    request_id = world.seed(f"{HOST}/feed", kind)
    world.gone(request_id)
    assert world.problems() == [(f"{HOST}/feed", "the host answered 404")] * told
    if kind == "feed":
        frontier.renew(world.db, request_id)
        world.take(request_id, feed(posts(1)))
        assert world.problems() == []


def test_a_list_whose_parts_are_still_asked_for_is_not_begun_anew(world):
    world.take(
        world.seed_list(), list_page(LIST, entries(posts(20)), size=40, next_cursor="offset:20")
    )
    assert refresh_due(world.db, world.config, world.now + 100 * DAY_S) == 0


def test_a_private_list_is_looked_at_again(world):
    world.take(world.seed_list(), private_page(LIST))
    assert refresh_due(world.db, world.config, world.now + 8 * DAY_S) == 1
    world.take(1, list_page(LIST, entries(posts(3)), size=3))
    assert world.list_is() == ("open", "")
    assert len(world.members()) == 3


def test_a_list_with_two_addresses_is_read_by_one(world):
    world.take(world.seed_list(), list_page(LIST, entries(posts(3)), size=3))
    second = world.seed(f"{HOST}/@ann/list/old-name-{LIST}", "list", list_key=LIST)
    world.take(second, list_page(LIST, entries(posts(3)), size=3))
    assert refresh_due(world.db, world.config, world.now + 8 * DAY_S) == 1
    assert states(world) == [(1, "done", 0), (2, "waiting", 1)]


def test_not_modified_is_only_asked_for_when_the_last_reading_was_whole(world):
    world.seed_list()
    world.take(1, list_page(LIST, entries(posts(20)), size=40, next_cursor="offset:20"))
    world.db.execute("UPDATE requests SET etag = 'x', last_modified = 'y' WHERE id = 1")
    world.give_up(world.waiting_part("offset:20"))
    refresh_due(world.db, world.config, world.now + 8 * DAY_S)
    assert frontier.get(world.db, 1).etag is None
    world.take(1, list_page(LIST, entries(posts(3)), size=3))
    world.db.execute("UPDATE requests SET etag = 'x', last_modified = 'y' WHERE id = 1")
    refresh_due(world.db, world.config, world.now + 16 * DAY_S)
    assert (frontier.get(world.db, 1).etag, frontier.get(world.db, 1).round) == ("x", 2)


def test_articles_are_read_again_only_when_their_own_page_was_read(world):
    told, own = posts(2)
    world.take(world.seed_list(), list_page(LIST, entries([told]), size=1))
    world.take(world.seed(own.address, article_key=own.id), article_page(own))
    world.config = replace(world.config, list_days=1000)
    assert refresh_due(world.db, world.config, world.now + 89 * DAY_S) == 0
    assert refresh_due(world.db, world.config, world.now + 91 * DAY_S) == 1
    assert [row[1] for row in world.waiting()] == ["article"]


def test_a_failed_own_page_is_tried_again_only_while_something_is_lacking(world):
    lacking, filled = (replace(post, tags=None) for post in posts(2))
    world.take(world.seed_list(), list_page(LIST, entries([lacking, filled]), size=2))
    world.give_up(world.waiting_part("offset:0"))
    for request_id, *_ in world.waiting("article"):
        world.give_up(request_id)
    world.take(world.seed(FEED, "feed"), feed([replace(filled, tags=("Graphs",))]))
    world.config = replace(world.config, list_days=1000, feed_hours=99999)
    assert refresh_due(world.db, world.config, world.now + 91 * DAY_S) == 1
    waiting = world.rows("SELECT article_key FROM requests WHERE state = 'waiting'")
    assert waiting == [(lacking.id,)]


def test_pages_that_were_not_wanted_or_allowed_are_asked_for_when_they_are(world):
    refused = replace(world.config, consent=False)
    world.config = refused
    world.take(world.seed(FEED, "feed"), feed(posts(3)))
    assert refresh_due(world.db, refused, world.now) == 0
    never = replace(refused, consent=True, articles="never")
    assert refresh_due(world.db, never, world.now) == 0
    assert refresh_due(world.db, replace(refused, consent=True), world.now) == 3
    assert refresh_due(world.db, replace(refused, consent=True), world.now) == 0


def test_an_address_that_is_never_asked_is_filed(world):
    with world.db.transaction():
        world.db.execute(
            "INSERT INTO articles (key, url, title, seen_at) VALUES ('k', 'https://a b', 'T', 1)"
        )
    assert refresh_due(world.db, world.config, world.now) == 0
    assert [url for url, _ in world.problems()] == ["https://a b"]


def test_a_gone_article_is_not_read_again(world):
    post = posts(1)[0]
    world.take(world.seed(post.address, article_key=post.id), article_page(post))
    world.take(world.seed_list(), list_page(LIST, entries([post]), size=1))
    world.db.execute("UPDATE lists SET round = 1")
    frontier.renew(world.db, 2, round=1)
    world.take(2, list_page(LIST, [Entry(f"item-{post.id}", None)], size=1))
    world.config = replace(world.config, list_days=1000)
    assert refresh_due(world.db, world.config, world.now + 100 * DAY_S) == 0


def test_a_revision_is_announced_once_and_never_taken_back(world):
    world.take(world.seed_list(), list_page(LIST, entries(posts(3)), size=3))
    revision = world.revision()
    mark_announced(world.db, revision)
    mark_announced(world.db, revision - 1)
    assert counts(world.db).announced == counts(world.db).revision == revision


def fill(world: World) -> None:
    shown = [*entries(posts(3)), Entry("deleted", None)]
    world.take(world.seed_list(), list_page(LIST, shown, size=4))
    world.take(world.seed_list("00000000000b"), private_page("00000000000b"))
    world.take(world.seed(FEED, "feed"), feed([Post(post_id(9), tags=None)]))
    world.take(world.seed(f"{FEED}2", "feed"), b"nothing")
    world.db.execute(
        "UPDATE hosts SET closed_until = 5000, closed_why = 'a challenge' WHERE host = ?", (HOST,)
    )


def test_the_status_tells_what_there_is(world):
    fill(world)
    now = status(world.db, 4000.0)
    assert now.counts == {
        "lists": 2,
        "lists private": 1,
        "articles": 4,
        "articles with tags": 3,
        "articles without tags": 1,
        "articles gone": 0,
        "memberships": 3,
        "entries whose post was deleted": 1,
        "requests waiting": 2,
        "requests done": 3,
        "requests gone": 0,
        "requests refused": 0,
        "requests failed": 0,
        "requests unreadable": 0,
        "pages kept": 4,
    }
    assert now.closed == [(HOST, 5000.0, "a challenge")]
    assert [(count, url) for _, count, url in now.problems] == [(1, f"{FEED}2")]
    assert (now.revision, now.announced) == (3, 0)
    assert status(world.db, 6000.0).closed == []


def test_counts_are_those_of_the_status(world):
    fill(world)
    assert counts(world.db, RUN) == Counts(
        lists=1, articles=4, memberships=3, problems=1, waiting=2, revision=3, announced=0
    )
    assert counts(world.db, RUN + 1).problems == 0


def test_what_taken_adds_up_to_is_what_is_counted(world):
    taken = [
        world.take(world.seed_list(), list_page(LIST, entries(posts(3)), size=3)),
        world.take(world.seed(FEED, "feed"), feed(posts(2, 2))),
        world.take(1, private_page(LIST)),
    ]
    now = library.counts(world.db)
    assert (now.lists, now.articles) == (
        sum(each.lists for each in taken),
        sum(each.new_articles for each in taken),
    )
