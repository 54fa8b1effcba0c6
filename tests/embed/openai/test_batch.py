"""The Batch API: submitted once, awaited, ingested; the rest goes online."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.openai import batch
from tagsage.embed.openai.embedder import embed_missing
from tagsage.embed.text import text_hashes
from tagsage.errors import NonRetryableError
from tests.embed.openai.conftest import DIMENSIONS, MODEL, TEXTS

MODEL_ID = f"{MODEL}-{DIMENSIONS}"
HASHES = text_hashes(TEXTS)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def submit(cache, settings_of):
    def run(texts=TEXTS, **changes):
        changes = {"openai_mode": "batch", **changes}
        return batch.submit_jobs(
            cache, settings_of(**changes), texts, text_hashes(texts), run_id="r"
        )

    return run


@pytest.fixture
def ingest(cache, settings_of):
    def run(job):
        assert batch.has_ended(settings_of(), job)
        return batch.ingest_results(cache, settings_of(), job)

    return run


def vectors_in(cache):
    out = np.zeros((len(TEXTS), DIMENSIONS), np.float32)
    cache.gather(MODEL_ID, HASHES, out)
    return out


def test_batch_brings_every_vector_at_half_the_price(server, submit, ingest, cache):
    (job,) = submit()
    assert cache.spent("r").dollars > 0
    assert ingest(job) == 0
    np.testing.assert_allclose(vectors_in(cache), expected_vectors(TEXTS, MODEL, 8), atol=1e-6)
    spent = cache.spent("r")
    assert (spent.texts, spent.tokens) == (150, server.tokens())
    assert spent.dollars == pytest.approx(server.tokens() * 0.5e-6)
    assert (cache.jobs(), submit()) == ([], [])
    assert Counter(server.texts("batch")) == Counter(TEXTS)
    # The input is removed from the server, the results expire there.
    assert len(server.files) == 1


def test_texts_are_split_over_as_many_batches_as_the_limits_ask(
    server, submit, ingest, cache, monkeypatch
):
    monkeypatch.setattr(batch, "JOB_TEXTS", 60)
    jobs = submit()
    assert [job.texts for job in cache.jobs()] == [60, 60, 30]
    assert [ingest(job) for job in jobs] == [0, 0, 0]
    assert Counter(server.texts()) == Counter(TEXTS)


def test_batch_is_awaited_while_it_is_under_way(server, submit, settings_of):
    server.batch_s = 60
    (job,) = submit()
    assert not batch.has_ended(settings_of(), job)
    server.batches[job]["ends"] = 0
    assert batch.has_ended(settings_of(), job)


def test_server_that_is_away_for_a_while_is_asked_again_later(
    server, submit, settings_of, monkeypatch
):
    (job,) = submit()
    monkeypatch.setattr("tagsage.openai_connection.RETRIES", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert not batch.has_ended(settings_of(), job)


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_what_a_batch_does_not_bring_is_sent_online(
    server, submit, ingest, cache, settings_of, status
):
    server.batch_status, server.lost_lines = status, 0.3
    (job,) = submit()
    missing = ingest(job)
    assert 0 < missing == len(cache.missing(MODEL_ID, HASHES))
    assert not embed_missing(cache, settings_of(), TEXTS, HASHES, run_id="r")
    assert Counter(server.texts()) == Counter(TEXTS)
    assert cache.spent("r").tokens == server.tokens()


def test_next_run_waits_for_a_batch_of_its_texts_in_either_mode_and_submits_the_rest(
    server, submit, cache
):
    (job,) = submit(TEXTS[:100])
    assert submit(TEXTS[:50], openai_mode="online") == [job]
    assert submit(["never seen"], openai_mode="online") == []
    waiting = submit([*TEXTS, "one more"])
    assert waiting[0] == job
    assert [one.texts for one in cache.jobs()] == [100, 51]


def test_kill_after_the_server_made_the_batch_does_not_submit_it_twice(
    server, submit, ingest, cache, monkeypatch
):
    server.batch_s = 60

    def die(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(cache, "add_job", die)
        with pytest.raises(Killed):
            submit()
    (job,) = submit()
    assert list(server.batches) == [job]
    server.batches[job]["ends"] = 0
    assert ingest(job) == 0


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_kill_while_results_are_ingested_ends_as_an_undisturbed_run(
    server, submit, ingest, cache, monkeypatch, moment
):
    monkeypatch.setattr(batch, "PART", 60)
    (job,) = submit()
    calls = Counter()
    put = cache.put

    def die_at(*arguments):
        calls["put"] += 1
        if calls["put"] == moment:
            raise Killed
        put(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(cache, "put", die_at)
        with pytest.raises(Killed):
            ingest(job)
    assert ingest(job) == 0
    np.testing.assert_allclose(vectors_in(cache), expected_vectors(TEXTS, MODEL, 8), atol=1e-6)
    assert cache.spent("r").tokens == server.tokens()
    assert batch.ingest_results(cache, None, job) == 0


def test_ceiling_counts_batches_under_way(server, submit):
    with pytest.raises(NonRetryableError, match="ceiling"):
        submit(openai_max_dollars=0.0001)
    assert server.batches == {}
    server.batch_s = 60
    submit(TEXTS[:100], openai_max_dollars=0.0003)
    with pytest.raises(NonRetryableError, match=r"the run has spent \$0\.0"):
        submit(openai_max_dollars=0.0003)
    assert len(server.batches) == 1


def test_batch_that_the_server_does_not_know_is_told_with_what_to_do(
    server, submit, settings_of, cache
):
    (job,) = submit()
    server.batches.clear()
    with pytest.raises(NonRetryableError, match=f"does not know the batch {job}.*--forget"):
        batch.has_ended(settings_of(), job)
    cache.forget_job(job)
    assert cache.jobs() == []
    assert cache.spent("r").tokens > 0


def test_wrong_vectors_in_the_results_are_refused(server, submit, ingest, cache):
    (job,) = submit()
    name = server.batch(job)["output_file_id"]
    lines = server.files[name].splitlines()
    lines[0] = b"oops"
    lines[1] = lines[2]
    server.files[name] = b"\n".join(lines)
    assert ingest(job) == 2
    assert cache.spent("r").texts == 148


def test_cancelled_batch_keeps_its_texts_until_the_server_has_ended_it(
    server, submit, settings_of, cache, ingest
):
    server.batch_s = 60
    (job,) = submit()
    batch.cancel_job(settings_of(), job)
    assert [one.id for one in cache.jobs()] == [job]
    assert ingest(job) == 150


def test_server_without_a_batch_api_is_told(submit, monkeypatch):
    with OpenAiServer() as server:
        monkeypatch.setattr(server, "base_url", server.base_url.removesuffix("/v1") + "/other")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        with pytest.raises(NonRetryableError, match=r"has no Batch API .*; set .*openai_mode=onli"):
            submit()
