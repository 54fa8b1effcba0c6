"""Runs with vectors from a server: killed, run again, without news, with another embedder."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from scripts.openai_server import Faults, OpenAiServer, charged_twice, expected_vectors
from tagsage.embed.text import article_texts
from tests.integration.conftest import BIN, environment, run_in_process, run_tagsage

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEY = "sk-proj-Xq7tagsageZ9dQpW2mVn4"
# As gateways have them: nothing in its form tells that it is one.
REFUSED_KEY = "Gw7yQe2Lr9Xz4Vb1Nm6T"
MODEL, DIMENSIONS = "text-embedding-3-small", 48
REQUEST_TEXTS, IN_FLIGHT = 100, 2
# After so many answers.
KILLED_AT = (4, 12)
SETTINGS = {
    "embedder": "openai",
    "openai_model": MODEL,
    "openai_dimensions": str(DIMENSIONS),
    "openai_request_texts": str(REQUEST_TEXTS),
    "openai_in_flight": str(IN_FLIGHT),
    "openai_prices": f"{MODEL}=0.02",
    "candidates": "text:ovr_logistic,text+lists:ovr_logistic",
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


def files_with(secret: str, *folders: Path) -> list[Path]:
    """Return the files that hold a secret."""
    return [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and secret.encode() in file.read_bytes()
    ]


def leaked(secret: str, *folders: Path) -> list[Path]:
    """Return the files that hold the middle, or the end, of a key."""
    return [*files_with(secret[8:-4], *folders), *files_with(secret[-8:], *folders)]


def shown_pieces(secret: str, said: str, *folders: Path) -> list[str]:
    """Return what of a key, eight characters or more, is in an output or in a file."""
    contents = [
        file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()
    ]
    pieces = (secret[start : start + 8] for start in range(len(secret) - 7))
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


def check_vectors(workspace: Path, server) -> None:
    """See that every text has its vector, and those that the server refuses a zero one."""
    texts = texts_of(workspace)
    sent = [text for text in texts if text and POISON not in text]
    assert server.books.texts() - {"A text to try the model with."} == set(sent)
    vectors = np.load(latest(workspace, "vectors") / "vectors.npy")
    rows = [row for row, text in enumerate(texts) if text in set(sent)]
    expected = expected_vectors(sent, MODEL, DIMENSIONS, mode="words")
    np.testing.assert_allclose(vectors[rows], expected, atol=1e-6)
    assert not np.delete(vectors, rows, axis=0).any()


def runs(workspace: Path) -> list:
    """Return MLflow's runs, the oldest first."""
    from tagsage.registry.tracking import open_tracking

    tracking = open_tracking("", experiment="tagsage", folder=workspace)
    return tracking.client.search_runs(
        [tracking.experiment_id], order_by=["attributes.start_time ASC"]
    )


@pytest.fixture(scope="module")
def server():
    faults = Faults(
        probabilities={
            "embeddings": {"429_ms": 0.05, "500": 0.05, "wrong_order": 0.1, "nan": 0.05}
        },
        texts={POISON: "400"},
        retry_after_s=0.1,
    )
    with OpenAiServer(api_key=KEY, faults=faults, latency_s=0.2, vectors="words") as running:
        yield running


@pytest.fixture(scope="module")
def killed_and_finished(small_corpus, server, tmp_path_factory):
    """Return the workspace of a run that was killed twice while it was sending."""
    workspace = tmp_path_factory.mktemp("openai")
    command = [str(BIN / "tagsage"), *arguments(small_corpus, workspace)]
    variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}
    said = []
    moments = random.Random(5)
    for charges in KILLED_AT:
        with subprocess.Popen(
            command,
            env=environment(**variables),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as run:
            deadline = time.monotonic() + 200
            while len(server.books.charges) < charges and run.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 0.3))
            os.kill(run.pid, signal.SIGKILL)
            said.append(run.communicate()[0])
            assert run.returncode == -signal.SIGKILL, said[-1]
    done = run_tagsage(*arguments(small_corpus, workspace), **variables)
    assert done.returncode == 0, done.stderr
    said.append(done.stdout + done.stderr)
    return workspace, said


def test_run_killed_while_sending_ends_with_every_vector_right_and_none_paid_twice(
    killed_and_finished, server
):
    workspace, said = killed_and_finished
    # An answer is lost between its arrival and its first byte on disk, which is a matter of
    # milliseconds: at most the requests in flight at a kill.
    assert len(charged_twice(server.books)) <= len(KILLED_AT) * IN_FLIGHT * REQUEST_TEXTS
    check_vectors(workspace, server)
    assert "Continuing the unfinished run" in said[-1]


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
    assert all(row["content"].startswith("http") for row in rows)
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    counted = [row for row in metrics["quarantine"]["counts"] if MODEL in row["file"]]
    assert sum(row["rows"] for row in counted) == len(rows)


def test_spending_of_killed_attempts_adds_up_in_mlflow_and_the_report(killed_and_finished, server):
    workspace, said = killed_and_finished
    (parent,) = [run for run in runs(workspace) if "tagsage.candidate" not in run.data.tags]
    metrics, params = parent.data.metrics, parent.data.params
    charged = server.books.tokens
    # What a killed attempt lost was estimated.
    assert metrics["openai_tokens"] == pytest.approx(charged, rel=0.2)
    assert metrics["openai_dollars"] == pytest.approx(metrics["openai_tokens"] * 0.02e-6)
    assert metrics["openai_lost_requests"] <= 4
    assert params["vectors_model"] == f"{MODEL}-{DIMENSIONS}"
    assert params["vectors_dimensions"] == str(DIMENSIONS)
    assert metrics["rejected_texts"] > 0
    report = (workspace / "report.html").read_text(encoding="utf-8")
    assert 'id="cost"' in report
    assert f"{int(metrics['openai_tokens']):,}" in report
    assert "$0.0200 a million" in said[-1]


def test_key_is_in_no_file_and_no_output(killed_and_finished):
    workspace, said = killed_and_finished
    assert not leaked(KEY, workspace)
    assert not any(KEY[8:-4] in text for text in said)


def test_wrong_key_is_told_without_it_although_the_server_repeats_it(
    small_corpus, server, tmp_path, monkeypatch
):
    wrong = "sk-proj-Wr0ngtagsageK3yAbCdEfGh"
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    done = run_in_process(*arguments(small_corpus, tmp_path))
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "refused the key" in said.splitlines()[-1]
    assert "OPENAI_API_KEY" in said.splitlines()[-1]
    assert wrong[8:-4] not in said
    assert wrong[-4:] not in said
    assert not leaked(wrong, tmp_path)


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_refused_key_of_any_form_is_in_no_trace_and_no_file_although_the_server_repeats_it(
    small_corpus, tmp_path, mode
):
    with OpenAiServer(api_key=KEY, echo_key=True) as server:
        done = run_tagsage(
            *(*arguments(small_corpus, tmp_path, openai_mode=mode), "--debug"),
            OPENAI_API_KEY=REFUSED_KEY,
            OPENAI_BASE_URL=server.base_url,
        )
        assert 401 in {status for _, status, _ in server.books.requests}
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" in said
    assert "refused the key (401: Incorrect API key provided: ***" in said
    assert shown_pieces(REFUSED_KEY, said, tmp_path) == []


def test_run_that_would_cost_too_much_stops_before_anything_is_sent(
    small_corpus, server, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    before = len(server.books.requests)
    done = run_in_process(*arguments(small_corpus, tmp_path, openai_max_dollars="0.0001"))
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("2,440 new texts of about 40,913 tokens would cost about $0.0008, and")
    assert "raise openai_max_dollars or openai_max_tokens" in told
    assert len(server.books.requests) == before


@pytest.fixture
def away(monkeypatch):
    """Leave no server and no key to be found."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")


def test_run_without_news_sends_nothing_and_needs_no_key(
    killed_and_finished, server, small_corpus, away
):
    workspace, _ = killed_and_finished
    before = len(server.books.requests)
    done = run_in_process(*arguments(small_corpus, workspace))
    assert done.returncode == 0, done.stderr
    assert len(server.books.requests) == before
    parents = [run for run in runs(workspace) if "tagsage.candidate" not in run.data.tags]
    assert parents[-1].data.metrics["openai_tokens"] == 0


def test_embedders_stand_side_by_side_and_the_champion_pays_for_nothing_again(
    killed_and_finished, server, small_corpus, away
):
    workspace, _ = killed_and_finished
    before = len(server.books.requests)
    # The champion stays the one of the first run, whose model is not this run's.
    done = run_in_process(*arguments(small_corpus, workspace, embedder="lsa", promote_margin="1"))
    assert done.returncode == 0, done.stderr
    assert len(server.books.requests) == before
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["predicted_by"] == "champion"
    assert metrics["cost"] == {}
    seen = {
        (run.data.params["feature_set"], run.data.params["vectors_model"].partition("-")[0])
        for run in runs(workspace)
        if "tagsage.candidate" in run.data.tags and "micro_f1" in run.data.metrics
    }
    assert seen == {
        (feature_set, embedder)
        for feature_set in ("text", "text+lists")
        for embedder in ("text", "lsa")
    }


def test_what_a_champion_of_another_model_has_to_ask_for_is_told_as_spent(
    killed_and_finished, server, small_corpus, tmp_path, monkeypatch
):
    workspace, _ = killed_and_finished
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    elsewhere = {"openai_cache": str(tmp_path), "top_tags": "3"}
    done = run_in_process(
        *arguments(small_corpus, workspace, embedder="lsa", promote_margin="1", **elsewhere)
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["predicted_by"] == "champion"
    assert metrics["cost"]["Texts sent"] >= metrics["predictions"]["articles"] - 2
    parents = [run for run in runs(workspace) if "tagsage.candidate" not in run.data.tags]
    assert parents[-1].data.metrics["openai_texts"] == metrics["cost"]["Texts sent"]


def test_run_by_the_batch_api_polls_takes_and_sends_the_rest_on_line(
    server, small_corpus, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    before = len(server.books.charges)
    done = run_in_process(
        *arguments(
            small_corpus, tmp_path, openai_mode="batch", openai_poll_s="0.2", candidates="text:mlp"
        )
    )
    assert done.returncode == 0, done.stderr
    check_vectors(tmp_path, server)
    charges = server.books.charges[before:]
    assert sum(len(c.items) for c in charges if c.kind == "batch") > 2000
    metrics = runs(tmp_path)[0].data.metrics
    assert metrics["openai_tokens"] == sum(charge.tokens for charge in charges)
    assert metrics["openai_dollars"] < metrics["openai_tokens"] * 0.02e-6


def test_champion_tags_a_new_title_through_the_connection_of_whoever_asks(
    killed_and_finished, server, monkeypatch
):
    workspace, _ = killed_and_finished
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    title = "a library of functions for developers, never seen before"
    done = run_in_process("tag", title, "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    assert title in server.books.texts()
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    done = run_in_process("tag", title, "--workspace", str(workspace))
    assert done.returncode == 1
    assert "OpenAI wants a key; set OPENAI_API_KEY" in done.stderr.splitlines()[-1]
