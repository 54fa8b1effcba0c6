"""What every embedder has to keep, and how it is found again."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from scripts.openai_server import OpenAiServer
from tagsage.embed.embedders import EMBEDDERS, embedder_module, load_embedder, saved_embedder
from tagsage.errors import TagsageError
from tagsage.settings import Settings
from tagsage.settings.embed import EmbedderName

TITLES = ["graphs and nodes", "cheese from the farm", "", "graphs again", "graphs and nodes"]
ARTICLES = pd.DataFrame({
    "key": [f"site.example/{row}" for row in range(5)],
    "url": [f"https://site.example/{row}" for row in range(5)],
    "title": TITLES,
    "subtitle": "",
    "is_stub": False,
})
# Those that embed later texts, too, and the length of their vectors.
DIMENSIONS = {"lsa": 6, "e5": 384, "openai": 6}
NAMES = list(DIMENSIONS)


@pytest.fixture(scope="module", autouse=True)
def _server():
    with OpenAiServer() as server, pytest.MonkeyPatch.context() as patched:
        patched.setenv("OPENAI_BASE_URL", server.base_url)
        yield


@pytest.fixture
def embedded(request, tmp_path):
    settings = Settings(
        workspace=str(tmp_path / "workspace"),
        embedder=request.param,
        lsa_dimensions=6,
        openai_dimensions=6,
        openai_model="text-embedding-3-small",
    )
    module = embedder_module(request.param)
    out = tmp_path / "vectors.npy"
    made = module.embed_corpus(ARTICLES, settings, out=out, run_id="r")
    assert made.dimensions == DIMENSIONS[request.param]
    return made, np.load(out), module.depends_on(settings)


def test_settings_know_the_same_names():
    assert set(get_args(EmbedderName)) == set(EMBEDDERS)


@pytest.mark.parametrize("embedded", NAMES, indirect=True)
def test_corpus_has_a_vector_per_article_zero_where_it_has_no_text(embedded):
    made, vectors, depends = embedded
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, made.dimensions) == (5, made.embedder.dimensions)
    assert made.model_id == made.embedder.model_id
    assert vectors.any(axis=1).tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(vectors[0], vectors[4])
    assert vectors[0] @ vectors[3] > vectors[0] @ vectors[1]
    assert depends


@pytest.mark.parametrize("embedded", NAMES, indirect=True)
def test_saved_embedder_gives_the_very_digits_of_the_corpus_for_one_text_or_many(
    embedded, tmp_path, request
):
    made, vectors, _ = embedded
    made.embedder.save(tmp_path / "saved")
    loaded = load_embedder(tmp_path / "saved")
    assert saved_embedder(tmp_path / "saved") in NAMES
    assert loaded.model_id == made.model_id
    np.testing.assert_array_equal(loaded.embed(TITLES), vectors)
    alone = np.concatenate([loaded.embed([text]) for text in TITLES])
    np.testing.assert_array_equal(alone, vectors)
    assert loaded.embed([]).shape == (0, made.dimensions)


@pytest.mark.parametrize("embedded", NAMES, indirect=True)
def test_texts_of_another_run_get_the_very_digits_through_the_cache(embedded, tmp_path):
    made, vectors, _ = embedded
    settings = Settings(workspace=str(tmp_path / "another"))
    for _ in range(2):
        again = made.embedder.embed_cached(TITLES, settings, run_id="another")
        np.testing.assert_array_equal(again, vectors)


def test_folder_without_an_embedder_is_refused(tmp_path):
    with pytest.raises(TagsageError, match="There is no embedder in"):
        load_embedder(tmp_path)
