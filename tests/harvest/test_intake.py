from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tagsage.errors import TagsageError
from tagsage.harvest import frontier, intake, lists, problems
from tagsage.harvest.intake import Fetched, Taken
from tagsage.harvest.pages import load
from tests.harvest.harvest_world import LIST, RUN, graphql_subject
from tests.harvest.medium_pages import (
    HOST,
    MS,
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
    private_page,
)


def read_list(world, shown, *, request_id=None, size=None):
    """Read a list of any length with its GraphQL parts, as the host shows it now."""
    size = len(shown) if size is None else size
    request_id = request_id or world.seed_list()
    after = "offset:20" if len(shown) > 20 else None
    world.take(request_id, list_page(LIST, shown[:20], size=size, next_cursor=after))
    while parts := world.waiting("graphql"):
        part_id, _, cursor = parts[0]
        start = int(cursor.removeprefix("offset:"))
        after = f"offset:{start + 20}" if len(shown) > start + 20 else None
        part = shown[start : start + 20]
        world.take(part_id, list_answer(LIST, part, size=size, next_cursor=after))
    return request_id


def read_again(world, shown, request_id, **details):
    reading = world.one("SELECT round FROM lists WHERE key = ?", LIST) + 1
    world.db.execute("UPDATE lists SET round = ? WHERE key = ?", (reading, LIST))
    frontier.renew(world.db, request_id, round=reading)
    return read_list(world, shown, request_id=request_id, **details)


def keys(of):
    return {post.id for post in of}


# -- lists -------------------------------------------------------------------------------------
def test_a_short_list_whose_page_tells_everything_needs_one_request(world):
    three = posts(3)
    taken = world.take(world.seed_list(), list_page(LIST, entries(three), size=3))
    assert taken == Taken(new_articles=3, memberships=3, lists=1)
    assert world.list_is() == ("open", "")
    assert world.members() == keys(three)
    assert world.waiting() == []
    assert world.rows("SELECT name, owner, size, deleted, round, settled, read_at FROM lists") == [
        ("Reading", "Ann Lee", 3, 0, 0, 0, 1001.0)
    ]


@pytest.mark.parametrize("page", [list_page(LIST, entries(posts(1)), size=1), private_page(LIST)])
def test_a_list_is_known_by_its_address_without_what_was_asked_with_it(world, page):
    request_id = world.seed(f"{list_url(LIST)}?source=x&sk=secret", "list", list_key=LIST)
    world.take(request_id, page)
    assert world.one("SELECT url FROM lists") == list_url(LIST)


def test_a_list_whose_address_has_no_id_is_known_by_the_one_that_its_page_tells(world):
    request_id = world.seed(f"{HOST}/@ann/list/reading-list", "list")
    shown = entries(posts(25))
    world.take(request_id, list_page(LIST, shown[:20], size=25, next_cursor="offset:20"))
    world.take(world.waiting_part("offset:20"), list_answer(LIST, shown[20:], size=25))
    assert world.list_is() == ("open", "")
    assert len(world.members()) == 25
    assert world.one("SELECT list_key FROM requests WHERE id = ?", request_id) == LIST


def test_an_empty_list_is_read(world):
    assert world.take(world.seed_list(), list_page(LIST, [], size=0)).lists == 1
    assert world.list_is() == ("open", "")
    assert world.members() == set()


def test_a_long_list_is_whole_only_with_its_last_part(world):
    many = entries(posts(45))
    first = world.seed_list()
    taken = world.take(first, list_page(LIST, many[:20], size=45, next_cursor="offset:20"))
    assert taken == Taken(new_articles=20, found=1)
    taken = world.take(
        world.waiting_part("offset:20"),
        list_answer(LIST, many[20:40], size=45, next_cursor="offset:40"),
    )
    assert taken == Taken(new_articles=20, found=1)
    assert world.members() == set()
    assert world.list_is() == ("new", "")
    taken = world.take(world.waiting_part("offset:40"), list_answer(LIST, many[40:], size=45))
    assert taken == Taken(new_articles=5, memberships=45, lists=1)
    assert world.list_is() == ("open", "")
    assert world.rows("SELECT * FROM list_parts") == world.rows("SELECT * FROM list_entries") == []


@pytest.mark.parametrize("last", ["offset:0", "offset:20"])
def test_what_a_page_leaves_open_is_asked_for_once_in_any_order(world, last):
    many = entries(posts(25))
    page = list_page(LIST, many[:20], size=25, next_cursor="offset:20", tags=False)
    assert world.take(world.seed_list(), page).found == 2
    answers = {
        "offset:20": list_answer(LIST, many[20:], size=25),
        "offset:0": list_answer(LIST, many[:20], size=25, next_cursor="offset:20"),
    }
    for cursor in sorted(answers, key=lambda each: each == last):
        assert world.members() == set()
        world.take(world.waiting_part(cursor), answers[cursor])
    assert len(world.members()) == 25
    assert world.waiting() == []
    assert world.one("SELECT count(*) FROM articles WHERE tags IS NULL") == 0
    assert world.article(post_id(0))["tags"] == '["Graphs"]'


def test_a_filling_part_that_fails_hurts_nothing_but_asks_for_articles(world):
    page = list_page(LIST, entries(posts(3)), size=3, tags=False)
    world.take(world.seed_list(), page)
    taken = world.give_up(world.waiting_part("offset:0"))
    assert taken == Taken(found=3, memberships=3, lists=1)
    assert world.list_is() == ("open", "")
    assert [row[1] for row in world.waiting()] == ["article"] * 3


@pytest.mark.parametrize(
    ("setting", "tags", "asked"),
    [
        ("missing", ("Graphs",), 0),
        ("missing", None, 2),
        ("always", ("Graphs",), 2),
        ("never", None, 0),
    ],
)
def test_own_pages_are_asked_for_as_the_setting_says(world, setting, tags, asked):
    world.config = replace(world.config, articles=setting)
    two = [replace(post, tags=tags) for post in posts(2)]
    read_list(world, entries(two))
    assert len(world.waiting("article")) == asked


def test_own_pages_are_not_asked_for_without_consent(world):
    world.config = replace(world.config, consent=False)
    world.take(world.seed(f"{HOST}/feed/@ann", "feed"), feed(posts(2)))
    assert world.waiting() == []


def test_a_list_grows_and_shrinks(world):
    many = posts(30)
    first = read_list(world, entries(many[:25]))
    assert world.members() == keys(many[:25])
    read_again(world, entries(many[5:30]), first)
    assert world.members() == keys(many[5:])
    read_again(world, entries(many[5:8]), first)
    assert world.members() == keys(many[5:8])
    assert world.one("SELECT count(*) FROM articles") == 30  # articles stay


def test_another_order_and_one_post_twice_change_nothing(world):
    five = posts(5)
    first = read_list(world, entries(five))
    revision = world.revision()
    twice = [*entries(five[::-1]), Entry("again", five[0])]
    read_again(world, twice, first)
    assert world.members() == keys(five)
    assert world.revision() == revision


def test_a_duplicate_that_slipped_to_the_next_part_counts_once(world):
    many = posts(41)
    before, after = entries(many[1:]), entries(many)  # one comes to the top meanwhile
    page = list_page(LIST, before[:20], size=40, next_cursor="offset:20")
    world.take(world.seed_list(), page)
    for start in (20, 40):
        following = "offset:40" if start == 20 else None
        answer = list_answer(LIST, after[start : start + 20], size=41, next_cursor=following)
        world.take(world.waiting_part(f"offset:{start}"), answer)
    assert world.members() == keys(many[1:])
    assert world.list_is() == ("incomplete", "it was changed while it was read")


def test_a_list_that_shrinks_while_it_is_read_keeps_what_may_have_slipped(world):
    many = posts(40)
    first = read_list(world, entries(many))
    frontier.renew(world.db, first, round=1)
    world.db.execute("UPDATE lists SET round = 1")
    shown = entries(many)
    world.take(first, list_page(LIST, shown[:20], size=40, next_cursor="offset:20"))
    left = shown[1:]  # the first is taken out, so the 21st slips into the part already read
    answer = list_answer(LIST, left[20:], size=39)
    world.take(world.waiting_part("offset:20"), answer)
    assert world.members() == keys(many)
    assert world.list_is() == ("incomplete", "it was changed while it was read")
    read_again(world, left, first)
    assert world.members() == keys(many[1:])
    assert world.list_is() == ("open", "")


@pytest.mark.parametrize(
    ("shown", "size", "state"),
    [
        (5, 45, ("incomplete", "its host counts 45 entries and showed 5")),
        (35, 45, ("incomplete", "its host counts 45 entries and showed 35")),
        (36, 45, ("open", "")),
        (1, 3, ("open", "")),
        (5, 3, ("open", "")),
    ],
)
def test_a_list_that_shows_far_fewer_entries_than_are_counted_keeps_what_it_had(
    world, shown, size, state
):
    many = posts(45)
    first = read_list(world, entries(many))
    frontier.read_anew(world.db, first)
    world.take(first, list_page(LIST, entries(many[:shown]), size=size))
    assert world.list_is() == state
    assert world.members() == keys(many[: shown if state[0] == "open" else 45])


def test_deleted_entries_count_as_shown(world):
    left = [Entry(f"item {number}", None) for number in range(40)]
    world.take(world.seed_list(), list_page(LIST, [*entries(posts(5)), *left], size=45))
    assert world.list_is() == ("open", "")


def test_entries_of_different_parts_under_one_id_are_all_members(world):
    shown = [Entry(f"item {number % 2}", post) for number, post in enumerate(posts(4))]
    world.take(world.seed_list(), list_page(LIST, shown[:2], size=4, next_cursor="b"))
    world.take(world.waiting_part("b"), list_answer(LIST, shown[2:], size=4))
    assert world.members() == keys(posts(4))


def test_a_part_that_fails_leaves_the_list_incomplete_and_takes_nothing_away(world):
    many = posts(45)
    first = read_list(world, entries(many[:40]))
    frontier.renew(world.db, first, round=1)
    world.db.execute("UPDATE lists SET round = 1")
    shown = entries(many[10:45])
    world.take(first, list_page(LIST, shown[:20], size=35, next_cursor="offset:20"))
    world.give_up(world.waiting_part("offset:20"))
    assert world.members() == keys(many[:40])
    assert world.list_is() == ("incomplete", "the part offset:20 could not be had")
    assert world.problems() == [
        (list_url(LIST), "the list is incomplete: the part offset:20 could not be had"),
        (graphql_subject("offset:20"), "no answer"),
    ]
    read_again(world, shown, first)
    assert world.members() == keys(many[10:45])
    assert world.list_is() == ("open", "")


def test_a_list_whose_page_fails_stays_as_it_was(world):
    three = posts(3)
    first = read_list(world, entries(three))
    frontier.renew(world.db, first, round=1)
    world.db.execute("UPDATE lists SET round = 1")
    assert world.give_up(first) == Taken()
    assert world.members() == keys(three)
    assert world.list_is() == ("incomplete", "its page could not be had")


@pytest.mark.parametrize("circle", ["offset:20", "offset:40"])
def test_parts_that_lead_in_a_circle_come_to_an_end(world, circle):
    shown = entries(posts(60))
    world.take(world.seed_list(), list_page(LIST, shown[:20], size=60, next_cursor="offset:20"))
    world.take(
        world.waiting_part("offset:20"),
        list_answer(LIST, shown[20:40], size=60, next_cursor="offset:40"),
    )
    world.take(
        world.waiting_part("offset:40"),
        list_answer(LIST, shown[40:], size=60, next_cursor=circle),
    )
    assert world.waiting() == []
    assert len(world.members()) == 60
    assert world.list_is() == ("incomplete", f"its parts lead in a circle: {circle} comes again")


def test_a_list_that_never_ends_is_left_after_many_parts(world, monkeypatch):
    monkeypatch.setattr(lists, "MAX_PARTS", 3)
    world.take(world.seed_list(), list_page(LIST, [], next_cursor="part 0"))
    number = 0
    while parts := world.waiting("graphql"):
        number += 1
        answer = list_answer(LIST, entries(posts(1, number)), next_cursor=f"part {number}")
        world.take(parts[0][0], answer)
    assert number == 3
    assert world.list_is() == ("incomplete", "it has more than 3 parts")
    assert len(world.members()) == 3


def test_entries_that_cannot_be_read_are_tried_again_and_then_left_out(world):
    three = posts(3)
    first = world.seed_list()
    page = list_page(LIST, entries(three), size=3)
    broken = page.replace(b'"Item:item-%s": {' % three[1].id.encode(), b'"Other": {')
    taken = world.take(first, broken)
    assert (taken.ok, taken.reason) == (False, "entry 1 of the list is missing")
    assert world.one("SELECT state FROM requests WHERE id = ?", first) == "sent"
    assert world.problems() == [(list_url(LIST), "entry 1 of the list is missing")]
    world.give_up(first, "unreadable", taken.reason)
    assert world.members() == {three[0].id, three[2].id}
    assert world.list_is() == ("incomplete", "1 of its entries cannot be read")


def test_a_second_attempt_that_can_be_read_takes_the_problems_away(world):
    three = posts(3)
    first = world.seed_list()
    page = list_page(LIST, entries(three), size=3)
    assert not world.take(first, page[:500]).ok
    assert len(world.problems()) == 1
    frontier.again(world.db, first, 0)
    assert world.take(first, page).ok
    assert world.problems() == []
    assert world.list_is() == ("open", "")
    assert len(list(load(world.db))) == 2


def test_a_deleted_post_is_counted_and_a_known_one_keeps_row_and_membership(world):
    three = posts(3)
    shown = entries(three)
    first = read_list(world, shown)
    shown[1] = Entry(shown[1].id, None)
    unknown = Entry("never seen", None)
    read_again(world, [*shown, unknown], first)
    assert world.members() == keys(three)
    assert world.one("SELECT deleted FROM lists") == 2
    states = dict(world.rows("SELECT key, state FROM articles"))
    assert states == {three[0].id: "open", three[1].id: "gone", three[2].id: "open"}
    assert len(world.exported()[0]) == 3
    read_again(world, [shown[0]], first)
    assert world.members() == {three[0].id}


def test_own_pages_of_deleted_posts_are_not_asked_for(world):
    shown = entries([replace(post, tags=None) for post in posts(2)])
    world.config = replace(world.config, articles="never")
    first = read_list(world, shown)
    world.config = replace(world.config, articles="missing")
    read_again(world, [shown[0], Entry(shown[1].id, None)], first)
    rows = world.rows("SELECT article_key FROM requests WHERE kind = 'article'")
    assert rows == [(post_id(0),)]


@pytest.mark.parametrize("how", ["private", "gone"])
def test_a_list_that_is_not_shown_any_more_is_not_exported_but_comes_back(world, how):
    three = posts(3)
    first = read_list(world, entries(three))
    revision = world.revision()
    frontier.renew(world.db, first, round=1)
    world.db.execute("UPDATE lists SET round = 1")
    if how == "private":
        taken = world.take(first, private_page(LIST))
        assert world.list_is() == ("private", "the host says it is private")
    else:
        taken = world.gone(first)
        assert world.list_is() == ("gone", "the host answered 404")
    assert taken == Taken(memberships=-3, lists=-1)
    articles, members = world.exported()
    assert (len(articles), members) == (3, [])
    assert world.members() == keys(three)
    assert world.revision() == revision + 1
    taken = world.take(first, private_page(LIST))  # told again: nothing new
    assert (taken.memberships, taken.lists, world.revision()) == (0, 0, revision + 1)
    read_again(world, entries(three), first)
    assert len(world.exported()[1]) == 3
    assert world.revision() == revision + 2


@pytest.mark.parametrize("catalog", [{"__typename": "Forbidden"}, {"__typename": "NotFound"}])
@pytest.mark.parametrize(
    ("cursor", "state"),
    [
        ("offset:0", ("open", "")),
        ("offset:20", ("incomplete", "the part offset:20 could not be had")),
    ],
)
def test_an_endpoint_that_is_closed_does_not_hide_a_list_whose_page_is_open(
    world, catalog, cursor, state
):
    shown = entries(posts(25 if cursor == "offset:20" else 3))
    following = "offset:20" if cursor == "offset:20" else None
    page = list_page(
        LIST, shown[:20], size=len(shown), next_cursor=following, tags=following is not None
    )
    world.take(world.seed_list(), page)
    assert [row[2] for row in world.waiting("graphql")] == [cursor]
    answer = json.dumps({"data": {"catalogById": catalog}}).encode()
    world.take(world.waiting_part(cursor), answer)
    assert world.list_is() == state
    assert world.members() == keys(posts(min(len(shown), 20)))
    assert graphql_subject(cursor) in {url for url, _ in world.problems()}


def test_parts_that_wait_are_not_asked_for_when_the_page_says_that_the_list_is_private(world):
    first = read_list(world, entries(posts(3)))
    page = list_page(LIST, entries(posts(20)), size=60, next_cursor="offset:20", tags=False)
    frontier.read_anew(world.db, first)
    world.take(first, page)
    second = world.seed(f"{HOST}/@ann/list/other-{LIST}", "list", list_key=LIST, round=1)
    world.take(second, private_page(LIST))
    assert world.waiting("graphql") == []
    assert world.list_is()[0] == "private"
    assert world.rows("SELECT * FROM list_entries") == world.rows("SELECT * FROM list_parts") == []


def test_a_private_list_that_was_never_read_is_recorded(world):
    assert world.take(world.seed_list(), private_page(LIST)) == Taken()
    assert world.list_is() == ("private", "the host says it is private")


# -- refusals that were about us -------------------------------------------------------------------
def refuse(world, request_id):
    request = world.send(request_id)
    frontier.end(world.db, request_id, "refused", world.now, status=403, reason="403")
    intake.given_up(world.db, request, world.now, RUN, "403", world.config)


def test_a_list_whose_page_was_refused_because_of_us_is_read_when_that_is_over(world):
    first = read_list(world, entries(posts(3)))
    frontier.read_anew(world.db, first)
    refuse(world, first)
    assert world.list_is() == ("incomplete", "its page could not be had")
    frontier.forgive(world.db, HOST, 3)
    assert world.waiting() == [(first, "list", None)]
    world.take(first, list_page(LIST, entries(posts(4)), size=4))
    assert world.list_is() == ("open", "")
    assert world.members() == keys(posts(4))


def test_a_list_whose_part_was_refused_because_of_us_is_read_anew_and_older_refusals_stay(world):
    older = world.seed(f"{HOST}/@ann/older")
    refuse(world, older)
    shown = entries(posts(25))
    first = world.seed_list()
    world.take(first, list_page(LIST, shown[:20], size=25, next_cursor="offset:20"))
    refuse(world, world.waiting_part("offset:20"))
    frontier.forgive(world.db, HOST, 1)
    assert world.waiting() == [(first, "list", None)]
    read_list(world, shown, request_id=first)
    assert world.list_is() == ("open", "")
    assert world.members() == keys(posts(25))


# -- addresses that are the same -----------------------------------------------------------------
def test_a_list_with_two_addresses_is_settled_by_the_one_that_leads_to_the_other(world):
    first = world.seed_list()
    second = world.seed(list_url(LIST).replace("https", "http"), "list", list_key=LIST)
    world.take(first, list_page(LIST, entries(posts(3)), size=3))
    assert world.list_is() == ("new", "")
    assert world.lead(second, list_url(LIST)) == Taken(memberships=3, lists=1)
    assert world.list_is() == ("open", "")
    assert world.members() == keys(posts(3))
    assert world.waiting() == []


def test_a_list_whose_address_now_leads_to_another_known_one_is_read_there(world):
    first = read_list(world, entries(posts(3)))
    second = world.seed(f"{HOST}/@ann/list/new-name-{LIST}", "list", list_key=LIST)
    world.take(second, list_page(LIST, entries(posts(3)), size=3))
    frontier.read_anew(world.db, first)
    world.lead(first, f"{HOST}/@ann/list/new-name-{LIST}")
    assert world.waiting() == [(second, "list", None)]
    world.take(second, list_page(LIST, entries(posts(2)), size=2))
    assert (world.list_is(), world.members()) == (("open", ""), keys(posts(2)))


@pytest.mark.parametrize(
    ("slug", "is_read", "kept"),
    [
        ("on-graphs-a00000000001", True, ["a00000000001"]),
        ("on-graphs-a00000000001", False, ["a00000000001"]),
        ("the-same-anew", True, ["pub.example/the-same-anew"]),
        ("home", False, ["pub.example/on-graphs"]),
        ("", True, ["pub.example", "pub.example/on-graphs"]),
    ],
)
def test_two_articles_become_one_where_the_address_of_one_leads_to_the_other(
    world, slug, is_read, kept
):
    world.config = replace(world.config, articles="always")
    old, new = "https://pub.example/on-graphs", f"https://pub.example/{slug}"
    world.take(world.seed(f"{HOST}/feed/@ann", "feed"), feed([Post("", url=old)]))
    old_id = world.waiting("article")[0][0]
    key = slug.rpartition("-")[2] if slug.endswith("1") else new.partition("//")[2].rstrip("/")
    new_id = world.seed(new, article_key=key)
    if is_read:
        title = '<meta property="og:title" content="On graphs">'
        assert world.take(new_id, title.encode()).ok
    revision = world.revision()
    world.lead(old_id, new)
    assert [row[0] for row in world.rows("SELECT key FROM articles ORDER BY key")] == kept
    assert (world.revision() > revision) == (len(kept) == 1 and slug != "home")


# -- once, and all at once ---------------------------------------------------------------------
def everything(world):
    tables = ("lists", "list_parts", "list_entries", "memberships", "articles", "aliases")
    return {
        **{table: world.rows(f"SELECT * FROM {table}") for table in tables},
        "requests": world.rows("SELECT id, kind, url, cursor, round, state FROM requests"),
        "pages": world.rows("SELECT * FROM pages"),
        "problems": world.problems(),
        "revision": world.revision(),
    }


@pytest.mark.parametrize("tags", [True, False])
def test_the_same_answer_taken_in_twice_changes_nothing(world, tags):
    shown = entries(posts(25))
    first = world.seed_list()
    bodies = {
        first: list_page(LIST, shown[:20], size=25, next_cursor="offset:20", tags=tags),
    }
    for _ in range(5):
        for request_id, *_ in world.waiting():
            cursor = world.one("SELECT cursor FROM requests WHERE id = ?", request_id)
            if request_id not in bodies:
                part = shown[:20] if cursor == "offset:0" else shown[20:]
                bodies[request_id] = list_answer(LIST, part, size=25)
            request = world.send(request_id)
            fetched = world.fetched(request, bodies[request_id])
            intake.take(world.db, request, fetched, world.config, RUN)
            before = everything(world)
            taken = intake.take(world.db, request, fetched, world.config, RUN)
            assert taken == Taken()
            assert everything(world) == before
    assert len(world.members()) == 25


class Killed(BaseException):
    pass


def test_an_answer_that_a_kill_interrupts_leaves_nothing(world, monkeypatch):
    shown = entries(posts(3))
    first = world.seed_list()
    before = everything(world) | {"requests": []}
    calls = [0]
    execute = world.db.execute

    def dying(statement, values=()):
        calls[0] -= 1
        if calls[0] == 0:
            raise Killed
        return execute(statement, values)

    died = 0
    request = world.send(first)
    fetched = world.fetched(request, list_page(LIST, shown, size=3))
    for at in range(1, 200):
        calls[0] = at
        monkeypatch.setattr(world.db, "execute", dying)
        try:
            intake.take(world.db, request, fetched, world.config, RUN)
        except Killed:
            died += 1
            monkeypatch.undo()
            assert everything(world) | {"requests": []} == before
            assert world.one("SELECT state FROM requests") == "sent"
            continue
        monkeypatch.undo()
        break
    assert died > 10
    assert world.members() == keys(posts(3))


def test_a_full_disk_leaves_nothing_and_is_told_in_a_sentence(world):
    request = world.send(world.seed_list())
    pages = world.one("SELECT page_count FROM pragma_page_count")
    world.db.execute(f"PRAGMA max_page_count = {pages + 1}")
    body = list_page(LIST, entries([Post(post_id(n), title=str(n) * 500) for n in range(99)]))
    with pytest.raises(TagsageError, match=r"harvest\.db cannot be used \(.*full\); make room"):
        intake.take(world.db, request, world.fetched(request, body), world.config, RUN)
    assert world.rows("SELECT * FROM articles") == world.rows("SELECT * FROM pages") == []
    world.db.execute("PRAGMA max_page_count = 1000000")
    assert intake.take(world.db, request, world.fetched(request, body), world.config, RUN).ok


# -- articles and feeds --------------------------------------------------------------------------
def test_an_articles_own_page_fills_its_row(world):
    post = Post(post_id(7), tags=("Graphs", "Search"))
    request_id = world.seed(post.address, article_key=post.id)
    assert world.take(request_id, article_page(post)) == Taken(new_articles=1)
    assert world.article(post.id) == {
        "key": post.id,
        "url": post.address,
        "title": "A title",
        "subtitle": "A subtitle",
        "author": "Ann Lee",
        "published_ms": MS,
        "tags": '["Graphs", "Search"]',
        "sources": json.dumps(
            dict.fromkeys(("author", "published_ms", "subtitle", "tags", "title", "url"), "state")
        ),
        "state": "open",
        "seen_at": 1001.0,
        "read_at": 1001.0,
    }


def test_an_article_that_is_gone_keeps_what_was_known(world):
    post = Post(post_id(7), tags=None)
    read_list(world, entries([post]))
    world.gone(world.waiting("article")[0][0])
    row = world.article(post.id)
    assert (row["state"], row["title"]) == ("gone", "A title")
    assert len(world.exported()[0]) == 1
    assert world.waiting() == []


def test_a_page_that_says_its_post_is_gone_ends_like_one_that_is_not_there(world):
    post = Post(post_id(7), tags=None)
    read_list(world, entries([post]))
    request_id = world.waiting("article")[0][0]
    body = b"<html><h1>PAGE NOT FOUND</h1></html>"
    assert world.take(request_id, body) == Taken()
    assert world.article(post.id)["state"] == "gone"
    assert world.one("SELECT state FROM requests WHERE id = ?", request_id) == "gone"


BROKEN = b"""<html><meta property="og:title" content="A title">
<script type="application/ld+json">{"@type": "Article",}</script>"""


def test_a_page_that_is_damaged_at_its_host_is_not_asked_for_again_and_again(world):
    request_id = world.seed("https://pub.example/on-graphs")
    taken = world.take(request_id, BROKEN + b"</html>")
    assert (taken.ok, taken.new_articles) == (False, 1)
    frontier.again(world.db, request_id, 0)
    assert world.take(request_id, BROKEN + b"</html>") == Taken(reason=taken.reason)
    assert world.rows("SELECT state, reason FROM requests") == [("unreadable", taken.reason)]
    assert world.problems() == [("https://pub.example/on-graphs", taken.reason)]
    frontier.renew(world.db, request_id)
    assert world.take(request_id, BROKEN + b"</html>").ok
    frontier.renew(world.db, request_id)
    assert not world.take(request_id, BROKEN + b" </html>").ok  # another page


def test_a_page_cut_off_twice_at_the_same_place_is_asked_for_again(world):
    request_id = world.seed("https://pub.example/on-graphs")
    for _ in range(3):
        assert not world.take(request_id, BROKEN).ok
        frontier.again(world.db, request_id, 0)


@pytest.mark.parametrize("kind", ["list", "graphql"])
def test_a_list_with_a_damaged_entry_is_settled_when_it_comes_so_twice(world, kind):
    three = posts(3)
    page = list_page(LIST, entries(three), size=3, next_cursor="b" if kind == "graphql" else None)
    request_id = world.seed_list()
    if kind == "graphql":
        world.take(request_id, page)
        request_id = world.waiting_part("b")
        damaged = list_answer(LIST, entries(posts(2, 3)), size=5)
        damaged = damaged.replace(b'{"catalogItemId"', b'7, {"catalogItemId"', 1)
    else:
        damaged = page.replace(b'"Item:item-%s": {' % three[1].id.encode(), b'"Other": {')
    assert not world.take(request_id, damaged).ok
    frontier.again(world.db, request_id, 0)
    assert world.take(request_id, damaged).ok
    assert world.waiting() == []
    assert world.list_is() == ("incomplete", "1 of its entries cannot be read")


def test_a_page_of_another_article_is_not_believed(world):
    asked, other = Post(post_id(1)), Post(post_id(2), title="Another")
    request_id = world.seed(asked.address, article_key=asked.id)
    body = article_page(replace(other, url=asked.address))
    taken = world.take(request_id, body)
    assert (taken.ok, taken.reason) == (False, f"the page is of another article, {other.id}")
    assert world.rows("SELECT * FROM articles") == []


def test_a_feed_brings_articles_and_asks_for_what_it_leaves_open(world):
    taken = world.take(world.seed(f"{HOST}/feed/@ann", "feed"), feed(posts(3)))
    assert taken == Taken(new_articles=3, found=3)
    assert world.article(post_id(0))["sources"] == json.dumps(
        dict.fromkeys(("author", "published_ms", "tags", "title", "url"), "feed")
    )


def test_a_feed_cut_off_gives_what_it_has_and_is_asked_for_again(world):
    request_id = world.seed(f"{HOST}/feed/@ann", "feed")
    taken = world.take(request_id, feed(posts(3)).rpartition(b"<item>")[0])
    assert (taken.ok, taken.reason, taken.new_articles) == (False, "the feed is cut off", 1)
    frontier.again(world.db, request_id, 0)
    assert world.take(request_id, feed(posts(3))).new_articles == 2
    assert world.problems() == []


def test_a_feed_that_is_none_is_kept_and_filed(world):
    request_id = world.seed(f"{HOST}/feed/@ann", "feed")
    taken = world.take(request_id, b"<html>Sign in</html>")
    assert not taken.ok
    assert world.problems() == [(f"{HOST}/feed/@ann", taken.reason)]
    assert world.rows("SELECT content FROM problems") == [("<html>Sign in</html>",)]
    assert [fetched.body for _, fetched in load(world.db)] == [b"<html>Sign in</html>"]


def test_not_modified_counts_as_read(world):
    first = read_list(world, entries(posts(3)))
    world.db.execute("UPDATE lists SET round = 1")
    frontier.renew(world.db, first, round=1)
    request = world.send(first)
    problems.record(world.db, RUN, world.now, request.url, ["an answer 500 before"])
    intake.unchanged(world.db, request, 5000.0)
    assert world.problems() == []
    assert world.rows("SELECT state, settled, read_at FROM lists") == [("open", 1, 5000.0)]
    assert len(world.members()) == 3
    assert world.rows("SELECT state, status, ended_at FROM requests") == [("done", 304, 5000.0)]


def test_the_same_problem_again_replaces_the_older_one(world):
    request_id = world.seed(f"{HOST}/feed/@ann", "feed")
    for _ in range(3):
        taken = world.take(request_id, b"nothing")
        frontier.again(world.db, request_id, 0)
    world.give_up(request_id, "unreadable", taken.reason)
    assert len(world.problems()) == 1


PYTHONS_OWN = ("punycode", "idna", "unicode_escape", "utf-7", "zlib", "rot13")


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("utf-8", "é".encode(), "é"),
        ("latin1", b"\xe9 \x97", "é —"),
        ("utf-16", b"\xe9\x00", "é"),
        ("", "é".encode(), "é"),
        ("no-such-charset", "é".encode(), "é"),
        ("hex", b"zz", "zz"),
        # Python's charsets, not the web's: with punycode a page would take hours.
        *((name, rb"a-kva +AOk- \xe9", r"a-kva +AOk- \xe9") for name in PYTHONS_OWN),
        ("utf-8", b"\xff", "�"),
        ("a\0b", b"a", "a"),
    ],
)
def test_a_charset_that_is_none_is_read_as_utf_8(charset, body, text):
    assert Fetched(200, "", body, charset, None, None, 0.0).text() == text
