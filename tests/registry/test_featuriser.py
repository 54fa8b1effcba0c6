"""Features of new articles are those that the corpus's own articles were trained with."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.fastrp import FastRpConfig, fastrp
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import infer_graphsage
from tagsage.graph.graphsage.model import GraphSageModel, initial_weights
from tagsage.graph.labels import LabelsConfig, propagate_labels
from tagsage.graph.lists import propagate_lists
from tagsage.graph.memberships import MembershipsConfig, factorise_memberships
from tagsage.registry.featuriser import Featuriser, texts_of
from tagsage.registry.write_featuriser import write_featuriser
from tagsage.vectors.lsa import LsaEmbedder
from tagsage.vectors.text import article_texts

ARTICLES = pd.DataFrame({
    "title": ["red apples", "green apples", "fast cars", "", "slow cars and apples"],
    "subtitle": ["sweet", "sour", "", "", "odd"],
    "is_stub": [False] * 5,
})
# Lists: fruit = 0, 1, 4; cars = 2, 3, 4; alone = 3 (an article of which nothing is known).
INCIDENCE = sp.csr_array(
    np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0]], dtype=np.float32)
)
NAMES = np.array(["fruit", "cars", "alone"])
LISTS = [["fruit"], ["fruit"], ["cars"], ["cars", "alone"], ["fruit", "cars"]]


@pytest.fixture(scope="module")
def embedder() -> LsaEmbedder:
    return LsaEmbedder.fit(article_texts(ARTICLES), dimensions=3, max_terms=50, seed=0)


@pytest.fixture
def write(tmp_path, embedder):
    def write(feature_set: str, size_discount: float = 1, **options) -> Featuriser:
        embedder.save(tmp_path / "lsa")
        vectors = embedder.embed(article_texts(ARTICLES))
        hops = propagate_lists(INCIDENCE, vectors, hops=2, size_discount=size_discount)
        parts = {
            "embedder": tmp_path / "lsa",
            "list_names": NAMES,
            "incidence": INCIDENCE,
            "hop_inputs": [vectors, hops[0]],
            "size_discount": size_discount,
            **options,
        }
        folder = tmp_path / "featuriser"
        folder.mkdir()
        write_featuriser(folder, feature_set=feature_set, dimensions=3, **parts)
        return Featuriser.load(folder)

    return write


def test_text_block_is_the_embedding_of_title_and_subtitle(write, embedder):
    (text,) = write("text").matrix(["red apples", ""], ["sweet", ""], [[], []]).blocks
    assert np.array_equal(text, embedder.embed(["red apples sweet", ""]))
    assert not text[1].any()


@pytest.mark.parametrize("discount", [0, 0.5, 1])
def test_articles_of_the_corpus_get_the_features_they_were_trained_with(write, embedder, discount):
    vectors = embedder.embed(article_texts(ARTICLES))
    hops = propagate_lists(INCIDENCE, vectors, hops=2, size_discount=discount)
    made = (
        write("text+lists", size_discount=discount)
        .matrix(
            ARTICLES["title"].tolist(),
            ARTICLES["subtitle"].tolist(),
            LISTS,
            in_corpus=np.ones(5, bool),
        )
        .blocks
    )
    assert len(made) == 3
    assert np.array_equal(made[0], vectors)
    for hop in (0, 1):
        assert np.allclose(made[hop + 1], hops[hop], atol=1e-3)
        assert made[hop + 1].dtype == np.float32


@pytest.mark.parametrize("sharpness", [0.0, 3.0])
def test_only_articles_that_the_lists_means_hold_are_taken_for_part_of_them(write, sharpness):
    keys = [f"site.example/{row}" for row in range(5)]
    featuriser = write("text+lists", topic_sharpness=sharpness, article_keys=keys)
    held = featuriser.counts([keys[4], "site.example/new", keys[0]])
    assert held.tolist() == [True, False, True]
    titles, subtitles = ["slow cars and apples"] * 2 + ["red apples"], ["odd"] * 2 + ["sweet"]
    lists = [["fruit", "cars"], ["fruit", "cars"], ["fruit"]]
    made = featuriser.matrix(titles, subtitles, lists, in_corpus=held).blocks
    of_corpus = featuriser.matrix(titles, subtitles, lists, in_corpus=np.ones(3, bool)).blocks
    of_new = featuriser.matrix(titles, subtitles, lists).blocks
    for hop in (1, 2):
        assert np.array_equal(made[hop][[0, 2]], of_corpus[hop][[0, 2]])
        assert np.array_equal(made[hop][1], of_new[hop][1])
        assert not np.allclose(made[hop][0], made[hop][1], atol=1e-3)


def test_list_features_are_the_weighted_mean_worked_by_hand(tmp_path):
    # Two lists of sizes 1 and 2 with means (2, 0) and (0, 4): weights 1 and 1/2.
    incidence = sp.csr_array(np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32))
    vectors = np.array([[2, 0], [0, 3], [0, 5]], dtype=np.float32)
    write_featuriser(
        tmp_path,
        feature_set="lists",
        dimensions=2,
        embedder=None,
        list_names=np.array(["a", "b"]),
        incidence=incidence,
        hop_inputs=[vectors],
        size_discount=1,
    )
    featuriser = Featuriser.load(tmp_path)
    lists = [["a", "b"], ["b"], ["a", "a", "unknown"], [], ["unknown"]]
    (made,) = featuriser.matrix([""] * 5, [""] * 5, lists, np.zeros((5, 2), np.float32)).blocks
    expected = [[2 / 1.5, 2 / 1.5], [0, 4], [2, 0], [0, 0], [0, 0]]
    assert np.allclose(made, expected, atol=2e-3)


@pytest.fixture
def graphsage() -> GraphSageModel:
    config = GraphSageConfig(dimensions=4, sample_sizes=(2, 2), seed=1)
    return GraphSageModel(config, initial_weights(config, 3))


def test_graphsage_block_embeds_an_article_as_if_it_were_isolated(
    write, embedder, graphsage, tmp_path
):
    graphsage.save(tmp_path / "sage")
    featuriser = write("text+graphsage", graphsage=tmp_path / "sage", graphsage_dimensions=4)
    text, made = featuriser.matrix(["red apples", ""], ["", ""], [["fruit"], []]).blocks
    alone = sp.csr_array((2, 2), dtype=np.float32)
    assert np.array_equal(made, infer_graphsage(graphsage, alone, text, seed=1))
    assert np.isclose(np.linalg.norm(made[0]), 1, atol=1e-5)
    assert not made[1].any()


def test_graphsage_that_was_not_trained_gives_zeros_as_in_training(write):
    featuriser = write("graphsage", graphsage=None, graphsage_dimensions=4)
    (made,) = featuriser.matrix(["red apples"], [""], [[]]).blocks
    assert made.tolist() == [[0, 0, 0, 0]]


def test_fastrp_block_embeds_an_article_as_if_it_were_isolated(write, embedder):
    config = FastRpConfig(dimensions=8, iteration_weights=(1.0, 0.5), self_influence=0.75, seed=3)
    featuriser = write("text+fastrp", fastrp=config)
    text, made = featuriser.matrix(["red apples", ""], ["", ""], [["fruit"], []]).blocks
    assert featuriser.fastrp.config == config
    alone = sp.csr_array((2, 2), dtype=np.float32)
    assert np.array_equal(made, fastrp(alone, text, config))
    assert np.isclose(np.linalg.norm(made[0]), 0.75)
    assert not made[1].any()


# Tags of articles 4, 0 and 2; the others have none.
TAGGED = np.array([4, 0, 2])
TAGS = np.array([[1, 1], [1, 0], [0, 1]], dtype=bool)
LABELS = LabelsConfig(prior_weight=3, size_discount=0.5)


def test_labels_block_is_the_training_feature_of_an_article_that_has_no_labels(write, tmp_path):
    trained = propagate_labels(INCIDENCE, TAGGED, TAGS, LABELS)
    trained.lists.save(tmp_path / "list labels")
    featuriser = write("text+lists+labels", list_labels=tmp_path / "list labels")
    blocks = featuriser.matrix([""] * 6, [""] * 6, [*LISTS, ["cars", "unknown", "cars"]]).blocks
    assert [block.shape for block in blocks[3:]] == [(6, 2), (6, 1)]
    for untagged in (1, 3):
        for made, expected in zip(blocks[3:], trained[:2], strict=True):
            assert np.array_equal(made[untagged], expected[untagged])
    assert np.array_equal(blocks[3][5], blocks[3][2])


@pytest.mark.parametrize("place", range(3))
def test_labels_block_is_the_training_feature_with_the_articles_own_labels_left_out(
    write, tmp_path, place
):
    trained = propagate_labels(INCIDENCE, TAGGED, TAGS, LABELS)
    others = np.arange(3) != place
    fitted = propagate_labels(INCIDENCE, TAGGED[others], TAGS[others], LABELS)
    fitted.lists.save(tmp_path / "list labels")
    featuriser = write("labels", list_labels=tmp_path / "list labels")
    article = TAGGED[place]
    shares, evidence = featuriser.matrix([""], [""], [LISTS[article]]).blocks
    np.testing.assert_allclose(shares[0], trained.shares[article], atol=2e-6)
    assert np.array_equal(evidence[0], trained.evidence[article])


def test_article_in_no_known_list_has_no_labels_propagated(write, tmp_path):
    propagate_labels(INCIDENCE, TAGGED, TAGS, LABELS).lists.save(tmp_path / "list labels")
    featuriser = write("labels", list_labels=tmp_path / "list labels")
    shares, evidence = featuriser.matrix(["a", "b"], ["", ""], [[], ["unknown"]]).blocks
    assert shares.tolist() == [[0, 0], [0, 0]]
    assert evidence.tolist() == [[0], [0]]


def test_authors_block_is_the_training_feature_of_an_article_that_has_no_labels(write, tmp_path):
    # Ann wrote 0, 1 and 4, Bo 2 and 3.
    wrote = sp.csr_array(np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32))
    trained = propagate_labels(wrote, TAGGED, TAGS, LABELS)
    trained.lists.save(tmp_path / "author labels")
    featuriser = write(
        "text+authors",
        author_names=np.array(["Ann", "Bo"]),
        author_labels=tmp_path / "author labels",
    )
    names = ["Ann", "Bo", "", "Cy"]
    _, shares, evidence = featuriser.matrix([""] * 4, [""] * 4, [[]] * 4, authors=names).blocks
    for made, expected in ((shares, trained.shares), (evidence, trained.evidence)):
        assert np.array_equal(made[:2], expected[[1, 3]])
        assert not made[2:].any()
    _, *unsaid = featuriser.matrix(["a"], [""], [["fruit"]]).blocks
    assert not any(block.any() for block in unsaid)


def test_authors_without_their_inputs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="block authors needs author_names and author_labels"):
        write_featuriser(tmp_path, feature_set="authors", dimensions=3, embedder=None)


def test_labels_without_their_inputs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="block labels needs list_names and list_labels"):
        write_featuriser(tmp_path, feature_set="labels", dimensions=3, embedder=None)


def test_champion_of_a_night_before_there_was_fastrp_still_loads(write, tmp_path):
    write("text")
    file = tmp_path / "featuriser" / "featuriser.json"
    about = json.loads(file.read_text())
    del about["fastrp"]
    file.write_text(json.dumps(about))
    assert Featuriser.load(tmp_path / "featuriser").fastrp is None


def test_no_article_gives_empty_blocks_of_the_right_width(write):
    blocks = write("text+fastrp+lists", fastrp=FastRpConfig(dimensions=8)).matrix([], [], []).blocks
    assert [block.shape for block in blocks] == [(0, 3), (0, 8), (0, 3), (0, 3)]


def test_given_vectors_are_taken_when_there_is_no_embedder(write):
    featuriser = write("text", embedder=None)
    given = np.array([[1, 2, 3]], dtype=np.float32)
    (text,) = featuriser.matrix(["x"], [""], [[]], given).blocks
    assert np.array_equal(text, given)
    with pytest.raises(TagsageError, match="needs one of 3 numbers in the column vector; there"):
        featuriser.matrix(["x"], [""], [[]])
    with pytest.raises(TagsageError, match=r"an array of shape \(1, 2\)"):
        featuriser.matrix(["x"], [""], [[]], given[:, :2])


def test_parts_that_a_feature_set_does_not_need_are_not_kept(write, tmp_path):
    write("text")
    kept = sorted(file.name for file in (tmp_path / "featuriser").iterdir())
    assert kept == ["embedder", "featuriser.json"]


def test_files_are_arrays_and_json_without_pickles(write, tmp_path, graphsage):
    graphsage.save(tmp_path / "sage")
    propagate_labels(INCIDENCE, TAGGED, TAGS, LABELS).lists.save(tmp_path / "list labels")
    write(
        "text+graphsage+fastrp+lists+labels",
        list_labels=tmp_path / "list labels",
        graphsage=tmp_path / "sage",
        graphsage_dimensions=4,
        fastrp=FastRpConfig(dimensions=8),
    )
    for file in (tmp_path / "featuriser").rglob("*.*"):
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
        else:
            json.loads(file.read_text())


@pytest.mark.parametrize("feature_set", ["", "sounds", "text+sounds"])
def test_unknown_block_is_refused(feature_set, tmp_path):
    with pytest.raises(ValueError, match="is not made of some of words, list_ids"):
        write_featuriser(tmp_path, feature_set=feature_set, dimensions=3, embedder=None)


def test_fastrp_without_its_settings_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the block fastrp needs its settings"):
        write_featuriser(tmp_path, feature_set="fastrp", dimensions=3, embedder=None)


def test_lists_without_their_inputs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs list_names, incidence, hop_inputs and size_d"):
        write_featuriser(tmp_path, feature_set="lists", dimensions=3, embedder=None)


def test_memberships_block_is_the_training_feature(write, tmp_path):
    trained, factors = factorise_memberships(INCIDENCE, MembershipsConfig(dimensions=2))
    factors.save(tmp_path / "list factors")
    featuriser = write("text+memberships", list_factors=tmp_path / "list factors")
    text, made = featuriser.matrix([""] * 6, [""] * 6, [*LISTS, ["unknown"]]).blocks
    assert np.allclose(made[:5], trained, atol=1e-6)
    assert not made[5].any()
    assert text.shape == (6, 3)


def test_matrix_tells_the_kinds_of_blocks_and_which_articles_are_in_a_known_list(write, tmp_path):
    propagate_labels(INCIDENCE, TAGGED, TAGS, LABELS).lists.save(tmp_path / "list labels")
    featuriser = write("text+lists+labels", list_labels=tmp_path / "list labels")
    X = featuriser.matrix([""] * 3, [""] * 3, [["cars"], ["unknown"], []])
    assert X.kinds == ("text", "lists", "lists", "labels", "labels")
    assert X.linked.tolist() == [True, False, False]


def test_texts_of_new_articles_are_made_like_those_of_the_corpus():
    titles = [" red apples ", "", "a\tb", "🎉 مرحبا", "  "]
    subtitles = ["sweet", " sour", "", "  x  ", ""]
    frame = pd.DataFrame({"title": titles, "subtitle": subtitles, "is_stub": False})
    assert texts_of(titles, subtitles) == article_texts(frame)
    assert texts_of([None, "a"], ["b", float("nan")]) == ["b", "a"]
