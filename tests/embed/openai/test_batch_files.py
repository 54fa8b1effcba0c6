import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.embed.openai.batch_files import (
    INPUT_FILE,
    Job,
    JobLimits,
    plan_jobs,
    read_results,
    write_job,
)
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.tokens import estimate_tokens, token_bound
from tagsage.embed.text import text_hash, text_hashes
from tagsage.errors import TagsageError

CONFIG = OpenAiConfig(model="m", dimensions=3)


def planned(which, rows=None, config=CONFIG, **limits):
    rows = np.arange(len(which)) if rows is None else np.array(rows, dtype=np.int64)
    return plan_jobs(which, text_hashes(which), rows, config=config, limits=JobLimits(**limits))


def written(folder: Path, texts, job, rows, config=CONFIG) -> list[dict]:
    write_job(folder / job.key, job, [texts[row] for row in rows], config=config, encoding="float")
    return [json.loads(line) for line in (folder / job.key / INPUT_FILE).read_bytes().splitlines()]


def test_the_lines_of_a_job_hold_its_texts_in_the_order_of_their_hashes(tmp_path):
    texts = ["one", "two", "three", "four", "five"]
    [(job, rows)] = planned(texts, line_texts=2)
    ordered = sorted(texts, key=text_hash)
    lines = written(tmp_path, texts, job, rows)
    assert [line["body"]["input"] for line in lines] == [ordered[:2], ordered[2:4], ordered[4:]]
    assert lines[1] == {
        "custom_id": "000001",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {
            "model": "m", "input": ordered[2:4], "encoding_format": "float", "dimensions": 3,
        },
    }  # fmt: skip
    assert job.hashes.tolist() == [text_hash(text) for text in ordered]
    assert job.hashes_of(2).tolist() == [text_hash(ordered[4])]
    assert job.texts == 5


def test_the_models_own_dimensions_are_not_sent(tmp_path):
    config = OpenAiConfig(model="m")
    [(job, rows)] = planned(["a"], config=config)
    [line] = written(tmp_path, ["a"], job, rows, config)
    assert line["body"] == {"model": "m", "input": ["a"], "encoding_format": "float"}


def test_equal_and_empty_texts_are_sent_once_and_never():
    [(job, rows)] = planned(["a", "", "a", "b", ""], rows=[0, 1, 2, 3])
    assert sorted(rows.tolist()) == [0, 3]
    assert job.texts == 2
    assert planned(["", "a"], rows=[0]) == []
    assert planned([], rows=[]) == []


def test_the_same_texts_make_the_same_jobs_whatever_their_order():
    texts = [f"text {i}" for i in range(40)]
    keys = [job.key for job, _ in planned(texts, texts=15, line_texts=4)]
    again = [job.key for job, _ in planned(texts[::-1], texts=15, line_texts=4)]
    assert keys == again
    assert len(set(keys)) == len(keys) == 4  # 12 texts in three lines of 4, and so on


def test_what_is_left_after_the_first_job_makes_the_same_further_jobs():
    texts = [f"text {i}" for i in range(40)]
    first, *rest = planned(texts, texts=15, line_texts=4)
    left = np.setdiff1d(np.arange(40), first[1])
    again = planned(texts, rows=left, texts=15, line_texts=4)
    assert [job.key for job, _ in again] == [job.key for job, _ in rest]


def test_another_model_other_dimensions_or_other_lines_make_another_key():
    texts = ["a", "b", "c"]
    others = [
        planned(texts),
        planned(texts, line_texts=1),
        planned(texts, config=OpenAiConfig(model="m")),
        planned(texts, config=OpenAiConfig(model="n", dimensions=3)),
        planned(texts[:2]),
    ]
    assert len({jobs[0][0].key for jobs in others}) == len(others)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(min_size=1, max_size=30), max_size=40),
    most=st.integers(1, 12),
    line=st.integers(1, 5),
    tokens=st.integers(1, 60),
    line_tokens=st.integers(1, 20),
)
def test_no_limit_is_passed_and_nothing_is_left_out(
    texts, most, line, tokens, line_tokens, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("jobs")
    jobs = planned(
        texts,
        texts=max(most, line),
        line_texts=line,
        tokens=tokens,
        line_tokens=line_tokens,
        file_bytes=1500,
    )
    sent = []
    for job, rows in jobs:
        lines = [body["body"]["input"] for body in written(folder, texts, job, rows)]
        inputs = [text for inputs in lines for text in inputs]
        sent += inputs
        assert len(inputs) == job.texts <= max(most, line)
        assert all(len(part) <= line for part in lines)
        estimates = [sum(map(estimate_tokens, part)) for part in lines]
        assert job.tokens.tolist() == estimates
        assert job.bound_tokens == sum(map(token_bound, inputs))
        for part, estimate in zip(lines, estimates, strict=True):
            assert estimate <= line_tokens or len(part) == 1
        assert sum(estimates) <= tokens or len(lines) == 1
        assert (folder / job.key / INPUT_FILE).stat().st_size <= 1500 or len(lines) == 1
    unique = set(texts)
    assert len(sent) == len(unique)
    assert {text_hash(text) for text in unique} == {
        each for job, _ in jobs for each in job.hashes.tolist()
    }


def test_fifty_thousand_inputs_are_two_jobs_below_the_limit_of_the_api():
    texts = [f"t{i}" for i in range(50_001)]
    jobs = planned(texts)
    assert [job.texts for job, _ in jobs] == [49_920, 81]  # 195 lines of 256


def test_a_line_never_holds_more_texts_than_a_request_may():
    config = OpenAiConfig(model="m", request_texts=3)
    [(job, _)] = planned([f"t{i}" for i in range(7)], config=config)
    assert job.lines.tolist() == [0, 3, 6, 7]


def test_a_text_that_is_too_long_is_cut_and_counted(tmp_path):
    texts = ["word " * 20_000, "short"]
    [(job, rows)] = planned(texts)
    assert job.cut == 1
    inputs = [
        text for line in written(tmp_path, texts, job, rows) for text in line["body"]["input"]
    ]
    assert sorted(map(len, inputs))[0] == 5
    assert sorted(map(len, inputs))[1] < len(texts[0])
    assert texts[0].startswith(max(inputs, key=len))


def test_a_file_is_ascii_so_that_no_character_looks_like_the_end_of_a_line(tmp_path):
    texts = ["a\u2028b\x85c\nd\r", "日本語 \ud800"]
    [(job, rows)] = planned(texts)
    [line] = written(tmp_path, texts, job, rows)
    assert sorted(line["body"]["input"]) == sorted(["a\u2028b\x85c\nd\r", "日本語 \ufffd"])
    content = (tmp_path / job.key / INPUT_FILE).read_bytes()
    assert content.isascii()
    assert content.count(b"\n") == 1


def test_a_job_is_read_as_it_was_written(tmp_path):
    texts = [f"text {i}" for i in range(5)]
    [(job, rows)] = planned(texts, line_texts=2)
    written(tmp_path, texts, job, rows)
    loaded = Job.load(tmp_path / job.key)
    assert loaded.key == job.key
    for name in ("hashes", "lines", "tokens"):
        assert np.array_equal(getattr(loaded, name), getattr(job, name))
    assert (loaded.bound_tokens, loaded.cut) == (job.bound_tokens, job.cut)
    assert loaded.estimated_tokens == sum(map(estimate_tokens, texts))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "job.json").unlink(),
        lambda folder: (folder / "job.json").write_text("[]"),
        lambda folder: (folder / "hashes.npy").write_bytes(b""),
        lambda folder: np.save(folder / "lines.npy", np.array([0, 1])),
        lambda folder: np.save(folder / "hashes.npy", text_hashes(["x", "y"])),
    ],
)
def test_a_damaged_job_is_told(tmp_path, damage):
    [(job, rows)] = planned(["a", "b"])
    written(tmp_path, ["a", "b"], job, rows)
    damage(tmp_path / job.key)
    with pytest.raises(TagsageError, match=r"Cannot read the batch job in .*; give it up"):
        Job.load(tmp_path / job.key)


# -- results ---------------------------------------------------------------------------------------


def results_file(tmp_path, *lines) -> Path:
    path = tmp_path / "output.jsonl"
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def answered(line, vectors, tokens=7, status=200):
    data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    body = {"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": line, "response": response, "error": None}


@pytest.fixture
def job() -> Job:
    [(job, _)] = planned(["a", "b", "c", "d", "e"], line_texts=2)
    return job


def test_results_in_any_order_and_either_encoding_find_their_texts(tmp_path, job):
    packed = base64.b64encode(np.array([5, 6, 7], "<f4").tobytes()).decode()
    path = results_file(
        tmp_path,
        answered("000002", [[1, 2, 3]], tokens=1),
        answered("000000", [packed, [0, 1, 0]], tokens=2),
    )
    found = list(read_results([path], job, dimensions=3))
    assert [result.line for result in found] == [2, 0]
    assert found[0].hashes.tolist() == job.hashes[4:].tolist()
    assert found[0].vectors.tolist() == [[1, 2, 3]]
    assert found[1].hashes.tolist() == job.hashes[:2].tolist()
    assert found[1].vectors.tolist() == [[5, 6, 7], [0, 1, 0]]
    assert found[1].vectors.dtype == np.float32
    assert [result.tokens for result in found] == [1, 2]
    assert [result.problems for result in found] == [{}, {}]


def test_what_is_no_line_of_the_job_or_comes_again_is_passed_over(tmp_path, job):
    path = results_file(
        tmp_path,
        b"not JSON",
        b"[]",
        b"",
        answered("000003", [[1, 2, 3]]),
        answered("-1", [[1, 2, 3]]),
        answered("9" * 5000, [[1, 2, 3]]),
        answered(None, [[1, 2, 3]]),
        answered("000002", [[1, 2, 3]]),
        answered("000002", [[4, 5, 6]]),
        b'{"custom_id": "000000", "resp',
    )
    [result] = read_results([path], job, dimensions=3)
    assert result.vectors.tolist() == [[1, 2, 3]]


def test_unsound_vectors_of_a_line_are_counted_and_the_others_kept(tmp_path, job):
    path = results_file(
        tmp_path,
        answered("000000", [[0, 0, 0], [1, 0, 0]]),
        answered("000001", [[1, 2], [3, 4, 5]]),
    )
    zero, short = read_results([path], job, dimensions=3)
    assert zero.hashes.tolist() == job.hashes[1:2].tolist()
    assert zero.problems == {"its vector is zero": 1}
    assert short.hashes.tolist() == job.hashes[3:4].tolist()
    assert short.problems == {"its vector has another length: 2 instead of 3": 1}
    assert zero.tokens == short.tokens == 7


def test_an_error_line_costs_nothing_and_says_why(tmp_path, job):
    refused = {"error": {"message": "too long", "type": "invalid_request_error", "code": None}}
    path = results_file(
        tmp_path,
        {"custom_id": "000000", "response": {"status_code": 400, "body": refused}, "error": None},
        {"custom_id": "000001", "response": None, "error": {"code": "batch_expired"}},
        {"custom_id": "000002", "response": {"status_code": 500, "body": "?"}},
    )
    found = list(read_results([path], job, dimensions=3))
    assert [result.tokens for result in found] == [0, 0, 0]
    assert [result.problems for result in found] == [
        {"invalid_request_error": 2},
        {"batch_expired": 2},
        {"status 500": 1},
    ]
    assert all(result.vectors.shape == (0, 3) for result in found)


def test_a_line_without_usage_or_with_a_broken_body_costs_what_was_estimated(tmp_path, job):
    silent = answered("000000", [[1, 2, 3], [1, 2, 4]])
    del silent["response"]["body"]["usage"]
    broken = answered("000001", [])
    broken["response"]["body"] = "<html>"
    first, second = read_results([results_file(tmp_path, silent, broken)], job, dimensions=3)
    assert first.tokens == second.tokens == 2  # two texts of a letter
    assert sum(second.problems.values()) == 2
