"""Texts are embedded online whatever the server does, and none is paid for twice."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest

from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.openai import online
from tagsage.embed.openai.embedder import OpenAiEmbedder, embed_missing
from tagsage.embed.text import text_hashes
from tagsage.errors import NonRetryableError, TagsageError
from tests.embed.openai.conftest import DIMENSIONS, KEY, MODEL, TEXTS

MODEL_ID = f"{MODEL}-{DIMENSIONS}"


@pytest.fixture
def embed(cache, settings_of):
    """Return the function that sends texts, and returns their vectors and those rejected."""

    def run(texts=TEXTS, **changes):
        hashes = text_hashes(texts)
        rejected = embed_missing(cache, settings_of(**changes), texts, hashes, run_id="r")
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        cache.gather(MODEL_ID, hashes, vectors)
        return vectors, rejected

    return run


def expected(texts=TEXTS, length=DIMENSIONS):
    return expected_vectors(texts, MODEL, length)


def test_every_text_has_its_vector_and_is_paid_for_once(server, embed, cache):
    vectors, rejected = embed([*TEXTS, "", TEXTS[0]])
    np.testing.assert_allclose(vectors[:150], expected(), atol=1e-6)
    assert not vectors[150].any()
    np.testing.assert_array_equal(vectors[151], vectors[0])
    assert not rejected
    assert Counter(server.texts()) == Counter(TEXTS)
    spent = cache.spent("r")
    assert (spent.texts, spent.tokens) == (150, server.tokens())
    assert spent.dollars == pytest.approx(server.tokens() * 1e-6)
    embed()
    assert len(server.texts()) == 150


@pytest.mark.parametrize(
    "faults",
    [
        ["429", "429", "500", "reset"],
        ["garbage", "garbage"],
        ["nan", "zero", "nan"],
        ["fewer", "twice"],
        ["shuffled", "shuffled"],
        ["", "500", "", "reset", "garbage"],
    ],
    ids=",".join,
)
def test_passing_faults_are_survived(server, embed, faults):
    server.next_faults.extend(faults)
    vectors, rejected = embed()
    np.testing.assert_allclose(vectors, expected(), atol=1e-6)
    assert not rejected


@pytest.mark.parametrize("fault", ["400", "nan", "fewer"])
def test_text_at_fault_is_found_and_set_aside_and_the_others_are_embedded(server, embed, fault):
    server.poison = {"title 77 ": fault}
    vectors, rejected = embed()
    assert list(rejected) == [text_hashes([TEXTS[77]])[0]]
    assert not vectors[77].any()
    others = np.arange(150) != 77
    np.testing.assert_allclose(vectors[others], expected()[others], atol=1e-6)


def test_slow_server_gets_smaller_requests_and_nothing_is_lost(server, embed, monkeypatch):
    monkeypatch.setattr(online, "QUICK_S", 0.02)
    # 64 texts do not come in time, 32 do.
    server.per_text_s = 0.02
    vectors, _ = embed(openai_timeout_s=1.0, openai_in_flight=1)
    np.testing.assert_allclose(vectors, expected(), atol=1e-6)


def test_requests_begin_small_and_grow_while_answers_are_quick(server, embed):
    embed([f"text {number}" for number in range(3000)], openai_in_flight=1)
    sizes = [len(texts) for _, texts in server.charges]
    assert sizes == [64, 128, 256, 512, 1024, 1016]
    embed([f"other {number}" for number in range(300)], openai_request_texts=100)
    assert max(len(texts) for _, texts in server.charges[6:]) == 100


def test_request_has_no_more_tokens_than_the_api_takes(server, embed):
    embed(["abc " * 5000 + str(number) for number in range(60)])
    assert len(server.texts()) == 60
    assert {status for _, status in server.requests} == {200}


def test_server_that_never_answers_is_given_up(server, embed):
    server.latency_s = 1.5
    with pytest.raises(TagsageError, match="did not answer in time; raise openai_timeout_s"):
        embed(openai_timeout_s=0.1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("quota", "quota of the account is used up"),
        ("short", "gives vectors of 7 numbers, not of 8"),
    ],
)
def test_fault_that_no_waiting_mends_ends_it_at_once_and_what_was_answered_is_kept(
    server, embed, cache, fault, said
):
    embed(TEXTS[:3])
    server.next_faults.extend([fault] * 50)
    with pytest.raises(NonRetryableError, match=said):
        embed()
    assert len(server.requests) == 2
    assert len(cache.missing(MODEL_ID, text_hashes(TEXTS))) == 147


def test_answers_under_way_are_kept_when_another_request_ends_it(server, embed, cache):
    server.next_faults.extend(["", "", "quota"])
    with pytest.raises(NonRetryableError, match="quota"):
        embed(openai_request_texts=20)
    missing = cache.missing(MODEL_ID, text_hashes(TEXTS))
    assert 150 - len(missing) == len(server.texts())


@pytest.mark.parametrize("key", ["sk-proj-wr0ngtagsageK3yAbCdEfGh", "Gw7yQe2Lr9Xz4Vb1Nm6T", ""])
def test_wrong_key_ends_it_at_once_and_is_in_no_log(server, embed, monkeypatch, caplog, key):
    caplog.set_level(logging.DEBUG, logger="tagsage")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(NonRetryableError, match=r"set OPENAI_API_KEY, or the Airflow") as refused:
        embed()
    assert len(server.requests) == 1
    for piece in filter(None, {key, key[:12], key[-8:]}):
        assert piece not in f"{refused.value} {caplog.text}"
    assert KEY not in caplog.text


def test_ceiling_is_checked_before_anything_is_sent(server, embed):
    with pytest.raises(NonRetryableError, match=r"its ceiling is \$0\.0001; raise openai_max_doll"):
        embed(openai_max_dollars=0.0001)
    assert server.requests == []


def test_ceiling_counts_what_the_run_has_spent_before(server, embed, cache):
    embed(TEXTS[:100], openai_max_dollars=0.001)
    spent = cache.spent("r").dollars
    with pytest.raises(NonRetryableError, match=r"the run has spent \$0\.0"):
        embed(openai_max_dollars=spent + 0.0001)
    assert len(server.texts()) == 100


def test_ceiling_holds_while_texts_turn_out_longer_than_estimated(server, embed, monkeypatch):
    monkeypatch.setattr("tagsage.embed.openai.embedder.estimate_tokens", lambda _: 1)
    monkeypatch.setattr("tagsage.embed.openai.online.estimate_tokens", lambda _: 1)
    with pytest.raises(NonRetryableError, match="ceiling"):
        embed(openai_max_dollars=0.0003, openai_request_texts=10, openai_in_flight=1)
    assert server.tokens() * 1e-6 < 0.0003 + 10 * 10 * 1e-6


@pytest.mark.parametrize("options", [{"base64": False}, {"dimensions": False}])
def test_server_of_ones_own_may_lack_options_and_needs_no_key(
    cache, settings_of, monkeypatch, options
):
    with OpenAiServer(models={"mine": 5}, **options) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        settings = settings_of(openai_model="mine", openai_dimensions=0)
        hashes = text_hashes(TEXTS)
        assert not embed_missing(cache, settings, TEXTS, hashes, run_id="r")
        assert cache.dimensions_of("mine") == 5
        assert cache.spent("r").dollars == 0


def test_server_that_refuses_every_request_is_told_and_no_text_is_blamed(embed, monkeypatch):
    with OpenAiServer(dimensions=False) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        with pytest.raises(TagsageError, match=r"answered 400 \(dimensions is not supported\)"):
            embed()
        assert len(server.requests) == 2


def test_served_embedder_sends_each_text_once_and_keeps_nothing(server, settings_of, tmp_path):
    embedder = OpenAiEmbedder(settings_of(), DIMENSIONS)
    vectors = embedder.embed(["a title", "", "a title", "another"])
    assert sorted(server.texts()) == ["a title", "another"]
    np.testing.assert_allclose(vectors[[0, 3]], expected(["a title", "another"]), atol=1e-6)
    np.testing.assert_array_equal(vectors[2], vectors[0])
    assert not vectors[1].any()
    assert not list(tmp_path.iterdir())
