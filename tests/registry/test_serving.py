"""The champion behind `mlflow models serve`: answers over HTTP, and what it says to bad input."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tagsage.registry.champion import promote_version
from tagsage.registry.tracking import open_tracking
from tagsage.registry.versions import load_version

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
SERVE = ("models", "serve", "--env-manager", "local", "--model-uri")


@pytest.fixture(scope="module")
def post(register, running, tmp_path_factory) -> Iterator[Callable]:
    """Serve a champion from a registry as the docs do; return what posts JSON to it.

    Afterwards the champion is still what was registered.
    """
    folder = tmp_path_factory.mktemp("scoring")
    tracking = open_tracking("", experiment="nightly", folder=folder)
    promote_version(tracking, "tagsage", register(tracking, "tagsage"), who="a test")
    model = "models:/tagsage@champion"
    with running((*SERVE, model), "/ping", folder, MLFLOW_TRACKING_URI=tracking.uri) as address:
        yield lambda body: posted(address, body)
    load_version(tracking, "tagsage")


def posted(address: str, body: object) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def records(*articles: dict, **params: object) -> dict:
    return {"dataframe_records": list(articles)} | ({"params": params} if params else {})


def test_articles_are_tagged_by_text_lists_and_colisted_articles(post):
    status, answer = post(
        records(
            {"title": "ripe cherries", "author": "Ann", "lists": None, "articles": None},
            {"title": "", "lists": ["garage", "never seen"], "articles": []},
            {"title": "", "lists": [], "articles": ["https://site.example/2?x=1"]},
            {"title": "new engines", "subtitle": None, "lists": [], "articles": []},
            top_k=1,
        )
    )
    assert status == 200, answer
    rows = answer["predictions"]
    assert [row["tags"] for row in rows] == [["fruit"], ["cars"], ["fruit"], ["cars"]]
    assert [[item["tag"] for item in row["top"]] for row in rows] == [row["tags"] for row in rows]


@pytest.mark.parametrize("page", ["docs/serve.md", "README.md"])
def test_request_in_the_docs_is_answered_in_the_shape_of_the_docs(post, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    (request,) = re.findall(r"^curl .*? -d '(.*?)'$", text, flags=re.MULTILINE | re.DOTALL)
    status, answer = post(request.encode())
    assert status == 200, answer
    (row,) = answer["predictions"]
    assert set(row["tags"]) >= {item["tag"] for item in row["top"] if item["assigned"]}
    for shown in re.findall(r"^```json\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        (expected,) = json.loads(shown)["predictions"]
        assert row.keys() == expected.keys()
        assert row["top"][0].keys() == expected["top"][0].keys()


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [{"title": "ripe pears"}]},
        {"dataframe_split": {"columns": ["title"], "data": [["ripe pears"]]}},
        records({"title": None, "subtitle": "plums"}),
        records({"title": 5, "subtitle": "plums \x00 <script> ' OR 1 \u202e 🎉"}),
    ],
)
def test_other_shapes_of_a_request_are_understood(post, body):
    status, answer = post(body)
    assert status == 200, answer
    assert answer["predictions"][0]["tags"] == ["fruit"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (records({"subtitle": "no title"}), "missing inputs ['title']"),
        # One record has lists and one does not say.
        (records({"title": "a", "lists": []}, {"title": "b"}), "Failed to convert column lists"),
        (records({"title": "a"}, top_k=0), "top_k must be at least 1, not 0."),
        (b"{", "valid JSON"),
    ],
    ids=str,
)
def test_wrong_input_is_refused_in_words_without_a_trace(post, body, said):
    status, answer = post(body)
    assert status == 400
    assert said in answer["message"]
    assert "stack_trace" not in answer
    assert post(records({"title": "ripe pears"}))[0] == 200
