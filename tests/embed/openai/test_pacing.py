"""Requests wait as long as the server asks, in every form it may ask."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tagsage.embed.openai.pacing import (
    LONGEST_PAUSE_ALIVE_S,
    LONGEST_PAUSE_S,
    Pacer,
    again_at,
    duration,
    growing_pause,
    retry_after,
)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m0.5s", 3720.5),
        ("", None),
        ("soon", None),
        ("5", None),
        ("-1s", None),
    ],
)
def test_durations_of_the_rate_limit_headers_are_read(said: str, seconds: float | None) -> None:
    assert duration(said) == seconds


def test_retry_after_is_read_in_seconds_milliseconds_and_as_a_date() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "7", "retry-after-ms": "250"}) == pytest.approx(0.25)
    later = datetime.now(tz=UTC) + timedelta(seconds=30)
    assert 27 < (retry_after({"retry-after": format_datetime(later, usegmt=True)}) or 0) <= 30
    past = datetime.now(tz=UTC) - timedelta(days=1)
    assert retry_after({"retry-after": format_datetime(past, usegmt=True)}) == 0
    assert retry_after({"retry-after": "tomorrow"}) is None
    assert retry_after({}) is None


def test_pauses_double_up_to_a_limit_and_are_shorter_by_chance() -> None:
    for failures, longest in [(1, 0.5), (2, 1.0), (3, 2.0), (40, LONGEST_PAUSE_S)]:
        pauses = [growing_pause(failures) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_a_server_that_answers_others_is_asked_again_soon() -> None:
    now = time.monotonic()
    assert again_at(30, None, alive=True) - now <= LONGEST_PAUSE_ALIVE_S + 1
    assert again_at(30, None, alive=False) - now > LONGEST_PAUSE_ALIVE_S + 1
    assert again_at(30, 123.0, alive=True) - now == pytest.approx(123, abs=1)


def _waited(pacer: Pacer, tokens: int) -> float:
    """Return how long a request has to wait; count it when it has not."""
    delay = max(pacer.delay(tokens), 0.0)
    if not delay:
        pacer.count(tokens)
    return delay


def test_nothing_waits_before_the_server_has_said_anything() -> None:
    assert _waited(Pacer(), 10**9) == 0


def test_requests_wait_for_the_reset_when_too_few_tokens_are_left() -> None:
    pacer = Pacer()
    pacer.record({"x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "50s"})
    assert _waited(pacer, 60) == 0
    # 40 are left of the 100.
    assert _waited(pacer, 41) == pytest.approx(50, abs=2)
    assert _waited(pacer, 40) == 0


def test_requests_wait_for_the_reset_when_no_request_is_left() -> None:
    pacer = Pacer()
    pacer.record({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "30s"})
    assert _waited(pacer, 1) == 0
    assert _waited(pacer, 1) == pytest.approx(30, abs=2)


def test_after_the_reset_all_is_forgotten() -> None:
    pacer = Pacer()
    pacer.record({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0ms"})
    assert _waited(pacer, 1) == 0


def test_headers_that_make_no_sense_are_ignored() -> None:
    pacer = Pacer()
    pacer.record({"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "30s"})
    pacer.record({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"})
    assert _waited(pacer, 1) == 0


def test_a_pause_holds_for_all_requests_and_the_longest_counts() -> None:
    pacer = Pacer()
    pacer.pause(40)
    pacer.pause(10)
    assert _waited(pacer, 1) == pytest.approx(40, abs=2)
