"""The benchmark of the embedder openai measures what it says."""

import numpy as np
import pytest
from openai import APIConnectionError, OpenAI

from benchmarks import bench_openai
from benchmarks.runner import Measure
from scripts.openai_server import OpenAiServer


def test_a_small_run_prints_a_table_for_either_form_and_pays_once(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_openai, "measure", lambda call: Measure(call(), 1.0, 2.0, 1.0))
    texts = [f"text {number}" for number in range(30)]
    with OpenAiServer(api_key=bench_openai.KEY) as server:
        printed = bench_openai.tables(
            server.base_url, texts, tmp_path, rounds={"base64": 1, "float": 2}
        )
        charges = server.books.charges
    assert printed.startswith("30 texts with 1,536 numbers each; openai ")
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("|")]
    names = [row[0].strip("| ") for row in rows]
    assert names == ["", "---", "plain", "tagsage", "tagsage again"] * 2
    sent = [row[-1].strip(" |") for row in rows if row[0].strip("| ") not in {"", "---"}]
    assert sent == ["30", "30", "0"] * 2
    # Plain and ours in each of three rounds, and what warms the SDK up.
    assert sum(len(charge.items) for charge in charges) == 3 * 2 * 30 + 3 * 3
    # What a variant writes is gone.
    assert [path.name for path in tmp_path.iterdir()] == ["texts.npy"]


def test_a_wrong_vector_fails_the_measurement(tmp_path):
    given = bench_openai.Given("", ["a"], None, tmp_path, "base64")
    with pytest.raises(RuntimeError, match="a vector is not what the server said"):
        bench_openai._check(given, np.zeros((1, 1536), np.float32))


def test_the_server_runs_in_a_process_of_its_own_and_ends_with_the_block(tmp_path):
    with bench_openai.server(tmp_path) as base_url:
        assert base_url.startswith("http://127.0.0.1:")
        with OpenAI(api_key=bench_openai.KEY, base_url=base_url, max_retries=0) as client:
            answer = client.embeddings.create(model=bench_openai.MODEL, input=["a"])
        assert len(answer.data[0].embedding) == bench_openai.DIMENSIONS
    with (
        OpenAI(api_key=bench_openai.KEY, base_url=base_url, max_retries=0) as client,
        pytest.raises(APIConnectionError),
    ):
        client.embeddings.create(model=bench_openai.MODEL, input=["a"])
