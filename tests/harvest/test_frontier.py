"""The frontier: what is asked next, by a slow obvious second implementation, over kills."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.harvest import frontier, hosts
from tagsage.harvest.addresses import AddressError, server
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.frontier import PRIORITY, ROBOTS_KEPT_S, Claimed, Outlook
from tagsage.harvest.hosts import Host

ID = "0123456789ab"
HOST = "https://medium.com"
LIST = f"{HOST}/@a/list/nlp-{ID}"
FIELDS = (
    "id, kind, host, url, list_key, cursor, round, article_key, priority, state, due, attempts, "
    "redirects"
)


@pytest.fixture
def db(tmp_path):
    with HarvestDatabase(tmp_path) as database:
        yield database


def rules_known(db: HarvestDatabase, host: str = HOST, at: float = 0.0) -> None:
    hosts.store(db, replace(hosts.get(db, host), robots_at=at, robots_text=""))


def states(db: HarvestDatabase) -> list[tuple[str, str]]:
    return db.execute("SELECT url, state FROM requests ORDER BY id").fetchall()


def test_a_request_is_added_once_however_its_address_is_written(db):
    assert frontier.add(db, "list", LIST, now=1.0, list_key=ID, round=1, asked=True)
    assert not frontier.add(db, "list", f"HTTPS://medium.com:443/@a/list/nlp-{ID}#x", now=2.0)
    assert db.execute(f"SELECT {FIELDS} FROM requests").fetchall() == [
        (1, "list", HOST, LIST, ID, None, 1, None, 20, "waiting", 0.0, 0, 0)
    ]
    assert hosts.get(db, HOST) == Host(HOST, asked=True)


def test_parts_of_a_list_are_told_apart_by_id_cursor_and_reading_only(db):
    url = f"{HOST}/_/graphql"
    for list_key, cursor, reading, is_new in [
        (ID, "offset:20", 1, True),
        (ID, "offset:20", 1, False),
        (ID, "offset:40", 1, True),
        (ID, "offset:20", 2, True),
        ("ba9876543210", "offset:20", 1, True),
    ]:
        added = frontier.add(
            db, "graphql", url, now=1.0, list_key=list_key, cursor=cursor, round=reading
        )
        assert added is is_new


def test_what_is_no_web_address_is_not_added(db):
    with pytest.raises(AddressError, match="no http or https"):
        frontier.add(db, "article", "ftp://medium.com/a", now=1.0)
    assert states(db) == []


def test_robots_txt_comes_before_everything_else_of_a_host_and_again_after_a_day(db):
    frontier.add(db, "feed", f"{HOST}/feed/@a", now=0.0)
    robots = frontier.ready(db, 0.0, pages=True)
    assert robots.url == f"{HOST}/robots.txt"
    assert frontier.ready(db, 0.0, pages=True) == robots
    sent = frontier.begin(db, robots, 0.0, 0.0)
    frontier.end(db, sent.request_id, "done", 1.0)
    rules_known(db, at=1.0)
    assert frontier.ready(db, 1.0, pages=True).kind == "feed"
    assert frontier.ready(db, ROBOTS_KEPT_S, pages=True).kind == "feed"
    assert frontier.ready(db, 1.0 + ROBOTS_KEPT_S, pages=True) == robots


def test_no_robots_txt_is_asked_for_where_nothing_else_is_wanted(db):
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    assert frontier.ready(db, 0.0, pages=False) is None
    assert frontier.outlook(db, 0.0, pages=False) == Outlook(None, {})
    assert states(db) == [(f"{HOST}/a", "waiting")]


def test_without_consent_only_feeds_are_ready_and_counted(db):
    frontier.add(db, "list", LIST, now=0.0)
    frontier.add(db, "feed", f"{HOST}/feed", now=0.0)
    rules_known(db)
    assert frontier.ready(db, 0.0, pages=False).kind == "feed"
    assert [frontier.waiting(db, pages=pages) for pages in (False, True)] == [1, 2]


def test_a_request_is_durable_as_sent_before_it_leaves_and_its_host_waits(db, tmp_path):
    frontier.add(db, "list", LIST, now=0.0)
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    rules_known(db)
    sent = frontier.begin(db, frontier.ready(db, 5.0, pages=True), 5.0, 10.0)
    assert sent.attempts == 1
    assert frontier.ready(db, 100.0, pages=True) is None
    db.close()
    with HarvestDatabase(tmp_path) as again:
        assert frontier.ready(again, 100.0, pages=True) is None
        assert frontier.recover(again) == 1
        assert frontier.ready(again, 14.9, pages=True) is None
        assert frontier.outlook(again, 14.9, pages=True) == Outlook(15.0, {})
        assert frontier.get(again, sent.request_id) == sent
        assert frontier.ready(again, 15.0, pages=True) == sent


def test_a_request_that_was_let_go_on_purpose_costs_no_attempt(db):
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    frontier.begin(db, frontier.get(db, 1), 0.0, 0.0)
    assert frontier.recover(db, is_counted=False) == 1
    assert frontier.get(db, 1).attempts == 0


def test_http_and_https_of_a_name_are_one_server_with_one_gap(db):
    frontier.add(db, "article", "http://medium.com/a", now=0.0)
    rules_known(db, "http://medium.com")
    frontier.begin(db, frontier.ready(db, 0.0, pages=True), 0.0, 10.0)
    frontier.add(db, "article", f"{HOST}/b", now=0.0)
    rules_known(db)
    assert frontier.ready(db, 50.0, pages=True) is None
    frontier.end(db, 1, "done", 1.0)
    assert frontier.ready(db, 9.0, pages=True) is None
    assert frontier.ready(db, 10.0, pages=True).url == f"{HOST}/b"


def test_requests_that_failed_come_after_those_that_did_not(db):
    for path in "abc":
        frontier.add(db, "article", f"{HOST}/{path}", now=0.0)
    rules_known(db)
    seen = []
    for now in range(5):
        sent = frontier.begin(db, frontier.ready(db, now, pages=True), now, 0.0)
        frontier.again(db, sent.request_id, now, reason="x")
        seen.append(sent.url[-1])
    assert seen == ["a", "b", "c", "a", "b"]


def test_a_closed_host_is_passed_over_and_told_of(db):
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    frontier.add(db, "article", "https://blog.example.com/a", now=0.0)
    closed = replace(hosts.get(db, HOST), closed_until=50.0, closed_why="403")
    hosts.store(db, closed)
    assert hosts.get(db, HOST) == closed
    assert frontier.ready(db, 1.0, pages=True).host == "https://blog.example.com"
    assert frontier.outlook(db, 1.0, pages=True) == Outlook(0.0, {HOST: "403"})
    assert frontier.outlook(db, 50.0, pages=True) == Outlook(0.0, {})
    frontier.end(db, 2, "done", 50.0)
    assert frontier.ready(db, 50.0, pages=True).host == HOST


@pytest.mark.parametrize("other", ["http://medium.com", "https://ann.medium.com"])
def test_a_closed_server_is_closed_under_its_other_names_also_those_met_later(db, other):
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    rules_known(db)
    closed = replace(
        hosts.get(db, HOST), closed_until=50.0, closed_why="403", is_server_closed=True
    )
    hosts.store(db, closed)
    assert hosts.get(db, HOST) == closed
    frontier.add(db, "article", f"{other}/a", now=0.0)
    both = Outlook(None, {HOST: "403", other: "403"})
    assert frontier.outlook(db, 1.0, pages=True) == both
    hosts.store(db, replace(closed, closed_until=60.0))
    assert hosts.get(db, other) == replace(
        closed, host=other, robots_at=None, robots_text=None, closed_until=60.0
    )


def test_all_names_of_medium_are_one_server_with_one_gap_and_one_count_of_refusals(db):
    names = [HOST, "https://ann.medium.com", "https://bob.medium.com"]
    for name in names:
        frontier.add(db, "article", f"{name}/a", now=0.0)
        rules_known(db, name)
    sent = []
    for now in range(0, 30, 10):
        claimed = frontier.begin(db, frontier.ready(db, float(now), pages=True), float(now), 10.0)
        assert frontier.ready(db, now + 10.0, pages=True) is None  # one thing at a time
        frontier.end(db, claimed.request_id, "done", float(now))
        assert frontier.ready(db, now + 9.0, pages=True) is None
        sent.append(claimed.host)
        hosts.store(db, replace(hosts.get(db, claimed.host), refusals=len(sent)))
    assert sent == names
    assert {hosts.get(db, name).refusals for name in names} == {3}


def test_a_host_without_a_robots_txt_does_not_close_the_other_names(db):
    frontier.add(db, "article", "http://medium.com/a", now=0.0)
    why = "robots.txt cannot be had"
    hosts.store(db, replace(hosts.get(db, "http://medium.com"), closed_until=50.0, closed_why=why))
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    assert frontier.ready(db, 1.0, pages=True).host == HOST


def test_pages_refused_last_are_forgiven_when_the_refusals_were_about_us(db):
    for path in "abcd":
        frontier.add(db, "article", f"{HOST}/{path}", now=0.0)
    frontier.add(db, "article", "https://ann.medium.com/a", now=0.0)
    for request_id, status in [(1, 403), (2, 403), (3, 401), (4, 451), (5, 403)]:
        frontier.end(db, request_id, "refused", float(request_id), status=status)
    frontier.forgive(db, HOST, 3)
    found = [state for _, state in states(db)]
    assert found == ["refused", "waiting", "waiting", "refused", "waiting"]


@pytest.mark.parametrize(
    ("kind", "path", "is_one"),
    [
        ("list", "/@ann/list/reading-0123456789ab", True),
        ("list", "/@ann/list/reading-list", False),
        ("article", "/@ann/on-graphs-0123456789ab", True),
        ("article", "/p/0123456789ab", True),
        ("article", "/page", False),
        ("feed", "/feed/x-0123456789ab", False),
    ],
)
def test_the_query_of_an_address_that_ends_with_an_id_makes_no_other_request(
    db, kind, path, is_one
):
    frontier.add(db, kind, f"{HOST}{path}?source=x&sk=secret", now=0.0)
    assert frontier.add(db, kind, f"{HOST}{path}", now=0.0) != is_one
    assert frontier.get(db, 1).url == f"{HOST}{path}?source=x&sk=secret"


def test_a_redirect_moves_the_request_and_a_renewal_moves_it_back(db):
    frontier.add(db, "list", LIST, now=0.0, list_key=ID, round=1)
    frontier.end(db, 1, "done", 1.0, etag='"1"')
    frontier.renew(db, 1, round=2)
    sent = frontier.begin(db, frontier.get(db, 1), 2.0, 10.0)
    target = "https://blog.example.com/list/x-0123456789ab"
    assert frontier.redirect(db, sent, target, 3.0) is None
    moved = Claimed(
        1, "list", "https://blog.example.com", target, ID, None, 2, None, 0, 1, None, None
    )
    assert frontier.get(db, 1) == moved
    frontier.end(db, 1, "done", 4.0, etag='"2"')
    frontier.renew(db, 1, round=3)
    assert frontier.get(db, 1) == Claimed(
        1, "list", HOST, LIST, ID, None, 3, None, 0, 0, None, None
    )
    # Led to the same place, it asks there on condition; led elsewhere, or not at all, it does not.
    frontier.redirect(db, frontier.get(db, 1), target, 5.0)
    assert frontier.get(db, 1) == replace(moved, round=3, etag='"2"')
    frontier.renew(db, 1, round=4)
    frontier.redirect(db, frontier.get(db, 1), f"{target}?new", 6.0)
    assert frontier.get(db, 1) == replace(moved, round=4, url=f"{target}?new")
    frontier.renew(db, 1, round=5)
    frontier.end(db, 1, "done", 7.0, etag='"3"')
    frontier.renew(db, 1, round=6)
    assert frontier.get(db, 1).etag == '"3"'


def test_a_redirect_to_what_is_known_ends_the_request(db):
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    frontier.add(db, "article", f"{HOST}/b", now=0.0)
    assert frontier.redirect(db, frontier.get(db, 1), f"{HOST}/b", 3.0) == 2
    assert db.execute("SELECT state, reason FROM requests WHERE id = 1").fetchone() == (
        "done",
        f"the same as {HOST}/b",
    )


def test_a_redirect_of_robots_txt_stays_with_its_host(db):
    frontier.add(db, "feed", "http://medium.com/feed", now=0.0)
    robots = frontier.ready(db, 0.0, pages=True)
    assert frontier.redirect(db, robots, f"{HOST}/robots.txt", 0.0) is None
    moved = frontier.ready(db, 0.0, pages=True)
    assert moved == replace(robots, url=f"{HOST}/robots.txt", redirects=1)


def test_what_was_sent_is_not_renewed(db):
    frontier.add(db, "article", f"{HOST}/a", now=0.0)
    frontier.begin(db, frontier.get(db, 1), 0.0, 10.0)
    frontier.renew(db, 1)
    assert states(db) == [(f"{HOST}/a", "sent")]


# -- the oracle ----------------------------------------------------------------------------

HOSTS = (
    *("https://a.example", "http://a.example", "https://b.example", "http://localhost:8080"),
    *("https://medium.com", "https://ann.medium.com"),
)
KINDS = ("feed", "list", "article")


def oracle(db: HarvestDatabase, now: float, *, pages: bool) -> tuple[str | None, float | None]:
    """Return which address should be ready, and when the next one is, looking at every row."""
    names = ("id", "kind", "host", "url", "state", "due", "attempts")
    rows = [
        dict(zip(names, row, strict=True))
        for row in db.execute(f"SELECT {', '.join(names)} FROM requests")
    ]
    busy = {server(row["host"]) for row in rows if row["state"] == "sent"}
    found = []
    for name in {row["host"] for row in rows}:
        host = hosts.get(db, name)
        wanted = [
            row
            for row in rows
            if row["host"] == name
            and row["state"] == "waiting"
            and (row["kind"] == "feed" or (pages and row["kind"] != "robots"))
        ]
        if not wanted or host.closed_until > now or server(name) in busy:
            continue
        if host.robots_at is None or host.robots_at <= now - ROBOTS_KEPT_S:
            asked = [r for r in rows if r["host"] == name and r["kind"] == "robots"]
            due = [r["due"] for r in asked if r["state"] == "waiting"]
            best = (f"{name}/robots.txt", due[0], PRIORITY["robots"], asked[0]["id"])
        else:
            ripe = [row for row in wanted if row["due"] <= now]
            row = min(
                ripe or wanted,
                key=lambda r: (
                    *(() if ripe else (r["due"],)),
                    PRIORITY[r["kind"]],
                    r["attempts"],
                    r["id"],
                ),
            )
            best = (row["url"], row["due"], PRIORITY[row["kind"]], row["id"])
        url, due_at, priority, row_id = best
        found.append((max(due_at, host.next_at), priority, row_id, url))
    if not found:
        return None, None
    moment, _, _, url = min(found)
    return (url if moment <= now else None), moment


steps = st.lists(
    st.tuples(
        st.sampled_from([
            "add",
            "add",
            "send",
            "send",
            "end",
            "again",
            "rules",
            "close",
            "kill",
            "wait",
            "day",
        ]),
        st.sampled_from(HOSTS),
        st.sampled_from(KINDS),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_what_is_ready_is_what_the_slow_obvious_way_finds_over_any_history(
    tmp_path_factory, history
):
    folder = tmp_path_factory.mktemp("frontier")
    db = HarvestDatabase(folder)
    now = 0.0
    sent: list[Claimed] = []
    times_sent: dict[str, float] = {}
    for what, host, kind, number, pages in history:
        match what:
            case "add":
                frontier.add(
                    db, kind, f"{host}/{kind}/{number}", now=now, due=now + 5 * (number % 2)
                )
            case "send":
                claimed = frontier.ready(db, now, pages=pages)
                if claimed is not None:
                    place = server(claimed.host)
                    assert times_sent.get(place, -10.0) + 10.0 <= now
                    times_sent[place] = now
                    sent.append(frontier.begin(db, claimed, now, 10.0))
            case "end" if sent:
                frontier.end(db, sent.pop(0).request_id, "done", now)
            case "again" if sent:
                frontier.again(db, sent.pop().request_id, now + 20.0 * number)
            case "rules":
                rules_known(db, host, now)
            case "close":
                known = hosts.get(db, host)
                hosts.store(db, replace(known, closed_until=now + 30.0, closed_why="x"))
            case "kill":
                db.close()
                db = HarvestDatabase(folder)
                assert frontier.recover(db) == len(sent)
                sent.clear()
            case "wait":
                now += 4.0 * number
            case "day":
                now += ROBOTS_KEPT_S / 2
        claimed = frontier.ready(db, now, pages=pages)
        expected, moment = oracle(db, now, pages=pages)
        assert (claimed.url if claimed else None) == expected
        assert frontier.outlook(db, now, pages=pages).next_at == moment
    db.close()
