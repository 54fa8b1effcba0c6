from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tagsage.corpus import profile as module
from tagsage.corpus.profile import Profile, profile_of


def articles_of(rows) -> pd.DataFrame:
    titles, subtitles, tags, stubs = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pd.DataFrame({
        "title": pd.array(list(titles), dtype="str"),
        "subtitle": pd.array(list(subtitles), dtype="str"),
        "tags": pd.Series([list(found) for found in tags], dtype=object),
        "is_stub": np.array(stubs, dtype=bool),
    })


def profiled(rows, memberships=(), n_lists=0, quarantined=0) -> Profile:
    index = np.array(list(memberships), dtype=np.int32).reshape(-1, 2)
    return profile_of(
        articles_of(rows), index[:, 0], index[:, 1], n_lists=n_lists, quarantined=quarantined
    )


def test_profile_of_a_small_corpus():
    rows = [
        ("Graph networks", "The graph, again", ["ml", "graphs"], False),
        ("", "", [], False),
        ("Naïve café — 42!", "", ["ml"], False),
        ("", "", [], True),
    ]
    # Lists 0 and 1 hold the first article, list 1 the stub, list 2 nothing.
    found = profiled(rows, [(0, 0), (0, 1), (3, 1)], n_lists=3, quarantined=4)
    names = ("articles", "lists", "memberships", "quarantined")
    assert [found.counts[name] for name in names] == [3, 3, 3, 4]
    names = ("without_text", "without_tags", "without_lists", "largest_list")
    assert [found.counts[name] for name in names] == [1, 1, 2, 2]
    once = ("42", "again", "café", "naïve", "networks", "the")
    assert found.words == {"graph": 2, **dict.fromkeys(once, 1)}
    assert next(iter(found.words)) == "graph"
    assert found.words_in_all == 8
    assert found.tags == {"ml": 2, "graphs": 1}
    assert found.tags_in_all == 3
    assert found.text_lengths == {0: 1, 3: 1, 5: 1}
    assert found.list_sizes == {0: 1, 1: 1, 2: 1}
    assert found.lists_per_article == {0: 2, 2: 1}


def test_profile_survives_a_trip_through_json():
    found = profiled([("a b", "c", ["x"], False), ("d", "", [], False)], [(1, 0)], n_lists=1)
    assert Profile.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_only_the_most_frequent_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(module, "WORDS_KEPT", 2)
    monkeypatch.setattr(module, "TAGS_KEPT", 1)
    found = profiled([("b b a a c", "", ["y", "x"], False), ("", "", ["y"], False)])
    assert list(found.words.items()) == [("a", 2), ("b", 2)]
    assert found.words_in_all == 5
    assert found.tags == {"y": 2}
    assert found.tags_in_all == 3


def test_a_word_without_end_is_cut():
    found = profiled([("x" * 10_000, "", [], False)])
    assert found.words == {"x" * 40: 1}


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), max_size=30),
            st.text("aB ,ß", max_size=12),
            st.lists(st.sampled_from("xyz"), unique=True),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_words_and_tags_are_those_of_an_obvious_count_block_by_block(rows):
    whole = profiled(rows)
    real = [row for row in rows if not row[3]]
    tags = Counter(tag for row in real for tag in row[2])
    assert whole.tags == tags
    ascii_only = all(row[0].isascii() for row in real)
    if ascii_only:
        texts = [f"{row[0]} {row[1]}".lower() for row in real]
        words = [re.findall(r"[a-z0-9ß]+", text) for text in texts]
        assert whole.words == Counter(word for found in words for word in found)
        assert whole.text_lengths == Counter(len(found) for found in words)
    size, module.BLOCK_ROWS = module.BLOCK_ROWS, 3
    try:
        assert profiled(rows) == whole
    finally:
        module.BLOCK_ROWS = size
