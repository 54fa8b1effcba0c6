"""A model whose titles are embedded by a server: which one is up to whoever serves the model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.pyfunc import load_model, scoring_server

from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.openai.embedder import OpenAiEmbedder
from tagsage.files import write_json
from tagsage.registry.pyfunc import REQUIREMENTS, save_pyfunc
from tagsage.registry.tagger import TAGGER_FILE, Tagger, read_about
from tagsage.settings.embed import EmbedSettings

KEY = "sk-proj-servedCk4tagsageJx8q"
MODEL, DIMENSIONS = "text-embedding-3-small", 6


@pytest.fixture(scope="module")
def server():
    with OpenAiServer(api_key=KEY) as running:
        yield running


@pytest.fixture
def reachable(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    return server


@pytest.fixture
def away(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture(scope="module")
def remote(tmp_path_factory, make_tagger) -> Path:
    """Return a tagger like the others', with a server's model in the place of LSA."""
    tagger = make_tagger(tmp_path_factory.mktemp("remote"), "text", given=True)
    settings = EmbedSettings(openai_model=MODEL, openai_dimensions=DIMENSIONS)
    OpenAiEmbedder(settings, DIMENSIONS).save(tagger / "embedder")
    about = read_about(tagger) | {"embedder": "openai", "needs_given_vectors": False}
    write_json(tagger / TAGGER_FILE, about)
    return tagger


def test_text_block_is_what_the_server_of_this_environment_answers(remote, reachable):
    articles = pd.DataFrame({"title": ["a title", ""], "subtitle": ["more", ""]})
    tagger = Tagger.load(remote)
    (text,) = tagger.features.transform(tagger.articles_of(articles)).blocks
    expected = expected_vectors(["a title more"], MODEL, DIMENSIONS)
    np.testing.assert_allclose(text[:1], expected, atol=1e-6)
    assert not text[1].any()


def test_over_http_an_embedder_that_is_away_is_503_and_a_wrong_input_400(
    remote, tmp_path, monkeypatch, away
):
    # The app that `mlflow models serve` runs; it sets this for good.
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    save_pyfunc(remote, tmp_path / "model")
    http = TestClient(scoring_server.init(load_model(str(tmp_path / "model"))))
    request = {"dataframe_records": [{"title": "a title"}]}
    for params, status, said in (
        ({}, 503, "OpenAI wants a key; set OPENAI_API_KEY"),
        ({"params": {"top_k": 0}}, 400, "top_k must be at least 1, not 0."),
    ):
        answer = http.post("/invocations", json=request | params)
        assert answer.status_code == status
        assert said in answer.json()["message"]
        assert "stack_trace" not in answer.json()


def test_saved_model_names_the_model_and_no_server_and_requires_the_sdk(
    remote, reachable, tmp_path
):
    save_pyfunc(remote, tmp_path / "model")
    required = (tmp_path / "model" / "requirements.txt").read_text(encoding="utf-8")
    assert required.count("==") == len(REQUIREMENTS) + 1
    assert "\nopenai==" in required
    tagger = tmp_path / "model" / "artifacts" / "tagger"
    content = b"".join(file.read_bytes() for file in tagger.rglob("*.json"))
    assert MODEL.encode() in content
    assert KEY.encode() not in content
    assert b"http" not in content
    made = load_model(str(tmp_path / "model")).predict(pd.DataFrame({"title": ["a title"]}))
    assert len(made["top"].iloc[0]) == 2
