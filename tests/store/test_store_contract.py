"""What every store does. A new store joins by an entry in STORES."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tagsage.corpus.model import Corpus
from tagsage.errors import TagsageError
from tagsage.store.base import ArticleStore, LoadReport
from tagsage.store.open import open_store


@dataclass(frozen=True)
class Kind:
    """A kind of store: how it is opened, where its batches are made, and a small size of them."""

    open: Callable[[Path, pytest.FixtureRequest], ArticleStore]
    batches: tuple[str, ...]
    predictions: str
    small: int


STORES = {
    "sqlite": Kind(
        lambda folder, _: open_store("sqlite", sqlite_path=folder / "store" / "tagsage.db"),
        ("tagsage.store.sqlite.BATCH",),
        "tagsage.store.sqlite",
        7,
    ),
    "neo4j": Kind(
        lambda folder, request: open_store(
            "neo4j", sqlite_path=folder, neo4j=request.getfixturevalue("neo4j_connection")
        ),
        ("tagsage.store.neo4j_corpus.BATCH", "tagsage.store.neo4j_corpus.NODES"),
        "tagsage.store.neo4j_predictions",
        25,
    ),
}


@pytest.fixture(params=["sqlite", pytest.param("neo4j", marks=pytest.mark.neo4j)])
def kind(request):
    return STORES[request.param]


@pytest.fixture
def small_batches(kind, monkeypatch):
    for name in kind.batches:
        monkeypatch.setattr(name, kind.small)
    monkeypatch.setattr(f"{kind.predictions}.BATCH", 2)


@pytest.fixture
def open_it(kind, request, tmp_path):
    """Open the store; again and again it is the same one."""
    return lambda: kind.open(tmp_path, request)


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
    }


def test_the_incidence_matrix_has_a_one_for_every_membership(store, make_corpus):
    store.load(make_corpus(ARTICLES, MEMBERS))
    incidence = store.snapshot().incidence()
    assert incidence.dtype == np.float32
    assert incidence.toarray().tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 1], [0, 1, 0]]


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


@pytest.mark.parametrize("seed", range(3))
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


def test_a_corpus_without_lists_is_kept(store, make_corpus):
    store.load(make_corpus(ARTICLES, MEMBERS))
    store.load(make_corpus(ARTICLES, [], "bare"))
    snapshot = store.snapshot()
    assert snapshot.incidence().shape == (3, 0)
    assert snapshot.list_index.dtype == np.int32


def test_what_was_loaded_is_there_after_opening_again(open_it, make_corpus):
    corpus = make_corpus(ARTICLES, MEMBERS)
    with open_it() as store:
        store.load(corpus)
    with open_it() as store:
        assert facts(store.snapshot()) == expected(corpus)
        store.close()
        store.close()
        with pytest.raises(ValueError, match="the store is closed"):
            store.snapshot()


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


def test_predictions_come_back_as_they_were_written(stocked):
    written = predictions()
    stocked.write_predictions(written, run_id="run-1", model_version="7")
    read = stocked.read_predictions()
    assert read.columns.tolist() == [*written.columns, "model_version", "run_id"]
    assert read.drop(columns=["model_version", "run_id"]).to_dict("records") == written.to_dict(
        "records"
    )
    assert read.dtypes.astype(str).tolist() == ["str", "str", "float64", "int64", "str", "str"]
    assert read[["model_version", "run_id"]].drop_duplicates().to_numpy().tolist() == [
        ["7", "run-1"]
    ]
    assert stocked.counts()["predictions"] == 5


def test_predictions_keep_their_order_when_an_articles_rows_are_not_together(
    stocked, small_batches
):
    written = predictions(9).sample(frac=1, random_state=3).reset_index(drop=True)
    stocked.write_predictions(written, run_id="run-1", model_version="7")
    read = stocked.read_predictions()[written.columns]
    assert read.to_dict("records") == written.to_dict("records")


def test_new_predictions_replace_all_earlier_ones(stocked, small_batches):
    stocked.write_predictions(predictions(9), run_id="run-1", model_version="1")
    for _ in range(2):
        stocked.write_predictions(predictions(5, 0.05), run_id="run-2", model_version="2")
        read = stocked.read_predictions()
        assert read["score"].tolist() == predictions(5, 0.05)["score"].tolist()
        assert set(read["run_id"]) == {"run-2"}
    stocked.write_predictions(predictions(0), run_id="run-3", model_version="3")
    assert stocked.read_predictions().empty
    assert stocked.counts()["predictions"] == 0


def test_predictions_outlive_the_next_load_and_follow_an_articles_new_address(stocked, make_corpus):
    stocked.write_predictions(predictions(), run_id="run-1", model_version="1")
    corpus = make_corpus(PREDICTED | {"9": ("New", [])}, [("l2", "9")], "next")
    corpus.articles.loc[0, "url"] = "https://elsewhere.example/0"
    report = stocked.load(corpus)
    assert (report.added, report.updated, report.removed) == (1, 1, 0)
    written = predictions().replace("https://a.example/0", "https://elsewhere.example/0")
    assert stocked.read_predictions()["story"].tolist() == written["story"].tolist()


def test_predictions_of_articles_that_leave_the_corpus_leave_with_them(stocked, make_corpus):
    stocked.write_predictions(predictions(9), run_id="run-1", model_version="1")
    fewer = {key: PREDICTED[key] for key in ("1", "3")}
    stocked.load(make_corpus(fewer, [], "fewer"))
    left = predictions(9).iloc[[2, 3, 6, 7]]
    read = stocked.read_predictions()[left.columns]
    assert read.to_dict("records") == left.to_dict("records")
    assert stocked.counts()["predictions"] == 4
    stocked.load(make_corpus(PREDICTED, [], "again"))
    assert stocked.counts()["predictions"] == 4


def test_predictions_of_unknown_articles_are_refused_and_the_earlier_ones_stay(stocked):
    stocked.write_predictions(predictions(), run_id="run-1", model_version="1")
    strangers = predictions(15)
    with pytest.raises(TagsageError, match=r"name 'https://a\.example/5' and 2 more, which the st"):
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
    ],
)
def test_impossible_predictions_are_refused_and_the_earlier_ones_stay(stocked, change, message):
    stocked.write_predictions(predictions(), run_id="run-1", model_version="1")
    with pytest.raises(ValueError, match=message):
        stocked.write_predictions(change(predictions(9)), run_id="run-2", model_version="2")
    assert len(stocked.read_predictions()) == 5


def test_a_reader_sees_the_old_predictions_until_the_new_ones_are_whole(
    kind, open_it, stocked, small_batches, monkeypatch
):
    seen = []
    with open_it() as reader, open_it() as writer:
        reader.write_predictions(predictions(9), run_id="old", model_version="1")

        def watch(items, *_):
            for item in items:
                yield item
                seen.append((len(reader.read_predictions()), reader.counts()["predictions"]))

        monkeypatch.setattr(f"{kind.predictions}.track", watch)
        writer.write_predictions(predictions(5), run_id="new", model_version="2")
        assert len(seen) >= 3
        assert set(seen) == {(9, 9)}
        assert len(reader.read_predictions()) == 5


def test_of_two_runs_that_write_predictions_at_once_the_one_that_began_later_stays(
    kind, open_it, stocked, monkeypatch
):
    from tagsage.progress import track

    with open_it() as first, open_it() as second:

        def overtake(items, *_):
            monkeypatch.setattr(f"{kind.predictions}.track", track)
            yield next(iter(items))
            second.write_predictions(predictions(5), run_id="later", model_version="2")
            yield from items

        monkeypatch.setattr(f"{kind.predictions}.track", overtake)
        with pytest.raises(TagsageError, match="A run that began later has written its pred"):
            first.write_predictions(predictions(9), run_id="earlier", model_version="1")
        assert set(first.read_predictions()["run_id"]) == {"later"}
        assert len(first.read_predictions()) == 5


def test_there_is_no_other_kind_of_store(tmp_path):
    with pytest.raises(TagsageError, match=r"no store 'mysql'; allowed are: sqlite, neo4j"):
        open_store("mysql", sqlite_path=tmp_path / "x.db")
