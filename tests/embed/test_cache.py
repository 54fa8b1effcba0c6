"""The vector cache: kept and found, whole or not at all, and what it cost."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tagsage.embed.cache import Job, Usage, VectorCache
from tagsage.embed.text import text_hashes
from tagsage.errors import NonRetryableError

MODEL = "some-model-3"
TEXTS = ["one", "two", "", "one", "three"]
HASHES = text_hashes(TEXTS)


def usage(tokens: int = 10, run_id: str = "r", model: str = MODEL) -> Usage:
    return Usage(run_id, model, 2, tokens, tokens / 1000)


@pytest.fixture
def cache(tmp_path: Path):
    with VectorCache(tmp_path / "folder" / "vectors.db") as opened:
        yield opened


def test_missing_texts_are_the_first_of_each_that_is_not_empty(cache):
    assert cache.missing(MODEL, HASHES).tolist() == [0, 1, 4]
    cache.put(MODEL, HASHES[[1]], np.ones((1, 3), np.float32))
    assert cache.missing(MODEL, HASHES).tolist() == [0, 4]
    assert cache.missing("another", HASHES).tolist() == [0, 1, 4]


def test_vectors_are_found_again_to_the_last_bit_by_another_process(cache):
    vectors = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    cache.put(MODEL, HASHES[[0, 4]], vectors)
    out = np.full((5, 3), 7, np.float32)
    with VectorCache(cache.file) as other:
        other.gather(MODEL, HASHES, out)
        assert other.dimensions_of(MODEL) == 3
        assert other.models() == [(MODEL, 3, 2)]
    np.testing.assert_array_equal(out[[0, 3, 4]], vectors[[0, 0, 1]])
    assert (out[[1, 2]] == 7).all()


def test_more_texts_than_one_query_takes_are_found(cache, monkeypatch):
    monkeypatch.setattr("tagsage.embed.cache.CHUNK", 7)
    hashes = text_hashes([f"text {number}" for number in range(50)])
    vectors = np.arange(150, dtype=np.float32).reshape(50, 3)
    cache.put(MODEL, hashes[:40], vectors[:40])
    out = np.zeros((50, 3), np.float32)
    cache.gather(MODEL, hashes, out)
    np.testing.assert_array_equal(out[:40], vectors[:40])
    assert cache.missing(MODEL, hashes).tolist() == list(range(40, 50))


def test_what_is_there_stays(cache):
    cache.put(MODEL, HASHES[[0]], np.ones((1, 3), np.float32))
    cache.put(MODEL, HASHES[[0]], np.zeros((1, 3), np.float32))
    out = np.zeros((1, 3), np.float32)
    cache.gather(MODEL, HASHES[:1], out)
    assert out.tolist() == [[1, 1, 1]]


def test_vectors_and_what_they_cost_are_kept_together_or_not_at_all(cache):
    broken = Usage("r", MODEL, 1, 10, None)  # type: ignore[arg-type]
    with pytest.raises(NonRetryableError):
        cache.put(MODEL, HASHES[[0]], np.ones((1, 3), np.float32), broken)
    assert cache.missing(MODEL, HASHES).tolist() == [0, 1, 4]
    assert cache.spent("r").tokens == 0


def test_vectors_of_another_length_are_refused(cache):
    cache.put(MODEL, HASHES[[0]], np.ones((1, 3), np.float32))
    with pytest.raises(NonRetryableError, match="of another length; prune it"):
        cache.gather(MODEL, HASHES, np.zeros((5, 4), np.float32))


def test_usage_is_summed_per_run_and_listed_per_model(cache):
    for tokens, run_id, model in [(10, "a", MODEL), (5, "a", "x"), (3, "b", MODEL), (1, "a", "x")]:
        cache.put(model, HASHES[:1], np.ones((1, 3), np.float32), usage(tokens, run_id, model))
    assert cache.spent("a") == Usage("a", "", 6, 16, pytest.approx(0.016))
    assert cache.spent("nobody").dollars == pytest.approx(0)
    assert {(one.run_id, one.model, one.tokens) for one in cache.usage()} == {
        ("a", MODEL, 10), ("a", "x", 6), ("b", MODEL, 3),
    }  # fmt: skip


def test_job_counts_with_its_estimate_until_it_is_finished(cache):
    job = Job("batch_1", MODEL, "r", 0.05, 1.0, 2)
    cache.add_job(job, HASHES[[0, 1]], usage(100))
    assert cache.jobs() == cache.jobs(MODEL) == [job]
    assert cache.jobs("another") == []
    assert cache.texts_of_job("batch_1") == set(HASHES[[0, 1]].astype("U32").tolist())
    assert cache.spent("r").tokens == 100
    cache.finish_job("batch_1", usage(80))
    assert (cache.jobs(), cache.texts_of_job("batch_1")) == ([], set())
    assert cache.spent("r").tokens == 80


def test_removed_model_is_missing_again_and_others_stay(cache):
    for model in (MODEL, "other"):
        cache.put(model, HASHES[[0, 1]], np.ones((2, 3), np.float32))
    assert cache.remove(MODEL) == 2
    assert cache.models() == [("other", 3, 2)]


def test_one_process_at_a_time_makes_vectors(cache):
    entered = threading.Event()

    def other() -> None:
        with VectorCache(cache.file) as second, second.filling():
            entered.set()

    thread = threading.Thread(target=other)
    with cache.filling():
        thread.start()
        assert not entered.wait(0.2)
    thread.join()
    assert entered.is_set()


def test_damaged_file_is_told_with_what_to_do(tmp_path):
    (tmp_path / "vectors.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    with (
        pytest.raises(NonRetryableError, match=r"is damaged \(.*\); put a backup in its place"),
        VectorCache(tmp_path / "vectors.db"),
    ):
        pass
