"""Tokens are counted high enough, and texts are cut where they may be cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.embed.openai.packing import pack
from tagsage.embed.openai.tokens import (
    MAX_INPUT_TOKENS,
    cut_further,
    estimate_tokens,
    prepare,
    sendable,
    token_bound,
)

# Tokens of cl100k_base, as the models' own tokeniser counts them.
COUNTED = [
    ("增强词嵌入与图神经网络的文章推荐系统", 21),
    ("Улучшение векторных представлений слов с помощью графовых сетей", 26),
    ("تحسين تضمين الكلمات باستخدام الشبكات العصبية", 30),
    ("🚀🔥😀👩‍💻🇩🇪", 21),
    ("ग्राफ न्यूरल नेटवर्क के साथ", 27),
    ('def f(x): return {k: v for k, v in x.items() if k != "a"}', 23),
    ("그래프 신경망으로 단어 임베딩 향상", 23),
    ("グラフニューラルネットワークによる単語埋め込みの強化", 32),
    ("การปรับปรุงการฝังคำด้วยเครือข่ายประสาทกราฟ", 36),
    ("!!!???...---===", 5),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_the_estimate_is_not_below_the_models_count_and_the_bound_never(
    text: str, tokens: int
) -> None:
    assert tokens <= estimate_tokens(text) <= token_bound(text)


def test_a_word_in_english_is_a_token_or_two() -> None:
    # Enhancing, Embedding, Networks: two each; the model counts 9 in all.
    assert estimate_tokens("Enhancing Word Embedding with Graph Neural Networks") == 11
    assert estimate_tokens(" ") == 1


@given(st.text(max_size=300))
def test_the_bound_counts_every_byte(text: str) -> None:
    sent, cut = sendable(text)
    assert not cut
    assert token_bound(sent) == len(sent.encode()) >= len(sent)


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert sendable("a\ud800b\udfff") == ("a\ufffdb\ufffd", False)


def test_a_text_is_cut_only_when_its_estimate_is_above_the_limit() -> None:
    long_but_fine = "word " * 8000  # 40,000 bytes, 8,000 tokens
    assert sendable(long_but_fine) == (long_but_fine, False)
    sent, cut = sendable("word " * 9000)
    assert cut
    assert estimate_tokens(sent) == MAX_INPUT_TOKENS
    assert ("word " * 9000).startswith(sent)


def test_a_text_is_cut_between_characters() -> None:
    sent, cut = sendable("🚀" * 5000)
    assert cut
    assert set(sent) == {"🚀"}
    assert estimate_tokens(sent) <= MAX_INPUT_TOKENS < estimate_tokens(sent + "🚀")


def test_a_text_found_too_long_is_halved_but_first_to_what_openai_takes_anyway() -> None:
    lengths = [len(text := "é" * 20_000)]
    while (shorter := cut_further(text)) != text:
        text = shorter
        lengths.append(len(text))
    assert lengths == [20_000, 10_000, 5_000, MAX_INPUT_TOKENS // 2, 2048, 1024, 512, 256, 128]
    assert set(text) == {"é"}


def test_texts_are_prepared_one_by_one() -> None:
    prepared = prepare(["two words", "x" * 100_000])
    assert prepared.texts[0] == "two words"
    assert len(prepared.texts[1]) == 5 * MAX_INPUT_TOKENS
    np.testing.assert_array_equal(prepared.estimates, [2, MAX_INPUT_TOKENS])
    np.testing.assert_array_equal(prepared.bounds, [9, 5 * MAX_INPUT_TOKENS])
    np.testing.assert_array_equal(prepared.cut, [False, True])


@given(
    st.lists(st.integers(1, 30), max_size=40),
    st.integers(1, 6),
    st.integers(1, 50),
)
def test_packed_requests_hold_every_text_once_within_the_limits(
    sizes: list[int], most_texts: int, most_tokens: int
) -> None:
    ranges = list(
        pack(np.array(sizes, dtype=np.int64), most_texts=most_texts, most_tokens=most_tokens)
    )
    assert [place for start, stop in ranges for place in range(start, stop)] == list(
        range(len(sizes))
    )
    for start, stop in ranges:
        assert stop - start <= most_texts
        assert sum(sizes[start:stop]) <= most_tokens or stop - start == 1
    # Greedy: the next text would not have fitted.
    for start, stop in ranges[:-1]:
        assert stop - start == most_texts or sum(sizes[start : stop + 1]) > most_tokens
