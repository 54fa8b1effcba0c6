import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from tagsage.embed import lsa
from tagsage.embed.lsa import LsaEmbedder
from tagsage.errors import TagsageError

WORDS = ["graph", "node", "edge", "walk", "cheese", "milk", "cow", "farm", "c", "r", "straße"]


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 2, n)
    return [" ".join(rng.choice(WORDS[4 * g : 4 * g + 7], rng.integers(1, 8))) for g in groups]


def test_two_texts_of_one_word_each_become_the_two_unit_vectors():
    model = LsaEmbedder.fit(["cow", "cow", "milk"], dimensions=2, max_terms=10, seed=1)
    # The weighted matrix is diagonal: its singular vectors are the terms, "cow" the stronger.
    np.testing.assert_allclose(
        model.embed(["cow", "milk", "Milk, milk!"]), [[1, 0], [0, 1], [0, 1]], atol=1e-6
    )


def test_idf_is_the_smooth_one_counted_over_texts_that_have_a_word():
    model = LsaEmbedder.fit(["cow", "cow milk", "...", ""], dimensions=1, max_terms=10, seed=1)
    assert model.vocabulary == ["cow", "milk"]
    np.testing.assert_allclose(model.idf, [np.log(3 / 3) + 1, np.log(3 / 2) + 1], rtol=1e-6)


def test_vectors_agree_with_scikit_learns_tfidf_and_exact_truncated_svd():
    texts = some_texts(300)
    model = LsaEmbedder.fit(texts, dimensions=5, max_terms=100, seed=3)
    tfidf = TfidfVectorizer(sublinear_tf=True, token_pattern=lsa.WORD)
    X = tfidf.fit_transform(texts)
    exact = normalize(TruncatedSVD(5, algorithm="arpack", random_state=0).fit_transform(X))
    ours = model.embed(texts)
    # Singular vectors are defined up to their sign.
    exact *= np.sign((exact * ours).sum(axis=0))
    np.testing.assert_allclose(ours, exact, atol=1e-4)


def test_the_products_in_blocks_equal_those_in_one_piece(monkeypatch):
    texts = some_texts(200)
    whole = LsaEmbedder.fit(texts, dimensions=4, max_terms=100, seed=3)
    monkeypatch.setattr(lsa, "BLOCK_ROWS", 7)
    blocks = LsaEmbedder.fit(texts, dimensions=4, max_terms=100, seed=3)
    np.testing.assert_allclose(blocks.components, whole.components, atol=1e-5)
    np.testing.assert_array_equal(whole.embed(texts[:50]), whole.embed(texts)[:50])


def test_a_vector_has_length_one_and_does_not_depend_on_the_texts_beside_it():
    texts = some_texts(100)
    model = LsaEmbedder.fit(texts, dimensions=4, max_terms=100, seed=3)
    together = model.embed(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    alone = np.concatenate([model.embed([text]) for text in texts])
    np.testing.assert_array_equal(alone, together)


def test_a_text_without_a_known_term_has_a_zero_vector():
    model = LsaEmbedder.fit(some_texts(50), dimensions=3, max_terms=100, seed=3)
    assert not model.embed(["", "xyzzy", "\0", "... !"]).any()
    assert model.embed([]).shape == (0, 3)


def test_fewer_terms_than_dimensions_pad_every_vector_with_zeros():
    model = LsaEmbedder.fit(["cow milk", "cow", "milk farm"], dimensions=8, max_terms=10, seed=3)
    vectors = model.embed(["cow milk", "farm"])
    assert vectors.shape == (2, 8)
    assert not vectors[:, 3:].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_one_text_for_many_terms_gives_rank_one_and_zeros_beyond():
    model = LsaEmbedder.fit(["cow milk farm graph"], dimensions=3, max_terms=10, seed=3)
    np.testing.assert_allclose(model.embed(["cow"]), [[1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("texts", [[], ["", ""], ["...", "?!"]])
def test_without_any_word_every_vector_is_zero_and_the_model_can_be_kept(texts, tmp_path):
    model = LsaEmbedder.fit(texts, dimensions=4, max_terms=10, seed=1)
    model.save(tmp_path / "m")
    assert LsaEmbedder.load(tmp_path / "m").model_id == model.model_id
    np.testing.assert_array_equal(model.embed(["cow", ""]), np.zeros((2, 4)))


def test_in_a_large_corpus_terms_of_a_single_text_are_dropped():
    texts = [f"cow unique{i}" for i in range(1000)]
    assert LsaEmbedder.fit(texts, dimensions=1, max_terms=5000, seed=1).vocabulary == ["cow"]


def test_in_a_large_corpus_of_unique_words_only_they_are_kept_after_all():
    texts = [f"unique{i}" for i in range(1000)]
    assert len(LsaEmbedder.fit(texts, dimensions=1, max_terms=50, seed=1).vocabulary) == 50


def test_a_title_of_a_hundred_thousand_characters_is_a_text_like_others():
    texts = ["cow " * 25_000, "x" * 100_000, "cow milk"]
    model = LsaEmbedder.fit(texts, dimensions=2, max_terms=10, seed=1)
    np.testing.assert_allclose(np.linalg.norm(model.embed(texts), axis=1), 1, rtol=1e-5)


def test_the_same_seed_gives_the_same_model_in_another_process():
    code = (
        "import sys, json; from tagsage.embed.lsa import LsaEmbedder;"
        "t = json.load(sys.stdin);"
        "print(LsaEmbedder.fit(t, dimensions=6, max_terms=100, seed=5).model_id)"
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
    here = LsaEmbedder.fit(texts, dimensions=6, max_terms=100, seed=5)
    assert run.stdout.strip() == here.model_id


def test_the_name_tells_dimensions_and_changes_with_parameters_and_texts():
    def fit(n: int = 50, d: int = 3, terms: int = 100, seed: int = 1) -> str:
        return LsaEmbedder.fit(some_texts(n), dimensions=d, max_terms=terms, seed=seed).model_id

    names = [fit(), fit(n=51), fit(d=4), fit(terms=99), fit(seed=2)]
    assert len(set(names)) == 5
    assert names[0].startswith("lsa-3-")
    assert names[0] == fit()


def test_a_loaded_model_embeds_exactly_like_the_fitted_one(tmp_path):
    model = LsaEmbedder.fit(some_texts(100), dimensions=4, max_terms=100, seed=3)
    model.save(tmp_path / "model")
    loaded = LsaEmbedder.load(tmp_path / "model")
    assert loaded.model_id == model.model_id
    assert loaded.parameters == model.parameters
    unseen = [*some_texts(40, seed=9), "", "cow zzz"]
    np.testing.assert_array_equal(loaded.embed(unseen), model.embed(unseen))


def test_a_saved_model_is_arrays_and_json_only(tmp_path):
    LsaEmbedder.fit(some_texts(20), dimensions=2, max_terms=100, seed=3).save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "components.npy", "idf.npy", "lsa.json", "vocabulary.json",
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("file", ["components.npy", "idf.npy", "lsa.json", "vocabulary.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage"])
def test_a_damaged_model_is_refused_in_one_sentence(file, damage, tmp_path):
    LsaEmbedder.fit(some_texts(20), dimensions=2, max_terms=100, seed=3).save(tmp_path / "m")
    path = tmp_path / "m" / file
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.write_bytes(b"[1")
    with pytest.raises(TagsageError, match=r"Cannot read the LSA model in .*; remove it and run"):
        LsaEmbedder.load(tmp_path / "m")


def test_a_model_whose_numbers_were_changed_is_refused(tmp_path):
    LsaEmbedder.fit(some_texts(20), dimensions=2, max_terms=100, seed=3).save(tmp_path / "m")
    shutil.copy(tmp_path / "m" / "idf.npy", tmp_path / "idf.npy")
    np.save(tmp_path / "m" / "idf.npy", np.load(tmp_path / "idf.npy") * 2)
    with pytest.raises(TagsageError, match="its content does not match its name"):
        LsaEmbedder.load(tmp_path / "m")


def test_a_model_of_another_format_is_refused(tmp_path):
    LsaEmbedder.fit(some_texts(20), dimensions=2, max_terms=100, seed=3).save(tmp_path / "m")
    about = json.loads((tmp_path / "m" / "lsa.json").read_text())
    about["parameters"]["format"] = 99
    (tmp_path / "m" / "lsa.json").write_text(json.dumps(about))
    with pytest.raises(TagsageError, match="it has format 99, this version reads 1"):
        LsaEmbedder.load(tmp_path / "m")


@pytest.mark.parametrize(("dimensions", "max_terms"), [(0, 5), (5, 0)])
def test_impossible_parameters_are_refused(dimensions, max_terms):
    with pytest.raises(ValueError, match="must be at least 1"):
        LsaEmbedder.fit(["cow"], dimensions=dimensions, max_terms=max_terms, seed=1)


def test_text_without_a_word_has_the_same_terms_without_it():
    texts = ["red apples and red pears", "green pears", "cars"]
    model = LsaEmbedder.fit(texts, dimensions=3, max_terms=50, seed=0)
    terms = model.terms(["Red apples and red pears"])
    assert np.array_equal(model.embed_terms(terms), model.embed(["Red apples and red pears"]))
    terms.data[terms.indices == model.vocabulary.index("red")] = 0
    np.testing.assert_allclose(
        model.embed_terms(terms), model.embed(["apples and pears"]), atol=1e-6
    )
    empty = LsaEmbedder.fit([], dimensions=3, max_terms=50, seed=0)
    assert empty.embed_terms(empty.terms(["a", "b"])).tolist() == [[0, 0, 0]] * 2
