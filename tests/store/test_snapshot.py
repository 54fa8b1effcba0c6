"""Snapshots as files."""

import numpy as np
import pandas as pd
import pytest

from tagsage.errors import TagsageError
from tagsage.store.open import open_store
from tagsage.store.snapshot import Snapshot


@pytest.fixture
def snapshot(tmp_path, make_corpus, some_articles):
    articles, members = some_articles(30)
    articles["long"] = ("x" * 100_000, ["ü", '"'])
    with open_store("sqlite", sqlite_path=tmp_path / "a.db") as store:
        store.load(make_corpus(articles, [*members, ("ü" * 5_000, "stub")]))
        return store.snapshot()


def same(left, right):
    pd.testing.assert_frame_equal(left.articles, right.articles)
    assert left.lists.tolist() == right.lists.tolist()
    np.testing.assert_array_equal(left.list_index, right.list_index)
    np.testing.assert_array_equal(left.article_index, right.article_index)
    return left.digest == right.digest


def test_a_saved_snapshot_is_loaded_the_same(snapshot, tmp_path):
    for _ in range(2):
        snapshot.save(tmp_path / "snapshot")
        loaded = Snapshot.load(tmp_path / "snapshot")
        assert same(loaded, snapshot)
        assert all(type(tags) is list for tags in loaded.articles["tags"])
        assert loaded.list_index.dtype == np.int32


def test_the_digest_does_not_depend_on_where_the_values_lie(snapshot, tmp_path):
    snapshot.save(tmp_path / "snapshot")
    loaded = Snapshot.load(tmp_path / "snapshot")
    recomputed = Snapshot(
        pd.concat([loaded.articles[:7], loaded.articles[7:]]).reset_index(drop=True),
        loaded.lists.copy(),
        loaded.article_index.copy(),
        loaded.list_index.copy(),
    )
    assert recomputed.digest == snapshot.digest
    copied = loaded.articles.astype(dict.fromkeys(("key", "title"), object))
    again = Snapshot(copied, loaded.lists, loaded.article_index, loaded.list_index)
    assert again.digest == snapshot.digest


@pytest.mark.parametrize(
    ("column", "value"),
    [("title", "other"), ("date", pd.Timestamp("2001-01-01")), ("is_stub", True)],
)
def test_any_change_changes_the_digest(snapshot, column, value):
    articles = snapshot.articles.copy()
    articles.loc[0, column] = value
    changed = Snapshot(articles, snapshot.lists, snapshot.article_index, snapshot.list_index)
    assert changed.digest != snapshot.digest


def test_where_one_tag_or_list_ends_and_the_next_begins_changes_the_digest(snapshot):
    digests = set()
    for tags in ([["ab", "c"], []], [["a", "bc"], []], [["ab"], ["c"]], [["abc"], []]):
        articles = snapshot.articles[:2].copy()
        articles["tags"] = pd.Series(tags)
        nothing = np.empty(0, dtype=np.int32)
        for lists in (["x", "yz"], ["xy", "z"]):
            names = np.array(lists, dtype=object)
            digests.add(Snapshot(articles, names, nothing, nothing).digest)
    assert len(digests) == 8


def test_an_empty_snapshot_is_saved_and_loaded(tmp_path):
    with open_store("sqlite", sqlite_path=tmp_path / "a.db") as store:
        empty = store.snapshot()
    empty.save(tmp_path / "snapshot")
    assert same(Snapshot.load(tmp_path / "snapshot"), empty)


@pytest.mark.parametrize(
    "file", ["articles.parquet", "lists.parquet", "article_index.npy", "snapshot.json"]
)
def test_a_damaged_snapshot_is_told(snapshot, tmp_path, file):
    snapshot.save(tmp_path)
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(TagsageError, match=r"is damaged: .*; run the ingest stage again"):
        Snapshot.load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(TagsageError, match="is damaged: "):
        Snapshot.load(tmp_path)


def test_lists_of_articles_by_name_in_the_order_asked():
    snapshot = Snapshot(
        pd.DataFrame({"key": ["a", "b", "c"]}),
        np.array(["one", "two"], dtype=object),
        np.array([0, 2, 0], dtype=np.int32),
        np.array([0, 0, 1], dtype=np.int32),
    )
    members = snapshot.incidence()[[2, 1, 0, 2]]
    assert snapshot.list_names(members) == [["one"], [], ["one", "two"], ["one"]]
