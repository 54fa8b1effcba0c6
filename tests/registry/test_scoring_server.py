"""The champion behind `mlflow models serve`: answers over HTTP, and what it says to bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from scripts.neo4j_server import free_ports
from tagsage.registry.champions import promote_version
from tagsage.registry.registry import load_champion, register_winner
from tagsage.registry.runs import log_candidate, log_run
from tagsage.registry.servable import save_servable
from tagsage.registry.store import initialise
from tests.explain.explained_world import fit, snapshot
from tests.registry.test_tagger import asked, predicted, records, scores

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
CANDIDATE = "text+lists:ovr_logistic"
Post = Callable[[object], tuple[int, dict]]


@pytest.fixture(scope="module")
def post(served, frozen, tmp_path_factory) -> Iterator[Post]:
    """Serve a champion from a registry as the docs do; return what posts JSON to it.

    Afterwards the champion is still what was registered.
    """
    folder = tmp_path_factory.mktemp("scoring")
    tracking = initialise("", experiment="nightly", folder=folder)
    log_run(tracking, "n1", params={}, datasets=[])
    log_candidate(tracking, "n1", CANDIDATE, params={}, scores={"micro_f1": 0.6})
    version = register_winner(
        tracking, "n1", CANDIDATE, name="tagsage", served=served, served_ref="s",
        frozen=frozen, micro_f1=0.6, data_digest="ab", description="The best.",
    )  # fmt: skip
    promote_version(tracking, "tagsage", version, who="a test")
    with serving(folder, "models:/tagsage@champion", MLFLOW_TRACKING_URI=tracking.uri) as posting:
        yield posting
    load_champion(tracking, "tagsage")


@contextmanager
def serving(folder: Path, model: str, **variables: str) -> Generator[Post]:
    """Serve a model by the command of the docs; yield what posts JSON to it."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "models", "serve"),
                *("--model-uri", model, "--env-manager", "local"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            cwd=folder,
            env={
                **os.environ,
                **variables,
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(f"{address}/ping", process, folder / "log")
        yield lambda body: _post(f"{address}/invocations", body)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def _post(url: str, body: object) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def body_of(*articles: dict, **params: object) -> dict:
    return {"dataframe_records": list(articles)} | ({"params": params} if params else {})


def test_articles_are_tagged_by_text_lists_and_companions(post):
    status, answer = post(
        body_of(
            {"title": "ripe cherries", "author": "Ann", "lists": None, "articles": None},
            {"title": "", "lists": ["garage", "never seen"], "articles": []},
            {"title": "", "lists": [], "articles": ["https://site.example/2?x=1"]},
            {"title": "new engines", "subtitle": None, "lists": [], "articles": []},
            top_k=1,
        )
    )
    assert status == 200, answer
    assert [row["tags"] for row in answer["predictions"]] == [
        ["fruit"], ["cars"], ["fruit"], ["cars"],
    ]  # fmt: skip
    for row in answer["predictions"]:
        (best,) = row["top"]
        assert best["tag"] == row["tags"][0]
        assert best["assigned"] is True
        assert 0.5 < best["score"] <= 1


def test_request_in_the_docs_is_answered_with_what_the_docs_say(post):
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (request,) = re.findall(r"^curl .*? -d '(.*?)'$", page, flags=re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```json\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    status, answer = post(request.encode())
    assert status == 200, answer
    for row, expected in zip(answer["predictions"], json.loads(shown)["predictions"], strict=True):
        assert row.keys() == expected.keys()
        assert all(
            item.keys() == {"tag", "score", "assigned", "threshold"} for item in expected["top"]
        )
        assert row["top"][0].keys() == expected["top"][0].keys()


def test_request_in_the_readme_is_answered(post):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (request,) = re.findall(r"^curl .*? -d '(.*?)'$", page, flags=re.MULTILINE | re.DOTALL)
    status, answer = post(request.encode())
    assert status == 200, answer
    (row,) = answer["predictions"]
    scores = [item["score"] for item in row["top"]]
    assert scores == sorted(scores, reverse=True)
    assert set(row["tags"]) >= {item["tag"] for item in row["top"] if item["assigned"]}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [{"title": "ripe pears"}]},
        {"inputs": {"title": ["ripe pears"]}},
        {"dataframe_split": {"columns": ["title"], "data": [["ripe pears"]]}},
        body_of({"title": "ripe pears", "not a column": 1}),
    ],
)
def test_other_shapes_of_a_request_are_understood(post, body):
    status, answer = post(body)
    assert status == 200, answer
    assert answer["predictions"][0]["tags"] == ["fruit"]


@pytest.mark.parametrize(
    "title",
    [
        "x" * 10_000,
        "🎉 مرحبا",
        "\u202eabc",
        "<script>alert(1)</script>",
        "",
        None,
        5,
        "\x00",
        "' OR 1",
    ],
)
def test_any_title_gets_an_answer(post, title):
    status, answer = post(body_of({"title": title, "subtitle": "plums"}))
    assert status == 200, answer
    (row,) = answer["predictions"]
    assert {item["tag"] for item in row["top"]} == {"fruit", "cars"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (body_of({"subtitle": "no title"}), "missing inputs ['title']"),
        (body_of({"title": "a", "lists": "garage"}), "Failed to convert column lists"),
        # One record has lists and one does not say.
        (body_of({"title": "a", "lists": []}, {"title": "b"}), "Failed to convert column lists"),
        (body_of({"title": "a", "lists": [1, 2]}), "Failed to convert column lists"),
        (body_of({"title": "a", "articles": {"a": 1}}), "Failed to convert column articles"),
        (body_of({"title": "a"}, top_k=0), "top_k must be at least 1, not 0."),
        (body_of({"title": "a"}, top_k="many"), "Can not safely convert"),
        (body_of(), "missing inputs ['title']"),
        ({"anything": 1}, "exactly one of the input fields"),
        (b"{", "valid JSON"),
        (b"\xff\xfe", "Invalid input"),
    ],
    ids=str,
)
def test_wrong_input_is_refused_in_words_without_a_trace(post, body, said):
    status, answer = post(body)
    assert status == 400
    assert said in answer["message"]
    assert "stack_trace" not in answer
    assert post(body_of({"title": "ripe pears"}))[0] == 200


@pytest.mark.parametrize(
    "candidate",
    ["words+list_ids+author_ids:linear", "text+lists+labels+authors:mlp", "text+graphsage:mlp"],
)
def test_a_server_in_a_process_of_its_own_gives_the_nightly_scores_to_the_last_digit(
    candidate, tmp_path
):
    corpus = snapshot()
    tagger, _ = fit(tmp_path, corpus, candidate)
    save_servable(tmp_path / "served", tmp_path / "model")
    rows = asked(corpus)
    with serving(tmp_path, str(tmp_path / "model")) as post:
        answers = [post(body_of(request)) for request in records(corpus, rows)]
    assert {status for status, _ in answers} == {200}
    ranked = [answer["predictions"][0]["top"] for _, answer in answers]
    assert np.array_equal(scores(tagger, ranked), predicted(tagger, corpus)[rows].astype(float))
