"""What every store does. A new store joins by an entry in STORES."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection

from tagsage.corpus.model import Corpus
from tagsage.errors import TagsageError
from tagsage.store.base import LoadReport, snapshot_of
from tagsage.store.neo4j_database import Neo4jDatabase
from tagsage.store.open import open_store
from tagsage.store.predictions import WriteReport

STORES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.services),
    pytest.param("neo4j", marks=pytest.mark.neo4j),
]


@pytest.fixture(params=STORES)
def open_it(request, tmp_path):
    """Return what opens the store; again and again it is the same one."""
    neo4j = request.getfixturevalue("neo4j_connection") if request.param == "neo4j" else None
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    return lambda: open_store(request.param, sqlite_path=tmp_path / "db" / "x.db", neo4j=neo4j)


@pytest.fixture
def small_batches(monkeypatch):
    for name in ("sql.BATCH", "neo4j.ARTICLES", "neo4j.PAIRS"):
        monkeypatch.setattr(f"tagsage.store.{name}", 7)


@pytest.fixture
def store(open_it):
    with open_it() as store:
        yield store


def facts(snapshot):
    """Say a snapshot in plain values: the slow, obvious form."""
    keys = snapshot.articles["key"].tolist()
    pairs = zip(snapshot.list_index.tolist(), snapshot.article_index.tolist(), strict=True)
    return (
        snapshot.articles.to_dict("records"),
        [(snapshot.lists[which], keys[article]) for which, article in pairs],
    )


def expected(corpus):
    """Say a corpus in plain values, as its snapshot should."""
    articles = sorted(corpus.articles.to_dict("records"), key=lambda row: row["key"])
    return articles, sorted(map(tuple, corpus.memberships.to_numpy().tolist()))


ARTICLES = {"b": ("Bee 🐝", ["x", "y"]), "a": ("", []), "é": ("שלום\nworld", ['"q",', "z"])}
MEMBERS = [("l2", "b"), ("l2", "a"), ("l1", "b"), ("l2", "stub"), ("l10", "é")]


def test_a_snapshot_holds_what_was_loaded_sorted_by_key(store, make_corpus):
    corpus = make_corpus(ARTICLES, MEMBERS)
    report = store.load(corpus)
    snapshot = store.snapshot()
    assert report == LoadReport(4, 5, 4, 0, 0, 5, 0)
    assert facts(snapshot) == expected(corpus)
    assert snapshot_of(corpus).digest == snapshot.digest
    assert snapshot.articles["key"].tolist() == [f"a.example/{k}" for k in ("a", "b", "stub", "é")]
    assert snapshot.articles["is_stub"].tolist() == [False, False, True, False]
    assert snapshot.articles.index.equals(pd.RangeIndex(4))
    pd.testing.assert_series_equal(snapshot.articles.dtypes, corpus.articles.dtypes)
    assert snapshot.lists.tolist() == ["l1", "l10", "l2"]
    assert snapshot.list_index.tolist() == [0, 1, 2, 2, 2]
    assert snapshot.article_index.tolist() == [1, 3, 0, 1, 2]
    assert snapshot.list_index.dtype == snapshot.article_index.dtype == np.int32
    assert store.counts() == {
        "articles": 4,
        "stubs": 1,
        "lists": 3,
        "memberships": 5,
        "predictions": 0,
        "suggestions": 0,
    }


def test_more_tags_than_are_read_at_once_are_all_there(store, make_corpus, small_batches):
    tags = [f"tag {number}" for number in range(20)]
    corpus = make_corpus({"a": ("One", tags[:15]), "b": ("Two", tags[5:])})
    store.load(corpus)
    assert facts(store.snapshot()) == expected(corpus)


def test_loading_the_same_corpus_again_changes_nothing(store, make_corpus):
    corpus = make_corpus(ARTICLES, MEMBERS)
    store.load(corpus)
    before = store.snapshot().digest
    assert store.load(corpus) == LoadReport(4, 5, 0, 0, 0, 0, 0)
    assert store.snapshot().digest == before


def test_loading_another_corpus_adds_updates_and_removes_exactly_the_difference(store, make_corpus):
    store.load(make_corpus(ARTICLES, MEMBERS))
    changed = make_corpus(
        {"b": ("Bee 🐝", ["x"]), "a": ("", []), "stub": ("now here", []), "new": ("New", [])},
        [("l2", "b"), ("l2", "a"), ("l3", "new"), ("l2", "new")],
        "changed",
    )
    report = store.load(changed)
    assert report == LoadReport(4, 4, added=1, updated=2, removed=1,
                                memberships_added=2, memberships_removed=3)  # fmt: skip
    assert facts(store.snapshot()) == expected(changed)
    assert store.snapshot().lists.tolist() == ["l2", "l3"]


@pytest.mark.parametrize("seed", range(2))
def test_any_sequence_of_loads_ends_like_a_clean_load_of_the_last(
    store, make_corpus, some_articles, seed, small_batches
):
    for step in (3 * seed, 3 * seed + 1, 3 * seed + 2):
        corpus = make_corpus(*some_articles(60, step), f"corpus{step}")
        store.load(corpus)
        assert facts(store.snapshot()) == expected(corpus)


def test_an_empty_store_gives_an_empty_snapshot(store):
    snapshot = store.snapshot()
    assert len(snapshot.articles) == len(snapshot.lists) == len(snapshot.article_index) == 0
    assert snapshot.incidence().shape == (0, 0)
    assert store.read_predictions().empty


def test_what_was_loaded_is_there_after_opening_again(open_it, make_corpus):
    corpus = make_corpus(ARTICLES, MEMBERS)
    with open_it() as store:
        store.load(corpus)
    with open_it() as store:
        assert facts(store.snapshot()) == expected(corpus)
        store.close()


def test_a_corpus_that_contradicts_itself_is_refused_and_nothing_changes(store, make_corpus):
    corpus = make_corpus(ARTICLES, MEMBERS)
    store.load(corpus)
    twice = pd.concat([corpus.articles, corpus.articles.iloc[:1]], ignore_index=True)
    strangers = pd.DataFrame({"list": ["l"], "article": ["nobody"]}, dtype="str")
    repeated = pd.concat([corpus.memberships] * 2, ignore_index=True)
    for articles, memberships, message in (
        (twice, corpus.memberships, "key is not unique"),
        (corpus.articles, strangers, "article is not in the corpus"),
        (corpus.articles, repeated, "membership is not unique"),
    ):
        with pytest.raises(ValueError, match=message):
            store.load(Corpus(articles, memberships, corpus.quarantine, {}))
    assert facts(store.snapshot()) == expected(corpus)


# -- predictions ---------------------------------------------------------------------------


def predictions(n=5, offset=0.0):
    return pd.DataFrame({
        "story": [f"https://a.example/{i // 2}" for i in range(n)],
        "tag": [("x", "ü 🐝")[i % 2] for i in range(n)],
        "score": np.linspace(0, 0.9, n, dtype=np.float32) + np.float32(offset),
        "assigned": [i % 2 for i in range(n)],
    })


PREDICTED = {str(i): (f"Title {i}", ["z"] * (i % 2)) for i in range(5)}


@pytest.fixture
def stocked(store, make_corpus):
    """Return the store, with the articles that :func:`predictions` names."""
    store.load(make_corpus(PREDICTED, [("l", "0")], "predicted"))
    return store


def in_order(frame):
    """Return predictions as they are read: articles by key, best first."""
    return frame.sort_values(["story", "score"], ascending=[True, False]).to_dict("records")


def test_predictions_come_back_as_they_were_written(stocked):
    written = predictions()
    report = stocked.write_predictions(written, run_id="run-1", model_version="7")
    assert report == WriteReport(added=5)
    read = stocked.read_predictions()
    assert read.columns.tolist() == [*written.columns, "threshold", "model_version", "run_id"]
    assert read[written.columns].to_dict("records") == in_order(written)
    types = ["str", "str", "float64", "int64", "float64", "str", "str"]
    assert read.dtypes.astype(str).tolist() == types
    assert read["threshold"].isna().all()
    assert read[["model_version", "run_id"]].drop_duplicates().to_numpy().tolist() == [
        ["7", "run-1"]
    ]
    assert stocked.counts()["predictions"] == 5


def test_predictions_that_stay_keep_the_run_that_made_them_and_are_not_written(
    stocked, small_batches
):
    before = predictions(9).iloc[:7]
    stocked.write_predictions(before, run_id="run-1", model_version="1")
    after = predictions(9).iloc[[0, 1, 2, 3, 5, 6, 7, 8]].copy()  # one went, two came
    after.loc[1, "score"] = 0.75
    after.loc[2, "assigned"] = 1
    report = stocked.write_predictions(after, run_id="run-2", model_version="2")
    assert report == WriteReport(added=2, changed=2, removed=1, unchanged=4)
    read = stocked.read_predictions()
    assert read[after.columns].to_dict("records") == in_order(after)
    made = {(row.story[-1], row.tag): (row.run_id, row.model_version) for row in read.itertuples()}
    second = {key for key, by in made.items() if by == ("run-2", "2")}
    assert second == {("0", "ü 🐝"), ("1", "x"), ("3", "ü 🐝"), ("4", "x")}
    assert {made[key] for key in made.keys() - second} == {("run-1", "1")}
    assert stocked.write_predictions(after, run_id="run-3", model_version="3") == WriteReport(
        unchanged=8
    )
    assert stocked.read_predictions().equals(read)


@pytest.mark.parametrize("seed", range(2))
def test_any_sequence_of_writes_ends_like_a_clean_write_of_the_last(stocked, small_batches, seed):
    chance = np.random.default_rng(seed)
    held = {}
    for turn in range(4):
        frame = predictions(10).sample(frac=chance.random(), random_state=chance.integers(99))
        frame = frame.assign(score=chance.integers(0, 3, len(frame)) / 4)
        parts = [frame.iloc[:0], *(part for _, part in frame.groupby("story"))]
        report = stocked.write_predictions(parts, run_id=f"run-{turn}", model_version="1")
        wanted = {(row.story, row.tag): (row.score, row.assigned) for row in frame.itertuples()}
        same = [pair for pair, value in wanted.items() if held.get(pair) == value]
        assert report == WriteReport(
            added=len(wanted.keys() - held.keys()),
            changed=len(wanted.keys() & held.keys()) - len(same),
            removed=len(held.keys() - wanted.keys()),
            unchanged=len(same),
        )
        held = wanted
        read = stocked.read_predictions()[frame.columns]
        assert read.to_dict("records") == in_order(frame.sort_values("tag"))
        assert stocked.counts()["predictions"] == len(frame)


def test_neither_predictions_nor_suggestions_touch_the_articles_own_tags(stocked, small_batches):
    before = facts(stocked.snapshot())
    # One of them is an article's own tag, which a prediction must not become or end.
    frame = predictions(9).replace("x", "z")
    for some in (frame, frame.iloc[:4], frame.iloc[:0]):
        stocked.write_predictions(some, run_id="run-1", model_version="1")
        assert facts(stocked.snapshot()) == before
        stocked.write_suggestions(some, run_id="run-1", model_version="1")
        assert facts(stocked.snapshot()) == before


def test_suggestions_are_kept_apart_from_predictions(stocked, make_corpus, small_batches):
    columns = ["story", "tag", "score"]
    stocked.write_predictions(predictions(5), run_id="run-1", model_version="1")
    suggested = predictions(9)[columns].iloc[3:]
    report = stocked.write_suggestions(suggested, run_id="run-1", model_version="1")
    assert report == WriteReport(added=6)
    assert stocked.read_predictions()[predictions().columns].to_dict("records") == in_order(
        predictions(5)
    )
    read = stocked.read_suggestions()
    assert read.columns.tolist() == [*columns, "model_version", "run_id"]
    assert read[columns].to_dict("records") == in_order(suggested)
    stocked.write_predictions(predictions(0), run_id="run-2", model_version="2")
    assert stocked.read_suggestions().equals(read)
    counts = stocked.counts()
    assert (counts["predictions"], counts["suggestions"]) == (0, 6)
    report = stocked.write_suggestions(suggested.iloc[1:], run_id="run-2", model_version="2")
    assert report == WriteReport(removed=1, unchanged=5)
    stocked.load(make_corpus({"3": PREDICTED["3"]}, [], "fewer"))
    assert set(stocked.read_suggestions()["story"]) == {"https://a.example/3"}


def test_predictions_outlive_the_next_load_and_follow_an_articles_new_address(stocked, make_corpus):
    stocked.write_predictions(predictions(), run_id="run-1", model_version="1")
    corpus = make_corpus(PREDICTED | {"9": ("New", [])}, [("l2", "9")], "next")
    corpus.articles.loc[0, "url"] = "https://elsewhere.example/0"
    report = stocked.load(corpus)
    assert (report.added, report.updated, report.removed) == (1, 1, 0)
    written = predictions().replace("https://a.example/0", "https://elsewhere.example/0")
    # The order is that of the keys, which do not change with the address.
    assert stocked.read_predictions()["story"].tolist() == written["story"].tolist()


def test_predictions_of_articles_that_leave_the_corpus_leave_with_them(stocked, make_corpus):
    stocked.write_predictions(predictions(9), run_id="run-1", model_version="1")
    fewer = {key: PREDICTED[key] for key in ("1", "3")}
    stocked.load(make_corpus(fewer, [], "fewer"))
    left = predictions(9).iloc[[2, 3, 6, 7]]
    read = stocked.read_predictions()[left.columns]
    assert read.to_dict("records") == in_order(left)
    assert stocked.counts()["predictions"] == 4
    stocked.load(make_corpus(PREDICTED, [], "again"))
    assert stocked.counts()["predictions"] == 4


def test_predictions_of_unknown_articles_are_refused_and_the_earlier_ones_stay(stocked):
    stocked.write_predictions(predictions(), run_id="run-1", model_version="1")
    strangers = predictions(15)
    with pytest.raises(TagsageError, match=r"not hold https://a\.example/5 and 2 more; load"):
        stocked.write_predictions(strangers, run_id="run-2", model_version="2")
    assert set(stocked.read_predictions()["run_id"]) == {"run-1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns=["tag", "score"]), "lack the columns tag, score"),
        (lambda frame: frame.assign(score=np.nan), "score of the predictions is not a finite"),
        (lambda frame: frame.assign(score=np.inf), "score of the predictions is not a finite"),
        (lambda frame: frame.assign(assigned=2), "assigned is neither 0 nor 1"),
        (lambda frame: frame.assign(tag=None), "a story or tag of the predictions is missing"),
        (lambda frame: frame.assign(tag="x"), "a story has a tag twice in the predictions"),
    ],
)
def test_impossible_predictions_are_refused_and_the_earlier_ones_stay(stocked, change, message):
    stocked.write_predictions(predictions(), run_id="run-1", model_version="1")
    with pytest.raises(ValueError, match=message):
        stocked.write_predictions(change(predictions(9)), run_id="run-2", model_version="2")
    assert len(stocked.read_predictions()) == 5


def test_a_new_threshold_is_a_change_and_nan_is_none(stocked):
    known = predictions(2).assign(threshold=[0.25, np.nan])
    stocked.write_predictions(known, run_id="run-1", model_version="1")
    assert stocked.read_predictions()["threshold"].isna().tolist() == [True, False]
    again = known.assign(threshold=[0.5, np.nan])
    report = stocked.write_predictions(again, run_id="run-2", model_version="1")
    assert report == WriteReport(changed=1, unchanged=1)
    assert stocked.read_predictions()["threshold"].tolist()[1:] == [0.5]


def test_restored_predictions_keep_what_made_them(stocked):
    wanted = pd.DataFrame(in_order(predictions(9))).assign(
        threshold=np.nan,
        model_version=[str(place % 3) for place in range(9)],
        run_id=[f"run-{place % 3}" for place in range(9)],
    )
    assert stocked.restore_predictions(wanted) == WriteReport(added=9)
    pd.testing.assert_frame_equal(stocked.read_predictions(), wanted, check_dtype=False)
    assert stocked.restore_predictions(wanted) == WriteReport(unchanged=9)
    wanted.loc[[0, 4], "run_id"] = ["run-7", "run-1"]
    assert stocked.restore_predictions(wanted) == WriteReport(changed=1, unchanged=8)
    pd.testing.assert_frame_equal(stocked.read_predictions(), wanted, check_dtype=False)
    with pytest.raises(ValueError, match="predictions lack the columns model_version, run_id"):
        stocked.restore_predictions(predictions(1))


class DeadError(Exception):
    """What stands for a kill in the middle of a write."""


@pytest.mark.parametrize("after", range(1, 14, 3))
def test_a_write_that_dies_at_any_query_leaves_the_old_or_the_new_predictions(
    stocked, open_it, small_batches, monkeypatch, after
):
    before, new = predictions(9), predictions(9, 0.03125).iloc[2:]
    stocked.write_predictions(before, run_id="run-1", model_version="1")
    left = after

    def dying(call):
        def counted(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise DeadError
            return call(*arguments, **options)

        return counted

    with open_it() as other, monkeypatch.context() as patch:
        for name in ("rows", "run_in_batches"):
            patch.setattr(Neo4jDatabase, name, dying(getattr(Neo4jDatabase, name)))
        patch.setattr(Connection, "execute", dying(Connection.execute))
        with suppress(DeadError):
            other.write_predictions(new, run_id="run-2", model_version="2")
    read = stocked.read_predictions()[before.columns]
    assert read.to_dict("records") in (in_order(before), in_order(new))
    stocked.write_predictions(new, run_id="run-3", model_version="2")
    assert stocked.read_predictions()[before.columns].to_dict("records") == in_order(new)
    assert stocked.counts()["predictions"] == len(new)


AWKWARD = {
    "query": ("'}) MATCH (n) DETACH DELETE n //", ["`; DROP", "$x :y %(z)s", "\\u0027"]),
    "texts": ("שלום\nعربي 🐝\r\t\\", ["é", "e\u0301", "", " "]),
    "long": ("x" * 300_000, ["t" * 1900, "🐝" * 1900]),
    "k" * 1900: ("long key", ["t" * 1900]),
}


def test_awkward_texts_are_kept_as_they_are(store, make_corpus):
    corpus = make_corpus(AWKWARD, [("l" * 7000, "long"), ("l" * 7001, "long"), ("'", "query")])
    corpus.articles.loc[0, "author"] = "a" * 7000
    corpus.articles.loc[1, "author"] = ""
    corpus.articles.loc[2, "date"] = pd.Timestamp("1066-10-14 05:06:07")
    for _ in range(2):
        store.load(corpus)
        assert facts(store.snapshot()) == expected(corpus)
    assert store.load(corpus).updated == 0
    url = corpus.articles["url"][3]
    frame = predictions(2).assign(story=url, tag=["t" * 1900, "ß" * 1900])
    store.write_predictions(frame, run_id="r", model_version="1")
    assert store.read_predictions()["tag"].tolist() == frame["tag"].tolist()[::-1]  # best first
