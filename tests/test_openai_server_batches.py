"""Files and batches on the server that answers like OpenAI's API, through the official SDK."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from scripts.openai_server import (
    ENDPOINTS,
    BatchRules,
    Faults,
    OpenAiServer,
    charged_twice,
    expected_vector,
)

SMALL = "text-embedding-3-small"
BY_HAND = BatchRules(
    seconds=None, max_lines=6, max_inputs=12, enqueued_tokens=20, max_file_bytes=4000
)


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    """A server whose batches move only when told to, with small limits."""
    with OpenAiServer(batches=BY_HAND) as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="none", base_url=server.base_url, max_retries=0, timeout=20
    ) as client:
        yield client


def line(name: str, texts: object, **changes) -> dict[str, object]:
    body = {"model": SMALL, "dimensions": 3, "input": texts, "encoding_format": "base64"}
    return {
        **{"custom_id": name, "method": "POST", "url": "/v1/embeddings"},
        **{"body": {**body, **changes.pop("body", {})}},
        **changes,
    }


def upload(client, lines, name="in.jsonl"):
    content = "".join(
        (given if isinstance(given, str) else json.dumps(given)) + "\n" for given in lines
    )
    return client.files.create(file=(name, content.encode()), purpose="batch")


def begin(client, lines, **metadata):
    return client.batches.create(
        input_file_id=upload(client, lines).id,
        endpoint="/v1/embeddings",
        completion_window="24h",
        metadata=metadata,
    )


def read(client, identifier) -> dict[str, dict]:
    lines = client.files.content(identifier).text.splitlines()
    return {parsed["custom_id"]: parsed for parsed in map(json.loads, lines)}


def vectors_of(parsed: dict) -> np.ndarray:
    assert parsed["error"] is None
    assert parsed["response"]["status_code"] == 200
    data = parsed["response"]["body"]["data"]
    return np.array([np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data])


# -- files -----------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was_and_goes_when_deleted(client):
    content = bytes(range(256)) + b"\r\n--not the boundary\r\n" + b"\n"
    file = client.files.create(file=("räder.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "räder.jsonl", "batch")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == content
    assert client.files.delete(file.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match="No such File"):
            gone(file.id)


def test_files_are_listed_page_by_page_the_newest_first(client):
    ids = [upload(client, [str(number)]).id for number in range(5)]
    page = client.files.list(limit=2)
    assert ([file.id for file in page.data], page.has_more) == ([ids[4], ids[3]], True)
    assert [file.id for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in client.files.list(order="asc", after=ids[2])] == ids[3:]
    assert not list(client.files.list(purpose="batch_output"))
    with pytest.raises(openai.BadRequestError, match="after"):
        client.files.list(after="file-none")


def test_a_wrong_upload_is_refused(client):
    with pytest.raises(openai.APIStatusError, match="too large") as caught:
        client.files.create(file=("big", b"x" * 4001), purpose="batch")
    assert caught.value.status_code == 413
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("x", b"x"), purpose="vision")


# -- the life of a batch ---------------------------------------------------------------------


def test_a_batch_goes_through_its_states_and_is_charged_once(server, client):
    begun = begin(client, [line("one", ["a", "b"]), line("two", "c"), line("three", [""])], key="k")
    assert (begun.status, begun.metadata) == ("validating", {"key": "k"})
    assert server.advance(begun.id) == "in_progress"
    assert server.advance(begun.id, lines=1) == "in_progress"
    counts = client.batches.retrieve(begun.id).request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 1, 0)
    assert server.books.texts() == {"a", "b"}
    assert server.advance(begun.id) == "finalizing"
    assert client.batches.retrieve(begun.id).output_file_id is None
    assert server.advance(begun.id) == server.advance(begun.id) == "completed"

    batch = client.batches.retrieve(begun.id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 1)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    output = read(client, batch.output_file_id)
    assert set(output) == {"one", "two"}
    right = [expected_vector(text, SMALL, 3) for text in "abc"]
    np.testing.assert_array_equal(vectors_of(output["one"]), right[:2])
    np.testing.assert_array_equal(vectors_of(output["two"]), right[2:])
    assert output["one"]["response"]["body"]["usage"]["total_tokens"] == 2
    errors = read(client, batch.error_file_id)
    assert set(errors) == {"three"}
    assert errors["three"]["response"]["status_code"] == 400
    assert "invalid" in errors["three"]["response"]["body"]["error"]["message"]
    assert sorted(server.books.times_charged().values()) == [1, 1, 1]
    assert {charge.kind for charge in server.books.charges} == {"batch"}


def test_output_comes_in_another_order_than_input(server, client):
    begun = begin(client, [line(str(number), "x") for number in range(6)])
    for _ in range(3):
        server.advance(begun.id)
    assert list(read(client, client.batches.retrieve(begun.id).output_file_id)) != list("012345")
    # Six requests for one text are six charges of it.
    assert list(charged_twice(server.books).values()) == [(6, 1)]


def test_an_expired_batch_leaves_what_was_computed(server, client):
    begun = begin(client, [line("one", "a"), line("two", "b"), line("three", "c")])
    server.advance(begun.id)
    server.advance(begun.id, lines=2)
    server.expire(begun.id)
    batch = client.batches.retrieve(begun.id)
    assert batch.status == "expired"
    assert batch.expired_at
    assert set(read(client, batch.output_file_id)) == {"one", "two"}
    (late,) = read(client, batch.error_file_id).values()
    assert late["response"] is None
    assert (late["custom_id"], late["error"]["code"]) == ("three", "batch_expired")
    assert server.books.texts() == {"a", "b"}


def test_a_cancelled_batch_leaves_what_was_computed(server, client):
    begun = begin(client, [line("one", "a"), line("two", "b")])
    server.advance(begun.id)
    server.advance(begun.id, lines=1)
    assert client.batches.cancel(begun.id).status == "cancelling"
    assert client.batches.cancel(begun.id).status == "cancelling"
    assert server.advance(begun.id) == "cancelled"
    batch = client.batches.retrieve(begun.id)
    assert set(read(client, batch.output_file_id)) == {"one"}
    assert batch.error_file_id is None
    assert server.books.texts() == {"a"}
    with pytest.raises(openai.ConflictError, match="Cannot cancel"):
        client.batches.cancel(begun.id)
    # Nothing was computed: nothing is left.
    early = begin(client, [line("one", "z")])
    client.batches.cancel(early.id)
    assert server.advance(early.id) == "cancelled"
    assert client.batches.retrieve(early.id).output_file_id is None


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([], "empty_file", None),
        ([line("a", "x"), "{"], "invalid_json_line", 2),
        ([line("a", "x"), line("a", "y")], "duplicate_custom_id", 2),
        ([{"method": "POST"}], "missing_required_parameter", 1),
        ([line("a", "x", method="GET")], "invalid_method", 1),
        ([line("a", "x", url="/v1/completions")], "mismatched_endpoint", 1),
        ([line("a", "x", body={"model": None})], "missing_required_parameter", 1),
        ([line("a", "x"), line("b", "x", body={"model": "other"})], "mismatched_model", 2),
        ([line(str(number), "x") for number in range(7)], "too_many_tasks", None),
        ([line("a", ["x"] * 12), line("b", "y")], "too_many_inputs", None),
        ([line("a", "x" * 84)], "token_limit_exceeded", None),
    ],
)
def test_a_file_that_cannot_be_a_batch_fails_it_and_charges_nothing(
    server, client, lines, code, number
):
    begun = begin(client, lines)
    assert server.advance(begun.id) == "failed"
    batch = client.batches.retrieve(begun.id)
    (error,) = batch.errors.data
    assert (error.code, error.line) == (code, number)
    assert batch.failed_at
    assert not server.books.charges


def test_the_limit_of_enqueued_tokens_counts_the_batches_under_way(server, client):
    first, second = (begin(client, [line("a", letter * 48)]) for letter in "pq")
    assert server.advance(first.id) == "in_progress"
    assert server.advance(second.id) == "failed"
    for _ in range(2):
        server.advance(first.id)
    third = begin(client, [line("a", "q" * 48)])
    assert server.advance(third.id) == "in_progress"


def test_batches_are_listed_page_by_page_with_their_metadata(client):
    ids = [begin(client, [line("a", "x")], number=str(number)).id for number in range(5)]
    page = client.batches.list(limit=3)
    assert ([batch.id for batch in page.data], page.has_more) == (ids[:1:-1], True)
    assert [batch.metadata["number"] for batch in client.batches.list(limit=2)] == list("43210")
    with pytest.raises(openai.BadRequestError, match="limit"):
        client.batches.list(limit=101)


def test_a_wrong_batch_is_refused(client):
    file = upload(client, [line("a", "x")])
    right = {
        "input_file_id": file.id,
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    }
    for wrong, message in (
        ({"endpoint": "/v1/completions"}, "completions"),
        ({"completion_window": "1h"}, "24h"),
        ({"metadata": {"k": "x" * 513}}, "metadata"),
    ):
        with pytest.raises(openai.BadRequestError, match=message):
            client.batches.create(**{**right, **wrong})
    with pytest.raises(openai.NotFoundError, match="No such File"):
        client.batches.create(**{**right, "input_file_id": "file-none"})
    with pytest.raises(openai.NotFoundError, match="No batch found"):
        client.batches.retrieve("batch_none")


def test_left_alone_a_batch_takes_its_time_and_is_charged_unseen():
    rules = BatchRules(seconds={"validating": 0.05, "in_progress": 0.2})
    with (
        OpenAiServer(batches=rules) as server,
        openai.OpenAI(api_key="none", base_url=server.base_url, max_retries=0) as client,
    ):
        begun = begin(client, [line(str(number), str(number)) for number in range(4)])
        assert begun.status == "validating"
        seen = set()
        deadline = time.monotonic() + 10
        while len(server.books.charges) < 4 and time.monotonic() < deadline:
            seen.add(len(server.books.charges))
            time.sleep(0.005)
        assert seen > {0}
        assert client.batches.retrieve(begun.id).status == "completed"


def test_left_alone_for_too_long_a_batch_expires():
    rules = BatchRules(seconds={"in_progress": 60}, expires_after_s=0.05)
    with (
        OpenAiServer(batches=rules) as server,
        openai.OpenAI(api_key="none", base_url=server.base_url, max_retries=0) as client,
    ):
        begun = begin(client, [line("a", "x")])
        deadline = time.monotonic() + 10
        while (batch := client.batches.retrieve(begun.id)).status == "in_progress":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (batch.status, batch.output_file_id) == ("expired", None)


# -- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset_after", "reset_midway", "truncated_body"])
def test_what_was_done_stays_done_when_its_answer_is_lost(server, client, fault):
    lines = [line("a", "x")]
    server.faults.next("upload", fault)
    with pytest.raises(openai.APIConnectionError):
        upload(client, lines, "found-again.jsonl")
    (file,) = [file for file in client.files.list() if file.filename == "found-again.jsonl"]
    server.faults.next("batch_create", fault)
    with pytest.raises(openai.APIConnectionError):
        client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/embeddings",
            completion_window="24h",
            metadata={"key": "k1"},
        )
    (batch,) = client.batches.list()
    assert (batch.metadata, batch.input_file_id) == ({"key": "k1"}, file.id)


@pytest.mark.parametrize("endpoint", ["upload", "files", "content", "batch_create", "batches"])
def test_every_refusal_can_happen_everywhere_and_does_nothing(server, client, endpoint):
    file = upload(client, [line("a", "x")])
    calls = {
        "upload": lambda: upload(client, ["{}"]),
        "files": lambda: client.files.delete(file.id),
        "content": lambda: client.files.content(file.id),
        "batch_create": lambda: client.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
        ),
        "batches": client.batches.list,
    }
    refusals = [name for name in ENDPOINTS[endpoint] if name[0].isdigit()]
    for fault in [*refusals, "quota", "reset_before"]:
        server.faults.next(endpoint, fault)
        with pytest.raises(openai.APIError):
            calls[endpoint]()
    assert [kept.id for kept in client.files.list()] == [file.id]
    assert not list(client.batches.list())


@pytest.mark.parametrize("fault", ["reset_midway", "truncated_body", "truncated_json", "drip"])
def test_a_download_can_be_cut_off_and_taken_again(server, client, fault):
    server.faults.slow_s = 0.1
    file = upload(client, [line(str(number), "x") for number in range(6)])
    whole = client.files.content(file.id).content
    server.faults.next("content", fault)
    if fault in {"reset_midway", "truncated_body"}:
        with pytest.raises(openai.APIConnectionError):
            client.files.content(file.id)
    else:
        part = client.files.content(file.id).content
        assert part == (whole if fault == "drip" else whole[: len(whole) // 2])
    assert client.files.content(file.id).content == whole


def test_lines_of_a_batch_fail_and_are_spoilt_as_told():
    faults = Faults(texts={"POISON": "400", "NOTANUMBER": "nan"})
    with (
        OpenAiServer(faults=faults) as server,
        openai.OpenAI(api_key="none", base_url=server.base_url, max_retries=0) as client,
    ):
        faults.next("batch_line", None, None, "500", "missing_line", "broken_line", "missing_item")
        begun = begin(
            client,
            [
                line("poison", ["well", "POISON"]),
                line("nan", ["fine", "NOTANUMBER"]),
                *(line(name, [name, f"{name} too"]) for name in ("down", "gone", "broken", "less")),
            ],
        )
        while (batch := client.batches.retrieve(begun.id)).status != "completed":
            time.sleep(0.01)
        errors = read(client, batch.error_file_id)
        statuses = {name: parsed["response"]["status_code"] for name, parsed in errors.items()}
        assert statuses == {"poison": 400, "down": 500}
        output = client.files.content(batch.output_file_id).text.splitlines()
        assert len(output) == 3
        parsed = {}
        for text in output:
            try:
                parsed |= {json.loads(text)["custom_id"]: json.loads(text)}
            except ValueError:
                assert '"custom_id":"broken"' in text
        assert set(parsed) == {"nan", "less"}
        assert np.isnan(vectors_of(parsed["nan"])).any(axis=1).tolist() == [False, True]
        assert len(parsed["less"]["response"]["body"]["data"]) == 1
        spoilt = [{item.text for item in charge.spoilt} for charge in server.books.charges]
        assert spoilt[:3] == [{"NOTANUMBER"}, {"gone", "gone too"}, {"broken", "broken too"}]
        assert len(spoilt[3]) == 1
        assert not {"well", "down"} & server.books.texts()


def test_a_batch_can_fail_on_purpose(server, client):
    server.faults.next("batch_create", "failed")
    begun = begin(client, [line("a", "x")])
    assert server.advance(begun.id) == "failed"
    assert client.batches.retrieve(begun.id).errors.data[0].code == "internal_error"
