"""What the pages find in the store, in SQLite and in Postgres."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.app import search as search_room
from tagsage.app.articles import find_article
from tagsage.app.plot import draw_plot
from tagsage.app.published import NothingPublishedError, published, read_facts
from tagsage.app.runs import read_home
from tagsage.app.search import Query, search_articles
from tagsage.app.tags import find_tag, list_tags
from tagsage.errors import TagsageError
from tagsage.store import publish as publish_room
from tagsage.store.database import POSTGRES, sqlite_url
from tagsage.store.publish import Publication, publish
from tagsage.store.sql import SqlStore
from tests.app.conftest import HOSTILE_LIST, HOSTILE_TAG, RUN, TARGETS, corpus, fill
from tests.conftest import empty_postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def connection(request, workspace):
    url = sqlite_url(workspace / "tagsage.db")
    if request.param == "postgres":
        url = request.getfixturevalue("filled_postgres")
    with published(url) as connection:
        yield connection


@pytest.fixture(scope="module")
def filled_postgres(postgres_server, tmp_path_factory):
    empty_postgres()
    clean = corpus()
    # Sources replace what Postgres cannot keep.
    clean.articles["title"] = clean.articles["title"].str.replace("\0", "")
    fill(POSTGRES, tmp_path_factory.mktemp("postgres"), texts=clean)
    return POSTGRES


def keys(connection, **query) -> list[str]:
    found = search_articles(connection, Query(**query))
    return [hit.key.rpartition("/")[2] for hit in found.hits]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("graph neural", ["graphs"]),
        ("neu gra", ["graphs"]),
        # In titles, longer words too; the one that has it in its subtitle comes last.
        ("graph", ["graphs", "graphics", "naive"]),
        ("naïve", ["naive"]),
        ("ann", ["graphs", "naive"]),
        # A tag of its own, in the title, and one that was assigned.
        ("python", ["graphics", "graphs", "naive"]),
        ("art", ["graphics", "hostile"]),
        ("https://host.example/graphs?source=mail", ["graphs"]),
        ("host.example/stub", ["stub"]),
        ("nothing of this", []),
        ("!!! ?", []),
        ("graph !!!", ["graphs", "graphics", "naive"]),
    ],
)
def test_search_finds_words_and_their_beginnings(connection, text, expected):
    assert sorted(keys(connection, text=text)) == sorted(expected)


def test_search_in_sqlite_ignores_accents(workspace):
    with published(sqlite_url(workspace / "tagsage.db")) as connection:
        assert keys(connection, text="NAIVE") == ["naive"]


def test_search_puts_titles_before_subtitles(connection):
    assert keys(connection, text="graph")[-1] == "naive"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["graphs", "naive", "graphics", "hostile", "reversed", "long", "script"]),
        ({"state": "untagged"}, ["naive", "hostile", "reversed", "script"]),
        ({"state": "tagged"}, ["graphs", "graphics", "long"]),
        ({"tag": "python"}, ["graphs", "naive", "graphics"]),
        ({"tag": "python", "state": "untagged"}, ["naive"]),
        ({"tag": "python", "text": "again"}, ["naive"]),
        ({"tag": HOSTILE_TAG}, ["long"]),
        ({"tag": "no such tag"}, []),
        ({"tag": "pyth"}, []),
    ],
)
def test_search_narrows_by_state_and_tag_and_shows_the_best_known_first(
    connection, monkeypatch, query, expected
):
    assert keys(connection, **query) == expected
    # As if every tag were on thousands of articles.
    monkeypatch.setattr(search_room, "FREQUENT", 0)
    assert keys(connection, **query) == expected


def test_search_is_paged_and_stops_counting(connection, monkeypatch):
    monkeypatch.setattr(search_room, "PAGE_SIZE", 2)
    monkeypatch.setattr(search_room, "COUNTED", 5)
    pages = [search_articles(connection, Query(page=page)) for page in (1, 2, 3, 4)]
    assert [len(page.hits) for page in pages] == [2, 2, 1, 0]
    assert {(page.total, page.more, page.pages) for page in pages} == {(5, True, 3)}
    few = search_articles(connection, Query("graph", page=2))
    assert (len(few.hits), few.total, few.more, few.pages) == (1, 3, False, 2)


# With what FTS5 and SQL give a meaning to.
ODD = st.text(st.one_of(st.characters(), st.sampled_from("\"'*():^{}+-% ;\0 ANDORNTEL")))


@given(text=ODD, tag=ODD)
def test_nothing_that_is_typed_is_an_error(workspace, text, tag):
    with published(sqlite_url(workspace / "tagsage.db")) as connection:
        for query in (Query(text), Query(text, tag=tag), Query(tag=tag)):
            try:
                search_articles(connection, query)
            except UnicodeEncodeError:
                # A browser cannot send a lone surrogate.
                assert any("\ud800" <= letter <= "\udfff" for letter in text + tag)


@pytest.mark.parametrize("text", ['"', 'graph" OR "art', "title:graph", "NOT graph", "gra*h"])
def test_the_language_of_the_index_means_nothing(connection, text):
    assert keys(connection, text=text) == []
    # Elsewhere than at the beginning, which is what FTS5 would take it for.
    assert keys(connection, text="^neural") == ["graphs"]


def test_hits_show_their_own_tags_or_those_assigned(connection):
    hits = {hit.key: hit for hit in search_articles(connection, Query()).hits}
    own = hits["host.example/graphics"]
    assert [(tag.tag, tag.score) for tag in own.tags] == [("python", None), ("art", None)]
    assert not own.untagged
    naive = hits["host.example/naive"]
    assert [(tag.tag, tag.score) for tag in naive.tags] == [("python", 0.9)]
    assert naive.untagged
    assert list(hits["host.example/reversed"].tags) == []


def test_article_is_told_with_its_lists_tags_and_predictions(connection):
    article = find_article(connection, "https://host.example/hostile/")
    assert article is not None
    assert (article.date, article.n_lists, article.is_stub) == ("2020-05-17", 1, False)
    assert [(one.name, one.size, one.tagged) for one in article.lists] == [("reading", 5, 2)]
    assert [(one.tag, one.score, one.assigned) for one in article.predicted] == [
        ("art", 0.7, True),
        (HOSTILE_TAG, 0.1, False),
    ]
    own = find_article(connection, "host.example/graphics")
    assert own is not None
    assert (list(own.tags), list(own.predicted)) == (["python", "art"], [])
    stub = find_article(connection, "host.example/stub")
    assert stub is not None
    assert (stub.is_stub, stub.date, stub.author) == (True, "", "")
    assert find_article(connection, "host.example/none") is None


def test_evidence_is_counted_in_the_lists(connection):
    article = find_article(connection, "host.example/hostile")
    assert article is not None
    evidence = article.predicted[0].evidence
    assert evidence is not None
    # Of the tagged members of `reading`, 0 and 1, the second has the tag art.
    assert (evidence.counted_lists, evidence.with_tag, evidence.tagged) == (1, 1, 2)
    assert [(one.name, one.with_tag) for one in evidence.lists] == [("reading", 1)]
    assert [(one.key, one.shared) for one in evidence.articles] == [("host.example/graphics", 1)]
    assert not evidence.is_explained
    nothing = article.predicted[1].evidence
    assert nothing is not None
    assert (nothing.counted_lists, list(nothing.lists), list(nothing.articles)) == (0, [], [])


def test_explanations_come_before_what_was_counted(connection):
    article = find_article(connection, "host.example/naive")
    assert article is not None
    evidence = article.predicted[0].evidence
    assert evidence is not None
    assert evidence.is_explained
    assert (evidence.score, evidence.score_without_graph) == (0.9, 0.35)
    assert [(one.name, one.drop) for one in evidence.lists] == [(HOSTILE_LIST, 0.41)]
    assert [(one.key, one.shared) for one in evidence.articles] == [("host.example/graphs", 2)]
    assert [(one.key, one.similarity, one.has_tag) for one in evidence.texts] == [
        ("host.example/long", 0.72, False)
    ]
    assert evidence.words == [{"word": "<b>bayes</b>", "drop": 0.12}]


def test_tags_are_listed_by_name_or_by_number(connection):
    learned = list_tags(connection, order="articles")
    assert [line.name for line in learned.tags] == ["python", HOSTILE_TAG, "art"]
    assert [line.name for line in list_tags(connection, order="name").tags][-2:] == [
        "art",
        "python",
    ]
    assert [line.f1 for line in list_tags(connection, order="f1").tags] == [0.8, 0.5, None]
    assert [line.name for line in list_tags(connection, part="PYT").tags] == ["python"]
    assert list_tags(connection, part="%").total == 0
    assert list_tags(connection, page=2).tags == []


def test_tag_is_told_with_who_got_it_who_nearly_did_and_who_had_it(connection):
    tag = find_tag(connection, "python")
    assert tag is not None
    assert (tag.line.f1, tag.line.support, tag.line.n_assigned) == (0.8, 40, 1)
    assert [(hit.key, hit.score) for hit in tag.assigned] == [("host.example/naive", 0.9)]
    assert [(hit.key, hit.score) for hit in tag.nearly] == [("host.example/reversed", 0.4)]
    assert [hit.key for hit in tag.known] == ["host.example/graphs", "host.example/graphics"]
    assert find_tag(connection, "no such tag") is None
    beyond = find_tag(connection, "python", page=2)
    assert beyond is not None
    assert (beyond.assigned, beyond.nearly, beyond.known) == ([], (), ())


def test_runs_are_told_the_latest_first_and_drawn_in_order(connection):
    home = read_home(connection)
    assert [line["started"][:2] for line in home.runs] == ["22", "21", "20"]
    assert home.plot is not None
    best, text = home.plot.lines
    assert [dot.marked for dot in best.dots] == [False, False, True]
    assert best.dots[0].y > best.dots[1].y > best.dots[2].y
    assert len({dot.y for dot in text.dots}) == 1
    assert "best candidate 0.667, best on text alone 0.500" in home.plot.alt


def test_plot_breaks_where_a_run_has_no_value_and_needs_at_least_one():
    plot = draw_plot({"A": [0.1, None, 0.3]}, ["x", "y", "z"], [False] * 3)
    assert plot is not None
    assert plot.lines[0].path.count("M") == 2
    assert draw_plot({"A": [None, None]}, ["x", "y"], [False] * 2) is None


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.5, 0.5], [0.661, 0.676], [0.999, 1.0], [0, 0]])
def test_plot_stays_on_the_paper(values):
    plot = draw_plot({"A": values}, ["x", "y"], [False, True])
    assert plot is not None
    assert 2 <= len(plot.y_labels) <= 7
    for dot in plot.lines[0].dots:
        assert plot.left <= dot.x <= plot.right
        assert 0 < dot.y <= plot.bottom


# -- what is published ---------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    url = sqlite_url(tmp_path / "tagsage.db")
    fill(url, tmp_path)
    with SqlStore(url) as store:
        yield store


def test_a_trial_leaves_scores_and_history_as_they_are(store):
    url = store.database.url
    with published(url) as connection:
        before = read_home(connection), list_tags(connection)
    publish(store, Publication(RUN, TARGETS))
    with published(url) as connection:
        assert (read_home(connection), list_tags(connection)) == before
        # It explained nothing.
        article = find_article(connection, "host.example/naive")
    assert not article.predicted[0].evidence.is_explained


def test_explanations_of_unknown_articles_are_counted_and_left_out(store, tmp_path):
    file = tmp_path / "explanations.parquet"
    assert publish(store, Publication(RUN, TARGETS, explanations=file)) == 1
    with published(store.database.url) as connection:
        kept = connection.exec_driver_sql("SELECT count(*) FROM explanations").scalar_one()
    assert kept == 1


def test_a_run_that_is_done_again_replaces_its_own_and_old_runs_are_forgotten(store, monkeypatch):
    monkeypatch.setattr(publish_room, "RUNS_KEPT", 3)
    for day, micro_f1 in ((22, 0.1), (23, 0.2)):
        scores = {"a:b": {"micro_f1": micro_f1}}
        entry = {"at": f"2026-11-{day}T02:00+00:00", "started": str(day), "winner": "a:b"}
        entry |= {"run_id": f"run {day}", "promoted": False, "scores": scores}
        publish(store, Publication(RUN, TARGETS, entry=entry))
    with published(store.database.url) as connection:
        runs = read_home(connection).runs
    assert [(line["run_id"], line["scores"][line["winner"]]["micro_f1"]) for line in runs] == [
        *(("run 23", 0.2), ("run 22", 0.1), ("run 21", 0.625))
    ]


def test_a_publication_that_fails_changes_nothing(store):
    with published(store.database.url) as connection:
        before = read_facts(connection), list_tags(connection)
    with pytest.raises(ValueError, match="Out of range"):
        publish(store, Publication({"x": float("nan")}, ["other"], pd.DataFrame({"tag": ["art"]})))
    with published(store.database.url) as connection:
        assert (read_facts(connection), list_tags(connection)) == before


def test_nothing_published_and_damage_are_told_apart(workspace, tmp_path):
    file = tmp_path / "other.db"
    for _ in range(2):
        with pytest.raises(NothingPublishedError, match="run the DAG retrain once"):
            look(file)
        # A run has begun.
        SqlStore(sqlite_url(file)).close()
    good = (workspace / "tagsage.db").read_bytes()
    for damaged in (b"no database at all" * 100, good[: len(good) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(TagsageError, match=r"is damaged|is not an SQLite database"):
            look(file)


def look(file):
    with published(sqlite_url(file)) as connection:
        search_articles(connection, Query())
        list_tags(connection)


def test_a_query_that_takes_too_long_is_given_up(workspace):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    url = sqlite_url(workspace / "tagsage.db")
    with (
        pytest.raises(TagsageError, match="took too long"),
        published(url, seconds=0.05) as connection,
    ):
        connection.exec_driver_sql(endless).fetchone()
