"""A linear model's explanations: they add up to its score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from tagsage.explain.background import Background
from tagsage.explain.explain import explain
from tagsage.explain.linear_terms import linear_terms
from tests.explain.explained_world import LINEAR, TAGS, fit, snapshot

KINDS = {"word": "words", "list": "list_ids", "author": "author_ids"}


@pytest.fixture(scope="module")
def corpus():
    return snapshot()


@pytest.fixture(scope="module")
def linear(corpus, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("linear"), corpus, LINEAR)


@pytest.fixture(scope="module")
def explained(corpus, linear):
    rows = np.repeat(np.arange(len(corpus.articles)), len(TAGS))
    columns = np.tile(np.arange(len(TAGS)), len(corpus.articles))
    tagger, _ = linear
    return list(explain(tagger, Background.of(corpus, tagger.candidate.tags, None), rows, columns))


def test_terms_add_up_to_the_score(corpus, explained):
    in_none = np.diff(corpus.incidence().indptr) == 0
    assert in_none.any()
    for place, one in enumerate(explained):
        assert one.terms[0].kind == "start"
        total = sum(term.log_odds for term in one.terms)
        # Six digits are told of the score and of each term.
        assert abs(expit(total) - one.score) < 5e-6
        if in_none[place // len(TAGS)]:
            assert "list" not in {term.kind for term in one.terms}


@pytest.mark.parametrize("kind", ["in lists", "in none"])
def test_all_terms_together_are_the_log_odds_of_the_model_that_answers(linear, kind):
    tagger, X = linear
    candidate = tagger.candidate
    rows = np.flatnonzero(X.in_list == (kind == "in lists"))
    assert len(rows) >= 30
    answering, seen = candidate.main, X
    if kind == "in none":
        answering, seen = candidate.fallback, X.list_free()
        assert seen.kinds == ("words", "author_ids")
    arrays, calibration = answering.classifier.arrays, answering.calibration
    assert arrays["varying"].tolist() == [0, 1, 2]
    weights = arrays["coef"].astype(np.float64)
    z = seen.sparse_rows(rows).astype(np.float64) @ weights + arrays["intercept"]
    log_odds = calibration.slope * z + calibration.intercept
    pairs, columns = np.repeat(rows, len(TAGS)), np.tile(np.arange(len(TAGS)), len(rows))
    terms = linear_terms(candidate, X, pairs, columns)
    total = terms.start + terms.sums(np.ones(len(terms.pair), dtype=bool))
    np.testing.assert_allclose(total, log_odds.ravel(), rtol=1e-12, atol=1e-12)
    # And the score is their logistic function, as far as single precision goes.
    P = candidate.predict_proba(X, rows)
    np.testing.assert_allclose(expit(total), P.ravel(), rtol=1e-5)


def test_the_score_is_what_the_model_answers(corpus, linear, explained):
    tagger, X = linear
    P = tagger.candidate.predict_proba(X, np.arange(len(X)))
    scores = np.array([one.score for one in explained]).reshape(P.shape)
    assert np.array_equal(scores, P.astype(np.float64).round(6))
    # New articles with the same words, lists and author have the same scores, to the last digit.
    articles = corpus.articles[["title", "subtitle", "author"]].copy()
    articles["lists"] = corpus.list_names(corpus.incidence())
    served = tagger.features.transform(tagger.articles_of(articles))
    assert np.array_equal(tagger.candidate.predict_proba(served, np.arange(len(X))), P)


def test_a_term_is_the_weight_of_its_column_times_its_value(linear, explained):
    tagger, X = linear
    known, blocks = tagger.features.known, tagger.features.blocks
    rest = X.list_free()
    checked: set[tuple[str, bool]] = set()
    for place, one in enumerate(explained[:200]):
        row, tag = divmod(place, len(TAGS))
        in_list = bool(X.in_list[row])
        answering = tagger.candidate.main if in_list else tagger.candidate.fallback
        seen = X if in_list else rest
        features = seen.sparse_rows(np.array([row])).toarray()[0]
        for term in one.terms:
            if term.kind in KINDS:
                block = KINDS[term.kind]
                names = blocks[block].columns(known).tolist()
                column = seen.columns_of(block).start + names.index(term.name)
                weight = answering.classifier.arrays["coef"][column, tag]
                value = answering.calibration.slope * weight * features[column]
                assert term.log_odds == pytest.approx(value, abs=2e-6)
                checked.add((term.kind, in_list))
    assert checked == {
        ("word", True), ("list", True), ("author", True), ("word", False), ("author", False),
    }  # fmt: skip


def test_what_a_list_does_is_what_is_left_without_its_term(explained):
    checked = 0
    for one in explained:
        by_name = {term.name: term.log_odds for term in one.terms if term.kind == "list"}
        for item in one.lists:
            if item.list in by_name and 1e-3 < one.score < 1 - 1e-3:
                without = expit(logit(one.score) - by_name[item.list])
                assert item.drop == pytest.approx(one.score - without, abs=1e-5)
                checked += 1
    assert checked > 50


def test_an_article_in_no_list_has_the_same_score_without_lists(corpus, explained):
    in_none = np.diff(corpus.incidence().indptr) == 0
    for place, one in enumerate(explained):
        if in_none[place // len(TAGS)]:
            assert one.lists == []
            assert one.score_without_graph == one.score


def test_in_no_list_an_article_has_the_score_that_is_told_beside_its_own(corpus, linear, explained):
    tagger, _ = linear
    articles = corpus.articles[["title", "subtitle", "author"]]
    in_none = tagger.features.transform(tagger.articles_of(articles))
    assert not in_none.in_list.any()
    P = tagger.candidate.predict_proba(in_none, np.arange(len(articles)))
    told = np.array([one.score_without_graph for one in explained]).reshape(P.shape)
    assert np.array_equal(told, P.astype(np.float64).round(6))
