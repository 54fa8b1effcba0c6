"""Articles as blocks read them."""

from __future__ import annotations

from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.features import Articles
from tagsage.store.base import snapshot_of


def named_lists(articles: Articles) -> list[list[str]]:
    members = articles.members
    return [
        [str(articles.list_names[place]) for place in members[[row]].indices]
        for row in range(len(articles))
    ]


def test_a_list_that_is_named_twice_holds_an_article_once():
    articles = Articles.of_names(["a", "b"], ["", "Bo"], [["y", "x", "y"], []])
    assert named_lists(articles) == [["x", "y"], []]
    assert articles.members.data.tolist() == [1, 1]


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
    corpus = read_csv_corpus(str(articles), str(lists), max_rejected_share=0)
    found = Articles.of_snapshot(snapshot_of(corpus))
    assert found.texts == ["One more", "Two", ""]
    assert found.authors.tolist() == ["Ann", "", ""]
    assert named_lists(found) == [["K", "L"], [], ["L"]]


def test_partitions_joined_are_all_articles():
    articles = Articles.of_names(list("abcde"), [""] * 5, [["x"], [], ["y"], [], ["x", "y"]])
    parts = list(articles.partitions(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [text for part in parts for text in part.texts] == list("abcde")
    assert [names for part in parts for names in named_lists(part)] == named_lists(articles)
