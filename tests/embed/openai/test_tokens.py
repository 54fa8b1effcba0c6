"""Tokens are counted high enough, texts are cut where they may be cut, and prices."""

from __future__ import annotations

import pytest

from tagsage.embed.openai.tokens import (
    MAX_INPUT_TOKENS,
    estimate_tokens,
    price_of,
    sendable,
)
from tagsage.errors import TagsageError
from tagsage.settings.embed import EmbedSettings

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
def test_estimate_is_not_below_the_models_count(text: str, tokens: int) -> None:
    assert tokens <= estimate_tokens(text)


def test_a_word_in_english_is_a_token_or_two() -> None:
    # Enhancing, Embedding, Networks: two each; the model counts 9 in all.
    assert estimate_tokens("Enhancing Word Embedding with Graph Neural Networks") == 11
    assert estimate_tokens(" ") == 1


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


@pytest.mark.parametrize(
    ("model", "prices", "official", "batch", "price"),
    [
        ("text-embedding-ada-002", "", True, False, 0.10),
        ("text-embedding-3-small", "", True, True, 0.01),
        ("text-embedding-ada-002", "text-embedding-ada-002=0.5,mine=2", True, False, 0.5),
        ("mine", "text-embedding-ada-002=0.5,mine=2", False, True, 1.0),
        ("text-embedding-ada-002", "", False, False, 0.0),
    ],
)
def test_price_is_openais_or_the_users_and_half_in_a_batch(
    model: str, prices: str, official: bool, batch: bool, price: float
) -> None:
    settings = EmbedSettings(openai_model=model, openai_prices=prices)
    assert price_of(settings, official=official, batch=batch) == pytest.approx(price)


def test_unknown_model_at_openai_is_refused_with_the_remedy() -> None:
    with pytest.raises(TagsageError, match=r"set openai_prices=text-embedding-9=DOLLARS"):
        price_of(EmbedSettings(openai_model="text-embedding-9"), official=True)
