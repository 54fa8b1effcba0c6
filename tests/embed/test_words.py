"""What counts as a word."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from tagsage.embed.words import without_word, words_of


@pytest.mark.parametrize(
    "text",
    [
        "Don't panic: C++ in 21 days, a_b and naïve Überraschung!",
        "Снег на голову; λ-calculus, 한국어 글, שלום עולם",
        "",
    ],
)
def test_words_between_blanks_are_those_of_scikit_learn(text):
    assert words_of(text, shortest=2) == CountVectorizer().build_analyzer()(text)
    assert words_of(text) == re.findall(r"\w+", text.lower())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Python入門", ["python", "入", "門", "入門"]),
        ("カレー・鍋", ["カ", "レ", "ー", "カレ", "レー", "カレー", "鍋"]),
        # Vowel signs are no letters, and belong to the word all the same.
        ("ที่", ["ท", "ี", "่", "ที", "ี่", "ที่"]),
        ("学习。R 学", ["r", "学", "习", "学习", "学"]),
    ],
)
def test_scripts_without_blanks_give_parts_of_one_to_three_characters(text, words):
    assert words_of(text) == words


def test_parts_are_not_longer_than_three_characters():
    assert words_of("自転車旅行")[-3:] == ["自転車", "転車旅", "車旅行"]


@pytest.mark.parametrize(
    ("text", "word", "left"),
    [
        ("Go, gopher: GO入門", "go", " , gopher:  入門"),
        ("自転車で自転車屋へ", "自転車", " で 屋へ"),
        ("a.b a+b", "a", " .b  +b"),
    ],
)
def test_a_word_is_left_out_wherever_it_stands(text, word, left):
    assert without_word(text, word) == left


@given(st.text("abBé1_ -入門カーแม่", max_size=12))
def test_a_text_without_a_word_has_it_no_more_and_keeps_the_words_apart_from_it(text):
    for word in words_of(text):
        left = words_of(without_word(text, word))
        assert word not in left
        assert set(left) <= set(words_of(text))
