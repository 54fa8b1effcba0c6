"""A linear model's explanations: they add up to its score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from tagsage.explain.explain import explain
from tagsage.explain.labelled_corpus import LabelledCorpus
from tests.explain.explained_world import LINEAR, TAGS, fit


@pytest.fixture(scope="module", params=[LINEAR, f"char_ngrams+{LINEAR}"])
def linear(request, corpus, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("linear"), corpus, request.param)


@pytest.fixture(scope="module")
def explained(corpus, linear):
    rows = np.repeat(np.arange(len(corpus.articles)), len(TAGS))
    columns = np.tile(np.arange(len(TAGS)), len(corpus.articles))
    return list(explain(linear[0], LabelledCorpus.of(corpus, TAGS, None), rows, columns))


@pytest.fixture(scope="module")
def in_none(corpus):
    """Tell which explanations are of an article in no list."""
    return np.repeat(np.diff(corpus.incidence().indptr) == 0, len(TAGS))


def test_terms_add_up_to_the_score(explained, in_none):
    assert in_none.any()
    for one, alone in zip(explained, in_none, strict=True):
        assert one.terms[0].kind == "start"
        # Score and terms have six digits.
        assert expit(sum(term.log_odds for term in one.terms)) == pytest.approx(one.score, abs=5e-6)
        if alone:
            assert one.lists == []
            assert "list" not in {term.kind for term in one.terms}
            assert one.score_without_graph == one.score


def test_score_is_what_the_model_predicts_also_in_no_list(corpus, linear, explained):
    tagger, X = linear
    P = tagger.candidate.predict_proba(X, np.arange(len(X)))
    scores = np.array([one.score for one in explained]).reshape(P.shape)
    assert np.array_equal(scores, P.astype(np.float64).round(6))
    frame = corpus.articles[["title", "subtitle", "author"]]
    in_no_list = tagger.features.transform(tagger.articles_of(frame))
    P = tagger.candidate.predict_proba(in_no_list, np.arange(len(X)))
    without = np.array([one.score_without_graph for one in explained]).reshape(P.shape)
    assert np.array_equal(without, P.astype(np.float64).round(6))


def test_a_term_is_the_weight_of_its_column_times_its_value(linear, explained):
    tagger, X = linear
    known, blocks = tagger.features.known, tagger.features.blocks
    rest, checked = X.list_free(), set()
    for place, one in enumerate(explained[:200]):
        row, tag = divmod(place, len(TAGS))
        in_list = bool(X.in_list[row])
        model = tagger.candidate.main if in_list else tagger.candidate.fallback
        seen = X if in_list else rest
        features = seen.sparse_rows(np.array([row])).toarray()[0]
        for term in one.terms:
            block = {"word": "words", "list": "list_ids", "author": "author_ids"}.get(term.kind)
            # With character n-grams a word has more than its own column.
            if block and not (block == "words" and "char_ngrams" in blocks):
                names = blocks[block].columns(known).tolist()
                before = seen.block_widths[: seen.kinds.index(block)]
                column = sum(before) + names.index(term.name)
                weight = model.classifier.arrays["coef"][column, tag]
                value = weight * features[column]
                assert term.log_odds == pytest.approx(value, abs=2e-6)
                checked.add((term.kind, in_list))
    assert {("list", True), ("author", True), ("author", False)} <= checked
    assert {in_list for kind, in_list in checked if kind == "word"} == (
        set() if "char_ngrams" in blocks else {True, False}
    )


def test_drop_of_a_list_is_what_its_term_adds(linear, explained):
    tagger, X = linear
    calibration, checked = tagger.candidate.main.calibration, 0
    for place, one in enumerate(explained):
        row, tag = divmod(place, len(TAGS))
        by_name = {term.name: term.log_odds for term in one.terms if term.kind == "list"}
        before = sum(term.log_odds for term in one.terms if term.kind != "calibration")
        for item in one.lists:
            if item.list in by_name and X.in_list[row]:
                without = expit(calibration.log_odds(before - by_name[item.list], tag))
                assert item.drop == pytest.approx(one.score - without, abs=1e-5)
                checked += 1
    assert checked > 50
