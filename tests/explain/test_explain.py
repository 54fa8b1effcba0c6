"""Explanations of a tagger fitted for real: what they name is what the model goes by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tagsage.explain import explain as explain_module
from tagsage.explain import labelled_corpus, occlusion, scorer
from tagsage.explain.explain import explain
from tagsage.explain.explanation import Explanation
from tagsage.explain.labelled_corpus import LabelledCorpus
from tests.explain.explained_world import DENSE, TAGS, fit


@pytest.fixture(scope="module")
def fitted(corpus, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("fitted"), corpus, f"{DENSE}:ovr_logistic")


@pytest.fixture(scope="module")
def tagger(fitted):
    return fitted[0]


@pytest.fixture(scope="module")
def labelled(corpus, tagger) -> LabelledCorpus:
    texts = (corpus.articles["title"] + " " + corpus.articles["subtitle"]).tolist()
    return LabelledCorpus.of(corpus, TAGS, tagger.embedder.embed(texts))


@pytest.fixture(scope="module")
def untagged(corpus) -> np.ndarray:
    return np.flatnonzero(corpus.articles["tags"].map(len) == 0)


@pytest.fixture(scope="module")
def explained(tagger, labelled, untagged) -> list[Explanation]:
    """Explain the best tag of every article that has none."""
    columns = scores(tagger, labelled, untagged).argmax(axis=1)
    return list(explain(tagger, labelled, untagged, columns))


def requested(labelled, rows, *, without=(), words=()) -> pd.DataFrame:
    """Return articles as a request has them, without some lists and words."""
    frame = labelled.articles.iloc[rows][["title", "subtitle", "author"]].copy()
    for column in ("title", "subtitle"):
        frame[column] = [
            " ".join(word for word in text.split() if word.lower() not in words)
            for text in frame[column]
        ]
    lists = [
        [name for name in labelled.list_names[labelled.lists_of(row)] if name not in without]
        for row in rows
    ]
    lists = pd.Series(lists, index=frame.index, dtype=object)
    return frame.assign(story=labelled.urls[rows], lists=lists)


def predicted(tagger, frame) -> np.ndarray:
    X = tagger.features.transform(tagger.articles_of(frame))
    return tagger.candidate.predict_proba(X, np.arange(len(frame)))


def scores(tagger, labelled, rows, **left_out) -> np.ndarray:
    return predicted(tagger, requested(labelled, rows, **left_out))


def score_of(tagger, labelled, one: Explanation, **left_out) -> float:
    """Request the score of what was explained from the tagger itself, with evidence removed."""
    row = int(one.story[-3:])
    return float(scores(tagger, labelled, [row], **left_out)[0, TAGS.index(one.tag)])


def test_score_is_the_models_own_with_and_without_lists(tagger, labelled, explained, untagged):
    assert [one.story for one in explained] == labelled.urls[untagged].tolist()
    every, moved = set(labelled.list_names), 0
    for one in explained[::7]:
        assert one.score == round(score_of(tagger, labelled, one), 6)
        alone = score_of(tagger, labelled, one, without=every)
        assert one.score_without_graph == pytest.approx(alone, abs=2e-6)
        moved += abs(one.score - one.score_without_graph) > 0.01
    assert moved >= 2


def test_drop_of_a_list_and_of_a_word_is_how_far_the_score_falls_without_it(
    tagger, labelled, explained
):
    with_lists = [one for one in explained if one.lists]
    with_words = [one for one in explained if one.words]
    assert len(with_lists) > 30
    assert len(with_words) > 50
    for one in with_lists[::5] + with_words[::9]:
        for item in one.lists:
            fallen = one.score - score_of(tagger, labelled, one, without={item.list})
            assert item.drop == pytest.approx(fallen, abs=3e-6)
        for item in one.words:
            fallen = one.score - score_of(tagger, labelled, one, words={item.word})
            assert item.drop == pytest.approx(fallen, abs=3e-6)
        for drops in ([i.drop for i in one.lists], [i.drop for i in one.words]):
            assert drops == sorted(drops, reverse=True)
            assert all(drop > 0 for drop in drops)


def test_counts_of_lists_are_those_of_the_corpus(corpus, labelled, explained):
    members_of = labelled.members.toarray() > 0
    tags = corpus.articles["tags"]
    for one in explained:
        for item in one.lists:
            members = np.flatnonzero(members_of[:, labelled.list_names.tolist().index(item.list)])
            assert item.size == len(members)
            assert item.labelled == sum(len(tags[row]) > 0 for row in members)
            assert item.with_tag == sum(one.tag in tags[row] for row in members)


def test_colisted_articles_have_the_tag_and_share_the_named_lists(labelled, explained):
    member = labelled.members.toarray() > 0
    weights = 1 / np.log1p(member.sum(axis=0))
    tags = labelled.tags.toarray() > 0
    names = labelled.list_names.tolist()
    for one in explained:
        row = int(one.story[-3:])
        near = (member & member[row]) @ weights
        near[~tags[:, TAGS.index(one.tag)]] = 0
        near[row] = 0
        found = [int(item.story[-3:]) for item in one.articles]
        assert len(found) == min(5, np.count_nonzero(near))
        assert near[found] == pytest.approx(np.sort(near)[::-1][: len(found)], rel=1e-5)
        for item, other in zip(one.articles, found, strict=True):
            both = member[row] & member[other]
            assert all(both[names.index(name)] for name in item.lists)
            assert len(item.lists) == min(3, both.sum())


def test_nearest_texts_are_those_of_the_highest_cosine(corpus, labelled, explained):
    for one in explained:
        cosine = labelled.vectors @ labelled.vectors[int(one.story[-3:])]
        cosine[~labelled.labelled] = 0
        expected = np.sort(cosine[cosine > 0])[::-1][:5]
        assert [item.similarity for item in one.texts] == pytest.approx(expected, abs=1e-4)
        for item in one.texts:
            assert item.has_tag == (one.tag in corpus.articles["tags"][int(item.story[-3:])])


def test_own_tags_of_a_labelled_article_are_no_evidence_for_it(fitted, corpus, labelled):
    tagger, X = fitted
    rows = np.flatnonzero(labelled.labelled)[:40]
    columns = labelled.tags[rows].indices
    made = list(explain(tagger, labelled, rows, columns))
    member = labelled.members.toarray() > 0
    tags = corpus.articles["tags"]
    for one, row in zip(made, rows, strict=True):
        assert all(item.story != one.story for item in (*one.articles, *one.texts))
        for item in one.lists:
            members = np.flatnonzero(member[:, labelled.list_names.tolist().index(item.list)])
            assert item.with_tag == sum(one.tag in tags[other] for other in members if other != row)
    # As in training, where no article sees its own tags.
    trained = tagger.candidate.predict_proba(X, rows)[np.arange(40), columns]
    assert [one.score for one in made] == trained.astype(np.float64).round(6).tolist()
    # Not recognised, it would find them among those of its lists and its author.
    unknown = predicted(tagger, requested(labelled, rows).drop(columns="story"))
    assert np.abs(unknown[np.arange(40), columns] - trained).max() > 0.02


def test_blocks_and_calls_do_not_change_an_explanation(
    tagger, labelled, explained, untagged, monkeypatch
):
    columns = [TAGS.index(one.tag) for one in explained]
    monkeypatch.setattr(explain_module, "BLOCK_ARTICLES", 7)
    monkeypatch.setattr(scorer, "ROWS_PER_CALL", 11)
    monkeypatch.setattr(labelled_corpus, "COLISTED_ROWS", 2)
    monkeypatch.setattr(labelled_corpus, "TEXT_ROWS", 13)
    again = list(explain(tagger, labelled, untagged, np.array(columns)))
    for one, other in zip(explained, again, strict=True):
        assert (one.story, one.tag, one.articles) == (other.story, other.tag, other.articles)
        assert one.score == pytest.approx(other.score, abs=2e-6)
        similarities = [[item.similarity for item in each.texts] for each in (one, other)]
        assert similarities[0] == pytest.approx(similarities[1], abs=1e-4)
        if one.lists:
            assert one.lists[0].drop == pytest.approx(other.lists[0].drop, abs=4e-6)


def test_only_some_of_very_many_lists_and_words_are_tried(tagger, labelled, explained, monkeypatch):
    monkeypatch.setattr(occlusion, "TRIED", 1)
    for one in [one for one in explained if len(one.lists) > 1][:10]:
        column = TAGS.index(one.tag)
        (again,) = explain(tagger, labelled, [int(one.story[-3:])], [column])
        assert len(again.lists) <= 1
        assert len(again.words) <= 1


def test_sentence_names_the_strongest_evidence_also_after_a_trip_through_a_table(explained):
    one = next(one for one in explained if one.lists and one.words and one.articles)
    sentence = one.sentence()
    first = one.lists[0]
    assert f"the list {first.list} ({first.with_tag} of {first.labelled} tagged" in sentence
    assert f"the words {one.words[0].word}" in sentence
    assert one.articles[0].title in sentence
    assert sentence.endswith(f"without lists {100 * one.score_without_graph:.0f}%")
    assert Explanation.of(one.record()) == one
    bare = Explanation("s", "t", 0.5, 0.4, 0.5, [], [], [], [], [])
    assert bare.sentence() == "the article as a whole: no single list or word matters"
