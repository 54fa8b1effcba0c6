from __future__ import annotations

from dataclasses import replace

import pytest

from tagsage.harvest import frontier, intake, library, merging, pages
from tagsage.harvest.pages import load, prune
from tagsage.harvest.records import PageError
from tagsage.harvest.replay import ReplayReport, replay
from tests.harvest.harvest_world import DAY_S, LIST, RUN
from tests.harvest.medium_pages import (
    HOST,
    Entry,
    Post,
    article_page,
    entries,
    feed,
    list_answer,
    list_page,
    list_url,
    post_id,
    posts,
)

BLOG = "https://blog.example/on-graphs"


def read(world, count=45, tags=True):
    """Read a list whole."""
    many = entries(posts(count))
    first = world.seed_list()
    after = "offset:20" if count > 20 else None
    world.take(first, list_page(LIST, many[:20], size=count, next_cursor=after, tags=tags))
    while parts := world.waiting("graphql"):
        start = int(parts[0][2].removeprefix("offset:"))
        after = f"offset:{start + 20}" if count > start + 20 else None
        answer = list_answer(LIST, many[start : start + 20], size=count, next_cursor=after)
        world.take(parts[0][0], answer)
    return first


def content(world):
    tables = ("articles", "memberships", "lists", "aliases", "problems")
    return {
        **{table: world.rows(f"SELECT * FROM {table}") for table in tables},
        "requests": world.rows("SELECT id, kind, state, round, reason FROM requests"),
        "revision": world.revision(),
    }


def test_without_pages_nothing_is_done(world):
    assert replay(world.db, world.config) == ReplayReport(0, 0, 0)
    assert world.rows("SELECT outcome, requests FROM runs") == [("replayed", 0)]


def test_a_replay_brings_about_what_there_was(world):
    read(world)
    world.take(world.seed(f"{HOST}/feed/@ann", "feed"), feed(posts(3, 40)))
    request_id = world.seed(BLOG)
    world.take(request_id, article_page(Post(post_id(99), url=BLOG)))
    world.gone(world.seed(f"{HOST}/@ann/x-{post_id(2)}", article_key=post_id(2)))
    before = content(world)
    assert replay(world.db, world.config) == ReplayReport(5, 0, 0)
    assert content(world) == before
    assert replay(world.db, world.config) == ReplayReport(5, 0, 0)


def test_a_better_parser_corrects_a_field_and_takes_away_what_was_made_up(world, monkeypatch):
    parse = merging.parse_article_page

    def worse(html, url):
        page = parse(html, url)
        wrong = replace(page.article, title="Wrong", subtitle="Made up")
        wrong = replace(wrong, sources={**wrong.sources, "subtitle": "meta"})
        return replace(page, article=wrong)

    monkeypatch.setattr(merging, "parse_article_page", worse)
    post = Post(post_id(1), subtitle=None)
    world.take(world.seed(post.address, article_key=post.id), article_page(post))
    assert world.article(post.id)["subtitle"] == "Made up"
    revision = world.revision()
    monkeypatch.undo()
    assert replay(world.db, world.config) == ReplayReport(pages=1, changed=1, unreadable=0)
    row = world.article(post.id)
    assert (row["title"], row["subtitle"]) == ("A title", None)
    assert world.revision() == revision + 1


def test_a_better_parser_rescues_a_list_whose_page_could_not_be_read(world, monkeypatch):
    parse = merging.parse_list_page

    def broken(html, url):
        raise PageError("not understood")

    monkeypatch.setattr(merging, "parse_list_page", broken)
    first = world.seed_list()
    world.take(first, list_page(LIST, entries(posts(20)), size=30, next_cursor="offset:20"))
    world.give_up(first, "unreadable", "not understood")
    assert world.problems() == [(list_url(LIST), "not understood")]
    assert replay(world.db, world.config).unreadable == 1
    monkeypatch.setattr(merging, "parse_list_page", parse)
    replay(world.db, world.config)
    assert world.one("SELECT state FROM requests WHERE id = ?", first) == "done"
    assert [row[1:] for row in world.waiting()] == [("graphql", "offset:20")]
    assert world.list_is() == ("new", "")
    world.take(world.waiting_part("offset:20"), list_answer(LIST, entries(posts(10, 20)), size=30))
    assert len(world.members()) == 30
    assert world.list_is() == ("open", "")


def test_a_better_parser_rescues_a_part_and_makes_the_list_whole(world, monkeypatch):
    parse = merging.parse_list_answer

    def broken(*arguments):
        raise PageError("not understood")

    many = entries(posts(30))
    world.take(world.seed_list(), list_page(LIST, many[:20], size=30, next_cursor="offset:20"))
    part = world.waiting_part("offset:20")
    monkeypatch.setattr(merging, "parse_list_answer", broken)
    world.take(part, list_answer(LIST, many[20:], size=30))
    world.give_up(part, "unreadable", "not understood")
    assert (len(world.members()), world.list_is()[0]) == (20, "incomplete")
    monkeypatch.setattr(merging, "parse_list_answer", parse)
    assert replay(world.db, world.config) == ReplayReport(pages=2, changed=20, unreadable=0)
    assert (len(world.members()), world.list_is()) == (30, ("open", ""))


def test_a_successor_that_was_overlooked_opens_the_reading_again(world, monkeypatch):
    parse = merging.parse_list_page
    monkeypatch.setattr(
        merging, "parse_list_page", lambda html, url: replace(parse(html, url), next_cursor=None)
    )
    many = entries(posts(30))
    world.take(world.seed_list(), list_page(LIST, many[:20], size=30, next_cursor="offset:20"))
    assert len(world.members()) == 20
    monkeypatch.undo()
    replay(world.db, world.config)
    assert len(world.members()) == 20  # as it was, until the rest is here
    world.take(world.waiting_part("offset:20"), list_answer(LIST, many[20:], size=30))
    assert len(world.members()) == 30


def test_what_was_learnt_without_a_page_stays(world):
    first = read(world, 3)
    frontier.renew(world.db, first, round=1)
    world.db.execute("UPDATE lists SET round = 1")
    intake.unchanged(world.db, world.send(first), world.now)
    world.gone(world.seed(f"{HOST}/@ann/x-{post_id(0)}", article_key=post_id(0)))
    before = content(world)
    replay(world.db, world.config)
    assert content(world) == before
    world.db.execute("UPDATE lists SET round = 2")
    frontier.renew(world.db, first, round=2)
    world.gone(first)
    before = content(world)
    assert replay(world.db, world.config).changed == 0
    assert content(world) == before


def test_readings_whose_page_is_pruned_stand_as_they_are(world):
    read(world)
    cut = world.one("SELECT max(fetched_at) FROM pages")
    assert prune(world.db, cut) == 2
    before = content(world)
    assert replay(world.db, world.config) == ReplayReport(1, 0, 0)
    assert content(world) == before


def test_a_reading_under_way_goes_on_after_a_replay(world):
    many = entries(posts(45))
    world.take(world.seed_list(), list_page(LIST, many[:20], size=45, next_cursor="offset:20"))
    replay(world.db, world.config)
    answer = list_answer(LIST, many[20:40], size=45, next_cursor="offset:40")
    world.take(world.waiting_part("offset:20"), answer)
    replay(world.db, world.config)
    world.take(world.waiting_part("offset:40"), list_answer(LIST, many[40:], size=45))
    assert (len(world.members()), world.list_is()) == (45, ("open", ""))


def test_an_older_reading_asks_for_nothing(world):
    first = read(world, 30)
    world.now += 8 * DAY_S
    assert library.refresh_due(world.db, world.config, world.now) == 1
    world.take(first, list_page(LIST, entries(posts(3)), size=3))
    world.db.execute("DELETE FROM requests WHERE kind = 'graphql'")
    world.db.execute("DELETE FROM pages WHERE request_id != ?", (first,))
    replay(world.db, world.config)
    assert world.waiting() == []
    assert (len(world.members()), world.list_is()) == (3, ("open", ""))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_replay_that_a_kill_interrupts_changes_nothing(world, monkeypatch, at):
    read(world)
    before = content(world)
    kept = list(load(world.db))

    def dying(db):
        yield from kept[:at]
        raise Killed

    monkeypatch.setattr(pages, "load", dying)
    with pytest.raises(Killed):
        replay(world.db, world.config)
    assert content(world) == before
    monkeypatch.undo()
    assert replay(world.db, world.config) == ReplayReport(3, 0, 0)
    assert content(world) == before


def test_a_page_that_cannot_be_read_any_more_keeps_its_request(world, monkeypatch):
    request_id = world.seed(f"{HOST}/feed/@ann", "feed")
    world.take(request_id, b"<html></html>")
    intake.given_up(world.db, frontier.get(world.db, request_id), 1.0, RUN, "x", world.config)
    assert replay(world.db, world.config) == ReplayReport(1, 0, 1)


def test_lists_are_ended_in_the_order_in_which_they_were(world):
    post = posts(1)[0]
    shown = entries([post])
    other = "00000000000b"
    first, second = world.seed_list(), world.seed_list(other)
    world.take(first, list_page(LIST, shown, size=1))
    frontier.renew(world.db, first, round=1)
    world.db.execute("UPDATE lists SET round = 1")
    world.take(first, list_page(LIST, [Entry(shown[0].id, None)], size=1))
    assert world.article(post.id)["state"] == "gone"
    world.take(second, list_page(other, shown, size=1))  # there again
    assert world.article(post.id)["state"] == "open"
    replay(world.db, world.config)
    assert world.article(post.id)["state"] == "open"
