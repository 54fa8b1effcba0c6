"""Articles as blocks read them."""

from __future__ import annotations

import numpy as np

from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.features import Articles, article_ids
from tagsage.store.base import snapshot_of
from tests.features.corpora import named_lists


def test_articles_of_a_snapshot_are_those_of_the_corpus(tmp_path):
    articles, lists = tmp_path / "articles.csv", tmp_path / "lists.csv"
    articles.write_text(
        "story,title,subtitle,date,author,tags\n"
        "https://a.example/1,One,more,2020-01-01,Ann,[]\n"
        "https://a.example/2,Two,,2020-01-01,,[]\n",
        encoding="utf-8",
    )
    # The third is known from its list alone.
    lists.write_text(
        "list,article\nL,https://a.example/1\nL,https://a.example/3\nK,https://a.example/1\n",
        encoding="utf-8",
    )
    read = read_csv_corpus(str(articles), str(lists), max_rejected_share=0)
    snapshot = snapshot_of(read)
    found = Articles.of_snapshot(snapshot)
    assert np.array_equal(found.ids, article_ids(snapshot.articles["key"].tolist()))
    assert found.vectors.shape == (3, 0)
    assert found.texts == ["One more", "Two", ""]
    assert found.authors.tolist() == ["Ann", "", ""]
    assert named_lists(found) == [["K", "L"], [], ["L"]]


def test_an_id_is_the_keys_own_whatever_stands_beside_it():
    ids = article_ids(["x.example/a", "", "x.example/b"])
    assert ids.dtype == np.uint64
    assert ids[1] == 0
    assert len(set(ids.tolist())) == 3
    assert article_ids(["x.example/b"])[0] == ids[2]
    assert article_ids([]).shape == (0,)
