import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from tagsage.embed import lsa
from tagsage.embed.lsa import LsaEmbedder
from tagsage.errors import TagsageError
from tagsage.settings import Settings

WORDS = ["graph", "node", "edge", "walk", "cheese", "milk", "cow", "farm", "c", "r", "straße"]


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 2, n)
    return [" ".join(rng.choice(WORDS[4 * g : 4 * g + 7], rng.integers(1, 8))) for g in groups]


def test_two_texts_of_one_word_each_become_the_two_unit_vectors():
    model = LsaEmbedder.fit(["cow", "cow", "milk"], dimensions=2, seed=1)
    # The weighted matrix is diagonal: its singular vectors are the terms, "cow" the stronger.
    np.testing.assert_allclose(
        model.embed(["cow", "milk", "Milk, milk!"]), [[1, 0], [0, 1], [0, 1]], atol=1e-6
    )


def test_vectors_agree_with_scikit_learns_tfidf_and_exact_truncated_svd():
    texts = sorted(set(some_texts(300)))
    model = LsaEmbedder.fit(texts, dimensions=5, seed=3)
    tfidf = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    X = tfidf.fit_transform(texts)
    exact = normalize(TruncatedSVD(5, algorithm="arpack", random_state=0).fit_transform(X))
    ours = model.embed(texts)
    # Singular vectors are defined up to their sign.
    exact *= np.sign((exact * ours).sum(axis=0))
    np.testing.assert_allclose(ours, exact, atol=1e-4)


def test_a_vector_has_length_one_and_does_not_depend_on_the_texts_beside_it():
    texts = some_texts(100)
    model = LsaEmbedder.fit(texts, dimensions=4, seed=3)
    together = model.embed(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    alone = np.concatenate([model.embed([text]) for text in texts])
    np.testing.assert_array_equal(alone, together)


def test_a_text_without_a_known_term_has_a_zero_vector():
    model = LsaEmbedder.fit(some_texts(50), dimensions=3, seed=3)
    assert not model.embed(["", "xyzzy", "\0", "... !"]).any()
    assert model.embed([]).shape == (0, 3)


def test_fewer_terms_than_dimensions_pad_every_vector_with_zeros():
    model = LsaEmbedder.fit(["cow milk", "cow", "milk farm"], dimensions=8, seed=3)
    vectors = model.embed(["cow milk", "farm"])
    assert vectors.shape == (2, 8)
    assert not vectors[:, 3:].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_one_text_for_many_terms_gives_rank_one_and_zeros_beyond():
    model = LsaEmbedder.fit(["cow milk farm graph"], dimensions=3, seed=3)
    np.testing.assert_allclose(model.embed(["cow"]), [[1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("texts", [[], ["", ""], ["...", "?!"]])
def test_without_any_word_every_vector_is_zero_and_the_model_can_be_kept(texts, tmp_path):
    model = LsaEmbedder.fit(texts, dimensions=4, seed=1)
    model.save(tmp_path / "m")
    assert lsa.load(tmp_path / "m").model_id == model.model_id
    np.testing.assert_array_equal(model.embed(["cow", ""]), np.zeros((2, 4)))


def test_in_a_large_corpus_terms_of_a_single_text_are_dropped():
    texts = [f"cow unique{i}" for i in range(1000)]
    assert LsaEmbedder.fit(texts, dimensions=1, seed=1).vocabulary == ["cow"]


def test_the_same_seed_gives_the_same_model_in_another_process():
    code = (
        "import sys, json; from tagsage.embed.lsa import LsaEmbedder;"
        "t = json.load(sys.stdin);"
        "print(LsaEmbedder.fit(t, dimensions=6, seed=5).model_id)"
    )
    texts = some_texts(400)
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        # The name must not depend on how many threads the machine offers either.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "7"},
    )
    here = LsaEmbedder.fit(texts, dimensions=6, seed=5)
    assert run.stdout.strip() == here.model_id


def test_name_changes_with_parameters_and_texts_but_not_with_their_order_or_repetition():
    def fit(texts: list[str], d: int = 3, seed: int = 1) -> str:
        return LsaEmbedder.fit(texts, dimensions=d, seed=seed).model_id

    texts = some_texts(50)
    assert len({fit(texts), fit(some_texts(51)), fit(texts, d=4), fit(texts, seed=2)}) == 4
    assert fit(texts).startswith("lsa-3-")
    assert fit(texts) == fit([*texts[::-1], *texts[:7], ""])


def test_sample_hardly_changes_when_texts_are_added():
    texts = [f"cow{number}" for number in range(400)]
    before = LsaEmbedder.fit(texts, dimensions=2, seed=1, sample=100).vocabulary
    after = LsaEmbedder.fit([*texts, "milk"], dimensions=2, seed=1, sample=100).vocabulary
    assert len(before) == 100
    assert len(set(before) & set(after)) >= 99


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("components.npy", None),
        ("components.npy", b"\x93NUMPY"),
        ("idf.npy", b"[1"),
        ("vocabulary.json", b'["cow"]'),
        ("vocabulary.json", b"[1"),
        ("embedder.json", None),
    ],
)
def test_a_damaged_model_is_refused_in_one_sentence(file, content, tmp_path):
    LsaEmbedder.fit(some_texts(20), dimensions=2, seed=3).save(tmp_path / "m")
    path = tmp_path / "m" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        TagsageError, match=r"Cannot read the LSA model in .*; train the model anew|is not JSON"
    ):
        lsa.load(tmp_path / "m")


def test_text_without_a_word_has_the_same_terms_without_it():
    texts = ["red apples and red pears", "green pears", "cars"]
    model = LsaEmbedder.fit(texts, dimensions=3, seed=0)
    terms = model.terms(["Red apples and red pears"])
    assert np.array_equal(model.embed_terms(terms), model.embed(["Red apples and red pears"]))
    terms.data[terms.indices == model.vocabulary.index("red")] = 0
    np.testing.assert_allclose(
        model.embed_terms(terms), model.embed(["apples and pears"]), atol=1e-6
    )
    empty = LsaEmbedder.fit([], dimensions=3, seed=0)
    assert empty.embed_terms(empty.terms(["a", "b"])).tolist() == [[0, 0, 0]] * 2


def test_a_fitted_model_knows_which_texts_are_new_and_gives_the_others_the_same_vectors(tmp_path):
    settings, folder = Settings(lsa_dimensions=2), tmp_path / "model"

    def corpus(*titles):
        return pd.DataFrame({"title": titles, "subtitle": "", "is_stub": False})

    def vectors(articles):
        lsa.embed_corpus(articles, settings, out=tmp_path / "v.npy", run_id="r", model=folder)
        return np.load(tmp_path / "v.npy")

    before = corpus("cow milk", "graph", "graph", "", "node graph")
    lsa.fit_corpus(before, settings, folder)
    assert lsa.share_new(before, settings, folder) == 0
    # Of four texts that are not empty, two were there.
    after = corpus("graph", "farm", "farm", "cow", "", "cow milk")
    assert lsa.share_new(after, settings, folder) == pytest.approx(0.5)
    assert np.array_equal(vectors(after)[[0, 5]], vectors(before)[[1, 0]])
    assert lsa.share_new(corpus("", ""), settings, folder) == 0
