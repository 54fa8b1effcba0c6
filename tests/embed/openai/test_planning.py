"""What this run will cost is known before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagsage.embed.cache import VectorCache
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.ledger import Ledger
from tagsage.embed.openai.planning import kept_dimensions, plan_openai
from tagsage.embed.openai.spool import CACHE
from tagsage.embed.plan import Plan
from tagsage.embed.text import text_hash, text_hashes
from tagsage.errors import TagsageError
from tagsage.openai_connection import OpenAiConnection

TEXTS = ["two words", "", "two words", "refused", "kept", "word " * 9000]


def unreachable() -> OpenAiConnection:
    raise AssertionError("nobody is to be asked")


def plan(folder: Path, texts: list[str] = TEXTS, **changes: Any) -> Plan:
    return plan_openai(
        texts,
        text_hashes(texts),
        **{
            "folder": folder,
            "config": OpenAiConfig(),
            "connect": lambda: OpenAiConnection("sk-x"),
            "prices": "",
            "batch": False,
            "batch_size": 1000,
        }
        | changes,
    )


def test_a_plan_says_how_many_texts_tokens_and_dollars(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.reject("text-embedding-ada-002", {text_hash("refused"): "no"}, "refused")
    cache = VectorCache(tmp_path / CACHE, "text-embedding-ada-002", 1536)
    cache.put(text_hashes(["kept"]), np.ones((1, 1536), np.float32))
    found = plan(tmp_path)
    np.testing.assert_array_equal(found.missing, [0, 5])
    assert found.dimensions == 1536
    assert found.batches == ((0, 2),)
    # "two words" has two tokens, the long one is cut to 8,192.
    assert found.summary["estimated_tokens"] == 8194
    assert found.summary["price"] == pytest.approx(0.10)
    assert found.summary["estimated_dollars"] == pytest.approx(8194 * 0.10e-6, abs=1e-6)
    assert found.summary["new_texts"] == 2
    assert found.summary["cut_texts"] == 1
    assert found.summary["rejected_texts"] == 1
    half = plan(tmp_path, batch=True).summary
    assert half["estimated_dollars"] == pytest.approx(8194 * 0.05e-6, abs=1e-6)


def test_without_new_texts_nobody_is_asked_for_a_key(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / CACHE, "text-embedding-ada-002", 1536)
    cache.put(text_hashes(["kept"]), np.ones((1, 1536), np.float32))
    found = plan(tmp_path, ["kept", ""], connect=unreachable)
    assert found.batches == ()
    assert found.summary["estimated_dollars"] == 0


def test_a_key_is_missed_before_anything_is_sent_but_not_for_a_look_at_the_price(
    tmp_path: Path,
) -> None:
    assert plan(tmp_path, connect=OpenAiConnection).summary["price"] == pytest.approx(0.10)
    with pytest.raises(TagsageError, match="OpenAI wants a key; set OPENAI_API_KEY"):
        plan(tmp_path, connect=OpenAiConnection, probe=lambda _: None)


def test_a_model_without_a_price_is_refused_only_at_openai(tmp_path: Path) -> None:
    config = OpenAiConfig("text-embedding-9", 64)
    with pytest.raises(TagsageError, match="openai_prices=text-embedding-9=DOLLARS"):
        plan(tmp_path, config=config)
    ours = OpenAiConnection("", "http://127.0.0.1:1/v1")
    assert plan(tmp_path, config=config, connect=lambda: ours).summary["price"] == 0


def test_the_length_of_an_unknown_models_vectors_is_asked_for_once(tmp_path: Path) -> None:
    config = OpenAiConfig("mine")
    ours = OpenAiConnection("", "http://127.0.0.1:1/v1")
    asked = []

    def probe(rows: np.ndarray) -> None:
        asked.append(rows.tolist())
        if rows[0] != 0:  # the first text is one that the server does not take
            hashes = text_hashes([TEXTS[row] for row in rows])
            VectorCache(tmp_path / CACHE, "mine", 7).put(hashes, np.ones((1, 7), np.float32))

    dry = plan(tmp_path, config=config, connect=lambda: ours)
    assert dry.dimensions == 0
    assert dry.summary["new_texts"] == 4
    found = plan(tmp_path, config=config, connect=lambda: ours, probe=probe)
    assert found.dimensions == 7
    # Rows of different texts, until one has a vector; that one is not missing any more.
    assert asked == [[0], [3]]
    np.testing.assert_array_equal(found.missing, [0, 4, 5])
    assert kept_dimensions(tmp_path, "mine") == 7
    assert plan(tmp_path, config=config, connect=lambda: ours, probe=probe).dimensions == 7
    assert len(asked) == 2


def test_a_model_that_gives_no_vector_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(TagsageError, match=r"mine gave no vector for any of 3 texts"):
        plan(tmp_path, config=OpenAiConfig("mine"), probe=lambda _: None)
