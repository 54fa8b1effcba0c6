"""Explanations of a tagger fitted for real: what they name is what the model goes by."""

import json

import numpy as np
import pandas as pd
import pytest

from tagsage.explain import asked, occlusion
from tagsage.explain import explain as explaining
from tagsage.explain.background import Background
from tagsage.explain.explain import explain
from tagsage.explain.explanations import Explanation
from tests.explain.explained_world import DENSE, TAGS, fit, snapshot


@pytest.fixture(scope="module")
def corpus():
    return snapshot()


@pytest.fixture(scope="module", params=["ovr_logistic", "mlp"])
def fitted(request, corpus, tmp_path_factory):
    return fit(tmp_path_factory.mktemp(request.param), corpus, f"{DENSE}:{request.param}")


@pytest.fixture(scope="module")
def tagger(fitted):
    return fitted[0]


@pytest.fixture(scope="module")
def background(corpus, tagger) -> Background:
    vectors = tagger.embedder.embed(
        (corpus.articles["title"] + " " + corpus.articles["subtitle"]).tolist()
    )
    return Background.of(corpus, TAGS, vectors)


@pytest.fixture(scope="module")
def untagged(corpus) -> np.ndarray:
    return np.flatnonzero(corpus.articles["tags"].map(len) == 0)


@pytest.fixture(scope="module")
def explained(tagger, background, untagged) -> list[Explanation]:
    """Explain the best tag of every article that has none."""
    columns = scores(tagger, background, untagged).argmax(axis=1)
    return list(explain(tagger, background, untagged, columns))


def given(background, rows, *, without=(), words=()) -> pd.DataFrame:
    """Return articles as they are requested, recognised, without some lists and words."""
    frame = background.articles.iloc[rows][["title", "subtitle", "author"]].copy()
    for column in ("title", "subtitle"):
        frame[column] = [
            " ".join(word for word in text.split() if word.lower() not in words)
            for text in frame[column]
        ]
    lists = [
        [
            name
            for name in background.lists[background.incidence[[row]].indices]
            if name not in without
        ]
        for row in rows
    ]
    lists = pd.Series(lists, index=frame.index, dtype=object)
    return frame.assign(story=background.urls[rows], lists=lists)


def answer(tagger, frame) -> np.ndarray:
    X = tagger.features.transform(tagger.articles_of(frame))
    return tagger.candidate.predict_proba(X, np.arange(len(frame)))


def scores(tagger, background, rows, **left_out) -> np.ndarray:
    return answer(tagger, given(background, rows, **left_out))


def of(tagger, background, one: Explanation, **left_out) -> float:
    """Ask the tagger itself for the score of what was explained, with some evidence removed."""
    row = int(one.story[-3:])
    return float(scores(tagger, background, [row], **left_out)[0, TAGS.index(one.tag)])


def test_score_is_the_models_own(tagger, background, explained, untagged):
    assert [one.story for one in explained] == background.urls[untagged].tolist()
    for one in explained[::7]:
        # Six digits are told.
        assert one.score == round(of(tagger, background, one), 6)


def test_without_the_named_lists_the_score_is_lower(tagger, background, explained):
    named = [one for one in explained if one.lists]
    assert len(named) > 30
    for one in named:
        without = {item.list for item in one.lists}
        assert of(tagger, background, one, without=without) < one.score


def test_drop_of_a_list_is_how_far_the_score_falls_without_it(tagger, background, explained):
    for one in [one for one in explained if one.lists][::5]:
        for item in one.lists:
            fallen = one.score - of(tagger, background, one, without={item.list})
            assert item.drop == pytest.approx(fallen, abs=3e-6)
        drops = [item.drop for item in one.lists]
        assert drops == sorted(drops, reverse=True)


def test_without_the_named_words_the_score_is_lower(tagger, background, explained):
    named = [one for one in explained if one.words]
    assert len(named) > 50
    for one in named:
        words = {item.word for item in one.words}
        assert of(tagger, background, one, words=words) < one.score
    for one in named[::9]:
        first = one.words[0]
        fallen = one.score - of(tagger, background, one, words={first.word})
        assert first.drop == pytest.approx(fallen, abs=3e-6)


def test_score_without_graph_is_that_of_an_article_in_no_list(tagger, background, explained):
    every = set(background.lists)
    moved = 0
    for one in explained[::3]:
        assert one.score_without_graph == pytest.approx(
            of(tagger, background, one, without=every), abs=2e-6
        )
        moved += abs(one.score - one.score_without_graph) > 0.01
    assert moved >= 3


def test_counts_of_lists_are_those_of_the_corpus(corpus, background, explained):
    incidence = background.incidence.toarray() > 0
    tags = corpus.articles["tags"]
    for one in explained:
        for item in one.lists:
            column = background.lists.tolist().index(item.list)
            members = np.flatnonzero(incidence[:, column])
            assert item.size == len(members)
            assert item.labelled == sum(len(tags[row]) > 0 for row in members)
            assert item.with_tag == sum(one.tag in tags[row] for row in members)


def test_colisted_articles_have_the_tag_and_share_the_named_lists(background, explained):
    incidence = background.incidence.toarray() > 0
    weights = 1 / np.log1p(incidence.sum(axis=0))
    tags = background.tags.toarray() > 0
    names = background.lists.tolist()
    for one in explained:
        row = int(one.story[-3:])
        near = (incidence & incidence[row]) @ weights
        near[~tags[:, TAGS.index(one.tag)]] = 0
        near[row] = 0
        found = [int(item.story[-3:]) for item in one.articles]
        assert len(found) == min(5, np.count_nonzero(near))
        expected = np.sort(near)[::-1][: len(found)]
        assert near[found] == pytest.approx(expected, rel=1e-5)
        for item, other in zip(one.articles, found, strict=True):
            both = incidence[row] & incidence[other]
            assert item.lists
            assert all(both[names.index(name)] for name in item.lists)
            assert len(item.lists) == min(3, both.sum())


def test_nearest_texts_are_those_of_the_highest_cosine(corpus, background, explained):
    vectors = background.vectors
    for one in explained:
        row = int(one.story[-3:])
        cosine = vectors @ vectors[row]
        cosine[(np.diff(background.tags.indptr) == 0)] = 0
        expected = np.sort(cosine[cosine > 0])[::-1][:5]
        assert [item.similarity for item in one.texts] == pytest.approx(expected, abs=1e-4)
        for item in one.texts:
            assert item.has_tag == (one.tag in corpus.articles["tags"][int(item.story[-3:])])


def test_own_tags_of_a_labelled_article_do_not_speak_for_it(fitted, corpus, background):
    tagger, X = fitted
    labelled = np.flatnonzero(background.labelled)[:40]
    columns = background.tags[labelled].indices
    made = list(explain(tagger, background, labelled, columns))
    incidence = background.incidence.toarray() > 0
    tags = corpus.articles["tags"]
    for one, row in zip(made, labelled, strict=True):
        assert all(item.story != one.story for item in (*one.articles, *one.texts))
        for item in one.lists:
            members = np.flatnonzero(incidence[:, background.lists.tolist().index(item.list)])
            assert item.with_tag == sum(one.tag in tags[other] for other in members if other != row)
    # As in training, where no article is told its own tags.
    trained = tagger.candidate.predict_proba(X, labelled)[np.arange(40), columns]
    assert [one.score for one in made] == trained.astype(np.float64).round(6).tolist()
    # Not recognised, it would find them among those of its lists and its author.
    unknown = answer(tagger, given(background, labelled).drop(columns="story"))
    assert np.abs(unknown[np.arange(40), columns] - trained).max() > 0.02


def test_blocks_and_calls_do_not_change_what_is_said(
    tagger, background, explained, untagged, monkeypatch
):
    columns = [TAGS.index(one.tag) for one in explained]
    monkeypatch.setattr(explaining, "ARTICLES_A_BLOCK", 7)
    monkeypatch.setattr(asked, "ROWS_A_CALL", 11)
    for one, again in zip(
        explained, explain(tagger, background, untagged, np.array(columns)), strict=True
    ):
        assert (one.story, one.tag, one.articles) == (again.story, again.tag, again.articles)
        assert one.score == pytest.approx(again.score, abs=2e-6)
        if one.lists:
            assert one.lists[0].drop == pytest.approx(again.lists[0].drop, abs=4e-6)


def test_record_is_a_flat_row_with_json_for_what_is_a_list(explained):
    one = next(one for one in explained if one.lists and one.words and one.articles)
    record = one.record()
    assert list(record) == [
        "story", "tag", "score", "threshold", "score_without_graph",
        "lists", "articles", "texts", "words", "terms",
    ]  # fmt: skip
    assert set(json.loads(record["lists"])[0]) == {"list", "size", "labelled", "with_tag", "drop"}
    assert set(json.loads(record["articles"])[0]) == {"story", "title", "lists"}
    assert set(json.loads(record["texts"])[0]) == {"story", "title", "similarity", "has_tag"}
    assert set(json.loads(record["words"])[0]) == {"word", "drop"}


def test_nothing_asked_nothing_said(tagger, background):
    nothing = np.zeros(0, dtype=np.int64)
    assert list(explain(tagger, background, nothing, nothing)) == []


def test_only_some_of_very_many_lists_are_tried_those_where_the_tag_is_frequent(
    tagger, background, explained, monkeypatch
):
    monkeypatch.setattr(occlusion, "TRIED", 1)
    for one in [one for one in explained if len(one.lists) > 1][:10]:
        column = TAGS.index(one.tag)
        (again,) = explain(tagger, background, [int(one.story[-3:])], [column])
        assert len(again.lists) <= 1
        assert len(again.words) <= 1


def test_sentence_names_the_strongest_evidence(explained):
    one = next(one for one in explained if one.lists and one.words and one.articles)
    said = one.sentence()
    first = one.lists[0]
    assert f"the list {first.list} ({first.with_tag} of {first.labelled} tagged" in said
    assert f"the words {one.words[0].word}" in said
    assert f"{one.articles[0].title}" in said
    assert said.endswith(f"without lists {100 * one.score_without_graph:.0f}%")
    assert Explanation.of(one.record()) == one


def test_sentence_without_single_evidence_says_so():
    bare = Explanation("s", "t", 0.5, 0.4, 0.5, [], [], [], [])
    assert bare.sentence() == "all of the article together: no list or word alone matters"
