"""The library against a slow and obvious model of what it should hold.

A host has lists that people change while they are read. Requests are answered in any order; some
answers are lost in a kill, come broken, or never. The model keeps every part of a reading as it was
told and works out the memberships only when none is asked for any more.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.harvest import frontier, intake, library
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.frontier import Claimed
from tagsage.harvest.replay import replay
from tests.harvest.harvest_world import DAY_S, RUN, World
from tests.harvest.medium_pages import (
    Entry,
    Post,
    article_page,
    list_answer,
    list_page,
    list_url,
    post_id,
    private_page,
)

LISTS = ("00000000000a", "00000000000b")
FIELDS = ("title", "subtitle", "author", "published_ms", "tags")
# A part holds 20 entries at Medium; the library does not care, and short lists find more.
PART = 3


@dataclass
class Host:
    """What is shown now."""

    lists: dict[str, list[Entry] | None] = field(default_factory=dict)  # None: private
    titles: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def part(self, list_id: str, start: int) -> tuple[list[Entry], int, str | None]:
        shown = self.lists[list_id] or []
        end = start + PART
        return shown[start:end], len(shown), f"offset:{end}" if end < len(shown) else None

    def post(self, number: int) -> Post:
        edition = self.titles.get(post_id(number), 0)
        return Post(post_id(number), title=f"Title {number}, edition {edition}")

    def entry(self, entry: Entry) -> Entry:
        return (
            entry if entry.post is None else Entry(entry.id, self.post(int(entry.post.id[1:], 16)))
        )


@dataclass
class Reading:
    """Parts of one reading: entries, size and successor, by cursor."""

    parts: dict[str, tuple[list[Entry], int, str | None]] = field(default_factory=dict)


@dataclass
class Model:
    """What the library should hold."""

    readings: dict[str, Reading] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)  # list: item: article
    states: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def told(self, list_id: str, cursor: str, part: tuple[list[Entry], int, str | None]) -> None:
        self.readings.setdefault(list_id, Reading()).parts[cursor] = part
        for entry in part[0]:
            if entry.post is not None:
                self.titles[entry.post.id] = entry.post.title or ""
                self.gone.discard(entry.post.id)

    def settled(self, list_id: str) -> None:
        reading = self.readings.pop(list_id, None)
        if reading is None and list_id not in self.states:
            return
        parts = reading.parts if reading else {}
        chain, cursor = [], ""
        while cursor in parts and cursor not in chain:
            chain.append(cursor)
            cursor = parts[cursor][2]
        whole = cursor is None and len({parts[each][1] for each in chain}) == 1
        seen: dict[str, Entry] = {}
        for entries, _, _ in parts.values():
            for entry in entries:
                seen[entry.id] = entry
        sizes = [parts[each][1] for each in chain]
        whole = whole and sizes[0] - len(seen) <= max(2, 0.2 * sizes[0])
        old = self.members.setdefault(list_id, {})
        for item, entry in seen.items():
            if entry.post is None and item in old:
                self.gone.add(old[item])
        self.members[list_id] = {
            **{item: key for item, key in old.items() if not whole or item in seen},
            **{item: entry.post.id for item, entry in seen.items() if entry.post},
        }
        self.states[list_id] = "open" if whole else "incomplete"

    def private(self, list_id: str) -> None:
        self.readings.pop(list_id, None)
        self.states[list_id] = "private"

    def exported(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        shown = [
            (list_id, key)
            for list_id, items in self.members.items()
            if self.states[list_id] != "private"
            for key in set(items.values())
        ]
        return sorted(self.titles.items()), sorted(shown)


class Killed(BaseException):
    pass


@contextmanager
def killed(world: World) -> Generator[None]:
    """Let what is done inside be undone, as when the process dies before the commit."""
    try:
        with world.db.transaction():
            yield
            raise Killed
    except Killed:
        pass


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(LISTS), st.integers(0, 9)),
        st.tuples(st.just("take out"), st.sampled_from(LISTS), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.sampled_from(LISTS), st.integers(0, 9)),
        st.tuples(st.just("turn round"), st.sampled_from(LISTS), st.integers(0, 0)),
        st.tuples(st.just("hide"), st.sampled_from(LISTS), st.integers(0, 0)),
        st.tuples(st.just("edit"), st.sampled_from(LISTS), st.integers(0, 9)),
        st.tuples(st.just("share"), st.sampled_from(LISTS), st.integers(0, 9)),
        st.tuples(
            st.sampled_from(["answer"] * 12 + ["kill", "twice", "break", "fail"]),
            st.just(""),
            st.integers(0, 5),
        ),
        st.tuples(st.just("wait"), st.just(""), st.integers(0, 0)),
        st.tuples(st.just("read all"), st.just(""), st.integers(0, 5)),
    ),
    max_size=40,
)


class Play:
    """The library, the host and the model, step by step."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.db.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        self.host = Host()
        self.model = Model()
        for list_id in LISTS:
            self.host.lists[list_id] = []
            for number in range(4):
                self.change("add", list_id, number)
            world.seed_list(list_id)

    def step(self, what: str, list_id: str, number: int) -> None:
        before = self.world.exported(), self.world.revision()
        match what:
            case "answer" | "kill" | "twice" | "break" | "fail":
                self.answer(what, number)
            case "read all":
                while self.world.waiting():
                    self.answer("answer", number)
            case "wait":
                self.world.now += 8 * DAY_S
                library.refresh_due(self.world.db, self.world.config, self.world.now)
            case _:
                self.change(what, list_id, number)
        self.check()
        after = self.world.exported(), self.world.revision()
        assert (before[0] != after[0]) == (before[1] != after[1]) or what == "read all"

    def change(self, what: str, list_id: str, number: int) -> None:
        shown = self.host.lists[list_id]
        if shown is None:
            self.host.lists[list_id] = []
            return
        at = number % (len(shown) + 1)
        entry = shown[at] if at < len(shown) else None
        match what:
            case "add":
                self.host.made += 1
                post = self.host.post(self.host.made)
                shown.insert(at, Entry(f"item {list_id} {post.id}", post))
            case "share":
                other = self.host.lists[LISTS[list_id == LISTS[0]]] or []
                post = next((each.post for each in other if each.post), None)
                item = f"item {list_id} {post.id}" if post else ""
                if post and item not in {each.id for each in shown}:
                    shown.insert(at, Entry(item, post))
            case "take out" if entry:
                del shown[at]
            case "delete" if entry:
                shown[at] = Entry(entry.id, None)
            case "turn round":
                shown.reverse()
            case "edit" if entry and entry.post:
                self.host.titles[entry.post.id] = self.host.titles.get(entry.post.id, 0) + 1
            case "hide":
                self.host.lists[list_id] = None

    def answer(self, how: str, number: int) -> None:
        world, waiting = self.world, self.world.waiting()
        if not waiting:
            return
        request_id, kind, cursor = waiting[number % len(waiting)]
        request = world.send(request_id)
        list_id = request.list_key or ""
        if kind == "article":
            self.article(request, how)
            return
        body, part = self.body(kind, list_id, cursor)
        fetched = world.fetched(request, body)
        if how == "fail":
            with world.db.transaction():
                frontier.end(world.db, request_id, "failed", world.now)
                intake.given_up(world.db, request, world.now, RUN, "no answer", world.config)
            self.ended(list_id)
            return
        if how == "break":
            broken = world.fetched(request, body[: len(body) // 2])
            assert not intake.take(world.db, request, broken, world.config, RUN).ok
            frontier.again(world.db, request_id, 0)
            return
        if how == "kill":
            with killed(world):
                intake.take(world.db, request, fetched, world.config, RUN)
            frontier.recover(world.db)
            return
        for _ in range(2 if how == "twice" else 1):
            assert intake.take(world.db, request, fetched, world.config, RUN).ok
        if part is None and kind == "graphql":
            self.ended(list_id)
        elif part is None:
            self.model.private(list_id)
        else:
            self.model.told(list_id, cursor or "", part)
            self.ended(list_id)

    def article(self, request: Claimed, how: str) -> None:
        """Answer for an article that slipped away before GraphQL told its tags."""
        world = self.world
        post = self.host.post(int((request.article_key or "")[1:], 16))
        if how == "fail":
            intake.gone(world.db, request, world.now, RUN, "404", world.config)
            self.model.gone.add(post.id)
            return
        fetched = world.fetched(request, article_page(post))
        assert intake.take(world.db, request, fetched, world.config, RUN).ok
        self.model.titles[post.id] = post.title or ""
        self.model.gone.discard(post.id)

    def body(
        self, kind: str, list_id: str, cursor: str | None
    ) -> tuple[bytes, tuple[list[Entry], int, str | None] | None]:
        if self.host.lists[list_id] is None:
            if kind == "list":
                return private_page(list_id), None
            return b'{"data": {"catalogById": {"__typename": "Forbidden"}}}', None
        start = int(cursor.removeprefix("offset:")) if cursor else 0
        shown, size, following = self.host.part(list_id, start)
        shown = [self.host.entry(entry) for entry in shown]
        part = shown, size, following
        if kind == "list":
            page = list_page(list_id, shown, size=size, next_cursor=following, tags=False)
            return page, part
        return list_answer(list_id, shown, size=size, next_cursor=following), part

    def ended(self, list_id: str) -> None:
        rows = self.world.rows(
            "SELECT 1 FROM requests WHERE list_key = ? AND state IN ('waiting', 'sent')", list_id
        )
        if not rows:
            self.model.settled(list_id)

    def check(self) -> None:
        world, model = self.world, self.model
        articles = world.rows("SELECT key, title FROM articles ORDER BY key")
        assert articles == sorted(model.titles.items())
        for list_id in LISTS:
            assert world.members(list_id) == set(model.members.get(list_id, {}).values())
        states = dict(world.rows("SELECT key, state FROM lists WHERE state != 'new'"))
        assert states == model.states
        gone = {row[0] for row in world.rows("SELECT key FROM articles WHERE state = 'gone'")}
        assert gone == model.gone
        stories, members = world.exported()
        key_of = {list_url(list_id): list_id for list_id in LISTS}
        shown = [(key_of[url], article.rpartition("-")[2]) for url, article in members]
        assert ([(row[0].rpartition("-")[2], row[1]) for row in stories], shown) == model.exported()
        counted = library.counts(world.db)
        assert (counted.articles, counted.memberships) == (len(stories), len(shown))


def content(world: World) -> dict[str, object]:
    """Return what a replay has to bring about again."""
    return {
        "articles": world.rows("SELECT * FROM articles ORDER BY key"),
        "memberships": world.rows("SELECT * FROM memberships ORDER BY list_key, article_key"),
        "lists": world.rows("SELECT * FROM lists ORDER BY key"),
        "parts": world.rows("SELECT * FROM list_parts"),
        "entries": world.rows("SELECT * FROM list_entries"),
        "requests": world.rows("SELECT id, kind, cursor, round, state FROM requests"),
        "revision": world.revision(),
        "export": world.exported(),
    }


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_while_lists_are_read_the_library_holds_what_it_should(steps):
    with TemporaryDirectory() as folder, HarvestDatabase(Path(folder)) as db:
        play = Play(World(db))
        for step in steps:
            play.step(*step)
        play.step("read all", "", 0)
        before = content(play.world)
        report = replay(db, play.world.config)
        assert content(play.world) == before
        assert report.changed == 0
        assert report.pages == play.world.one("SELECT count(*) FROM pages")


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_a_replay_while_lists_are_half_read_changes_nothing(steps):
    with TemporaryDirectory() as folder, HarvestDatabase(Path(folder)) as db:
        play = Play(World(db))
        for step in steps:
            play.step(*step)
        before = content(play.world)
        assert replay(db, play.world.config).changed == 0
        assert content(play.world) == before
        play.step("wait", "", 0)
        play.step("read all", "", 0)
