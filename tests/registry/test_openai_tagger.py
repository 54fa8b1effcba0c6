"""A served model whose titles are embedded by a server: which one is up to whoever serves it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from scripts.openai_server import OpenAiServer, expected_vectors
from tagsage.embed.openai.embedder import OpenAiEmbedder
from tagsage.errors import TagsageError
from tagsage.features import Articles
from tagsage.registry.mlflow_models import load_model
from tagsage.registry.seal import seal
from tagsage.registry.servable import REQUIREMENTS, ServableModel, save_servable
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


@pytest.fixture(scope="module")
def remote(tmp_path_factory, make_served) -> Path:
    """Return a served folder like the others', with a server's model in the place of LSA."""
    folder = tmp_path_factory.mktemp("remote")
    served = make_served(folder, "text", given=True)
    settings = EmbedSettings(openai_model=MODEL, openai_dimensions=DIMENSIONS)
    OpenAiEmbedder(settings, DIMENSIONS).save(served / "embedder")
    about = read_about(served) | {"embedder": "openai", "needs_given_vectors": False}
    (served / TAGGER_FILE).write_text(json.dumps(about), encoding="utf-8")
    seal(served)
    return served


def test_text_block_is_what_the_server_of_this_environment_answers(remote, reachable):
    articles = pd.DataFrame({"title": ["a title", ""], "subtitle": ["more", ""]})
    tagger = Tagger.load(remote)
    (text,) = tagger.features.transform(tagger.articles_of(articles)).blocks
    expected = expected_vectors(["a title more"], MODEL, DIMENSIONS)
    np.testing.assert_allclose(text[:1], expected, atol=1e-6)
    assert not text[1].any()


def test_vectors_that_are_known_are_not_asked_for(remote, reachable):
    before = len(reachable.requests)
    vectors = np.eye(2, DIMENSIONS, dtype=np.float32)
    articles = Articles.of_names(["a", "b"], ["", ""], [[], []], vectors=vectors)
    made = Tagger.load(remote).features.transform(articles)
    np.testing.assert_array_equal(made.rows(np.arange(2)), vectors)
    assert len(reachable.requests) == before


def test_title_without_a_key_for_openai_is_refused_in_one_sentence(remote, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(TagsageError, match="OpenAI wants a key; set OPENAI_API_KEY"):
        Tagger.load(remote).tag(pd.DataFrame({"title": ["a title"]}))


def test_served_model_whose_embedder_is_away_answers_mlflow_in_one_sentence(remote, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = ServableModel()
    model.load_context(SimpleNamespace(artifacts={"served": str(remote)}))
    with pytest.raises(MlflowException, match="OpenAI wants a key; set OPENAI_API_KEY") as refused:
        model.predict(None, ["a title"])
    # And the command line tells it as ours.
    assert isinstance(refused.value, TagsageError)
    assert "\n" not in str(refused.value)


def test_over_http_an_embedder_that_is_away_is_503_and_a_wrong_input_400(
    remote, tmp_path, monkeypatch, client_of
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    save_servable(remote, tmp_path / "model")
    http = client_of(load_model(str(tmp_path / "model")))
    request = {"dataframe_records": [{"title": "a title"}]}
    away = http.post("/invocations", json=request)
    assert away.status_code == 503
    assert "OpenAI wants a key; set OPENAI_API_KEY" in away.json()["message"]
    assert "stack_trace" not in away.json()
    wrong = http.post("/invocations", json=request | {"params": {"top_k": 0}})
    assert wrong.status_code == 400
    assert "top_k must be at least 1, not 0." in wrong.json()["message"]


def test_saved_model_names_the_model_and_no_server_and_requires_the_sdk(
    remote, reachable, tmp_path
):
    before = len(reachable.requests)
    save_servable(remote, tmp_path / "model")
    assert len(reachable.requests) == before
    required = (tmp_path / "model" / "requirements.txt").read_text(encoding="utf-8")
    assert required.count("==") == len(REQUIREMENTS) + 1
    assert "\nopenai==" in required
    served = tmp_path / "model" / "artifacts" / "served"
    assert read_about(served)["embedder"] == "openai"
    content = b"".join(file.read_bytes() for file in served.rglob("*.json"))
    assert MODEL.encode() in content
    assert KEY.encode() not in content
    assert b"http" not in content
    made = load_model(str(tmp_path / "model")).predict(pd.DataFrame({"title": ["a title"]}))
    assert len(made["top"].iloc[0]) == 2
