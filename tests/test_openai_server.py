"""The server that answers like OpenAI's API: through the official SDK, and through raw sockets."""

from __future__ import annotations

import http.client
import json
import math
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest

from scripts.openai_api.limits import Buckets, duration
from scripts.openai_api.vectors import encode
from scripts.openai_server import (
    ENDPOINTS,
    Books,
    Charged,
    Faults,
    OpenAiServer,
    RateLimit,
    charged_twice,
    count_tokens,
    expected_vector,
    expected_vectors,
)

ROOT = Path(__file__).resolve().parents[1]
ADA = "text-embedding-ada-002"
SMALL = "text-embedding-3-small"
KEY = "sk-test-0123456789abcdef"
TEXTS = ["graph of words", "words", "räumlich 雪", "four", "five"]


@pytest.fixture(scope="module")
def shared() -> Iterator[OpenAiServer]:
    """A server for the tests that leave no faults behind; they use texts of their own."""
    with OpenAiServer(api_key=KEY, faults=Faults(slow_s=0.2)) as server:
        yield server


def client_of(server: OpenAiServer, **options) -> openai.OpenAI:
    return openai.OpenAI(**{
        **{"api_key": KEY, "base_url": server.base_url, "max_retries": 0, "timeout": 20},
        **options,
    })


def vectors_of(answer) -> np.ndarray:
    return np.array([item.embedding for item in answer.data], dtype=np.float32)


def post(server, body: object, **headers) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=20)
    content = body if isinstance(body, bytes) else json.dumps(body)
    connection.request(
        "POST", "/v1/embeddings", content, {"Authorization": f"Bearer {KEY}", **headers}
    )
    answer = connection.getresponse()
    told = answer.status, {name.lower(): value for name, value in answer.getheaders()}
    content = answer.read()
    connection.close()
    return *told, content


def eventually(condition, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


# -- vectors ---------------------------------------------------------------------------------


def test_a_vector_depends_on_nothing_but_model_length_and_text():
    together = expected_vectors(TEXTS, ADA)
    assert together.dtype == np.float32
    assert together.shape == (5, 1536)
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_array_equal(row, expected_vector(text, ADA))
    np.testing.assert_allclose(np.linalg.norm(together.astype(float), axis=1), 1, atol=1e-6)
    assert abs(together @ together.T - np.eye(5)).max() < 0.15
    assert not np.array_equal(expected_vector("words", SMALL), together[1])


def test_a_shorter_vector_is_the_beginning_of_the_longer_one():
    long, short = expected_vector("words", SMALL), expected_vector("words", SMALL, 6)
    np.testing.assert_allclose(short, long[:6] / np.linalg.norm(long[:6]), rtol=1e-4)


def test_in_the_mode_words_texts_that_share_words_are_near():
    near, alike, far = expected_vectors(
        ["Graph neural networks", "networks: graph, neural", "Sourdough bread"], ADA, 0, "words"
    )
    assert near @ alike == pytest.approx(1, abs=1e-6)
    assert abs(near @ far) < 0.1
    assert np.linalg.norm(expected_vector("!?", ADA, 0, "words")) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_both_encodings_give_back_every_bit(encoding):
    import base64

    vectors = expected_vectors([f"text {number}" for number in range(300)], SMALL, 50)
    values = [json.loads(value) for value in encode(vectors, encoding)]
    if encoding == "base64":
        values = [np.frombuffer(base64.b64decode(value), "<f4") for value in values]
    np.testing.assert_array_equal(np.array(values, dtype=np.float32), vectors)


# -- right answers ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"encoding_format": "float"}, {}], ids=["float", "base64"])
def test_the_sdk_gets_the_expected_vectors(shared, options):
    with client_of(shared) as client:
        # Not told otherwise, the SDK asks for base64 and decodes it.
        answer = client.embeddings.create(model=ADA, input=TEXTS, **options)
        short = client.embeddings.create(model=SMALL, input="one", dimensions=7)
    np.testing.assert_array_equal(vectors_of(answer), expected_vectors(TEXTS, ADA))
    np.testing.assert_array_equal(vectors_of(short)[0], expected_vector("one", SMALL, 7))
    assert [item.index for item in answer.data] == [0, 1, 2, 3, 4]
    # 14, 5, 13, 4 and 4 bytes.
    assert answer.usage.total_tokens == 4 + 2 + 4 + 1 + 1
    assert answer.model == ADA


def test_a_connection_is_kept_and_the_largest_request_is_answered(shared):
    texts = [f"article {number}" for number in range(2048)]
    connection = http.client.HTTPConnection(urlsplit(shared.base_url).netloc, timeout=20)
    sockets = set()
    for _ in range(2):
        body = json.dumps({"model": ADA, "input": texts, "encoding_format": "base64"})
        connection.request("POST", "/v1/embeddings", body, {"Authorization": f"Bearer {KEY}"})
        sockets.add(connection.sock.getsockname())
        answer = connection.getresponse()
        assert answer.getheader("x-request-id").startswith("req_")
        assert len(json.loads(answer.read())["data"]) == 2048
    connection.close()
    assert len(sockets) == 1


def test_a_server_of_another_make_ignores_and_refuses_what_it_cannot():
    with (
        OpenAiServer(
            models={"nomic": 8}, base64="ignored", dimensions="ignored", usage=False
        ) as server,
        client_of(server, api_key="none") as client,
    ):
        answer = client.embeddings.with_raw_response.create(
            model="nomic", input=["a", "b"], dimensions=3, encoding_format="base64"
        )
        raw = json.loads(answer.content)
        assert isinstance(raw["data"][0]["embedding"], list)
        assert len(raw["data"][0]["embedding"]) == 8
        assert "usage" not in raw
        assert [model.id for model in client.models.list()] == ["nomic"]
    with (
        OpenAiServer(
            any_model=4, base64="refused", dimensions="refused", plain_errors=True
        ) as server,
        client_of(server) as client,
    ):
        for refused in ({"encoding_format": "base64"}, {"dimensions": 2}):
            with pytest.raises(openai.BadRequestError) as caught:
                client.embeddings.create(**{
                    "model": "x",
                    "input": "a",
                    "encoding_format": "float",
                    **refused,
                })
            assert "not support" in caught.value.response.json()["error"]
        status, _, body = post(server, {"model": "x", "input": []})
        assert status == 400
        assert isinstance(json.loads(body)["error"], str)


# -- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"{", 400, None, "JSON"),
        ({"input": "a"}, 400, None, "model parameter"),
        ({"model": "gpt-none", "input": "a"}, 404, "model_not_found", "does not exist"),
        ({"model": ADA, "input": ""}, 400, None, r"'\$\.input' is invalid"),
        ({"model": ADA, "input": []}, 400, None, r"'\$\.input' is invalid"),
        ({"model": ADA, "input": ["a", ""]}, 400, None, r"'\$\.input' is invalid"),
        ({"model": ADA, "input": ["a", 7]}, 400, None, r"'\$\.input' is invalid"),
        ({"model": ADA}, 400, None, r"'\$\.input' is invalid"),
        ({"model": ADA, "input": ["a"] * 2049}, 400, "array_above_max_length", "length 2049"),
        ({"model": ADA, "input": "a" * 4 * 8193}, 400, None, "you requested 8193 tokens"),
        (
            {"model": ADA, "input": ["abcd" * 8000] * 38},
            *(400, "max_tokens_per_request", "you requested 304000 tokens"),
        ),
        ({"model": ADA, "input": "a", "dimensions": 5}, 400, None, "not support specifying"),
        ({"model": SMALL, "input": "a", "dimensions": 1537}, 400, None, "between 1 and 1536"),
        ({"model": ADA, "input": "a", "encoding_format": "hex"}, 400, "invalid_value", "hex"),
    ],
)
def test_a_wrong_request_is_refused_in_the_words_of_the_api(shared, body, status, code, message):
    before = shared.books.tokens
    got, _, content = post(shared, body)
    error = json.loads(content)["error"]
    assert (got, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert re.search(message, error["message"])
    assert shared.books.tokens == before


def test_the_limits_themselves_are_let_in(shared):
    body = {"model": SMALL, "dimensions": 1, "input": ["abcd" * 8192] * 36 + ["a"] * 2012}
    assert post(shared, body)[0] == 200
    assert count_tokens("abcd" * 8192) == 8192


def test_a_wrong_key_is_refused_and_only_its_ends_are_repeated(shared):
    wrong = "sk-wrong-9876543210"
    with client_of(shared, api_key=wrong) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.embeddings.create(model=ADA, input="a")
        assert caught.value.code == "invalid_api_key"
        assert wrong not in str(caught.value)
        assert "3210" in str(caught.value)
    assert post(shared, {}, Authorization="")[0] == 401
    with OpenAiServer(api_key=KEY, echo_key=True) as server:
        assert wrong.encode() in post(server, {}, Authorization=f"Bearer {wrong}")[2]


def test_an_unknown_path_is_not_found(shared):
    with client_of(shared) as client, pytest.raises(openai.NotFoundError, match="Invalid URL"):
        client.completions.create(model="x", prompt="y")


# -- limits ----------------------------------------------------------------------------------


def test_buckets_empty_and_fill_again():
    now = [0.0]
    buckets = Buckets(RateLimit(requests=2, tokens=100, window_s=60), clock=lambda: now[0])
    assert buckets.take(90)[0] == 0
    wait, short, headers = buckets.take(20)
    # 10 of 100 are left; the 10 that lack come in a tenth of a minute.
    assert (wait, short) == (pytest.approx(6), "tokens")
    assert headers == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "54s",
    }
    now[0] = 6.0
    assert buckets.take(20)[0] == 0
    wait, short, _ = buckets.take(0)
    assert (wait, short) == (pytest.approx(24), "requests")
    assert math.isinf(buckets.take(101)[0])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.12, "120ms"),
        (1.5, "1.5s"),
        (10, "10s"),
        (360, "6m0s"),
        (3723.04, "1h2m3.04s"),
    ],
)
def test_times_are_written_as_in_the_headers(seconds, text):
    assert duration(seconds) == text


def test_who_asks_too_often_waits_as_told_and_is_let_in():
    with (
        OpenAiServer(limit=RateLimit(requests=1, tokens=1000, window_s=0.3)) as server,
        client_of(server) as client,
    ):
        client.embeddings.create(model=ADA, input="a")
        with pytest.raises(openai.RateLimitError) as caught:
            client.embeddings.create(model=ADA, input="a")
        headers = caught.value.response.headers
        assert caught.value.code == "rate_limit_exceeded"
        assert headers["retry-after"] == "1"
        assert headers["x-ratelimit-remaining-requests"] == "0"
        time.sleep(int(headers["retry-after-ms"]) / 1000)
        client.embeddings.create(model=ADA, input="a")
        with pytest.raises(openai.RateLimitError, match=r"too large .* Limit 1000, Requested 1250"):
            client.embeddings.create(model=ADA, input="a" * 5000)


def test_a_quota_ends_the_account_until_it_is_raised():
    with OpenAiServer(quota_tokens=3) as server, client_of(server) as client:
        client.embeddings.create(model=ADA, input=["four", "four"])
        with pytest.raises(openai.RateLimitError) as caught:
            client.embeddings.create(model=ADA, input="a b c d e")
        assert caught.value.code == "insufficient_quota"
        assert server.books.tokens == 2
        server.api.quota_tokens = 100
        client.embeddings.create(model=ADA, input="a b c d e")
        assert server.books.tokens == 5


# -- faults ----------------------------------------------------------------------------------


def ask_with(server, fault: str, texts: list[str], encoding: str = "float") -> bytes:
    server.faults.next("embeddings", fault)
    with client_of(server) as client:
        return client.embeddings.with_raw_response.create(
            model=SMALL, input=texts, dimensions=4, encoding_format=encoding
        ).content


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("429", openai.RateLimitError),
        ("429_ms", openai.RateLimitError),
        ("429_date", openai.RateLimitError),
        ("429_bare", openai.RateLimitError),
        ("quota", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("reset_before", openai.APIConnectionError),
    ],
)
def test_a_refusal_charges_nothing(shared, fault, error):
    before = len(shared.books.charges)
    with pytest.raises(error) as caught:
        ask_with(shared, fault, ["refused"])
    assert len(shared.books.charges) == before
    headers = getattr(getattr(caught.value, "response", None), "headers", {})
    told = [name for name in ("retry-after", "retry-after-ms") if name in headers]
    assert told == {
        "429": ["retry-after"],
        "429_ms": ["retry-after-ms"],
        "429_date": ["retry-after"],
    }.get(fault, [])
    if fault == "429_date":
        at = parsedate_to_datetime(headers["retry-after"]).timestamp()
        assert 0 < at - time.time() <= 2.01
    if fault == "503":
        assert caught.value.response.text.startswith("<html>")


@pytest.mark.parametrize("fault", ["reset_midway", "reset_after", "truncated_body"])
def test_an_answer_cut_off_on_its_way_is_charged_and_lost(shared, fault):
    with pytest.raises(openai.APIConnectionError):
        ask_with(shared, fault, [f"{fault} {number}" for number in range(9)])
    assert eventually(lambda: shared.books.charges[-1].outcome == "lost")
    assert len(shared.books.charges[-1].spoilt) == 9


@pytest.mark.parametrize("fault", ["truncated_json", "garbage"])
def test_an_answer_that_is_no_json_is_charged_and_lost(shared, fault):
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|decode|delimiter"):
        json.loads(ask_with(shared, fault, [fault, "more"]))
    assert eventually(lambda: shared.books.charges[-1].outcome == "lost")


def spoilt(server) -> set[str]:
    return {item.text for item in server.books.charges[-1].spoilt}


def test_items_are_spoilt_as_the_fault_says(shared):
    texts = [f"item {number}" for number in range(6)]
    right = expected_vectors(texts, SMALL, 4)

    def items(fault, encoding="float"):
        return json.loads(ask_with(shared, fault, texts, encoding))["data"]

    shuffled = items("wrong_order")
    assert [item["index"] for item in shuffled] != list(range(6))
    for item in shuffled:
        np.testing.assert_array_equal(np.float32(item["embedding"]), right[item["index"]])
    assert not spoilt(shared)

    plain = items("no_index")
    assert not any("index" in item for item in plain)
    np.testing.assert_array_equal(np.float32([item["embedding"] for item in plain]), right)
    assert not spoilt(shared)

    twice = [item["index"] for item in items("duplicate_index")]
    assert len(twice) == 6
    assert len(set(twice)) == 5
    gone = set(range(6)) - set(twice)
    doubled = {index for index in twice if twice.count(index) == 2}
    assert spoilt(shared) == {texts[index] for index in gone | doubled}

    missing = {item["index"] for item in items("missing_item")}
    assert len(missing) == 5
    assert spoilt(shared) == {texts[index] for index in set(range(6)) - missing}

    assert sorted(item["index"] for item in items("additional_item")) == list(range(7))
    assert not spoilt(shared)
    assert shared.books.charges[-1].outcome == "bad"

    assert [item["index"] for item in items("wrong_count")] == list(range(5))
    assert spoilt(shared) == set(texts)

    lengths = [len(item["embedding"]) for item in items("wrong_length")]
    assert sorted(lengths) == [3, 4, 4, 4, 4, 4]
    assert spoilt(shared) == {texts[lengths.index(3)]}

    for fault, odd in (("nan", np.isnan), ("infinity", np.isinf)):
        numbers = np.array([item["embedding"] for item in items(fault)])
        assert odd(numbers).sum() == 1
        assert spoilt(shared) == {texts[odd(numbers).any(axis=1).argmax()]}
        assert items(fault, "base64")
    zeros = ~np.array([item["embedding"] for item in items("zero")]).any(axis=1)
    assert zeros.sum() == 1
    assert spoilt(shared) == {texts[zeros.argmax()]}


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_a_slow_answer_comes_whole(shared, fault):
    started = time.monotonic()
    assert json.loads(ask_with(shared, fault, [f"{fault} whole"]))["data"]
    assert time.monotonic() - started > 0.15
    assert eventually(lambda: shared.books.charges[-1].outcome == "delivered")


def test_a_slow_answer_is_lost_for_who_does_not_wait(shared):
    shared.faults.next("embeddings", "slow")
    with client_of(shared, timeout=0.1) as client, pytest.raises(openai.APITimeoutError):
        client.embeddings.create(model=ADA, input="slow and lost")
    assert eventually(lambda: shared.books.charges[-1].outcome == "lost")
    assert spoilt(shared) == {"slow and lost"}


def test_texts_bring_faults_with_them():
    faults = Faults(
        texts={"POISON": "400", "BROKEN": "500", "NOTANUMBER": "nan", "CUT": "truncated_json"},
        times={"BROKEN": 2},
    )
    with OpenAiServer(faults=faults) as server, client_of(server) as client:

        def ask(*texts):
            return client.embeddings.create(
                model=SMALL, dimensions=2, input=list(texts), encoding_format="float"
            )

        for _ in range(3):
            with pytest.raises(openai.BadRequestError):
                ask("well", "some POISON here")
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                ask("BROKEN")
        assert len(ask("BROKEN").data) == 1
        vectors = vectors_of(ask("well", "NOTANUMBER", "also well"))
        assert np.isnan(vectors).any(axis=1).tolist() == [False, True, False]
        with pytest.raises(json.JSONDecodeError):
            ask("CUT")
        assert server.books.times_charged()[Charged(SMALL, 2, "well")] == 1


def test_chance_is_seeded_and_follows_the_probabilities():
    table = {"embeddings": {"500": 0.2, "nan": 0.1}}
    draws = [Faults(table, seed=5).draw("embeddings") for _ in range(2)]
    faults, again = Faults(table, seed=5), Faults(table, seed=5)
    drawn = [faults.draw("embeddings") for _ in range(2000)]
    assert drawn == [again.draw("embeddings") for _ in range(2000)]
    assert draws == [drawn[0]] * 2
    # Four standard deviations.
    assert abs(drawn.count("500") - 400) < 72
    assert abs(drawn.count("nan") - 200) < 54
    assert faults.draw("upload") is None


def test_faults_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"'embeddings' has no fault 'flood'"):
        Faults({"embeddings": {"flood": 0.5}})
    with pytest.raises(ValueError, match="no endpoint 'embedding'"):
        Faults().next("embedding", "500")
    with pytest.raises(ValueError, match="add up to at most 1"):
        Faults({"embeddings": {"500": 0.7, "429": 0.7}})
    assert set(ENDPOINTS["upload"]) < set(ENDPOINTS["batch_create"])


# -- books -----------------------------------------------------------------------------------


def test_the_books_excuse_what_was_lost_and_nothing_else(tmp_path):
    log = tmp_path / "books.jsonl"
    books = Books(log)
    for texts, outcome in (
        (["a", "b"], "delivered"),
        (["c", "d"], "lost"),
        (["e", "f"], "bad"),
        (["a", "c", "e", "f", "g", "g"], "sent"),
    ):
        charge = books.charge("online", ADA, 3, texts, len(texts))
        if outcome == "delivered":
            books.delivered(charge)
        elif outcome == "lost":
            books.lost(charge, "reset")
            books.delivered(charge)
        elif outcome == "bad":
            books.bad(charge, "nan", ["e"])
    # Another model's vector is another thing to pay for.
    books.charge("online", SMALL, 3, ["b"], 1)
    twice = {item.text: counts for item, counts in charged_twice(books).items()}
    assert twice == {"a": (2, 1), "g": (2, 1)}
    strict = {item.text: counts for item, counts in charged_twice(books, strict=True).items()}
    assert strict == {"a": (2, 1), "f": (2, 1), "g": (2, 1)}
    assert books.outcomes() == {"delivered": 1, "lost": 1, "bad": 1, "sent": 2}
    assert books.tokens == 13
    # What the file says is what memory says, also when the server is killed while writing.
    with log.open("a") as file:
        file.write('{"charge": 5, "ki')
    again = Books.read(log)
    assert again.charges == books.charges
    assert again.texts() == {"a", "b", "c", "d", "e", "f", "g"}
    books.close()


CLIENT = """
import json, os, signal, socket, sys, time
port, texts, wanted, pause = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
body = json.dumps({
    "model": "text-embedding-ada-002", "encoding_format": "base64",
    "input": [f"killed {wanted} {i}" for i in range(texts)],
}).encode()
connection = socket.create_connection(("127.0.0.1", port))
head = f"POST /v1/embeddings HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: {len(body)}\\r\\n"
head += f"Authorization: Bearer {sys.argv[5]}\\r\\n\\r\\n"
connection.sendall(head.encode() + body)
got = b""
while wanted == "all" or len(got) < int(wanted):
    got += connection.recv(65536 if wanted == "all" else int(wanted) - len(got))
    if wanted == "all" and got.endswith(b"}}"):
        break
time.sleep(pause)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("texts", "wanted", "pause", "outcome"),
    [
        # Before the answer; with a short answer unread; in the middle of a long one; after all.
        (1, "0", "0", "lost"),
        (1, "10", "0.2", "lost"),
        (2000, "100000", "0", "lost"),
        (2, "all", "0", "delivered"),
    ],
)
def test_an_answer_to_a_killed_client_is_lost_unless_it_was_read(
    shared, texts, wanted, pause, outcome
):
    port = str(urlsplit(shared.base_url).port)
    before = len(shared.books.charges)
    shared.api.latency_s = 0.1
    command = [sys.executable, "-c", CLIENT, port, str(texts), wanted, pause, KEY]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert eventually(
        lambda: len(shared.books.charges) > before and shared.books.charges[-1].outcome != "sent"
    )
    shared.api.latency_s = 0.0
    assert shared.books.charges[-1].outcome == outcome
    assert len(shared.books.charges[-1].items) == texts


def test_as_a_program_it_tells_its_address_and_keeps_books(tmp_path):
    (tmp_path / "faults.json").write_text('{"texts": {"POISON": "500"}, "seed": 3}')
    ready, log = tmp_path / "ready", tmp_path / "books.jsonl"
    command = [
        *(sys.executable, str(ROOT / "scripts" / "openai_server.py"), "--ready-file", str(ready)),
        *("--faults", str(tmp_path / "faults.json"), "--log", str(log), "--api-key", KEY),
        *("--model", "tiny=5", "--vectors", "words", "--base64", "ignored", "--no-usage"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert eventually(ready.exists, 30)
        base_url = ready.read_text()
        with openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
            answer = client.embeddings.create(model="tiny", input=["paid for"])
            with pytest.raises(openai.InternalServerError):
                client.embeddings.create(model="tiny", input=["POISON"])
        assert Books.read(log).texts() == {"paid for"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout.read().decode().strip() == base_url
    np.testing.assert_array_equal(
        vectors_of(answer)[0], expected_vector("paid for", "tiny", 5, "words")
    )
    books = Books.read(log)
    assert books.outcomes() == {"delivered": 1}
    assert books.answered("POST /v1/embeddings") == [200, 500]
    assert KEY not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_it_ends_with_connections_open_and_answers_under_way():
    with OpenAiServer(faults=Faults(slow_s=60)) as server:
        idle = socket.create_connection(("127.0.0.1", urlsplit(server.base_url).port))
        server.faults.next("embeddings", "slow")
        waiting = socket.create_connection(("127.0.0.1", urlsplit(server.base_url).port))
        body = b'{"model": "text-embedding-ada-002", "input": "a"}'
        waiting.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        assert eventually(lambda: bool(server.books.charges))
    idle.close()
    waiting.close()
    assert server.books.outcomes() == {"lost": 1}
