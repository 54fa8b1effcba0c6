from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tagsage.learn import families as room
from tagsage.learn.families import families, title_stems


def grouped(numbers) -> list[set[int]]:
    """Return the sets of positions with the same number."""
    return [set(np.flatnonzero(np.array(numbers) == one).tolist()) for one in sorted(set(numbers))]


def test_families_of_a_worked_example():
    articles = [
        ("libfoo-dev", "headers", "Ann"),
        ("libfoo1", "the library", "Ann"),
        ("libfoo doc", "manual", "Bo"),  # another author
        ("Daily digest 12", "what happened", "Cy"),
        ("Daily digest 13", "What happened!", "Di"),  # the same text but for digits
        ("2048", "", "Ann"),
        ("1024", "", "Ann"),  # nothing but digits is no text
        ("", "", ""),
        ("tea", "pot", ""),
        ("tea", "cup", ""),  # an unknown author joins nothing
        ("ice", "headers", "Ann"),
    ]
    titles, _, authors = zip(*articles, strict=True)
    texts = [f"{title} {subtitle}" for title, subtitle, _ in articles]
    found = families(titles, texts, authors)
    assert found.tolist() == [0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8]


def test_families_are_joined_through_others():
    titles = ["alpha one", "alpha two", "beta one", "beta two"]
    texts = ["a", "same", "same", "b"]
    # The second and the third are by two authors and have the same text.
    assert families(titles, texts, ["Ann", "Ann", "Bo", "Bo"]).tolist() == [0, 0, 0, 0]
    assert families([], [], []).tolist() == []


def test_a_stem_is_the_first_word_that_few_words_follow(monkeypatch):
    monkeypatch.setattr(room, "MOST_FOLLOWERS", 2)
    titles = ["How tea", "how ice", "how fire works", "How tea 2", "how", "Why", "Été 1", "été 2"]
    # "how" is followed by tea, ice and fire; alone it is a whole title.
    stems = title_stems(titles)
    assert grouped(stems) == [{0, 3}, {1}, {2}, {5}, {6, 7}, {4}]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a x", "a y", "b", "b 1", "c", "", "7"]),
            st.sampled_from(["p", "q", "q 2", ""]),
            st.sampled_from(["Ann", "Bo", ""]),
        ),
        max_size=12,
    )
)
def test_families_agree_with_joining_pair_by_pair(articles):
    titles, texts, authors = (
        (list(part) for part in zip(*articles, strict=True)) if articles else ([], [], [])
    )
    stem = {"a x": "a", "a y": "a", "b": "b", "b 1": "b", "c": "c", "": "", "7": ""}
    text = {"p": "p", "q": "q", "q 2": "q", "": ""}
    number = list(range(len(articles)))
    for one, other in combinations(range(len(articles)), 2):
        same_text = text[texts[one]] == text[texts[other]] != ""
        same_stem = stem[titles[one]] == stem[titles[other]] != ""
        same_author = authors[one] == authors[other] != ""
        if same_text or (same_stem and same_author):
            number = [number[one] if own == number[other] else own for own in number]
    found = families(titles, texts, authors).tolist()
    assert sorted(map(sorted, grouped(found))) == sorted(map(sorted, grouped(number)))
