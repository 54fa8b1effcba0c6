"""A linear model's explanations: they add up to its score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from tagsage.explain.background import Background
from tagsage.explain.explain import explain
from tests.explain.explained_world import TAGS, fit_linear, snapshot

KINDS = ("word", "list", "author")


@pytest.fixture(scope="module")
def corpus():
    return snapshot()


@pytest.fixture(scope="module")
def linear(corpus, tmp_path_factory):
    return fit_linear(tmp_path_factory.mktemp("linear"), corpus)


@pytest.fixture(scope="module")
def explained(corpus, linear):
    rows = np.repeat(np.arange(len(corpus.articles)), len(TAGS))
    columns = np.tile(np.arange(len(TAGS)), len(corpus.articles))
    tagger, _ = linear
    return list(explain(tagger, Background.of(corpus, tagger.candidate.tags, None), rows, columns))


def test_terms_add_up_to_the_score(explained):
    for one in explained:
        assert one.terms[0].kind == "start"
        total = sum(term.log_odds for term in one.terms)
        # Six digits are told of the score and of each term.
        assert abs(expit(total) - one.score) < 5e-6


def test_the_score_is_what_the_model_answers(corpus, linear, explained):
    tagger, X = linear
    P = tagger.candidate.predict_proba(X, np.arange(len(X)))
    scores = np.array([one.score for one in explained]).reshape(P.shape)
    assert np.array_equal(scores, P.astype(np.float64).round(6))
    # New articles with the same words, lists and author have the same scores, to the last digit.
    articles = corpus.articles[["title", "subtitle", "author"]].copy()
    articles["lists"] = corpus.list_names(corpus.incidence())
    served = tagger.features(articles)
    assert np.array_equal(tagger.candidate.predict_proba(served, np.arange(len(X))), P)


def test_a_term_is_the_weight_of_its_column_times_its_value(linear, explained):
    tagger, X = linear
    fitted = tagger.candidate
    slope = fitted.main.calibration.slope
    names = {
        (kind, name): place
        for kind, block in zip(KINDS, tagger.featuriser.sparse.values(), strict=True)
        for place, name in enumerate(block.columns)
    }
    first = dict(zip(KINDS, np.cumsum((0, *X.block_widths[:2])), strict=True))
    features = X.sparse_rows(np.arange(len(X))).toarray()
    for place, one in enumerate(explained[:60]):
        row, tag = divmod(place, len(TAGS))
        for term in one.terms:
            if term.kind in first:
                column = first[term.kind] + names[term.kind, term.name]
                value = (
                    slope * fitted.classifier.arrays["coef"][column, tag] * features[row, column]
                )
                assert term.log_odds == pytest.approx(value, abs=2e-6)


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
            assert one.score_without_graph == pytest.approx(one.score, abs=1e-6)
