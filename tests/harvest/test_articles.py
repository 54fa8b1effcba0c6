from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.corpus.keys import article_key
from tagsage.harvest import articles, intake
from tagsage.harvest.articles import RANKS, Merged, merge
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.records import FIELDS, ArticleRecord
from tests.harvest.harvest_world import RUN, World
from tests.harvest.medium_pages import HOST, Entry, Post, article_page, list_page, post_id

ID = post_id(1)
OTHER = post_id(2)
URL = f"{HOST}/@ann/a-title-{ID}"
BLOG = "https://blog.example/on-graphs"
BLOG_KEY = "blog.example/on-graphs"


def record(source="list", key=ID, url=URL, **values):
    sources = MappingProxyType(dict.fromkeys(values, source))
    return ArticleRecord(key, url, **values, sources=sources)


def merged(world, *records, at=1.0):
    with world.db.transaction():
        return merge(world.db, records, at)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (("list", "A"), ("graphql", "B"), "B"),  # equal rank: the newer one
        (("graphql", "A"), ("list", "B"), "B"),
        (("list", "A"), ("list", "B"), "B"),
        (("feed", "A"), ("state", "B"), "B"),
        (("state", "A"), ("feed", "B"), "A"),
        (("json-ld", "A"), ("feed", "B"), "A"),
        (("feed", "A"), ("json-ld", "B"), "B"),
        (("meta", "A"), ("feed", "B"), "B"),
        (("feed", "A"), ("meta", "B"), "A"),
        (("state", "A"), ("list", ""), "A"),  # lists show less than pages do
        (("state", "A"), ("state", ""), ""),  # the author took it away
        (("list", ""), ("state", "B"), "B"),
        (("json-ld", "A"), ("state", ""), ""),
        (("state", ""), ("json-ld", "B"), ""),
    ],
)
def test_a_field_is_taken_from_the_best_source_then_from_the_newest(world, first, second, kept):
    for at, (source, subtitle) in enumerate((first, second), 1):
        merged(world, record(source, title="T", subtitle=subtitle), at=at)
    row = world.article(ID)
    winner = first[0] if kept == first[1] else second[0]
    assert (row["subtitle"], json.loads(row["sources"])["subtitle"]) == (kept, winner)


def test_what_is_not_told_overwrites_nothing(world):
    merged(world, record("meta", title="T", tags=("Graphs",)))
    assert merged(world, record("state")) == Merged((ID,), 0, changed=False, lacking={ID})
    assert world.article(ID)["title"] == "T"
    assert world.article(ID)["tags"] == '["Graphs"]'


def test_nothing_merged_is_nothing(world):
    assert merged(world) == Merged((), 0, changed=False, lacking=frozenset())


def test_an_article_that_was_gone_and_is_told_of_again_is_there_again(world):
    merged(world, record(title="T"))
    articles.mark_gone(world.db, ID)
    assert not merged(world, record(title="T")).changed
    assert world.article(ID)["state"] == "open"


def test_only_a_change_that_the_export_shows_is_one(world):
    assert not merged(world, record(author="Ann")).changed  # without title it is left out
    assert merged(world, record(title="T")).changed
    assert not merged(world, record("graphql", title="T", author="Ann")).changed
    assert not merged(world, record(tags=(), subtitle="")).changed  # blank, as before
    assert merged(world, record(tags=("Graphs",))).changed
    assert not merged(world, record(published_ms=None)).changed
    assert merged(world, record(published_ms=5000)).changed
    assert not merged(world, record(published_ms=5999)).changed


def test_a_makeshift_address_gives_way_and_does_not_come_back(world):
    makeshift = f"{HOST}/p/{ID}"
    for url, shown in ((makeshift, makeshift), (URL, URL), (makeshift, URL)):
        merged(world, record(url=url, title="T"))
        assert world.article(ID)["url"] == shown


# -- one post, several addresses --------------------------------------------------------------
def test_an_address_without_id_is_the_post_that_a_list_tells_it_to_be(world):
    merged(world, record("feed", key=BLOG_KEY, url=BLOG, title="T", tags=("Graphs",)))
    world.db.execute("INSERT INTO memberships VALUES ('list', ?, 'item')", (BLOG_KEY,))
    world.db.execute("INSERT INTO memberships VALUES ('both', ?, 'item')", (BLOG_KEY,))
    world.db.execute("INSERT INTO memberships VALUES ('both', ?, 'another')", (ID,))
    assert merged(world, record(url=BLOG, author="Ann")).changed
    row = world.article(ID)
    assert (row["url"], row["title"], row["author"], row["tags"]) == (
        BLOG,
        "T",
        "Ann",
        '["Graphs"]',
    )
    assert world.rows("SELECT key FROM articles") == [(ID,)]
    assert world.rows("SELECT list_key, article_key FROM memberships ORDER BY 1") == [
        ("both", ID),
        ("list", ID),
    ]
    # A later mention, by the feed, finds the same row.
    again = merged(world, record("feed", key=BLOG_KEY, url=BLOG, title="Other"))
    assert again.keys == (ID,)
    assert (again.new, world.article(ID)["title"]) == (0, "Other")


def test_within_one_page_an_address_may_come_before_its_post(world):
    found = merged(
        world, record("feed", key=BLOG_KEY, url=BLOG, title="T"), record(url=BLOG, author="Ann")
    )
    assert found.keys == (ID, ID)
    assert world.rows("SELECT key, title, author FROM articles") == [(ID, "T", "Ann")]


def test_a_page_that_tells_its_id_moves_what_was_known_by_its_address(world):
    merged(world, record("feed", key=BLOG_KEY, url=BLOG, title="T", tags=("Graphs",)))
    world.db.execute("INSERT INTO memberships VALUES ('list', ?, 'item')", (BLOG_KEY,))
    request_id = world.seed(BLOG, article_key=BLOG_KEY)
    assert world.take(request_id, article_page(Post(ID, title="On graphs", url=BLOG))).ok
    assert world.rows("SELECT key, title, url FROM articles") == [(ID, "On graphs", BLOG)]
    assert world.rows("SELECT * FROM aliases") == [(BLOG_KEY, ID)]
    assert world.rows("SELECT article_key FROM memberships") == [(ID,)]
    intake.gone(world.db, world.send(request_id), 9.0, RUN, "404", world.config)
    assert world.article(ID)["state"] == "gone"


def test_a_page_does_not_take_another_hosts_article_over(world):
    merged(world, record(title="T", tags=("Graphs",)))
    evil = "https://evil.example/page"
    request_id = world.seed(evil, article_key="evil.example/page")
    world.take(request_id, article_page(Post(ID, title="Mine now", url=evil)))
    assert world.article(ID)["title"] == "T"
    assert world.article("evil.example/page")["title"] == "Mine now"


def test_two_posts_with_one_address_stay_two_and_lead_to_themselves(world):
    merged(world, record(url=BLOG, title="One"), record(key=OTHER, url=BLOG, title="Two"))
    assert dict(world.rows("SELECT key, url FROM articles")) == {
        ID: BLOG,
        OTHER: f"https://blog.example/p/{OTHER}",
    }
    merged(world, record(key=OTHER, url=URL, title="Two"))  # an address with another's id
    assert world.article(OTHER)["url"] == f"https://blog.example/p/{OTHER}"


def test_a_list_entry_moves_with_its_article_while_the_list_is_read(world):
    page = list_page(
        "0123456789ab",
        [Entry("item", Post(ID, url=BLOG))],
        size=2,
        next_cursor="offset:20",
    )
    merged(world, record("feed", key=BLOG_KEY, url=BLOG, title="T"))
    world.take(world.seed_list(), page)
    assert world.rows("SELECT article_key FROM list_entries") == [(ID,)]
    assert world.rows("SELECT key FROM articles") == [(ID,)]


# -- against a slow model -----------------------------------------------------------------------
TELLING = st.fixed_dictionaries(
    {"source": st.sampled_from(sorted(RANKS))},
    optional={
        "title": st.sampled_from(["A", "B"]),
        "subtitle": st.sampled_from(["", "S", "Z"]),
        "author": st.sampled_from(["Ann", "Bo"]),
        "published_ms": st.integers(0, 2),
        "tags": st.sampled_from([(), ("x",), ("x", "y")]),
    },
)


def obvious(tellings, name):
    value = known = None
    for telling in tellings:
        if name not in telling:
            continue
        new, source = telling[name], telling["source"]
        if (
            known is None
            or RANKS[source] > RANKS[known]
            or (
                RANKS[source] == RANKS[known]
                and (source == known or new not in {"", ()} or value in {"", ()})
            )
        ):
            value, known = new, source
    return value


@settings(max_examples=150, deadline=None)
@given(st.lists(TELLING, min_size=1, max_size=6), st.integers(1, 6))
def test_merging_pages_in_any_pieces_is_folding_over_what_they_tell(tmp_path_factory, tellings, at):
    folder = tmp_path_factory.mktemp("harvest")
    with HarvestDatabase(folder) as db:
        world = World(db)
        db.execute("PRAGMA synchronous = OFF")
        records = [record(**telling) for telling in tellings]
        merged(world, *records[:at])
        merged(world, *records[at:])
        row = world.article(ID)
    row["tags"] = None if row["tags"] is None else tuple(json.loads(row["tags"]))
    assert {name: row[name] for name in FIELDS} == {
        name: obvious(tellings, name) for name in FIELDS
    }


ADDRESSES = st.sampled_from([
    URL, f"{HOST}/p/{ID}", f"{HOST}/p/{OTHER}", BLOG, "https://blog.example/other",
    "https://blog.example", f"https://blog.example/x-{OTHER}", f"{HOST}/@bo/{ID}",
])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, ID, OTHER]), ADDRESSES, st.sampled_from(sorted(RANKS))),
        max_size=8,
    )
)
def test_every_address_shown_leads_back_to_its_article_alone(tmp_path_factory, mentions):
    folder = tmp_path_factory.mktemp("harvest")
    with HarvestDatabase(folder) as db:
        world = World(db)
        db.execute("PRAGMA synchronous = OFF")
        for key, url, source in mentions:
            merged(world, record(source, key=key or article_key(url), url=url, title="T"))
        shown = dict(world.rows("SELECT key, url FROM articles"))
        assert len({article_key(url) for url in shown.values()}) == len(shown)
        for key, url in shown.items():
            assert articles.resolve(db, article_key(url)) == key
        aliases = dict(world.rows("SELECT alias, article_key FROM aliases"))
        assert not aliases.keys() & (shown.keys() | set(aliases.values()))


def test_the_address_that_lists_told_first_stays_until_the_articles_own_page_tells_another(world):
    first, second = f"https://blog.example/on-graphs-{ID}", f"{HOST}/@ann/on-graphs-{ID}"
    for url, told_by, shown in (
        (first, "list", first),
        (second, "list", first),
        (second, "graphql", first),
        (second, "state", second),
        (first, "graphql", second),
    ):
        merged(world, record(told_by, url=url, title="One"))
        assert world.article(ID)["url"] == shown
