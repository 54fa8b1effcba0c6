"""Texts embedded on line: every vector right, none paid for twice, whatever the server does."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from scripts.neo4j_server import free_port
from scripts.openai_api.books import charged_twice
from scripts.openai_api.faults import Faults
from scripts.openai_api.limits import RateLimit
from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.cache import VectorCache
from tagsage.embed.openai import pacing, requests
from tagsage.embed.openai.answers import NOT_FINITE
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.ledger import CeilingReachedError, Ledger, Spending
from tagsage.embed.openai.online import OnlineReport, embed_online
from tagsage.embed.openai.spool import CACHE, SPOOL, open_body
from tagsage.embed.text import text_hash, text_hashes
from tagsage.errors import TagsageError
from tagsage.openai_connection import OpenAiConnection

KEY = "sk-test-0123456789abcdef"
MODEL, DIMENSIONS = "text-embedding-3-small", 8
AMPLE = Ceiling(100.0, 10**9)
CONFIG = OpenAiConfig(
    MODEL, DIMENSIONS, request_texts=16, timeout_s=5, patience_s=10, in_flight=3, encoding="base64"
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(pacing, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture
def server() -> Generator[OpenAiServer]:
    with OpenAiServer(api_key=KEY) as running:
        yield running


@dataclass
class Caller:
    """Calls embed_online, and compares the cache with what the server should have said."""

    folder: Path
    server: OpenAiServer
    config: OpenAiConfig = CONFIG
    ceiling: Ceiling = AMPLE
    key: str = field(default=KEY, repr=False)

    def embed(self, texts: list[str], **changes: Any) -> OnlineReport:
        return embed_online(
            **{
                "connection": OpenAiConnection(self.key, self.server.base_url),
                "config": self.config,
                "texts": texts,
                "hashes": text_hashes(texts),
                "rows": np.arange(len(texts)),
                "folder": self.folder,
                "dimensions": DIMENSIONS,
                "run_id": "run",
                "price": 0.02,
                "ceiling": self.ceiling,
            }
            | changes
        )

    def wrong(self, texts: list[str]) -> list[str]:
        """Return the texts whose vector in the cache is not the server's, or not there."""
        got = np.zeros((len(texts), DIMENSIONS), np.float32)
        VectorCache(self.folder / CACHE, self.config.model_id, DIMENSIONS).gather(
            text_hashes(texts), got
        )
        expected = expected_vectors(texts, MODEL, DIMENSIONS)
        right = np.isclose(got, expected, atol=1e-6).all(axis=1)
        return [text for text, fine in zip(texts, right, strict=True) if not fine]

    def spent(self) -> Spending:
        with Ledger(self.folder) as ledger:
            return ledger.spent("run")

    def requests(self) -> int:
        return len(self.server.books.answered("POST /v1/embeddings"))


@pytest.fixture
def caller(tmp_path: Path, server: OpenAiServer) -> Caller:
    return Caller(tmp_path, server)


def titles(n: int) -> list[str]:
    return [f"Article number {number} on graphs" for number in range(n)]


# -- when all is well ----------------------------------------------------------------------------
def test_every_text_gets_its_vector_and_is_paid_for_once(caller: Caller) -> None:
    texts = titles(100)
    report = caller.embed(texts)
    assert report == OnlineReport(100, 100, {}, 0, 0)
    assert caller.wrong(texts) == []
    assert caller.requests() == 7
    assert set(caller.server.books.times_charged().values()) == {1}
    spent = caller.spent()
    assert (spent.requests, spent.texts, spent.lost_requests) == (7, 100, 0)
    assert spent.tokens == caller.server.books.tokens
    assert spent.dollars == pytest.approx(spent.tokens * 0.02e-6)
    assert list((caller.folder / SPOOL).iterdir()) == []


def test_what_is_in_the_cache_is_not_sent_again(caller: Caller) -> None:
    caller.embed(titles(20))
    before = caller.requests()
    assert caller.embed(titles(20)) == OnlineReport(0, 0, {}, 0, 0)
    assert caller.requests() == before
    assert caller.embed(titles(30)).embedded == 10
    assert set(caller.server.books.times_charged().values()) == {1}


def test_vectors_of_other_dimensions_are_others(caller: Caller) -> None:
    caller.embed(titles(5))
    other = replace(CONFIG, dimensions=4)
    report = caller.embed(titles(5), config=other, dimensions=4)
    assert report.embedded == 5


def test_a_server_without_keys_base64_or_usage_will_do(tmp_path: Path) -> None:
    config = replace(CONFIG, encoding="auto")
    with OpenAiServer(base64="refused", usage=False) as server:
        caller = Caller(tmp_path, server, config, key="")
        caller.embed(titles(20))
        assert caller.wrong(titles(20)) == []
        # The server does not count, so the estimate stands: 6 tokens a title, and a bit.
        assert 100 < caller.spent().tokens < 200


def test_a_server_that_ignores_base64_will_do(tmp_path: Path) -> None:
    with OpenAiServer(base64="ignored") as server:
        caller = Caller(tmp_path, server, replace(CONFIG, encoding="base64"))
        caller.embed(titles(20))
        assert caller.wrong(titles(20)) == []


def test_base64_that_is_refused_is_given_up_unless_it_was_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As OpenAI itself is asked.
    monkeypatch.setattr(OpenAiConnection, "official", property(lambda _: True))
    with OpenAiServer(base64="refused") as server:
        caller = Caller(tmp_path, server, replace(CONFIG, encoding="auto"))
        caller.embed(titles(5))
        assert caller.wrong(titles(5)) == []
        assert caller.requests() == 2
        with pytest.raises(TagsageError, match=r"does not take openai_encoding=base64 \(.*set it"):
            caller.embed(titles(9), config=replace(CONFIG, encoding="base64"))


def test_the_length_of_unknown_vectors_is_learnt_from_one_text(tmp_path: Path) -> None:
    with OpenAiServer(models={"mine": 5}) as server:
        caller = Caller(tmp_path, server, OpenAiConfig("mine"))
        caller.embed(["one text"], dimensions=None)
        assert len(VectorCache(tmp_path / CACHE, "mine", 5).hashes()) == 1
        with pytest.raises(ValueError, match="only one text"):
            caller.embed(titles(2), dimensions=None)


def test_it_works_within_an_event_loop_as_in_a_notebook(caller: Caller) -> None:
    async def cell() -> OnlineReport:  # ruff: ignore[unused-async]
        return caller.embed(titles(3))

    assert asyncio.run(cell()).embedded == 3


# -- texts ---------------------------------------------------------------------------------------
def test_a_text_that_is_too_long_is_cut_and_counted(caller: Caller) -> None:
    long = "word " * 12_000
    report = caller.embed([*titles(3), long])
    assert (report.embedded, report.cut) == (4, 1)
    # 8,192 words by our estimate; this server counts a token for every four letters.
    assert long[:20_480] in caller.server.books.texts()


def test_a_text_that_the_server_finds_too_long_after_all_is_cut_further(tmp_path: Path) -> None:
    # This server counts a token a byte, the worst there is.
    with OpenAiServer(count_tokens=lambda text: len(text.encode())) as server:
        caller = Caller(tmp_path, server)
        report = caller.embed([*titles(20), "word " * 6000])
        assert report.embedded == 21
        assert caller.wrong(titles(20)) == []
        assert ("word " * 6000)[:8192] in server.books.texts()


def test_a_server_that_takes_fewer_and_shorter_texts_will_do(tmp_path: Path) -> None:
    # As TEI with a model of 512 tokens, only smaller.
    with OpenAiServer(max_inputs=5, max_input_tokens=50) as server:
        caller = Caller(tmp_path, server)
        long = "word " * 100
        report = caller.embed([*titles(40), long])
        assert (report.embedded, report.rejected, report.cut) == (41, {}, 1)
        assert caller.wrong(titles(40)) == []
        assert long[:125] in server.books.texts()


def test_lone_surrogates_are_sent_as_replacement_characters(caller: Caller) -> None:
    assert caller.embed(["bad \ud800 escape"]).embedded == 1
    assert caller.server.books.texts() == {"bad \ufffd escape"}


def test_a_text_that_the_server_refuses_is_found_and_set_aside(caller: Caller) -> None:
    texts = titles(60)
    caller.server.faults = caller.server.api.faults = Faults(texts={"number 33 ": "400"})
    report = caller.embed(texts)
    assert report.embedded == 59
    assert report.rejected == {text_hash(texts[33]): "The request was refused on purpose"}
    assert caller.wrong(texts) == [texts[33]]
    assert charged_twice(caller.server.books) == {}
    before = caller.requests()
    # Nor is it asked for the next run.
    assert caller.embed(texts).rejected == report.rejected
    assert caller.requests() == before


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("nan", NOT_FINITE),
        ("500", "The server had an error"),
        ("missing_item", "0 vectors without numbers"),
    ],
)
def test_a_text_that_the_server_always_fails_at_is_found_and_set_aside(
    caller: Caller, fault: str, why: str
) -> None:
    texts = titles(40)
    caller.server.faults = caller.server.api.faults = Faults(texts={"number 33 ": fault})
    report = caller.embed(texts)
    assert report.embedded == 39
    assert list(report.rejected) == [text_hash(texts[33])]
    assert why in report.rejected[text_hash(texts[33])]
    assert caller.wrong(texts) == [texts[33]]


def test_a_lone_bad_text_is_blamed_only_after_a_harmless_one_went_well(caller: Caller) -> None:
    caller.server.faults = caller.server.api.faults = Faults(texts={"POISON": "400"})
    assert len(caller.embed(["POISON"]).rejected) == 1


def test_a_server_that_takes_nothing_is_told_at_once_and_no_text_is_blamed(
    caller: Caller,
) -> None:
    caller.server.faults = caller.server.api.faults = Faults(texts={"": "400"})
    with pytest.raises(TagsageError, match=r"answered 400 \(The request was refused on purpose\)"):
        caller.embed(titles(200))
    assert caller.requests() <= 2 * CONFIG.in_flight
    with Ledger(caller.folder) as ledger:
        assert ledger.rejected(CONFIG.model_id) == {}


# -- faults --------------------------------------------------------------------------------------
HARMFUL = {
    **dict.fromkeys(("429_ms", "500", "503", "reset_before", "reset_midway"), 0.04),
    **dict.fromkeys(("reset_after", "truncated_body", "truncated_json", "garbage"), 0.04),
    **dict.fromkeys(("wrong_order", "no_index", "duplicate_index", "missing_item"), 0.03),
    **dict.fromkeys(("additional_item", "wrong_count", "wrong_length", "nan"), 0.03),
    **dict.fromkeys(("infinity", "zero", "drip"), 0.02),
}


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_every_vector_is_right_and_none_paid_twice_whatever_goes_wrong(
    tmp_path: Path, encoding: str
) -> None:
    faults = Faults(probabilities={"embeddings": HARMFUL}, slow_s=0.05, retry_after_s=0.02, seed=3)
    texts = titles(600)
    with OpenAiServer(faults=faults) as server:
        caller = Caller(tmp_path, server, replace(CONFIG, encoding=encoding))
        report = caller.embed(texts)
        assert report == OnlineReport(600, 600, {}, 0, 0)
        assert caller.wrong(texts) == []
        assert charged_twice(server.books) == {}
        assert len(server.books.outcomes()) == 3  # delivered, bad and lost ones


def test_a_rate_limit_is_kept_to(tmp_path: Path) -> None:
    with OpenAiServer(limit=RateLimit(requests=3, tokens=10_000, window_s=0.3)) as server:
        caller = Caller(tmp_path, server)
        caller.embed(titles(160))
        assert caller.wrong(titles(160)) == []
        refused = [
            status for status in server.books.answered("POST /v1/embeddings") if status == 429
        ]
        # The headers say when to wait; a few requests are under way when they first do.
        assert len(refused) <= 2 * CONFIG.in_flight
        assert charged_twice(server.books) == {}


@pytest.mark.parametrize("fault", ["429", "429_ms", "429_date", "429_bare"])
def test_a_429_is_waited_for_in_every_form(caller: Caller, fault: str) -> None:
    caller.server.faults.retry_after_s = 0.05
    caller.server.faults.next("embeddings", *[fault] * 20)
    assert caller.embed(titles(40)).embedded == 40
    assert caller.wrong(titles(40)) == []


def test_an_answer_that_takes_too_long_is_asked_for_again(caller: Caller) -> None:
    caller.server.faults.slow_s = 3.0
    caller.server.faults.next("embeddings", "drip", "slow")
    caller.embed(titles(40), config=replace(CONFIG, timeout_s=0.4))
    assert caller.wrong(titles(40)) == []
    assert caller.spent().lost_requests == 2


def test_used_up_quota_stops_at_once_and_keeps_what_was_done(tmp_path: Path) -> None:
    texts = titles(200)
    with OpenAiServer(quota_tokens=600) as server:
        caller = Caller(tmp_path, server)
        with pytest.raises(TagsageError, match=r"quota of the account is used up .* is kept"):
            caller.embed(texts)
        done = len(texts) - len(caller.wrong(texts))
        assert done >= 16
        refused = [
            status for status in server.books.answered("POST /v1/embeddings") if status == 429
        ]
        assert len(refused) <= CONFIG.in_flight
        server.api.quota_tokens = None
        assert caller.embed(texts).embedded == len(texts) - done
        assert caller.wrong(texts) == []
        assert set(server.books.times_charged().values()) == {1}


def test_a_wrong_key_is_told_without_it(caller: Caller) -> None:
    caller.key = "sk-wrong-key-000111222333"
    with pytest.raises(TagsageError, match=r"refused the key \(401") as caught:
        caller.embed(titles(50))
    assert "wrong" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caller.requests() <= CONFIG.in_flight


def test_an_unknown_model_and_unwanted_dimensions_are_told(caller: Caller) -> None:
    with pytest.raises(TagsageError, match=r"does not know .*; correct openai_model"):
        caller.embed(titles(5), config=OpenAiConfig("no-such-model"))
    config = OpenAiConfig("text-embedding-ada-002", 8)
    with pytest.raises(TagsageError, match=r"ada-002 does not take openai_dimensions=8"):
        caller.embed(titles(5), config=config)


def test_a_server_that_is_not_there_is_told_soon(caller: Caller) -> None:
    gone = OpenAiConnection(KEY, f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(TagsageError, match=r"at http://127.0.0.1:\d+/v1 cannot be reached"):
        caller.embed(titles(5), connection=gone)
    assert caller.spent().dollars == 0


def test_a_server_that_only_fails_is_given_up_after_a_while(caller: Caller) -> None:
    caller.server.faults = caller.server.api.faults = Faults(
        probabilities={"embeddings": {"503": 1.0}}
    )
    with pytest.raises(TagsageError, match=r"answered 503"):
        caller.embed(titles(50), config=replace(CONFIG, patience_s=0.2))
    with Ledger(caller.folder) as ledger:
        assert ledger.rejected(CONFIG.model_id) == {}


@pytest.mark.parametrize(
    ("dialect", "config"),
    [
        ({"dimensions": "ignored"}, CONFIG),
        ({"any_model": 8, "models": {}}, replace(CONFIG, model="mine", dimensions=0)),
    ],
)
def test_vectors_of_another_length_end_the_run_before_much_is_paid(
    tmp_path: Path, dialect: dict[str, Any], config: OpenAiConfig
) -> None:
    with OpenAiServer(**dialect) as server:
        caller = Caller(tmp_path, server, config)
        expected = 8 if config.dimensions else 4
        with pytest.raises(TagsageError, match=rf"vectors of \d+ numbers, not of {expected}; corr"):
            caller.embed(titles(400), dimensions=expected)
        # Those under way when the first answer came.
        assert len(server.books.charges) <= CONFIG.in_flight


def test_a_request_too_large_for_the_account_is_made_smaller(tmp_path: Path) -> None:
    limit = RateLimit(requests=100_000, tokens=60, window_s=0.1)
    with OpenAiServer(limit=limit) as server:
        caller = Caller(tmp_path, server)
        assert caller.embed(titles(40)).embedded == 40
        assert caller.wrong(titles(40)) == []
        assert set(server.books.times_charged().values()) == {1}
        # Found out once, not for every request.
        refused = [one for one in server.books.answered("POST /v1/embeddings") if one == 429]
        assert len(refused) < 20


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "86400"},
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9h"},
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_beyond_patience_is_refused_at_once(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        caller = Caller(tmp_path, cast("OpenAiServer", SimpleNamespace(base_url=url)))
        with pytest.raises(
            TagsageError, match=r"asks to wait for [\d,]+ s, longer than openai_pat"
        ):
            caller.embed(titles(40))
        server.shutdown()


@pytest.mark.parametrize("within_loop", [False, True])
def test_no_trace_of_a_failure_repeats_the_key(tmp_path: Path, within_loop: bool) -> None:
    key = "my-gateway-token-0011223344"
    with OpenAiServer(api_key=KEY, echo_key=True) as server:
        caller = Caller(tmp_path, server, key=key)

        async def cell() -> None:  # ruff: ignore[unused-async]
            caller.embed(titles(3))

        with pytest.raises(TagsageError, match="refused the key") as caught:
            asyncio.run(cell()) if within_loop else caller.embed(titles(3))
        trace = "".join(traceback.format_exception(caught.value))
        assert key not in trace
        assert "During handling" not in trace


def test_what_is_under_way_is_kept_when_the_disk_fails(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))

    def full(asked: Any, folder: Path) -> Any:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        return open_body(asked, folder)

    caller.server.api.latency_s = 0.1
    with monkeypatch.context() as patch:
        patch.setattr(requests, "open_body", full)
        with pytest.raises(OSError, match="No space left"):
            caller.embed(titles(160))
    caller.embed(titles(160))
    assert caller.wrong(titles(160)) == []
    assert set(caller.server.books.times_charged().values()) == {1}


# -- money ---------------------------------------------------------------------------------------
def test_the_ceiling_is_never_crossed_and_more_money_goes_on_where_it_ended(
    caller: Caller,
) -> None:
    texts = titles(300)
    caller.ceiling = Ceiling(100.0, 1500)
    with pytest.raises(CeilingReachedError, match="openai_max_tokens=1500"):
        caller.embed(texts)
    charged = caller.server.books.tokens
    # Nearly all of it was used: only less than the next text may need is left.
    assert 1400 < charged <= 1500
    caller.ceiling = AMPLE
    caller.embed(texts)
    assert caller.wrong(texts) == []
    assert set(caller.server.books.times_charged().values()) == {1}


def test_below_one_ceiling_a_task_waits_for_what_another_has_reserved(caller: Caller) -> None:
    texts = titles(30)
    caller.ceiling = Ceiling(100.0, 1000)
    with Ledger(caller.folder) as other, ThreadPoolExecutor(1) as pool:
        other.reserve(
            "other",
            run_id="run",
            model_id=CONFIG.model_id,
            texts=1,
            bound=950,
            estimate=10,
            price=0.02,
            ceiling=caller.ceiling,
        )
        run = pool.submit(caller.embed, texts)
        time.sleep(0.5)
        assert not run.done()
        other.settle("other", "done", 10)
        assert run.result().embedded == 30


# -- several runs; for several processes see test_online_processes.py ------------------------------
def test_two_runs_at_the_same_time_do_not_pay_twice(tmp_path: Path) -> None:
    texts = titles(200)
    with OpenAiServer(latency_s=0.02) as server, ThreadPoolExecutor(2) as pool:
        caller = Caller(tmp_path, server)
        runs = [
            pool.submit(caller.embed, part, run_id=str(name))
            for name, part in enumerate((texts, texts[::-1]))
        ]
        reports = [run.result() for run in runs]
        assert sum(report.embedded for report in reports) == 200
        assert caller.wrong(texts) == []
        assert set(server.books.times_charged().values()) == {1}
