import hashlib

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tagsage.embed.text import article_texts, text_hash, text_hashes, unique_texts


def frame(rows: list[tuple[str | None, str | None, bool]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["title", "subtitle", "is_stub"])


def test_a_text_is_title_and_subtitle_joined_by_one_space():
    articles = frame([("Graphs", "made easy", False), (" Graphs ", "", False), ("", "easy", False)])
    assert article_texts(articles) == ["Graphs made easy", "Graphs", "easy"]


def test_a_text_is_empty_for_stubs_nulls_and_blanks():
    articles = frame([("Graphs", "x", True), (None, None, False), ("  ", "\t", False)])
    assert article_texts(articles) == ["", "", ""]


def test_a_hash_is_the_first_half_of_the_sha256_in_hexadecimal():
    assert text_hash("Käse") == hashlib.sha256("Käse".encode()).hexdigest()[:32].encode()


@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=5), max_size=20))
def test_hashes_are_equal_exactly_when_texts_are_lone_surrogates_and_nuls_included(texts):
    hashes = text_hashes(texts)
    for i, a in enumerate(texts):
        for j, b in enumerate(texts):
            assert (hashes[i] == hashes[j]) == (a == b)


@given(st.lists(st.sampled_from(["", "a", "b", "c", "a "]), max_size=20))
def test_unique_texts_are_the_first_occurrences_in_order_without_the_empty_one(texts):
    obvious = [i for i, t in enumerate(texts) if t and t not in texts[:i]]
    assert unique_texts(text_hashes(texts)).tolist() == obvious
