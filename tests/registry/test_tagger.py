"""A tagger says the same of an article wherever it is asked, and of new ones what it can."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.pyfunc import load_model, scoring_server

from tagsage.embed.text import article_texts
from tagsage.errors import TagsageError
from tagsage.features import Articles
from tagsage.registry.pyfunc import save_pyfunc
from tagsage.registry.tagger import Tagger, read_about
from tagsage.store.snapshot import Snapshot
from tests.explain.explained_world import fit, snapshot

CANDIDATES = (
    "words+list_ids+author_ids:linear",
    "text+lists+labels+authors:linear",
    "text+lists+labels+authors:mlp",
    "words+char_ngrams+list_ids+author_ids+text+lists+labels+authors:ensemble",
    "text+graphsage:linear",
    "graphsage:label_powerset",
)
EVERY = "words+list_ids+author_ids+text+lists+labels+authors+memberships+graphsage+fastrp"


@pytest.fixture(scope="module")
def corpus() -> Snapshot:
    return snapshot()


@pytest.fixture(scope="module")
def tagger(tagger_folder) -> Tagger:
    return Tagger.load(tagger_folder)


def some_rows(corpus: Snapshot) -> np.ndarray:
    """Return some articles: tagged or not, in lists or in none."""
    rows = np.arange(0, len(corpus.articles), 5)
    tagged = corpus.articles["tags"].map(len).to_numpy()[rows] > 0
    in_lists = np.diff(corpus.incidence()[rows].indptr) > 0
    assert len({*zip(tagged.tolist(), in_lists.tolist(), strict=True)}) == 4
    return rows


def requests_of(corpus: Snapshot, rows: np.ndarray) -> list[dict]:
    """Return articles as a request has them."""
    articles = corpus.articles.iloc[rows]
    frame = articles[["title", "subtitle", "author"]].assign(
        story=articles["url"],
        lists=pd.Series(corpus.list_names(corpus.incidence()[rows]), index=articles.index),
    )
    return frame.to_dict("records")


def stored_scores(tagger: Tagger, corpus: Snapshot) -> np.ndarray:
    """Return the probabilities of all articles, as the stage predict makes them."""
    articles = Articles.of_snapshot(corpus)
    if tagger.features.needs_vectors:
        articles = articles.with_vectors(tagger.vectors(articles.texts))
    X = tagger.features.transform(articles)
    return tagger.candidate.predict(X, np.arange(len(X))).probabilities


def scores_of(tagger: Tagger, tops: list[list[dict]]) -> np.ndarray:
    """Return ranked tags as probabilities in the order of the tagger's tags."""
    by_tag = [{item["tag"]: item["score"] for item in top} for top in tops]
    return np.array([[found[tag] for tag in tagger.candidate.tags] for found in by_tag])


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_an_article_has_the_same_score_to_the_last_digit_wherever_it_is_asked(
    candidate, corpus, tmp_path, monkeypatch
):
    tagger, X = fit(tmp_path, corpus, candidate)
    stored = stored_scores(tagger, corpus)
    assert np.array_equal(tagger.candidate.predict_proba(X, np.arange(len(X))), stored)
    rows = some_rows(corpus)
    expected = stored[rows].astype(float)
    requests = requests_of(corpus, rows)
    one_by_one = [tagger.predict(pd.DataFrame([request]))["top"].iloc[0] for request in requests]
    assert np.array_equal(scores_of(tagger, one_by_one), expected)
    save_pyfunc(tmp_path / "tagger", tmp_path / "model")
    model = load_model(str(tmp_path / "model"))
    of_model = [model.predict([request])["top"].iloc[0] for request in requests]
    assert np.array_equal(scores_of(tagger, of_model), expected)
    # The app that `mlflow models serve` runs; it sets this for good.
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    http = TestClient(scoring_server.init(model))
    answers = [
        http.post("/invocations", json={"dataframe_records": [request]}).json()
        for request in requests[:6]
    ]
    over_http = [answer["predictions"][0]["top"] for answer in answers]
    assert np.array_equal(scores_of(tagger, over_http), expected[:6])


@pytest.fixture(scope="module")
def every(corpus, tmp_path_factory) -> tuple[Tagger, np.ndarray]:
    """Return a tagger with every block, and the features that it was fitted on."""
    tagger, X = fit(tmp_path_factory.mktemp("every"), corpus, f"{EVERY}:linear")
    return tagger, X.sparse_rows(np.arange(len(X))).toarray()


def features(tagger: Tagger, requests: list[dict]) -> np.ndarray:
    X = tagger.features.transform(tagger.articles_of(pd.DataFrame(requests)))
    return X.sparse_rows(np.arange(len(X))).toarray()


def test_a_request_with_its_story_gets_the_features_it_was_trained_with(corpus, every):
    tagger, trained = every
    rows = np.arange(len(corpus.articles))
    assert np.array_equal(features(tagger, requests_of(corpus, rows)), trained)
    rows = rows[::7]
    alone = [features(tagger, [request])[0] for request in requests_of(corpus, rows)]
    assert np.array_equal(alone, trained[rows])


def test_a_tagger_that_was_saved_again_says_the_same(corpus, every, tmp_path):
    tagger, trained = every
    tagger.save(tmp_path / "again")
    again = Tagger.load(tmp_path / "again")
    requests = requests_of(corpus, np.arange(len(corpus.articles)))
    assert np.array_equal(features(again, requests), trained)
    asked = pd.DataFrame(requests[:20])
    assert again.predict(asked).equals(tagger.predict(asked))


def test_an_article_that_is_not_recognised_is_a_new_one_in_its_lists(corpus, every):
    tagger, trained = every
    rows = np.flatnonzero(np.diff(corpus.incidence().indptr) > 0)[:20]
    requests = requests_of(corpus, rows)
    for unknown in ("", "https://site.example/new", "no address", None):
        made = features(tagger, [request | {"story": unknown} for request in requests])
        assert not np.array_equal(made, trained[rows])
    # However its address is written.
    for story in ("http://site.example/{:03d}/?source=rss", "site.example/{:03d}"):
        again = [
            request | {"story": story.format(row)}
            for request, row in zip(requests, rows, strict=True)
        ]
        assert np.array_equal(features(tagger, again), trained[rows])


def test_a_tagged_article_does_not_see_its_own_tags(corpus, every):
    tagger, _ = every
    row = int(np.flatnonzero(corpus.articles["tags"].map(len) > 0)[3])
    (request,) = requests_of(corpus, np.array([row]))
    labels = tagger.features.blocks["labels"]

    def shares(story: str) -> np.ndarray:
        articles = tagger.articles_of(pd.DataFrame([request | {"story": story}]))
        return labels.transform(tagger.features.known.mark(articles))[0][0]

    own = tagger.candidate.tags.index(corpus.articles["tags"].iloc[row][0])
    assert shares(request["story"])[own] < shares("")[own]


def test_colisted_articles_stand_for_the_lists_that_hold_them(corpus, every):
    tagger, _ = every
    names = corpus.list_names(corpus.incidence())
    alone = next(row for row, lists in enumerate(names) if len(lists) == 1)
    colisted = {"title": "wheel", "articles": [f"https://site.example/{alone:03d}?x=1", "nowhere"]}
    by_name = {"title": "wheel", "lists": list(names[alone])}
    assert np.array_equal(features(tagger, [colisted]), features(tagger, [by_name]))
    both = by_name | {"articles": colisted["articles"]}
    assert np.array_equal(features(tagger, [both]), features(tagger, [by_name]))


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (
            {"lists": ["list 07", "unknown", "list 01", "list 07"]},
            {"lists": ["list 01", "list 07"]},
        ),
        ({"lists": [None, "list 01", float("nan")]}, {"lists": ["list 01"]}),
        ({"lists": "list 01"}, {"lists": ["list 01"]}),
        ({"lists": 7}, {"lists": []}),
        ({"lists": None, "articles": None}, {}),
        ({"author": None}, {}),
        ({"author": "Nobody"}, {}),
        ({"title": None, "subtitle": "wheel"}, {"title": "", "subtitle": "wheel"}),
    ],
)
def test_what_is_unknown_null_or_named_twice_changes_nothing(every, odd, plain):
    tagger, _ = every
    made = features(tagger, [{"title": "wheel"} | odd])
    assert np.array_equal(made, features(tagger, [{"title": "wheel"} | plain]))


def test_an_article_in_no_known_list_is_answered_by_the_fallback(every):
    tagger, _ = every
    requests = [{"title": "wheel", "lists": lists} for lists in (["list 01"], ["never seen"], [])]
    X = tagger.features.transform(tagger.articles_of(pd.DataFrame(requests)))
    assert X.in_list.tolist() == [True, False, False]
    P = tagger.candidate.predict_proba(X, np.arange(3))
    fallback = tagger.candidate.fallback
    assert fallback is not None
    expected = fallback.predict(X.list_free(), np.arange(3)).probabilities
    assert np.array_equal(P[1:], expected[1:])
    assert not np.array_equal(P[0], expected[0])


def test_texts_of_new_articles_are_made_like_those_of_the_corpus(every):
    tagger, _ = every
    titles = [" red apples ", "", "a\tb", "🎉 مرحبا", "  "]
    subtitles = ["sweet", " sour", "", "  x  ", ""]
    frame = pd.DataFrame({"title": titles, "subtitle": subtitles, "is_stub": False})
    assert tagger.articles_of(frame).texts == article_texts(frame)


def test_answers_are_ranked_assigned_by_threshold_and_json_able(tagger, monkeypatch):
    titles = ["ripe cherries", "new engines", "", "🎉", None, "\x00", "x" * 100_000]
    frame = pd.DataFrame({"title": titles}, index=list("abcdefg"))
    made = tagger.predict(frame)
    assert made.index.tolist() == list("abcdefg")
    assert made["tags"].tolist()[:2] == [["fruit"], ["cars"]]
    assert json.loads(json.dumps(made["top"].tolist())) == made["top"].tolist()
    for tags, top in zip(made["tags"], made["top"], strict=True):
        scores = [item["score"] for item in top]
        assert scores == sorted(scores, reverse=True)
        assert {item["tag"] for item in top} == {"fruit", "cars"}
        assert [item["assigned"] for item in top] == [
            item["score"] >= item["threshold"] for item in top
        ]
        assert tags == [item["tag"] for item in top if item["assigned"]]
    assert tagger.predict(frame, top_k=1)["top"].map(len).tolist() == [1] * 7
    # However many articles are asked about at once.
    monkeypatch.setattr("tagsage.registry.tagger.BLOCK_ROWS", 3)
    assert tagger.predict(frame)["top"].tolist() == made["top"].tolist()
    assert tagger.predict(frame.iloc[:0]).columns.tolist() == ["tags", "top"]


@pytest.mark.parametrize(
    ("column", "top_k", "said"),
    [
        ("title", 0, "top_k must be at least 1, not 0"),
        ("name", 1, "needs a column title; its columns are: name"),
    ],
)
def test_wrong_input_is_an_error_of_one_sentence(tagger, column, top_k, said):
    with pytest.raises(TagsageError, match=said):
        tagger.predict(pd.DataFrame({column: ["pears"]}), top_k=top_k)


def test_parts_that_a_candidate_does_not_need_are_not_kept(tmp_path, make_tagger):
    folder = make_tagger(tmp_path, "words+list_ids")
    assert {file.name for file in folder.iterdir()} == {"candidate", "features", "tagger.json"}
    kept = {file.name for file in (folder / "features").iterdir()}
    assert kept == {"known", "words", "list_ids"}
    # A title is enough, with no embedder at hand.
    made = Tagger.load(folder).predict(pd.DataFrame({"title": ["pears", "gears"]}))
    assert made["tags"].tolist() == [["fruit"], ["cars"]]


def test_a_tagger_of_given_vectors_wants_a_vector_with_every_title(tmp_path, make_tagger):
    folder = make_tagger(tmp_path, "text", given=True)
    assert read_about(folder)["needs_given_vectors"]
    tagger = Tagger.load(folder)
    vectors = [[1.0] * 6]
    made = tagger.articles_of(pd.DataFrame({"title": ["a"], "vector": vectors}))
    assert np.array_equal(tagger.features.transform(made).blocks[0], vectors)
    for vector, said in (
        ({}, "needs one of 6 numbers in the column"),
        ({"vector": [[1.0, 2.0], [1.0, 2.0]]}, r"an array of shape \(2, 2\)"),
        ({"vector": [*vectors, [1.0]]}, "something else than lists of numbers, all of one length"),
    ):
        with pytest.raises(TagsageError, match=said):
            tagger.predict(pd.DataFrame({"title": ["a", "b"], **vector}))
