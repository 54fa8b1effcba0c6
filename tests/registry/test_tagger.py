"""A tagger says the same of an article wherever it is asked, and of new ones what it can."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tagsage.embed.text import article_texts
from tagsage.errors import TagsageError
from tagsage.features import Articles
from tagsage.registry.mlflow_models import load_model
from tagsage.registry.servable import save_servable
from tagsage.registry.tagger import Tagger, read_about
from tagsage.store.snapshot import Snapshot
from tests.explain.explained_world import fit, snapshot

CANDIDATES = (
    "words:linear",
    "words+list_ids+author_ids:linear",
    "text+lists+labels+authors:linear",
    "text+lists+labels+authors:mlp",
    "text:linear",
    "text:mlp",
    "text:label_powerset",
    "text+graphsage:linear",
    "text+graphsage:mlp",
    "text+graphsage:label_powerset",
)
EVERY = "words+list_ids+author_ids+text+lists+labels+authors+memberships+graphsage+fastrp"
Ranked = list[list[dict]]


@pytest.fixture(scope="module")
def corpus() -> Snapshot:
    return snapshot()


def asked(corpus: Snapshot) -> np.ndarray:
    """Return some articles, tagged or not, in lists or in none."""
    rows = np.arange(0, len(corpus.articles), 5)
    tagged = corpus.articles["tags"].map(len).to_numpy()[rows] > 0
    in_lists = np.diff(corpus.incidence()[rows].indptr) > 0
    assert {(a, b) for a, b in zip(tagged, in_lists, strict=True)} == {
        (True, True), (True, False), (False, True), (False, False),
    }  # fmt: skip
    return rows


def records(corpus: Snapshot, rows: np.ndarray) -> list[dict]:
    """Return articles as a request has them."""
    articles = corpus.articles.iloc[rows]
    frame = articles[["title", "subtitle", "author"]].assign(
        story=articles["url"],
        lists=pd.Series(corpus.list_names(corpus.incidence()[rows]), index=articles.index),
    )
    return frame.to_dict("records")


def predicted(tagger: Tagger, corpus: Snapshot) -> np.ndarray:
    """Return the probabilities of all articles, as the stage predict makes them."""
    articles = Articles.of_snapshot(corpus)
    if tagger.features.needs_vectors:
        articles = articles.with_vectors(tagger.vectors(articles.texts))
    X = tagger.features.transform(articles)
    return tagger.candidate.predict(X, np.arange(len(X))).probabilities


def scores(tagger: Tagger, top: Ranked) -> np.ndarray:
    """Return ranked tags as probabilities in the order of the tagger's tags."""
    by_tag = [{item["tag"]: item["score"] for item in of_article} for of_article in top]
    return np.array([[found[tag] for tag in tagger.candidate.tags] for found in by_tag])


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_an_article_has_the_same_score_to_the_last_digit_wherever_it_is_asked(
    candidate, corpus, tmp_path, client_of
):
    tagger, X = fit(tmp_path, corpus, candidate)
    rows = asked(corpus)
    expected = predicted(tagger, corpus)
    assert np.array_equal(tagger.candidate.predict_proba(X, np.arange(len(X))), expected)
    expected = expected[rows].astype(float)
    requests = records(corpus, rows)
    one_by_one = [tagger.tag(pd.DataFrame([request]))["top"].iloc[0] for request in requests]
    assert np.array_equal(scores(tagger, one_by_one), expected)
    save_servable(tmp_path / "served", tmp_path / "model")
    model = load_model(str(tmp_path / "model"))
    of_model = [model.predict([request])["top"].iloc[0] for request in requests]
    assert np.array_equal(scores(tagger, of_model), expected)
    http = client_of(model)
    answers = [
        http.post("/invocations", json={"dataframe_records": [request]}).json()
        for request in requests
    ]
    over_http = [answer["predictions"][0]["top"] for answer in answers]
    assert np.array_equal(scores(tagger, over_http), expected)


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
    assert np.array_equal(features(tagger, records(corpus, rows)), trained)
    rows = rows[::7]
    alone = [features(tagger, [request])[0] for request in records(corpus, rows)]
    assert np.array_equal(alone, trained[rows])


def test_an_article_that_is_not_recognised_is_a_new_one_beside_its_lists(corpus, every):
    tagger, trained = every
    rows = np.flatnonzero(np.diff(corpus.incidence().indptr) > 0)[:20]
    requests = records(corpus, rows)
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


def test_a_tagged_article_is_not_told_its_own_tags(corpus, every):
    tagger, _ = every
    row = int(np.flatnonzero(corpus.articles["tags"].map(len) > 0)[3])
    (request,) = records(corpus, np.array([row]))
    labels = tagger.features.blocks["labels"]

    def shares(story: str) -> np.ndarray:
        articles = tagger.articles_of(pd.DataFrame([request | {"story": story}]))
        return labels.transform(tagger.features.known.mark(articles))[0][0]

    own = tagger.candidate.tags.index(corpus.articles["tags"].iloc[row][0])
    assert shares(request["story"])[own] < shares("")[own]


def test_colisted_articles_stand_for_the_lists_that_hold_them(corpus, every):
    tagger, _ = every
    known = tagger.features.known
    names = corpus.list_names(corpus.incidence())
    alone = next(row for row, lists in enumerate(names) if len(lists) == 1)
    beside = {"title": "wheel", "articles": [f"https://site.example/{alone:03d}?x=1", "nowhere"]}
    assert known.lists_of(beside["articles"]) == list(names[alone])
    by_name = {"title": "wheel", "lists": list(names[alone])}
    assert np.array_equal(features(tagger, [beside]), features(tagger, [by_name]))
    both = by_name | {"articles": beside["articles"]}
    assert np.array_equal(features(tagger, [both]), features(tagger, [by_name]))


def test_lists_that_are_unknown_or_named_twice_change_nothing(corpus, every):
    tagger, _ = every
    plain = {"title": "wheel and pedal", "lists": ["list 01", "list 07"]}
    odd = {"title": "wheel and pedal", "lists": ["list 07", "never seen", "list 01", "list 07"]}
    assert np.array_equal(features(tagger, [odd]), features(tagger, [plain]))


def test_an_author_that_is_unknown_counts_as_none(every):
    tagger, _ = every
    made = features(tagger, [{"title": "wheel", "author": name} for name in ("", None, "Nobody")])
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
    known = features(tagger, [{"title": "wheel", "author": "Author 0 0"}])
    assert not np.array_equal(made[:1], known)


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


def test_no_article_gives_empty_features_of_the_right_width(every):
    tagger, trained = every
    X = tagger.features.transform(tagger.articles_of(pd.DataFrame({"title": []})))
    assert X.shape == (0, trained.shape[1])


def test_texts_of_new_articles_are_made_like_those_of_the_corpus(every):
    tagger, _ = every
    titles = [" red apples ", "", "a\tb", "🎉 مرحبا", "  "]
    subtitles = ["sweet", " sour", "", "  x  ", ""]
    frame = pd.DataFrame({"title": titles, "subtitle": subtitles, "is_stub": False})
    assert tagger.articles_of(frame).texts == article_texts(frame)
    nulls = pd.DataFrame({"title": [None, "a"], "subtitle": ["b", float("nan")]})
    assert tagger.articles_of(nulls).texts == ["b", "a"]


def test_parts_that_a_candidate_does_not_need_are_not_kept(tmp_path, make_served):
    served = make_served(tmp_path, "words+list_ids", classifier="linear")
    assert sorted(file.name for file in served.iterdir()) == [
        "candidate", "features", "sha256.json", "tagger.json",
    ]  # fmt: skip
    assert {file.name for file in (served / "features").iterdir()} == {
        "known", "words", "list_ids",
    }  # fmt: skip
    assert not read_about(served)["needs_given_vectors"]
    # A title is enough, with no embedder at hand.
    made = Tagger.load(served).tag(pd.DataFrame({"title": ["pears", "gears"]}))
    assert made["tags"].tolist() == [["fruit"], ["cars"]]


def test_files_are_arrays_and_json_without_pickles(corpus, tmp_path):
    fit(tmp_path, corpus, f"{EVERY}:linear")
    files = [file for file in (tmp_path / "served").rglob("*") if file.is_file()]
    for file in files:
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
        else:
            json.loads(file.read_text(encoding="utf-8"))


def test_a_tagger_of_given_vectors_wants_a_vector_with_every_title(tmp_path, make_served):
    dimensions = 6
    served = make_served(tmp_path, "text", given=True)
    assert read_about(served)["needs_given_vectors"]
    tagger = Tagger.load(served)
    vectors = [[1.0] * dimensions]
    made = tagger.tag(pd.DataFrame({"title": ["a"], "vector": vectors}))
    assert len(made["top"].iloc[0]) == 2
    given = tagger.articles_of(pd.DataFrame({"title": ["a"], "vector": vectors}))
    assert np.array_equal(tagger.features.transform(given).blocks[0], vectors)
    with pytest.raises(TagsageError, match=f"needs one of {dimensions} numbers in the column"):
        tagger.tag(pd.DataFrame({"title": ["a"]}))
    with pytest.raises(TagsageError, match=r"an array of shape \(1, 2\)"):
        tagger.tag(pd.DataFrame({"title": ["a"], "vector": [[1.0, 2.0]]}))
    with pytest.raises(TagsageError, match=r"different lengths: \[1, 6\]"):
        tagger.tag(pd.DataFrame({"title": ["a", "b"], "vector": [*vectors, [1.0]]}))


@pytest.mark.parametrize("feature_set", ["fastrp", "text+fastrp", "text+graphsage"])
def test_a_new_title_beside_known_articles_is_tagged_by_its_neighbours(
    tmp_path, make_served, feature_set
):
    tagger = Tagger.load(make_served(tmp_path, feature_set))
    requests = pd.DataFrame({"title": ["", ""], "lists": [["orchard"], ["garage"]]})
    made = tagger.tag(requests)
    assert made["tags"].tolist() == [["fruit"], ["cars"]]
    again = Tagger.load(tmp_path / "served").tag(requests.iloc[1:])
    assert again["top"].tolist() == made["top"].tolist()[1:]
