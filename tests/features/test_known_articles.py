"""What was counted, and what of an article is found to be counted again."""

from __future__ import annotations

import numpy as np
import pytest

from tagsage.features import Articles, KnownArticles
from tagsage.features.known_articles import MOST_COLISTED
from tests.features.corpora import articles_in, corpus, named_lists

KEYS = ["x.example/a", "x.example/b", "x.example/c", "x.example/d", "x.example/e"]
LISTS = [["0"], ["0", "1"], ["0", "1", "2"], ["2"], []]


def known_of(keys: list[str], lists: list[list[str]]) -> KnownArticles:
    """Know articles of which none is tagged."""
    empty = [""] * len(keys)
    articles = Articles.of_names(empty, empty, lists, keys=keys)
    return KnownArticles.of(articles, np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=bool))


def counted_lists(marked: Articles) -> list[list[str]]:
    """Return the names of the lists through which each article was counted."""
    row = np.repeat(np.arange(len(marked)), np.diff(marked.members.indptr))
    names = marked.list_names[marked.members.indices]
    return [names[(row == place) & marked.counted].tolist() for place in range(len(marked))]


def test_articles_are_found_by_their_keys_and_only_known_lists_are_kept():
    known = known_of(KEYS, LISTS)
    asked = Articles.of_names(
        [""] * 4,
        [""] * 4,
        [["1", "9", "0"], ["0"], ["2", "1"], ["7"]],
        keys=["x.example/b", "x.example/z", "", "x.example/e"],
    )
    marked = known.mark(asked)
    assert marked.known is known
    assert marked.places.tolist() == [1, -1, -1, 4]
    assert named_lists(marked) == [["0", "1"], ["0"], ["1", "2"], []]
    assert counted_lists(marked) == [["0", "1"], [], [], []]
    assert known.in_known_list(marked).tolist() == [True, True, True, False]


def test_a_membership_that_an_article_joined_after_the_fit_was_not_counted():
    known = known_of(KEYS, LISTS)
    asked = Articles.of_names([""] * 2, [""] * 2, [["0", "2"], ["1"]], keys=KEYS[:2])
    assert counted_lists(known.mark(asked)) == [["0"], ["1"]]


def test_hidden_articles_and_their_memberships_and_tags_are_not_counted():
    hidden = np.array([1, 5])
    part = corpus().rows[~np.isin(corpus().rows, hidden)]
    Y = np.ones((len(part), 3), dtype=bool)
    known = KnownArticles.of(corpus().articles, part, Y, hidden=hidden)
    marked = known.mark(corpus().articles)
    assert marked.places[hidden].tolist() == [-1, -1]
    assert np.array_equal(marked.places >= 0, ~np.isin(np.arange(40), hidden))
    assert [counted_lists(marked)[row] for row in hidden] == [[], []]
    labelled, tags = known.own_tags(marked)
    assert np.array_equal(labelled, np.isin(np.arange(40), part))
    assert np.array_equal(tags.toarray().astype(bool), labelled[:, None].repeat(3, axis=1))
    # Nobody else is in the list of article 1.
    assert "mine" in named_lists(marked)[1]
    assert known.list_sizes[known.list_index.get_loc("mine")] == 0


def test_an_article_in_lists_of_hidden_articles_alone_is_in_no_known_list():
    articles = articles_in(np.array([[1, 0], [0, 1], [1, 1], [0, 0]]))
    nothing = np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=bool)
    for hidden, expected in (([1], [1, 1, 1, 0]), ([1, 2], [1, 0, 1, 0])):
        known = KnownArticles.of(articles, *nothing, hidden=np.array(hidden))
        assert known.in_known_list(known.mark(articles)).tolist() == [bool(x) for x in expected]


@pytest.mark.parametrize(
    ("articles", "lists"),
    [
        (["x.example/a"], ["0"]),
        (["x.example/c"], ["0", "1", "2"]),
        (["x.example/a", "x.example/b"], ["0"]),
        (["x.example/b", "x.example/c"], ["0", "1"]),
        # Two of three are more than half.
        (["x.example/a", "x.example/b", "x.example/c"], ["0", "1"]),
        # No list holds more than half: those that hold the most.
        (["x.example/a", "x.example/d"], ["0", "2"]),
        # Whatever the address, and each once.
        (["https://x.example/a/?q=1", "http://x.example/a", "x.example/a"], ["0"]),
        # What is in no list, unknown, or no address does not count.
        (["x.example/e", "x.example/zzz", "not an address", ""], []),
        (["x.example/a", "x.example/e", "y.example/a"], ["0"]),
        ([], []),
    ],
)
def test_lists_of_co_listed_articles_by_hand(articles, lists):
    assert known_of(KEYS, LISTS).lists_of(articles) == lists


def test_only_so_many_co_listed_articles_are_looked_at():
    unknown = [f"y.example/{number}" for number in range(MOST_COLISTED)]
    known = known_of(KEYS, LISTS)
    assert known.lists_of([*unknown, "x.example/a"]) == []
    assert known.lists_of([*unknown[1:], "x.example/a"]) == ["0"]


def test_co_listed_articles_of_many_lists_do_not_say_which_is_meant():
    many = known_of(KEYS[:2], [["0", "1", "2", "3"], ["0", "1", "2"]])
    assert many.lists_of(["x.example/a"]) == []
    assert many.lists_of(["x.example/b"]) == ["0", "1", "2"]
    assert many.lists_of(["x.example/a", "x.example/b"]) == ["0", "1", "2"]
